package ledger

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/policy"
)

const today = Day(20786)

func entry(author, owner string, at time.Time, client string) Entry {
	return Entry{Time: at, Author: dns.Name(author), Owner: dns.Name(owner), Policy: "reject", Result: Pass, DKIM: true, SPF: true, Signed: true,
		Applied: policy.Accept, Client: netip.MustParseAddr(client), Signers: []Signer{{Domain: dns.Name(owner), Selector: "s1", Pass: 1}},
		Total: Total{SPF: "pass", DKIM: "pass", Policy: "reject", DMARC: "pass", Applied: "accept", Messages: 1}}
}

func TestDay(t *testing.T) {
	for _, x := range []struct {
		at   string
		want Day
	}{{"1970-01-01T00:00:00Z", 0}, {"1969-12-31T23:59:59Z", -1}, {"1969-12-31T00:00:00Z", -1}, {"1969-12-30T23:59:59Z", -2}, {"2026-11-29T23:59:59Z", today}, {"2026-11-30T08:59:59+09:00", today}} {
		at, err := time.Parse(time.RFC3339, x.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := DayOf(at); got != x.want {
			t.Errorf("%s: day %d, want %d", x.at, got, x.want)
		}
	}
	if got := today.Time().Format(time.RFC3339); got != "2026-11-29T00:00:00Z" {
		t.Errorf("the day begins at %s", got)
	}
}

func TestCounts(t *testing.T) {
	var c Counts
	if n := reflect.TypeOf(c).NumField(); n != NumCounts {
		t.Fatalf("%d fields, and NumCounts is %d", n, NumCounts)
	}
	for i, f := range c.Fields() {
		*f = int64(i + 1)
		if got := reflect.ValueOf(c).Field(i).Int(); got != int64(i+1) {
			t.Errorf("Fields[%d] is another field than the one that is declared there", i)
		}
	}
	sum := c
	sum.Add(c)
	for i, f := range sum.Fields() {
		if *f != 2*int64(i+1) {
			t.Errorf("field %d: %d", i, *f)
		}
	}
}

// TestTable adds messages of every kind, and looks at all that comes out.
func TestTable(t *testing.T) {
	at := today.Time().Add(time.Hour)
	table := NewTable()
	a := entry("news.shop.example", "shop.example", at, "192.0.2.7")
	b := entry("news.shop.example", "shop.example", at.Add(time.Minute), "192.0.2.8")
	b.SPF, b.Policy = false, "quarantine"
	b.Total.Policy = "quarantine"
	c := entry("shop.example", "shop.example", at.Add(-time.Minute), "2001:db8:1:2::3")
	c.Result, c.DKIM, c.SPF, c.Signed, c.Applied, c.Indirect, c.Change, c.Example = Fail, false, false, false, policy.Reject, true, Harsher, "ABC"
	c.Signers = nil
	c.Total.DMARC, c.Total.Applied = "fail", "reject"
	c.Reason, c.Country = policy.ReasonReject, "JP"
	e := entry("", "", at, "192.0.2.7")
	d := entry("other.example", "other.example", at, "192.0.2.7")
	d.Result, d.Client, d.Country = TempError, netip.Addr{}, "nowhere"
	for _, x := range []Entry{a, a, b, c, d, e} {
		if !table.Add(&x, today) {
			t.Error("no room")
		}
	}
	late := a
	table.Add(&late, today-1)
	if n := table.Len(); n != 3+2+2+4+5 { // rows, authors, networks, totals and figures
		t.Errorf("%d rows are waiting", n)
	}
	got := table.Take("g", 7)
	shop := Counts{Messages: 4, Pass: 3, PassDKIM: 3, PassSPF: 2, Fail: 1, Signed: 3, Rejected: 1, Indirect: 1, Harsher: 1}
	want := []Row{
		{Day: today - 1, Domain: "shop.example", Group: "g", Counts: Counts{Messages: 1, Pass: 1, PassDKIM: 1, PassSPF: 1, Signed: 1}, Policy: "reject", First: at.Unix(), Last: at.Unix(),
			Signers: []Signer{{"shop.example", "s1", 1, 0}}},
		{Day: today, Domain: "other.example", Group: "g", Counts: Counts{Messages: 1, TempError: 1, Signed: 1}, Policy: "reject", First: at.Unix(), Last: at.Unix(),
			Signers: []Signer{{"other.example", "s1", 1, 0}}},
		{Day: today, Domain: "shop.example", Group: "g", Counts: shop, Policy: "quarantine", First: at.Unix() - 60, Last: at.Unix() + 60, Example: "ABC",
			Signers: []Signer{{"shop.example", "s1", 3, 0}}},
	}
	for i := range got.Rows {
		n := math.Round(got.Rows[i].Sources.Estimate())
		if want := []float64{1, 0, 2}[i]; n != want {
			t.Errorf("%s: %v networks, want %v", got.Rows[i].Domain, n, want)
		}
		got.Rows[i].Sources = Sketch{}
	}
	if !reflect.DeepEqual(got.Rows, want) {
		t.Errorf("rows:\n got %+v\nwant %+v", got.Rows, want)
	}
	if want := []Author{{today - 1, "news.shop.example", "shop.example", 1, 1, 1}, {today, "news.shop.example", "shop.example", 3, 3, 2}}; !reflect.DeepEqual(got.Authors, want) {
		t.Errorf("authors: %+v", got.Authors)
	}
	network := netip.MustParsePrefix("192.0.2.0/24")
	if want := []Source{{"news.shop.example", "shop.example", network, today, 3}}; !reflect.DeepEqual(got.Sources, want) {
		t.Errorf("sources: %+v", got.Sources)
	}
	if want := []Figure{{today - 1, "g", ByReason, "", "accept", 1}, {today, "g", ByCountry, "JP", "fail", 1}, {today, "g", ByCountry, "ZZ", "pass", 1},
		{today, "g", ByReason, "", "accept", 5}, {today, "g", ByReason, "dmarc_reject", "reject", 1}}; !reflect.DeepEqual(got.Figures, want) {
		t.Errorf("figures: %+v", got.Figures)
	}
	if len(got.Totals) != 4 || got.Messages() != 7 || got.MaxDomains != 7 {
		t.Errorf("totals: %+v", got.Totals)
	}
	if table.Len() != 0 {
		t.Error("the table is not empty afterwards")
	}
	if again := table.Take("g", 7); !again.Empty() {
		t.Errorf("%+v", again)
	}
}

// TestStanding: a message has one standing, and a DMARC record alone authenticates nothing.
func TestStanding(t *testing.T) {
	for _, x := range []struct {
		spf, dkim, dmarc, want string
		nothing                bool
	}{
		{"pass", "none", "pass", "pass", false},
		{"none", "pass", "pass", "pass", false},
		{"none", "none", "fail", "nothing", true},
		{"none", "none", "none", "nothing", true},
		{"softfail", "none", "fail", "fail", false},
		{"none", "fail", "fail", "fail", false},
		{"pass", "none", "none", "other", false},
		{"temperror", "none", "temperror", "other", false},
		{"permerror", "none", "permerror", "other", false},
	} {
		total := Total{SPF: x.spf, DKIM: x.dkim, DMARC: x.dmarc}
		if got := total.Standing(); got != x.want || total.Unauthenticated() != x.nothing {
			t.Errorf("%+v: %s, %t", x, got, total.Unauthenticated())
		}
	}
	for code, want := range map[string]string{"JP": "JP", "AZ": "AZ", "ZA": "ZA", "@Z": "ZZ", "A[": "ZZ", "ZZ": "ZZ", "": "ZZ", "jp": "ZZ", "JPN": "ZZ", "J1": "ZZ", "\xff\xfe": "ZZ"} {
		if got := CountryWord(code); got != want {
			t.Errorf("%q: %s", code, got)
		}
	}
}

// TestTableBounds fills the table beyond its bounds.
func TestTableBounds(t *testing.T) {
	at := today.Time()
	table := NewTable()
	for i := range maxRows - 2 { // without Add, which takes most of the time
		name := dns.Name(fmt.Sprintf("d%d.other.example", i))
		table.rows[rowKey{name, today}] = &Row{Day: today, Domain: name}
	}
	for i := range 2 + 10 {
		x := entry(fmt.Sprintf("d%d.example", i), fmt.Sprintf("d%d.example", i), at, "192.0.2.7")
		x.Signers = nil
		if got := table.Add(&x, today); got != (i < 2) {
			t.Fatalf("domain %d: %t", i, got)
		}
	}
	x := entry("d0.example", "d0.example", at, "192.0.2.7")
	if !table.Add(&x, today) {
		t.Error("a known domain does not go on counting")
	}
	for i := range 1000 {
		x.Signers = []Signer{{"d0.example", fmt.Sprint(i), 0, 1}}
		x.Client = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		table.Add(&x, today)
	}
	for i := range 2000 {
		x.Country = fmt.Sprint(i) // as a broken file of countries could say
		table.Add(&x, today)
	}
	got := table.Take("", 0)
	if want := (Figure{today, "", ByCountry, UnknownCountry, "pass", 2000}); len(got.Figures) != 2 || got.Figures[0] != want {
		t.Errorf("figures: %+v", got.Figures)
	}
	if len(got.Rows) != maxRows || len(got.Authors) != 2 || got.Dropped[0] != (Dropped{today, "", 10}) {
		t.Errorf("%d rows, %d authors, dropped %+v", len(got.Rows), len(got.Authors), got.Dropped)
	}
	row := got.Rows[slices.IndexFunc(got.Rows, func(r Row) bool { return r.Domain == "d0.example" })]
	if len(row.Signers) != MaxSigners+1 || row.Signers[0].Selector != "s1" || row.Signers[MaxSigners].Selector != Others {
		t.Errorf("signers: %+v", row.Signers)
	}
	var fails int64
	for _, s := range row.Signers {
		fails += s.Fail
	}
	if fails != 3000 {
		t.Errorf("%d failed signatures are counted", fails)
	}
}

// TestDelta writes and reads a Delta, and reads each beginning of it.
func TestDelta(t *testing.T) {
	table := NewTable()
	for i := range 30 {
		x := entry(fmt.Sprintf("a%d.d%d.example", i%7, i%5), fmt.Sprintf("d%d.example", i%5), today.Time(), fmt.Sprintf("192.0.%d.1", i))
		x.Signers[0].Selector = fmt.Sprint("\xff\x00", i)
		x.Example, x.Country, x.Reason = "E\x00", "JP", "rule"
		table.Add(&x, today-Day(i%2))
	}
	d := table.Take("g\n", 5)
	d.Dropped = []Dropped{{today, "g", 3}}
	data := d.Append(nil)
	got, err := ParseDelta(data)
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, d)
	}
	for n := range data {
		if _, err := ParseDelta(data[:n]); err == nil {
			t.Fatalf("the first %d of %d octets gave no error", n, len(data))
		}
	}
}

