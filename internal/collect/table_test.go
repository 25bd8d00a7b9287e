package collect

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
)

// observation returns what a report says of a message from a client.
func observation(client string, now time.Time) report.Observation {
	o, _ := report.Observe(decision("shop.example", client, now).Evaluation, decision("", "::1", now).Verdict, report.Options{})
	return o
}

// TestSightingKind: a domain is seen to pass if an identifier is aligned and the message was accepted.
func TestSightingKind(t *testing.T) {
	for n := range 8 {
		table, now := newTable(), time.Now()
		o := observation("192.0.2.1", now)
		o.Row.DKIM, o.Row.SPF, o.Accepted = n&1 != 0, n&2 != 0, n&4 != 0
		want := report.SeenFail
		if n > 4 { // accepted, and at least one of the two
			want = report.SeenPass
		}
		table.add(&o, now, &settings)
		if b, _ := table.take(now, &settings); len(b.Seen) != 1 || b.Seen[0].Kind != want {
			t.Errorf("DKIM %t, SPF %t, accepted %t: %+v", o.Row.DKIM, o.Row.SPF, o.Accepted, b.Seen)
		}
	}
}

// TestClockSetBack: an observation of the day before does not make the domains of today due again.
func TestClockSetBack(t *testing.T) {
	table, now := newTable(), time.Now()
	today := report.Sighting{Domain: "shop.example", Day: 2, Kind: report.SeenFail}
	table.sight(today)
	table.take(now, &settings)
	table.sight(report.Sighting{Domain: "shop.example", Day: 1, Kind: report.SeenFail})
	table.sight(today)
	if b, _ := table.take(now, &settings); len(b.Seen) != 1 || b.Seen[0].Day != 1 {
		t.Errorf("%+v", b.Seen)
	}
}

// TestTableRoom: rows and groups fit up to the last octet. Beyond nine tenths, rows are reduced.
func TestTableRoom(t *testing.T) {
	now := time.Now()
	o := observation("192.0.2.1", now)
	o.Row.AuthDKIM = []report.DKIMResult{{Domain: "other.example", Selector: "s", Result: "fail"}}
	row, reduced := rowOctets+textSize(&o.Row), o.Row.Reduced()
	for _, tt := range []struct {
		why       string
		used      int64 // octets, before the group
		ok, whole bool
	}{
		{"at nine tenths", maxTableOctets/10*9 - groupOctets, true, true},
		{"one octet more", maxTableOctets/10*9 - groupOctets + 1, true, false},
		{"the last row that fits", maxTableOctets - groupOctets - rowOctets - textSize(&reduced), true, false},
		{"one octet more", maxTableOctets - groupOctets - rowOctets - textSize(&reduced) + 1, false, false},
		{"the last group that fits", maxTableOctets - groupOctets, false, false},
	} {
		table := newTable()
		table.octets = tt.used
		ok, _ := table.add(&o, now, &settings)
		b, there := table.take(now, &settings)
		if ok != tt.ok || !there || len(b.Tallies) != 1 || (len(b.Tallies[0].Rows) == 1) != tt.ok || (b.Tallies[0].Lost == 0) != tt.ok {
			t.Fatalf("%s: %t, %+v", tt.why, ok, b.Tallies)
		}
		if tt.ok && (len(b.Tallies[0].Rows[0].AuthDKIM) == 1) != tt.whole {
			t.Errorf("%s: %+v", tt.why, b.Tallies[0].Rows[0])
		}
		if table.octets != tt.used {
			t.Errorf("%s: %d octets were not given back", tt.why, table.octets-tt.used)
		}
	}
	table := newTable()
	table.octets = maxTableOctets - groupOctets + 1
	if ok, _ := table.add(&o, now, &settings); ok || len(table.groups) != 0 {
		t.Error("a group too many")
	}
	c := &Collector{o: Options{Now: time.Now}}
	c.Set(settings)
	if c.take(table, observed{obs: &o}); c.counts.LostCap.Load() != 1 {
		t.Errorf("%d are counted as lost", c.counts.LostCap.Load())
	}
	if row <= rowOctets {
		t.Error("the text of a row takes no room")
	}
}

