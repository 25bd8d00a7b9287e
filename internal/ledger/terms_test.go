package ledger

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"sekimori/internal/distinct"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// orders checks that compare looks at these fields and no others, in this order: at a later one only if all before
// it are equal.
func orders[T any](t *testing.T, compare func(a, b *T) int, fields ...string) {
	t.Helper()
	set := func(x *T, field string, low bool) {
		switch f := reflect.ValueOf(x).Elem().FieldByName(field); f.Kind() {
		case reflect.String:
			f.SetString(map[bool]string{true: "a", false: "b"}[low])
		default:
			f.SetInt(map[bool]int64{true: 1, false: 2}[low])
		}
	}
	for i, field := range fields {
		var less, more T
		set(&less, field, true)
		set(&more, field, false)
		for _, later := range fields[i+1:] {
			set(&less, later, false)
			set(&more, later, true)
		}
		same := less
		if compare(&less, &more) >= 0 || compare(&more, &less) <= 0 || compare(&less, &same) != 0 {
			t.Errorf("%T by %s: %d and %d", less, field, compare(&less, &more), compare(&more, &less))
		}
	}
	var empty T
	for _, f := range reflect.VisibleFields(reflect.TypeOf(empty)) {
		if slices.Contains(fields, f.Name) || f.Anonymous || f.Type.Kind() != reflect.String && f.Type.Kind() != reflect.Int64 && f.Type.Kind() != reflect.Int32 {
			continue
		}
		other := empty
		if set(&other, f.Name, true); compare(&empty, &other) != 0 {
			t.Errorf("%T is ordered by %s", empty, f.Name)
		}
	}
}

func TestOrders(t *testing.T) {
	orders(t, (*Row).Compare, "Day", "Domain", "Group")
	orders(t, (*Author).Compare, "Day", "Domain")
	orders(t, (*Source).Compare, "Domain")
	orders(t, (*Total).Compare, "Day", "Group", "SPF", "DKIM", "Policy", "DMARC", "Applied", "Override")
	orders(t, (*Figure).Compare, "Day", "Group", "Kind", "Word", "Result")
	for _, pair := range [][2]string{{"10.0.0.0/24", "10.0.1.0/24"}, {"10.0.0.0/23", "10.0.0.0/24"}} {
		a, b := Source{Network: netip.MustParsePrefix(pair[0])}, Source{Network: netip.MustParsePrefix(pair[1])}
		if a.Compare(&b) >= 0 || b.Compare(&a) <= 0 || a.Compare(&a) != 0 {
			t.Errorf("the sources %v", pair)
		}
	}
}

