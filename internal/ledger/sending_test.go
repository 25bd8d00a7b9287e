package ledger

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sending returns the row of a day: messages from three networks, of which one has what the arguments say.
func sending(day Day, pass, missed, signed int64, record uint32) Row {
	return Row{Day: day, Domain: "shop.example", Counts: Counts{Messages: 300, Pass: 200 + pass + signed, PassSPF: 200 + pass, PassDKIM: 200 + signed}, Sending: []Sending{
		{Network: netip.MustParsePrefix("192.0.2.0/24"), Pass: 200, Record: record},
		{Network: netip.MustParsePrefix("198.51.100.0/24"), Pass: pass, Missed: missed, Signed: signed, Record: record},
	}, Example: "ABCD2345"}
}

func TestAddressLost(t *testing.T) {
	now := (today + 1).Time().Add(6 * time.Hour) // the day in question is today, and it is over
	for _, x := range []struct {
		name         string
		day          Row
		want, unlike string // parts of the evidence; "" for no breakage
	}{
		{"as usual", sending(today, 100, 0, 0, 1), "", ""},
		{"the record changed", sending(today, 0, 90, 80, 2), "SPF passes for 0 messages from there and does not for 90, of which 80 are signed by the domain; usually it passes for about 100; the SPF record has changed since 2026-11-28", ""},
		{"an included record changed", sending(today, 2, 90, 0, 1), "its SPF record is the same", ""},
		{"the network sends no more", sending(today, 0, 3, 0, 2), "", ""},
		{"some addresses of it are still in the record", sending(today, 40, 60, 60, 2), "", ""},
		{"SPF passes for nothing", func() Row {
			r := sending(today, 0, 90, 90, 2)
			r.PassSPF, r.Sending[0].Pass = 0, 0
			return r
		}(), "", ""},
	} {
		rows := []Row{}
		for d := today - BreakageDays; d < today; d++ {
			rows = append(rows, sending(d, 100, 0, 0, 1))
		}
		found := ""
		for _, b := range FindBreakages(append(rows, x.day), now) {
			if b.Kind == SPFAddressLost {
				found = b.Evidence
				if b.Subject != "198.51.100.0/24" || b.Example != "ABCD2345" {
					t.Errorf("%s: %+v", x.name, b)
				}
			}
		}
		if (found == "") != (x.want == "") || !strings.Contains(found, x.want) {
			t.Errorf("%s: %q, want %q", x.name, found, x.want)
		}
	}
}

// TestForgersOfSPF: networks of forgers do not push out those of the domain, neither in memory nor in the store.
func TestForgersOfSPF(t *testing.T) {
	table := NewTable()
	x := Entry{Time: today.Time(), Author: "shop.example", Owner: "shop.example", Client: netip.MustParseAddr("192.0.2.1")}
	add := func(s Sending) {
		x.Sending = s
		table.Add(&x, today)
	}
	forger := func(n int) Sending {
		return Sending{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24), Missed: 1}
	}
	own := Sending{Network: netip.MustParsePrefix("192.0.2.0/24"), Missed: 1, Signed: 1, Record: 7}
	for n := range 1000 {
		add(forger(n))
	}
	for range 3 {
		add(own)
	}
	for n := range 1000 {
		add(forger(n))
	}
	first := table.Take("g", 0).Rows[0]
	want := own
	want.Missed, want.Signed = 3, 3
	if len(first.Sending) != MaxSending || first.Sending[0] != want {
		t.Fatalf("%+v", first.Sending)
	}
	second := Row{Sending: []Sending{own}}
	var merged Row
	if err := merged.ReadRest(MergeRest(first.AppendRest(nil), second.AppendRest(nil))); err != nil {
		t.Fatal(err)
	}
	if want.Missed, want.Signed = 4, 4; len(merged.Sending) != MaxSending || merged.Sending[0] != want {
		t.Errorf("%+v", merged.Sending)
	}
}

// TestSendingBound has as many networks in memory as may be, and one more.
func TestSendingBound(t *testing.T) {
	r := &Row{}
	for n := range maxTableSending + 1 {
		r.count(&Entry{Sending: Sending{Network: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", n>>8, n&255)), Missed: 1}})
		want := n + 1
		if n == maxTableSending {
			want = MaxSending
		}
		if len(r.Sending) != want {
			t.Fatalf("%d networks of %d", len(r.Sending), n+1)
		}
	}
}

// TestFirstRest reads what the first version of the encoding wrote.
func TestFirstRest(t *testing.T) {
	r := Row{Signers: []Signer{{"shop.example", "s1", 9, 2}}}
	r.Sources.AddNetwork(netip.MustParsePrefix("192.0.2.0/24"))
	now := r.AppendRest(nil)
	first := append([]byte{firstVersion}, now[1:len(now)-1]...) // without the number of networks
	var got Row
	if err := got.ReadRest(first); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v; want %+v", got, err, r)
	}
	for _, bad := range [][]byte{append([]byte{3}, now[1:]...), append([]byte{3}, first[1:]...), append(now, 0), now[:len(now)-1], first[:len(first)-1]} {
		if err := got.ReadRest(bad); err == nil || got.Signers != nil || got.Sending != nil {
			t.Errorf("%x is read as %+v", bad, got)
		}
	}
	many := Row{}
	for n := range MaxSending + 1 {
		many.Sending = append(many.Sending, Sending{Network: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", n))})
	}
	if err := got.ReadRest(many.AppendRest(nil)); err == nil {
		t.Error("too many networks are read")
	}
}