// TestFull: a batch is due with the last row that it may have, and each count of a message is in one batch.
func TestFull(t *testing.T) {
	table, now := newTable(), time.Now()
	for i := range flushRows + 1 {
		if full := table.full(); full != (i >= flushRows) {
			t.Fatalf("%d rows: full is %t", i, full)
		}
		o := observation(fmt.Sprintf("2001:db8::%x", i), now.Add(-30*24*time.Hour))
		o.Spam = true
		table.add(&o, now, &settings)
	}
	first, _ := table.take(now, &settings)
	second, _ := table.take(now, &settings)
	if len(first.Tallies) != 1 || len(second.Tallies) != 1 {
		t.Fatalf("%d and %d tallies", len(first.Tallies), len(second.Tallies))
	}
	a, b := first.Tallies[0], second.Tallies[0]
	if len(a.Rows) != flushRows || a.Causes != flushRows+1 || a.Spam != flushRows+1 || a.Late != flushRows+1 {
		t.Errorf("first %d rows, %d causes, %d spam, %d late", len(a.Rows), a.Causes, a.Spam, a.Late)
	}
	if len(b.Rows) != 1 || b.Causes != 0 || b.Spam != 0 || b.Late != 0 || b.Lost != 0 {
		t.Errorf("then %d rows, %d causes, %d spam, %d late, %d lost", len(b.Rows), b.Causes, b.Spam, b.Late, b.Lost)
	}
}

// TestLedgerFull: a batch is also due by the ledger, and a message for which the ledger has no room is counted.
func TestLedgerFull(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	table, c := newTable(), &Collector{o: Options{Now: func() time.Time { return now }}}
	c.Set(settings)
	entry := func(i int) observed {
		return observed{octets: 1, entry: &ledger.Entry{Time: now, Owner: dns.Name(fmt.Sprintf("d%d.example", i))}}
	}
	i := 0
	for ; table.ledger.Len() < flushRows-1; i++ {
		c.take(table, entry(i))
	}
	if table.full() {
		t.Errorf("full with %d rows", table.ledger.Len())
	}
	if c.take(table, entry(i)); !table.full() || c.counts.LedgerDropped.Load() != 0 {
		t.Errorf("not full with %d rows, %d dropped", table.ledger.Len(), c.counts.LedgerDropped.Load())
	}
	for dropped := int64(0); dropped < 2; dropped = c.counts.LedgerDropped.Load() {
		if i++; i > 100_000 {
			t.Fatal("the ledger has room for all")
		}
		before := table.ledger.Len()
		c.take(table, entry(i))
		if (table.ledger.Len() == before) != (c.counts.LedgerDropped.Load() > dropped) {
			t.Fatalf("%d rows, then %d, %d dropped", before, table.ledger.Len(), c.counts.LedgerDropped.Load())
		}
	}
	if got := c.octets.Load(); got != -int64(i+1) {
		t.Errorf("%d octets were given back, want %d", -got, i+1)
	}
}

// TestDecodeCuts: a batch with a good digest that ends early, goes on, or has no name is an error, and
// not an empty batch, because a file that was read is removed.
func TestDecodeCuts(t *testing.T) {
	b := batch(2)
	data := encode(&b)
	body := data[:len(data)-len(seal(nil))]
	if _, err := decode(seal(body[:len(body):len(body)])); err != nil {
		t.Fatal(err)
	}
	for n := range body {
		if got, err := decode(seal(body[:n:n])); !errors.Is(err, errCodec) || got.ID != "" {
			t.Errorf("the first %d of %d octets: %v", n, len(body), err)
		}
	}
	if _, err := decode(seal(append(body[:len(body):len(body)], 0))); !errors.Is(err, errCodec) {
		t.Errorf("one octet more: %v", err)
	}
	if _, err := decode(seal(append([]byte(magic), bytes.Repeat([]byte{0xff}, 20)...))); !errors.Is(err, errCodec) {
		t.Errorf("a number that is too large: %v", err)
	}
	b.ID = ""
	if _, err := decode(encode(&b)); !errors.Is(err, errCodec) {
		t.Errorf("no name: %v", err)
	}
}

