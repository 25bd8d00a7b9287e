package ledger

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBreakageEdges compares a day with fourteen days before it, each of them the same. Each rule is tried at both
// sides of each of its edges.
func TestBreakageEdges(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	usual := func() Row {
		return Row{Domain: "shop.example", Counts: Counts{Messages: 100, Pass: 100, PassDKIM: 100, PassSPF: 100}, Signers: []Signer{{"shop.example", "s1", 100, 0}},
			Sending: []Sending{{Network: network, Pass: 100, Record: 1}}}
	}
	type change = func(r *Row)
	signer := func(pass, fail int64) change {
		return func(r *Row) { r.Signers[0].Pass, r.Signers[0].Fail = pass, fail }
	}
	gone := func(passDKIM, messages int64) change {
		return func(r *Row) { r.Signers, r.PassDKIM, r.Messages = nil, passDKIM, messages }
	}
	bySPF := func(passSPF, pass int64) change {
		return func(r *Row) { r.PassSPF, r.Pass, r.Sending = passSPF, pass, nil }
	}
	from := func(pass, missed int64) change {
		return func(r *Row) { r.Sending[0].Pass, r.Sending[0].Missed = pass, missed }
	}
	share := func(pass, messages int64) change {
		return func(r *Row) { r.Pass, r.Messages, r.PassSPF, r.Sending = pass, messages, 50, nil }
	}
	both := func(all ...change) change {
		return func(r *Row) {
			for _, f := range all {
				f(r)
			}
		}
	}
	for _, tt := range []struct {
		why         string
		before, now change // nil: as usual
		want        []Kind
	}{
		{"as usual", nil, nil, nil},

		{"signatures: a fifth still passes", nil, signer(20, 80), nil},
		{"fewer", nil, signer(19, 80), []Kind{SignatureFails}},
		{"as few fail as may count", nil, signer(0, 20), []Kind{SignatureFails}},
		{"fewer fail", nil, signer(0, 19), nil},
		{"as few used to pass as may count", signer(20, 0), signer(0, 20), []Kind{SignatureFails}},
		{"fewer used to pass", signer(19, 0), signer(0, 20), nil},
		{"the failing signatures of all others", func(r *Row) { r.Signers[0].Selector = Others }, func(r *Row) { r.Signers = []Signer{{"shop.example", Others, 0, 80}} }, nil},

		{"the key is gone, and a fifth passes by another", nil, gone(20, 100), nil},
		{"fewer pass by another", nil, gone(19, 100), []Kind{SelectorGone}},
		{"of half as many messages", nil, both(gone(19, 50), func(r *Row) { r.Pass = 50 }), []Kind{SelectorGone}},
		{"of fewer messages", nil, both(gone(19, 49), func(r *Row) { r.Pass = 49 }), nil},
		{"a signature by the key fails", nil, both(gone(19, 100), func(r *Row) { r.Signers = []Signer{{"shop.example", "s1", 0, 1}} }), nil},
		{"a signature by the key passes", nil, both(gone(19, 100), func(r *Row) { r.Signers = []Signer{{"shop.example", "s1", 1, 0}} }), nil},

		{"SPF passes for a fifth", nil, bySPF(20, 100), nil},
		{"for fewer", nil, bySPF(19, 100), []Kind{SPFBroken}},
		{"and half of the messages pass", nil, bySPF(19, 50), []Kind{SPFBroken}},
		{"and fewer of the messages pass", nil, bySPF(19, 49), []Kind{PassShareFallen}},
		{"as few used to pass by SPF as may count", bySPF(20, 100), bySPF(3, 100), []Kind{SPFBroken}},
		{"fewer used to pass by SPF", bySPF(19, 100), bySPF(3, 100), nil},

		{"a network: SPF passes for a fifth", nil, from(20, 80), nil},
		{"for fewer", nil, from(19, 80), []Kind{SPFAddressLost}},
		{"half of its messages still come", nil, from(0, 50), []Kind{SPFAddressLost}},
		{"fewer come", nil, from(0, 49), nil},
		{"as few used to pass from there as may count", from(20, 0), from(0, 50), []Kind{SPFAddressLost}},
		{"fewer used to pass from there", from(19, 0), from(0, 50), nil},

		{"half of the messages pass", nil, share(50, 100), nil},
		{"fewer pass", nil, share(49, 100), []Kind{PassShareFallen}},
		{"the share fell by half, the number by more", nil, share(45, 90), []Kind{PassShareFallen}},
		{"the share fell by less", nil, share(45, 89), nil},
		{"of as few messages as may count", nil, share(10, 50), []Kind{PassShareFallen}},
		{"of fewer messages", nil, share(10, 49), nil},
		{"as few used to come as may count", share(50, 50), share(10, 50), []Kind{PassShareFallen}},
		{"fewer used to come", share(49, 49), share(10, 50), nil},
	} {
		var rows []Row
		for d := today - BreakageDays; d <= today; d++ {
			r := usual()
			r.Day = d
			switch {
			case d < today && tt.before != nil:
				tt.before(&r)
			case d == today && tt.now != nil:
				tt.now(&r)
			}
			rows = append(rows, r)
		}
		var got []Kind
		for _, b := range compare(rows, today, 1) {
			got = append(got, b.Kind)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

// TestFallenEvidence checks the numbers that a person reads.
func TestFallenEvidence(t *testing.T) {
	rows := []Row{{Day: today, Domain: "shop.example", Counts: Counts{Messages: 80, Pass: 20}}}
	for ago := range Day(7) {
		rows = append([]Row{{Day: today - 7 + ago, Domain: "shop.example", Counts: Counts{Messages: 100, Pass: 90}}}, rows...)
	}
	slices.SortFunc(rows, func(a, b Row) int { return a.Compare(&b) })
	const want = "25 % of 80 messages pass; usually about 90 % do"
	if got := compare(rows, today, 1); len(got) != 1 || got[0].Evidence != want {
		t.Errorf("%+v, want %s", got, want)
	}
}

// TestComparedDays checks which days before are compared, and how many there must be.
func TestComparedDays(t *testing.T) {
	for _, tt := range []struct {
		why     string
		days    []Day // ago
		another Day   // a day on which nothing passed by SPF; 0 for none
		found   bool
	}{
		{"seven", []Day{1, 2, 3, 4, 5, 6, 7}, 0, true},
		{"six", []Day{1, 2, 3, 4, 5, 6}, 0, false},
		{"the oldest that counts", []Day{1, 2, 3, 4, 5, 6, BreakageDays}, 0, true},
		{"one that is too old", []Day{1, 2, 3, 4, 5, 6, BreakageDays + 1}, 0, false},
		{"tomorrow does not count", []Day{1, 2, 3, 4, 5, 6, -1}, 0, false},
	} {
		rows := []Row{{Day: today, Domain: "shop.example", Counts: Counts{Messages: 100, Pass: 100}}}
		for _, ago := range tt.days {
			rows = append(rows, Row{Day: today - ago, Domain: "shop.example", Counts: Counts{Messages: 100, Pass: 100, PassSPF: 100}})
		}
		slices.SortFunc(rows, func(a, b Row) int { return a.Compare(&b) })
		if got := compare(rows, today, 1); (len(got) == 1) != tt.found {
			t.Errorf("%s: %+v", tt.why, got)
		}
	}
}

// TestDayInQuestion checks which day is looked at: the current one from noon, and the one before if the current
// one has nothing to say. The numbers that are compared are as much smaller as the day is young.
func TestDayInQuestion(t *testing.T) {
	const evening = 20
	broken := func(passSPF int64) Counts { return Counts{Messages: 100, Pass: 100, PassSPF: passSPF} }
	for _, tt := range []struct {
		why              string
		hour             time.Duration
		yesterday, today Counts
		evidence         string // a part of the evidence; "" if nothing is found
	}{
		{"broken today, before noon", 12*time.Hour - 1, broken(100), broken(0), ""},
		{"broken today, from noon", 12 * time.Hour, broken(100), broken(1), "1 messages pass by SPF; usually about 50 do"},
		{"a fifth of half", 12 * time.Hour, broken(100), broken(10), ""},
		{"less than a fifth of half", 12 * time.Hour, broken(100), broken(9), "9 messages pass by SPF"},
		{"broken yesterday, before noon", 6 * time.Hour, broken(2), broken(0), "2 messages pass by SPF; usually about 100 do"},
		{"broken yesterday, and today is good", evening * time.Hour, broken(2), broken(100), "2 messages pass by SPF"},
		{"broken on both", evening * time.Hour, broken(2), broken(1), "1 messages pass by SPF"},
		{"broken on neither", evening * time.Hour, broken(100), broken(100), ""},
	} {
		var rows []Row
		for d := today - 10; d <= today; d++ {
			c := broken(100)
			switch d {
			case today - 1:
				c = tt.yesterday
			case today:
				c = tt.today
			}
			rows = append(rows, Row{Day: d, Domain: "shop.example", Counts: c})
		}
		now := today.Time().Add(tt.hour)
		got := FindBreakages(rows, now)
		if tt.evidence == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || tt.evidence == "" || !strings.HasPrefix(got[0].Evidence, tt.evidence) || !got[0].First.Equal(now) || !got[0].Last.Equal(now) || !got[0].Ended.IsZero() {
			t.Errorf("%s: %+v", tt.why, got)
		}
	}
}

// TestSmallPartOfDay checks that the least numbers, too, are as much smaller as the day is young.
func TestSmallPartOfDay(t *testing.T) {
	for _, tt := range []struct {
		why  string
		now  Row
		want []Kind
	}{
		{"signatures fail", Row{Counts: Counts{Messages: 13, Pass: 13, PassSPF: 13}, Signers: []Signer{{"shop.example", "s1", 0, 10}}}, []Kind{SignatureFails}},
		{"too few fail", Row{Counts: Counts{Messages: 13, Pass: 13, PassSPF: 13}, Signers: []Signer{{"shop.example", "s1", 0, 9}}}, nil},
		{"little passes", Row{Counts: Counts{Messages: 25, Pass: 1, PassSPF: 13}, Signers: []Signer{{"shop.example", "s1", 13, 0}}}, []Kind{PassShareFallen}},
		{"too little came", Row{Counts: Counts{Messages: 24, Pass: 1, PassSPF: 13}, Signers: []Signer{{"shop.example", "s1", 13, 0}}}, nil},
	} {
		var rows []Row
		for d := today - BreakageDays; d < today; d++ {
			rows = append(rows, Row{Day: d, Counts: Counts{Messages: 50, Pass: 50, PassSPF: 20, PassDKIM: 20}, Signers: []Signer{{"shop.example", "s1", 20, 0}}})
		}
		tt.now.Day = today
		var got []Kind
		for _, b := range compare(append(rows, tt.now), today, 0.5) {
			got = append(got, b.Kind)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

// TestRecordChanged checks since when the evidence says that the SPF record has changed: since the last day on
// which SPF passed for most of the network's messages.
func TestRecordChanged(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	for _, tt := range []struct {
		why  string
		last Sending // of yesterday; the days before passed by record 1
		want string
	}{
		{"more passed", Sending{Pass: 100, Missed: 99, Record: 3}, "changed since 2026-11-28"},
		{"more passed, by the record of today", Sending{Pass: 100, Missed: 99, Record: 2}, "is the same"},
		{"as many passed", Sending{Pass: 100, Missed: 100, Record: 2}, "changed since 2026-11-27"},
		{"none passed", Sending{Missed: 100, Record: 2}, "changed since 2026-11-27"},
	} {
		var rows []Row
		for d := today - BreakageDays; d <= today; d++ {
			s := Sending{Pass: 100, Record: 1}
			switch d {
			case today - 1:
				s = tt.last
			case today:
				s = Sending{Missed: 100, Record: 2}
			}
			s.Network = network
			rows = append(rows, Row{Day: d, Counts: Counts{Messages: 100, Pass: 100}, Sending: []Sending{s}})
		}
		got := lostAddresses(rows[:BreakageDays], &rows[BreakageDays], 1)
		if len(got) != 1 || got[0].network != network || !strings.Contains(got[0].evidence, tt.want) {
			t.Errorf("%s: %+v, want %q", tt.why, got, tt.want)
		}
	}
}

// TestGroupsOfADay checks how the rows of a day's groups are added up, and that they stay as they are.
func TestGroupsOfADay(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	rows := []Row{
		{Day: today - 1, Group: "a", Counts: Counts{Messages: 9}, Example: "OLD"},
		{Day: today, Group: "a", Counts: Counts{Messages: 1}, Signers: []Signer{{"a.example", "s", 1, 2}}, Sending: []Sending{{Network: network, Pass: 1, Record: 1}}, Example: "A"},
		{Day: today, Group: "b", Counts: Counts{Messages: 2}, Signers: []Signer{{"a.example", "s", 4, 0}, {"a.example", "t", 1, 0}}, Sending: []Sending{{Network: network, Missed: 3, Record: 2}}},
		{Day: today, Group: "c", Counts: Counts{Messages: 4}, Example: "C"},
	}
	got := byDay(rows)
	if len(got) != 2 || got[0].Messages != 9 || got[0].Example != "OLD" {
		t.Fatalf("%+v", got)
	}
	r := got[1]
	if r.Messages != 7 || r.Example != "C" || !slices.Equal(r.Signers, []Signer{{"a.example", "s", 5, 2}, {"a.example", "t", 1, 0}}) ||
		!slices.Equal(r.Sending, []Sending{{Network: network, Pass: 1, Missed: 3, Record: 2}}) {
		t.Errorf("%+v", r)
	}
	if rows[1].Messages != 1 || rows[1].Signers[0] != (Signer{"a.example", "s", 1, 2}) || rows[1].Sending[0].Missed != 0 {
		t.Errorf("the row of a group has changed: %+v", rows[1])
	}
	if got := byDay(rows[:3]); got[1].Example != "A" {
		t.Errorf("a group without an example replaced one: %+v", got[1])
	}
}