func FuzzDelta(f *testing.F) {
	x := entry("a.shop.example", "shop.example", today.Time(), "192.0.2.1")
	table := NewTable()
	table.Add(&x, today)
	d := table.Take("g", 1)
	f.Add(d.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseDelta(data)
		if err != nil {
			return
		}
		again, err := ParseDelta(got.Append(nil))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%v\n%+v\n%+v", err, again, got)
		}
	})
}

func FuzzRest(f *testing.F) {
	r := Row{Signers: []Signer{{"shop.example", "s", 1, 2}}}
	r.Sources.AddNetwork(netip.MustParsePrefix("192.0.2.0/24"))
	f.Add(r.AppendRest(nil), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		merged := MergeRest(a, b)
		var r Row
		if err := r.ReadRest(merged); err != nil {
			t.Fatalf("%v: %x", err, merged)
		}
		if again := r.AppendRest(nil); !bytes.Equal(again, merged) {
			t.Errorf("%x\n%x", again, merged)
		}
	})
}

// TestMergeRest merges in both orders, and with what is damaged.
func TestMergeRest(t *testing.T) {
	var a, b Row
	for i := range 12 {
		a.Signers = append(a.Signers, Signer{"shop.example", fmt.Sprint(i), int64(i), 0})
		b.Signers = append(b.Signers, Signer{"shop.example", fmt.Sprint(i + 6), 100, 1})
		a.Sources.AddNetwork(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24))
		b.Sources.AddNetwork(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i + 6), 0, 0}), 24))
	}
	x, y := a.AppendRest(nil), b.AppendRest(nil)
	one, other := MergeRest(x, y), MergeRest(y, x)
	if !bytes.Equal(one, other) {
		t.Error("the order matters")
	}
	var got Row
	if err := got.ReadRest(one); err != nil {
		t.Fatal(err)
	}
	if n := math.Round(got.Sources.Estimate()); n < 15 || n > 21 {
		t.Errorf("%v networks, want about 18", n)
	}
	if len(got.Signers) != MaxSigners+1 || got.Signers[0] != (Signer{"shop.example", "11", 111, 1}) || got.Signers[MaxSigners] != (Signer{"", Others, 1, 0}) {
		t.Errorf("%+v", got.Signers)
	}
	if !bytes.Equal(MergeRest([]byte("damaged"), y), MergeRest(nil, y)) {
		t.Error("a damaged rest does not count as empty")
	}
}