// fullBatch returns a batch in which no field has its zero value.
func fullBatch(t *testing.T) report.Batch {
	t.Helper()
	at := time.Date(2026, 11, 28, 12, 0, 0, 7, time.UTC)
	o := observation("2001:db8::1", at)
	row := o.Row
	row.DKIM, row.SPF, row.EnvelopeTo, row.Count = true, true, "to.example", 300
	row.Reasons = []report.Reason{{Type: "other", Comment: "c"}}
	row.AuthDKIM = []report.DKIMResult{{Domain: "x.example", Selector: "\xff", Result: "fail", Human: "h"}}
	table := ledger.NewTable()
	table.Add(&ledger.Entry{Time: at, Owner: "shop.example", Author: "shop.example"}, ledger.DayOf(at))
	b := report.Batch{ID: "id", Current: report.Window{Begin: 1, End: 2}, MaxRows: 3, MaxJobs: report.MaxJobs, MaxOwned: report.MaxOwned,
		Seen: []report.Sighting{{Domain: "a.example", Day: 4, Kind: report.SeenPass}, {Domain: "b.example", Day: 5, Kind: report.SeenWrote}}, Ledger: table.Take("g", 9)}
	for i, testing := range []bool{true, false} {
		n := int64(10 * i)
		b.Tallies = append(b.Tallies, report.Tally{
			Policy: report.Policy{Domain: "shop.example", P: dmarc.PolicyReject, SP: dmarc.PolicyQuarantine, NP: dmarc.PolicyNone, ADKIM: dmarc.Strict, ASPF: dmarc.Relaxed,
				FO: "1:d", Testing: testing, Method: dmarc.TreeWalk, Invalid: "pct"},
			Window: report.Window{Begin: n + 1, End: n + 2}, SendAt: at, Causes: n + 3, Spam: n + 4, Late: n + 5, Lost: n + 6, Rows: []report.Row{row, o.Row},
		})
	}
	return b
}

// TestCodec checks that each field of a batch is in its file, and that a row that cannot be read is an error,
// and not an empty row.
func TestCodec(t *testing.T) {
	b := fullBatch(t)
	data := encode(&b)
	if got, err := decode(data); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("%v:\n%+v\nwant\n%+v", err, got, b)
	}
	body, row := data[:len(data)-len(seal(nil))], b.Tallies[1].Rows[1].Append(nil)
	refused, at := 0, bytes.LastIndex(body, row)
	for i := range row {
		changed := bytes.Clone(body)
		changed[at+i] ^= 0xff
		if _, err := report.ParseRow(changed[at : at+len(row)]); err == nil {
			continue
		}
		refused++
		if got, err := decode(seal(changed)); !errors.Is(err, errCodec) || got.ID != "" {
			t.Errorf("octet %d of the row: %v", i, err)
		}
	}
	if at < 0 || refused == 0 {
		t.Errorf("%d changed rows are refused", refused)
	}
}