// TestStrongestFirst checks which signers and networks come first, whatever their order before.
func TestStrongestFirst(t *testing.T) {
	signers := []Signer{
		{"z.example", "z", 9, 0}, {"z.example", "z9", 8, 7}, {"a.example", "s", 8, 6}, {"b.example", "a", 8, 6}, {"b.example", "b", 8, 6}, {"", Others, 99, 99},
	}
	network := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, n, 0}), 24) }
	sending := []Sending{
		{Network: network(9), Pass: 9}, {Network: network(8), Pass: 1, Signed: 7, Missed: 7}, {Network: network(7), Pass: 8, Missed: 6},
		{Network: network(1), Pass: 7, Signed: 0, Missed: 5}, {Network: network(2), Pass: 0, Signed: 7, Missed: 5},
	}
	for i := range 24 {
		some, others := slices.Clone(signers), slices.Clone(sending)
		for j := range some {
			k := (i*7 + j*5) % (j + 1)
			some[j], some[k] = some[k], some[j]
		}
		for j := range others {
			k := (i*7 + j*5) % (j + 1)
			others[j], others[k] = others[k], others[j]
		}
		if got := strongest(some); !slices.Equal(got, signers) {
			t.Fatalf("signers %v", got)
		}
		if got := mostSending(others); !slices.Equal(got, sending) {
			t.Fatalf("networks %v", got)
		}
	}
	for n := MaxSending - 1; n <= MaxSending+1; n++ {
		if got := mostSending(make([]Sending, n)); len(got) != min(n, MaxSending) {
			t.Errorf("%d of %d networks are kept", len(got), n)
		}
	}
	// Signers are the same if both names are.
	var all []Signer
	for _, s := range []Signer{{"a.example", "s", 1, 0}, {"a.example", "t", 1, 0}, {"b.example", "s", 1, 0}, {"a.example", "s", 2, 3}} {
		all = addSigner(all, s)
	}
	if want := []Signer{{"a.example", "s", 3, 3}, {"a.example", "t", 1, 0}, {"b.example", "s", 1, 0}}; !slices.Equal(all, want) {
		t.Errorf("%v, want %v", all, want)
	}
	// The counts of a network are added, and its record is the newest.
	one, two := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	var networks []Sending
	for _, s := range []Sending{{one, 1, 2, 3, 4}, {two, 1, 1, 1, 1}, {one, 10, 20, 30, 5}} {
		networks = addSending(networks, s)
	}
	if want := []Sending{{one, 11, 22, 33, 5}, {two, 1, 1, 1, 1}}; !slices.Equal(networks, want) {
		t.Errorf("%v, want %v", networks, want)
	}
}

// TestSums checks which days and networks of an author domain count, at the edges.
func TestSums(t *testing.T) {
	for ago, want := range map[Day]int{-1: 0, 0: 1, UsualDays - 1: 1, UsualDays: 0} {
		var u Usual
		u.Sum([]Author{{Day: today - ago, Pass: 4, Signed: 3, Both: 2}, {Day: today - ago, Signed: 9, Both: 9}}, nil, today)
		if u.Days != want || u.Pass != int64(4*want) || u.Signed != int64(3*want) || u.Both != int64(2*want) {
			t.Errorf("%d days ago: %+v", ago, u)
		}
	}
	for ago, want := range map[Day]bool{-1: false, 0: true, KeepSources - 1: true, KeepSources: false} {
		var u Usual
		u.Sum(nil, []Source{{Network: netip.MustParsePrefix("10.0.0.0/24"), Last: today - ago, Days: 1}}, today)
		if got := len(u.Networks) == 1; got != want {
			t.Errorf("a network of %d days ago counts: %t", ago, got)
		}
	}
	var u Usual
	u.Sum(nil, []Source{{Network: netip.MustParsePrefix("10.0.1.0/24"), Last: today, Days: 1}, {Network: netip.MustParsePrefix("10.0.0.0/24"), Last: today, Days: 7}}, today)
	if len(u.Networks) != 2 || u.Networks[0].Prefix.String() != "10.0.0.0/24" || u.Networks[0].Days != 3 {
		t.Errorf("%+v", u.Networks)
	}
	for both, want := range map[int64]bool{199: true, 198: false} {
		u := Usual{Days: LeastDays, Pass: 200, Signed: 199, Both: both}
		if got := u.AlwaysSigns(); got != want {
			t.Errorf("one of 200 passed by SPF alone, and %d by both: %t", both, got)
		}
	}
}

// TestSignatureOfWhom checks whose signature counts as one of the author: that of the registered domain or any
// domain below it, and without a registered domain, that of a name above or below the author.
func TestSignatureOfWhom(t *testing.T) {
	for _, tt := range []struct {
		author, signer dns.Name
		want           bool
	}{
		{"news.shop.example", "news.shop.example", true}, {"news.shop.example", "shop.example", true}, {"news.shop.example", "a.news.shop.example", true},
		{"news.shop.example", "other.shop.example", true}, {"news.shop.example", "x.example", false}, {"news.shop.example", "", true},
		{"co.jp", "co.jp", true}, {"co.jp", "shop.co.jp", true}, {"co.jp", "shop.example", false}, {"co.jp", "jp", true},
	} {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: tt.author}, DKIM: []dkim.Signature{{Domain: tt.signer}}}
		if got := hasSignature(e); got != tt.want {
			t.Errorf("%q in mail of %q: %t", tt.signer, tt.author, got)
		}
	}
	if hasSignature(&msgauth.Evaluation{From: author.From{AuthorDomain: "shop.example"}}) {
		t.Error("no signature counts as one")
	}
}