// TestSource merges days in every order.
func TestSource(t *testing.T) {
	days := []Day{today, today - 1, today - 29, today - 30, today - 59, today - 60}
	for range 50 {
		rand.Shuffle(len(days), func(i, j int) { days[i], days[j] = days[j], days[i] })
		s := Source{Last: days[0], Days: 1}
		for _, d := range days[1:] {
			s = s.Merge(Source{Last: d, Days: 1})
		}
		if s.Last != today || bits.OnesCount64(uint64(s.Days)) != 5 || s.Within(today, UsualDays) != 3 || s.Within(today+1, UsualDays) != 2 ||
			s.Within(today, 31) != 4 || s.Within(today-1, 30) != 0 || s.Within(today+30, 30) != 0 {
			t.Fatalf("%v: %+v, within %d %d", days, s, s.Within(today, UsualDays), s.Within(today+1, UsualDays))
		}
	}
}

func TestNetworkOf(t *testing.T) {
	for client, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48"} {
		got := NetworkOf(netip.MustParseAddr(client))
		if got.String() != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
		if again, ok := ParseNetwork(NetworkText(got)); !ok || again != got {
			t.Errorf("%s: %v %t", client, again, ok)
		}
	}
	if NetworkOf(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
	for _, bad := range []string{"", "x", "1234\x21", "12345\x01"} {
		if p, ok := ParseNetwork(bad); ok {
			t.Errorf("%q is %v", bad, p)
		}
	}
}