// TestSize checks what each part of an observation counts for, because the sum bounds the memory.
func TestSize(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    report.Observation
		want int64
	}{
		{"nothing", report.Observation{}, fixedOctets},
		{"policy", report.Observation{Policy: report.Policy{Domain: "a", FO: "bc", Invalid: "defg"}}, fixedOctets + 7},
		{"row", report.Observation{Row: report.Row{HeaderFrom: "a", EnvelopeFrom: "bc", EnvelopeTo: "defg", AuthSPF: report.SPFResult{Domain: "hijklmno"}}}, fixedOctets + 15},
		{"reasons", report.Observation{Row: report.Row{Reasons: make([]report.Reason, 3)}}, fixedOctets + 96},
		{"signatures", report.Observation{Row: report.Row{AuthDKIM: []report.DKIMResult{{Domain: "a", Selector: "bc"}, {Domain: "defg"}}}}, fixedOctets + 135},
		{"all", report.Observation{Policy: report.Policy{Domain: "a"}, Row: report.Row{HeaderFrom: "a"}}, fixedOctets + 2},
	} {
		if got := size(&tt.o); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestMemories checks that what is remembered of policies and of sightings is bounded.
func TestMemories(t *testing.T) {
	table := newTable()
	for i := range 2*maxIDs + 1 {
		p := report.Policy{Domain: "shop.example", FO: fmt.Sprint(i)}
		if first, again := table.id(p), table.id(p); first != p.ID() || again != first {
			t.Fatal("another identity")
		}
		if want := i%maxIDs + 1; len(table.ids) != want {
			t.Fatalf("%d policies: %d are remembered, want %d", i+1, len(table.ids), want)
		}
	}
	if n := len(table.ids); table.id(report.Policy{FO: "0", Invalid: "a"}) != table.id(report.Policy{FO: "0", Invalid: "b"}) || len(table.ids) != n+1 {
		t.Error("the invalid tags are remembered")
	}
	now := time.Now()
	tell := func(day report.Day, from, n int) {
		for i := range n {
			table.sight(report.Sighting{Domain: dns.Name(fmt.Sprintf("d%d.example", from+i)), Day: day, Kind: report.SeenFail})
		}
		table.take(now, &settings)
	}
	for _, tt := range []struct {
		day     report.Day
		from, n int
		want    int // remembered
	}{{1, 0, 10, 10}, {1, 5, 10, 15}, {2, 0, 1, 1}, {1, 0, 1, 2}, {2, 2, maxSightings - 3, maxSightings - 1}, {2, maxSightings, 7, maxSightings + 6}, {2, 2 * maxSightings, 1, maxSightings + 6}} {
		if tell(tt.day, tt.from, tt.n); len(table.told) != tt.want {
			t.Errorf("day %d: %d are remembered, want %d", tt.day, len(table.told), tt.want)
		}
	}
}

// TestReducedRows: rows that are equal once they are reduced become one.
func TestReducedRows(t *testing.T) {
	table, now := newTable(), time.Now()
	table.octets = maxTableOctets/10*9 + 1
	for i := range 3 {
		o := observation("192.0.2.1", now)
		o.Row.AuthDKIM = []report.DKIMResult{{Domain: "other.example", Selector: fmt.Sprint(i), Result: "fail"}}
		table.add(&o, now, &settings)
	}
	if b, _ := table.take(now, &settings); len(b.Tallies) != 1 || len(b.Tallies[0].Rows) != 1 || b.Tallies[0].Rows[0].Count != 3 {
		t.Errorf("%+v", b.Tallies)
	}
}

// TestTakeEach: groups, sightings and the ledger are each a reason for a batch. One that is full takes nothing of
// the next group.
func TestTakeEach(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	table := newTable()
	if _, ok := table.take(now, &settings); ok {
		t.Error("a batch of nothing")
	}
	table.ledger.Add(&ledger.Entry{Time: now}, ledger.DayOf(now))
	if b, ok := table.take(now, &settings); !ok || b.Ledger.Messages() != 1 {
		t.Errorf("the ledger alone: %t, %+v", ok, b.Ledger)
	}
	today, yesterday := observation("192.0.2.1", now), observation("192.0.2.1", now.Add(-13*time.Hour))
	for i := range flushRows {
		o := observation(fmt.Sprintf("2001:db8::%x", i), now.Add(-13*time.Hour))
		table.add(&o, now, &settings)
	}
	table.add(&today, now, &settings)
	if b, _ := table.take(now, &settings); len(b.Tallies) != 1 || len(b.Tallies[0].Rows) != flushRows {
		t.Errorf("%d tallies", len(b.Tallies))
	}
	if b, ok := table.take(now, &settings); !ok || len(b.Seen) != 0 || len(b.Tallies) != 1 {
		t.Errorf("a group alone: %t, %+v", ok, b)
	}
	table.add(&yesterday, now, &settings)
	if b, ok := table.take(now, &settings); !ok || len(b.Tallies) != 1 || len(table.groups)+len(table.newest) != 0 {
		t.Errorf("%t, %+v", ok, b)
	}
}

// TestSayLost: each way to lose rows is told, at most once a minute, and only if there are new ones.
func TestSayLost(t *testing.T) {
	var b bytes.Buffer
	c := &Collector{o: Options{Log: slog.New(slog.NewTextHandler(&b, nil))}}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	l := lossLog{c: c, said: now.Add(-sayLost)}
	for _, tt := range []struct {
		after            time.Duration
		queue, spool, up int64
		want             string
	}{
		{0, 0, 0, 0, ""},
		{0, 1, 0, 0, "queue=1 spool=0 cap=0 messages_in_all=1"},
		{sayLost - 1, 2, 0, 0, ""},
		{1, 0, 0, 0, "queue=2 spool=0 cap=0 messages_in_all=3"},
		{sayLost, 0, 0, 0, ""},
		{0, 0, 4, 0, "queue=0 spool=4 cap=0 messages_in_all=7"},
		{sayLost, 0, 0, 5, "queue=0 spool=0 cap=5 messages_in_all=12"},
	} {
		now = now.Add(tt.after)
		c.counts.LostQueue.Add(tt.queue)
		c.counts.LostSpool.Add(tt.spool)
		c.counts.LostCap.Add(tt.up)
		b.Reset()
		if l.say(now); !strings.Contains(b.String(), tt.want) || (b.Len() > 0) != (tt.want != "") {
			t.Errorf("%+v: %s", tt, &b)
		}
	}
}