// TestEmptyDelta checks that a Delta with anything in it is not empty.
func TestEmptyDelta(t *testing.T) {
	for i, d := range []Delta{
		{}, {MaxDomains: 5}, {Rows: make([]Row, 1)}, {Authors: make([]Author, 1)}, {Sources: make([]Source, 1)}, {Totals: make([]Total, 1)},
		{Figures: make([]Figure, 1)}, {Dropped: make([]Dropped, 1)},
	} {
		if got := d.Empty(); got != (i < 2) {
			t.Errorf("%+v: %t", d, got)
		}
	}
	for most, want := range map[int64]int64{0: 0, 3: 3, 4: 5, 100: 125} {
		if got := (&Delta{MaxDomains: most}).RowLimit(); got != want {
			t.Errorf("MaxDomains %d: %d", most, got)
		}
	}
}

// TestPrune checks what is too old to be kept, at the edges, and that what is not in the Delta is not touched.
func TestPrune(t *testing.T) {
	for _, tt := range []struct {
		ago        Day
		row, added bool // rows and the like are kept; sources and the like
	}{{-1, true, true}, {0, true, true}, {KeepSources - 1, true, true}, {KeepSources, true, false}, {KeepDays - 1, true, false}, {KeepDays, false, false}} {
		day := today - tt.ago
		d := Delta{
			Rows: []Row{{Day: day, Counts: Counts{Messages: 7}}}, Authors: []Author{{Day: day}}, Sources: []Source{{Last: day}}, Totals: []Total{{Day: day}},
			Figures: []Figure{{Day: day}}, Dropped: []Dropped{{Day: day}},
		}
		before := d
		dropped := d.Prune(today)
		for what, got := range map[string]bool{"rows": len(d.Rows) == 1, "totals": len(d.Totals) == 1, "figures": len(d.Figures) == 1, "dropped": len(d.Dropped) == 1} {
			if got != tt.row {
				t.Errorf("%d days ago: %s are kept: %t", tt.ago, what, got)
			}
		}
		for what, got := range map[string]bool{"authors": len(d.Authors) == 1, "sources": len(d.Sources) == 1} {
			if got != tt.added {
				t.Errorf("%d days ago: %s are kept: %t", tt.ago, what, got)
			}
		}
		if want := map[bool]int64{true: 0, false: 7}[tt.row]; dropped != want {
			t.Errorf("%d days ago: %d messages are dropped, want %d", tt.ago, dropped, want)
		}
		if len(before.Rows) != 1 || before.Rows[0].Day != day {
			t.Errorf("%d days ago: the slice itself has changed", tt.ago)
		}
	}
	d := Delta{Rows: []Row{{Day: today - KeepDays, Domain: "a"}, {Day: today, Domain: "b"}}}
	rows := d.Rows
	if d.Prune(today); rows[0].Domain != "a" || rows[1].Domain != "b" || len(d.Rows) != 1 || d.Rows[0].Domain != "b" {
		t.Errorf("%+v, and before %+v", d.Rows, rows)
	}
}