// usual returns what is usual for a domain with so many passes on so many days.
func usual(days int, pass, signed, both int64, networks int) Usual {
	u := Usual{}
	var a []Author
	for i := range days {
		x := Author{Day: today - Day(i), Pass: pass / int64(days), Signed: signed / int64(days), Both: both / int64(days)}
		if i == 0 {
			x.Pass += pass % int64(days)
			x.Signed += signed % int64(days)
			x.Both += both % int64(days)
		}
		a = append(a, x)
	}
	var s []Source
	for i := range networks {
		s = append(s, Source{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), Last: today, Days: 1<<(i%5) - 1 | 1})
	}
	u.Sum(a, s, today)
	return u
}

func TestAlwaysSigns(t *testing.T) {
	for _, x := range []struct {
		name               string
		days               int
		pass, signed, both int64
		want               bool
	}{
		{"always", 14, 200, 200, 200, true},
		{"always, and never by SPF", 14, 200, 200, 0, true},
		{"too few days", 13, 2000, 2000, 2000, false},
		{"too few messages", 14, 199, 199, 199, false},
		{"one of 200 without", 14, 200, 199, 199, true},
		{"two of 399 without", 14, 399, 397, 397, false},
		{"half without", 20, 1000, 500, 500, false},
		// A stranger sends one signed message of a domain, half of whose mail is not signed, 100,000 times.
		{"half without, and signed mail sent again", 20, 101_000, 100_500, 500, false},
		{"days beyond 30 do not count", 45, 280, 280, 280, false},
	} {
		u := usual(x.days, x.pass, x.signed, x.both, 0)
		if got := u.AlwaysSigns(); got != x.want {
			t.Errorf("%s: %t (%+v)", x.name, got, u)
		}
	}
}

func TestNetworks(t *testing.T) {
	for networks, want := range map[int]bool{0: false, 1: true, MaxUsual: true, MaxUsual + 1: false, MaxUsual + 50: false} {
		u := usual(14, 20, 20, 20, networks)
		if got := u.KnowsNetworks(); got != want || len(u.Networks) > MaxUsual+1 {
			t.Errorf("%d networks: %t, %d kept", networks, got, len(u.Networks))
		}
	}
	u := usual(13, 20, 20, 20, 3)
	if u.KnowsNetworks() {
		t.Error("13 days are enough")
	}
	u = usual(14, 20, 20, 20, 5)
	if days, known := u.Network(netip.MustParseAddr("::ffff:10.0.3.200")); days != 3 || !known {
		t.Errorf("%d days, %t", days, known)
	}
	if days, known := u.Network(netip.MustParseAddr("10.0.5.1")); days != 0 || known {
		t.Errorf("%d days, %t", days, known)
	}
	future := Usual{}
	future.Sum([]Author{{Day: today + 1, Pass: 5}}, []Source{{Last: today + 1, Days: 1}}, today)
	if !reflect.DeepEqual(future, Usual{}) {
		t.Errorf("days after today count: %+v", future)
	}
}
