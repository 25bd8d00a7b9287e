package collect

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

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
	b.ID = ""
	if _, err := decode(encode(&b)); !errors.Is(err, errCodec) {
		t.Errorf("no name: %v", err)
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