// TestAuthorSketches checks that there is one for each day and policy, in order, and how they are merged.
func TestAuthorSketches(t *testing.T) {
	row := func(day Day, policy dmarc.Policy, domain string) Row {
		return Row{Day: day, Policy: policy, Domain: dns.Name(domain)}
	}
	all := Sketches([]byte("secret"), []Row{
		row(today, "reject", "a.example"), row(today, "none", "b.example"), row(today-1, "reject", "c.example"), row(today, "reject", "d.example"), row(today, "reject", "a.example"),
	})
	var got []string
	for _, s := range all {
		got = append(got, fmt.Sprintf("%d %s %.0f", s.Day-today, s.Policy, distinct.Estimate(s.Registers)))
	}
	if want := []string{"-1 reject 1", "0 none 1", "0 reject 2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	other := Sketches([]byte("another"), []Row{row(today, "reject", "a.example")})[0]
	one := Sketches([]byte("secret"), []Row{row(today, "reject", "a.example")})[0]
	if bytes.Equal(one.Registers, other.Registers) {
		t.Error("the secret does not matter")
	}
	two := all[2]
	for _, tt := range []struct {
		why    string
		s      AuthorSketch
		stored []byte
		more   bool
	}{
		{"the same", one, one.Registers, false}, {"less than stored", one, two.Registers, false}, {"more than stored", two, one.Registers, true},
		{"something else", other, one.Registers, true}, {"stored is too short", one, one.Registers[1:], true}, {"nothing is stored", one, nil, true},
	} {
		s := AuthorSketch{Registers: slices.Clone(tt.s.Registers)}
		if got := s.Merge(tt.stored); got != tt.more {
			t.Errorf("%s: more: %t", tt.why, got)
		}
		if len(tt.stored) == len(s.Registers) && distinct.Merge(s.Registers, tt.stored) {
			t.Errorf("%s: not merged", tt.why)
		}
	}
	gathered := map[dmarc.Policy][]byte{}
	Gather(gathered, "none", one.Registers[1:]) // damaged
	Gather(gathered, "reject", one.Registers)
	Gather(gathered, "reject", two.Registers)
	Gather(gathered, "", other.Registers)
	estimates := Estimates(gathered)
	if got := fmt.Sprintf("%.0f %.0f %d", estimates["reject"], estimates[""], len(estimates)); got != "2 1 2" {
		t.Errorf("%v", estimates)
	}
}

// TestTakenInOrder checks that each list of a Delta is in its order, whatever came first.
func TestTakenInOrder(t *testing.T) {
	table := NewTable()
	for i := range 100 {
		x := entry(fmt.Sprintf("a%d.d%d.example", i%13, i%11), fmt.Sprintf("d%d.example", i%11), today.Time(), fmt.Sprintf("192.0.%d.1", i))
		x.Total.Applied, x.Reason = fmt.Sprint(i%7), policy.Reason(fmt.Sprint(i%5))
		table.Add(&x, today-Day(i%3))
		table.dropped[today-Day(i)] = 1
	}
	d := table.Take("g", 0)
	for list, sorted := range map[string]bool{
		"rows":    slices.IsSortedFunc(d.Rows, func(a, b Row) int { return a.Compare(&b) }),
		"authors": slices.IsSortedFunc(d.Authors, func(a, b Author) int { return a.Compare(&b) }),
		"sources": slices.IsSortedFunc(d.Sources, func(a, b Source) int { return a.Compare(&b) }),
		"totals":  slices.IsSortedFunc(d.Totals, func(a, b Total) int { return a.Compare(&b) }),
		"figures": slices.IsSortedFunc(d.Figures, func(a, b Figure) int { return a.Compare(&b) }),
		"dropped": slices.IsSortedFunc(d.Dropped, func(a, b Dropped) int { return int(a.Day - b.Day) }),
	} {
		if !sorted {
			t.Errorf("the %s are in no order", list)
		}
	}
}

func TestLists(t *testing.T) {
	if want := []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}; !slices.Equal(Policies, want) {
		t.Errorf("policies %q", Policies)
	}
	if h := (&Hit{Reject: 2, Quarantine: 3}); h.Hits() != 5 {
		t.Errorf("%d hits", h.Hits())
	}
}
