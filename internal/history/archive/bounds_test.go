package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/history"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/testkit/logs"
)

func newPacker(t *testing.T) *history.Packer {
	t.Helper()
	packer, err := history.NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	return packer
}

// TestGroup has each bound of how many hits are read together.
func TestGroup(t *testing.T) {
	hits := func(n, blocks int) (all []history.Hit) {
		for i := range n {
			all = append(all, history.Hit{Block: history.BlockID{ID: int64(i % blocks)}})
		}
		return all
	}
	for _, tt := range []struct{ n, blocks, most, want int }{
		{5, 1, 9, 5}, {5, 1, 5, 5}, {5, 1, 4, 4}, {5, 1, 0, 0}, {history.MaxBlockRows + 9, 1, 1000, history.MaxBlockRows},
		{maxBlocks, maxBlocks, 99, maxBlocks}, {maxBlocks + 1, maxBlocks + 1, 99, maxBlocks}, {3 * maxBlocks, maxBlocks, 99, 3 * maxBlocks}, {maxBlocks + 1, maxBlocks + 1, 3, 3},
	} {
		if got := group(hits(tt.n, tt.blocks), tt.most); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

// TestSame: an entry of the store is one that the daemon remembers only if all that tells messages apart is equal.
func TestSame(t *testing.T) {
	at := time.Unix(1e9, 0)
	entry := func() *recent.Entry {
		return &recent.Entry{Time: at, ID: "I", QueueID: "Q", Client: netip.MustParseAddr("192.0.2.1"), AuthorDomain: "a.example", Verdict: policy.Verdict{Action: policy.Reject}}
	}
	for name, tt := range map[string]struct {
		change func(*recent.Entry)
		want   bool
	}{
		"equal": {func(*recent.Entry) {}, true}, "a moment later": {func(e *recent.Entry) { e.Time = at.Add(slack - 1) }, true}, "a moment before": {func(e *recent.Entry) { e.Time = at.Add(1 - slack) }, true},
		"a second later": {func(e *recent.Entry) { e.Time = at.Add(slack) }, false}, "a second before": {func(e *recent.Entry) { e.Time = at.Add(-slack) }, false},
		"another id": {func(e *recent.Entry) { e.ID = "x" }, false}, "another queue id": {func(e *recent.Entry) { e.QueueID = "x" }, false},
		"another client": {func(e *recent.Entry) { e.Client = netip.MustParseAddr("192.0.2.2") }, false}, "another author": {func(e *recent.Entry) { e.AuthorDomain = "b.example" }, false},
		"another verdict": {func(e *recent.Entry) { e.Verdict.Action = policy.Tag }, false}, "another host": {func(e *recent.Entry) { e.Host = "mx2.example" }, true},
	} {
		e := entry()
		if tt.change(e); same(entry(), e) != tt.want {
			t.Errorf("%s: %t", name, !tt.want)
		}
	}
	for after, want := range map[time.Duration]bool{0: true, slack - 1: true, slack: false, 1 - slack: true, -slack: false} {
		if got := Nearest([]*recent.Entry{{Time: at.Add(time.Hour)}, entry(), {Time: at.Add(-time.Hour)}}, at.Add(after)); (got != nil) != want || want && got.ID != "I" {
			t.Errorf("nearest, %s away: %+v", after, got)
		}
	}
	if Nearest(nil, at) != nil {
		t.Error("one of none")
	}
}

// TestQueryOf: of all that is asked for, the key that selects the fewest records is looked for.
func TestQueryOf(t *testing.T) {
	from, until := time.Unix(1, 0), time.Unix(2, 0)
	q := recent.Query{Verdict: policy.Reject, Reason: policy.ReasonReject, Host: "h", From: from, Until: until, ID: "I", QueueID: "Q", Client: netip.MustParseAddr("192.0.2.1"), Sender: "<a@b.example>", Author: "c.example"}
	want := history.Query{Verdict: policy.Reject, Reason: policy.ReasonReject, Host: "h", From: from, Until: until}
	for _, tt := range []struct {
		key  history.KeyIn
		next func()
	}{
		{history.IDKey("I"), func() { q.ID = "" }}, {history.QueueKey("Q"), func() { q.QueueID = "" }}, {history.ClientKey(q.Client), func() { q.Client = netip.Addr{} }},
		{history.SenderPathKey("b.example", "a@b.example"), func() { q.Sender = "" }}, {history.AuthorOnlyKey("c.example"), func() { q.Author = "" }},
	} {
		want.Any = []history.KeyIn{tt.key}
		if got := QueryOf(q); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		tt.next()
	}
	if want.Any = nil; !reflect.DeepEqual(QueryOf(q), want) {
		t.Errorf("%+v, want %+v", QueryOf(q), want)
	}
}

// TestRingOnly: without a history, what the daemon remembers is the answer, and it says where it ends.
func TestRingOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Finder{Ring: recent.New(recent.Options{Entries: 9}), Host: "mx1.example"}
		for n := range 4 {
			time.Sleep(time.Second)
			f.Ring.Decided(decision(n, policy.Reject), 0)
		}
		for limit, want := range map[int]string{3: "[Q3 Q2 Q1] true 2", 4: "[Q3 Q2 Q1 Q0] false 0", 5: "[Q3 Q2 Q1 Q0] false 0"} {
			a := f.Answer(t.Context(), recent.Query{Limit: limit, Host: "mx1.example"})
			next := int64(0)
			if !a.Next.IsZero() {
				next = 4 - int64(time.Since(a.Next)/time.Second)
			}
			if got := fmt.Sprint(ids(a.Decisions), " ", a.More, " ", next); got != want || a.HistoryError != "" {
				t.Errorf("limit %d: %s, want %s", limit, got, want)
			}
		}
		if found, err := f.Find(t.Context(), history.Query{}, func(*recent.Head) bool { return true }, 4); err != nil || !found.Next.IsZero() {
			t.Errorf("there is no more, but a next page from %s, %v", found.Next, err)
		}
		if a := f.Answer(t.Context(), recent.Query{Limit: 3, Host: "mx2.example"}); a.Decisions == nil || len(a.Decisions) != 0 || a.More {
			t.Errorf("another host: %+v", a)
		}
		if a := (Finder{}).Answer(t.Context(), recent.Query{Limit: 3}); a.Decisions == nil || a.More || a.HistoryError != "" {
			t.Errorf("nothing at all: %+v", a)
		}
	})
}

// shelf is a store of one block, which can be damaged.
type shelf struct {
	history.Store
	hits []history.Hit
	data []byte
	err  error // of the block
	find error
	n    int          // searches
	last *history.Hit // After of the last search
}

func (s *shelf) FindHistory(_ context.Context, q history.Query) ([]history.Hit, error) {
	s.last = q.After
	if s.n++; s.n > 1 {
		return nil, s.find
	}
	return s.hits[:min(len(s.hits), q.Limit)], s.find
}

func (s *shelf) HistoryBlock(context.Context, history.BlockID) (string, []byte, error) {
	return "mx9.example", s.data, s.err
}

// TestShelf has blocks that are gone or damaged, hits of records that are not there, and errors.
func TestShelf(t *testing.T) {
	at := time.Unix(1e9, 0)
	line, err := json.Marshal(&recent.Entry{ID: "I", Time: at})
	if err != nil {
		t.Fatal(err)
	}
	packer := newPacker(t)
	good := packer.Pack([]byte(string(line) + "\n{\"id\":1}\n"))
	hit := func(index int) history.Hit { return history.Hit{Time: at, Index: index} }
	away := errors.New("away")
	for name, tt := range map[string]struct {
		s    *shelf
		want int
		err  error
	}{
		"good": {&shelf{hits: []history.Hit{hit(0)}, data: good}, 1, nil}, "beyond the block": {&shelf{hits: []history.Hit{hit(2), hit(0), hit(99)}, data: good}, 1, nil},
		"another form": {&shelf{hits: []history.Hit{hit(1), hit(0)}, data: good}, 1, nil}, "gone": {&shelf{hits: []history.Hit{hit(0)}}, 0, nil}, "damaged": {&shelf{hits: []history.Hit{hit(0)}, data: []byte("x")}, 0, nil},
		"no block": {&shelf{hits: []history.Hit{hit(0)}, data: good, err: away}, 0, away}, "no search": {&shelf{find: away}, 0, away}, "nothing": {&shelf{}, 0, nil},
	} {
		r, err := NewReader(func() history.Store { return tt.s })
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Find(t.Context(), history.Query{Limit: 5}, func(*recent.Head) bool { return true })
		if len(f.Entries) != tt.want || !errors.Is(err, tt.err) || f.More || tt.want > 0 && f.Entries[0].Host != "mx9.example" {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	full := &shelf{data: good}
	for i := range page {
		full.hits = append(full.hits, history.Hit{Time: at.Add(-time.Duration(i) * time.Second)})
	}
	turner, err := NewReader(func() history.Store { return full })
	if err != nil {
		t.Fatal(err)
	}
	if f, err := turner.Find(t.Context(), history.Query{Limit: page + 1}, func(*recent.Head) bool { return false }); err != nil || f.More || full.n != 2 || full.last == nil || *full.last != full.hits[page-1] {
		t.Errorf("a second page: %+v, %v, %d searches, after %+v", f, err, full.n, full.last)
	}
	r, err := NewReader(func() history.Store { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Find(t.Context(), history.Query{Limit: 1}, nil); !errors.Is(err, errNotOpen) {
		t.Errorf("without a store: %v", err)
	}
}

// TestLossLog: losses are said at most once a minute, with the number since the last time, and at the end.
func TestLossLog(t *testing.T) {
	var log logs.Buffer
	at := time.Unix(1e9, 0)
	k := &Keeper{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	l := lossLog{k: k, said: at}
	for n, tt := range []struct {
		after time.Duration
		lost  int64
		want  string
	}{{sayLost - 1, 5, ""}, {sayLost, 0, "decisions=5 in_all=5"}, {3 * sayLost, 0, ""}, {3 * sayLost, 2, "decisions=2 in_all=7"}, {4*sayLost - 1, 1, ""}} {
		k.counts.LostQueue.Add(tt.lost)
		before := len(log.String())
		l.say(at.Add(tt.after))
		if got := log.String()[before:]; (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("step %d: %q", n, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log logs.Buffer
		k, err := New(Options{Store: func() history.Store { return &memory{} }, Every: time.Hour, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}, all)
		if err != nil {
			t.Fatal(err)
		}
		k.counts.LostLarge.Add(3)
		k.counts.LostStop.Add(1)
		stop(k, time.Minute)
		stop(k, time.Minute) // does nothing
		if !strings.Contains(log.String(), "decisions=4 in_all=4") {
			t.Errorf("%s", log.String())
		}
	})
}

// TestGathered: a decision is kept as long as no more than the bound is gathered.
func TestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, &memory{}, nil, all)
		for gathered, lost := range map[int64]int64{maxGathered: 0, maxGathered + 1: 1} {
			before := k.counts.LostQueue.Load()
			k.gathered.Add(gathered)
			k.Decided(decision(1, policy.Reject), 0)
			k.gathered.Add(-gathered)
			synctest.Wait()
			time.Sleep(time.Minute)
			if got := k.counts.LostQueue.Load() - before; got != lost {
				t.Errorf("%d octets are gathered: %d lost", gathered, got)
			}
		}
		stop(k, time.Minute)
	})
}

// expiring notes what is to be kept, and can fail.
type expiring struct {
	history.Store
	keep time.Duration
	size int64
	left history.Size
	err  error
}

func (e *expiring) ExpireHistory(ctx context.Context, _ time.Time, keep time.Duration, size int64) (history.Size, error) {
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > expireTime {
		panic("the store may take longer")
	}
	e.keep, e.size = keep, size
	return e.left, e.err
}

// TestExpireOnce: what is removed, what is counted, and what the log says.
func TestExpireOnce(t *testing.T) {
	no, yes := func(context.Context) bool { return false }, func(context.Context) bool { return true }
	const small = 1 << 30
	for _, tt := range []struct {
		name    string
		trusted bool
		may     func(context.Context) bool
		left    history.Size
		err     error
		removes bool
		log     string
	}{
		{"alone", true, nil, history.Size{Octets: 7, Days: 3}, nil, true, ""}, {"its turn", true, yes, history.Size{Octets: 7, Days: 3}, nil, true, ""},
		{"another's turn", true, no, history.Size{Octets: 7, Days: 3}, nil, false, ""}, {"a new clock", false, yes, history.Size{Octets: 7, Days: 3}, nil, false, ""},
		{"too much", true, nil, history.Size{Octets: 7, Days: 3, Dropped: 1}, nil, true, "days=1"}, {"away", true, nil, history.Size{Octets: 7, Days: 3, Dropped: 1}, errors.New("away"), true, "cannot be removed"},
	} {
		var log logs.Buffer
		e := &expiring{left: tt.left, err: tt.err}
		k := &Keeper{o: Options{Store: func() history.Store { return e }, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil)), May: tt.may}, stop: t.Context()}
		k.Set(Settings{Keep: time.Hour, Size: small})
		k.expireOnce(tt.trusted)
		if removes := e.keep == time.Hour && e.size == small; removes != tt.removes || !removes && (e.keep < 99*365*24*time.Hour || e.size < 1<<60) {
			t.Errorf("%s: keeps %s, %d octets", tt.name, e.keep, e.size)
		}
		want := [3]int64{7, 3, int64(tt.left.Dropped)}
		if tt.err != nil {
			want = [3]int64{}
		}
		if got := [3]int64{k.counts.Octets.Load(), k.counts.Days.Load(), k.counts.Dropped.Load()}; got != want || (log.String() == "") != (tt.log == "") || !strings.Contains(log.String(), tt.log) {
			t.Errorf("%s: %v, %s", tt.name, got, log.String())
		}
	}
	// The stop of the daemon is no fault of the store, and a store that is not open has nothing.
	var log logs.Buffer
	ended, end := context.WithCancel(t.Context())
	end()
	for _, s := range []history.Store{&expiring{err: context.Canceled}, nil} {
		k := &Keeper{o: Options{Store: func() history.Store { return s }, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}, stop: ended}
		k.Set(all)
		if k.expireOnce(true); log.String() != "" {
			t.Errorf("%s", log.String())
		}
	}
	k := &Keeper{o: Options{Store: func() history.Store { return nil }}}
	if err := k.toStore(t.Context(), history.Batch{}); !errors.Is(err, errNotOpen) {
		t.Errorf("added to no store: %v", err)
	}
}

// TestPack makes batches of records at the bounds of a block, and of messages that were not evaluated.
func TestPack(t *testing.T) {
	made := func(n int) (all []Made) {
		for i := range n {
			d := decision(i, policy.Reject)
			all = append(all, Made{d, time.Unix(1e9, 0)})
		}
		return all
	}
	for n, want := range map[int]string{0: "[]", 1: "[1]", history.MaxBlockRows: fmt.Sprint([]int{history.MaxBlockRows}), history.MaxBlockRows + 1: fmt.Sprint([]int{history.MaxBlockRows, 1})} {
		b, err := Pack("id", "h", made(n))
		rows := []int{}
		for i := range b.Blocks {
			rows = append(rows, len(b.Blocks[i].Rows))
		}
		if err != nil || b.ID != "id" || b.Host != "h" || fmt.Sprint(rows) != want {
			t.Errorf("%d records: blocks of %v, %v", n, rows, err)
		}
	}
	skipped := &judge.Decision{Envelope: msgauth.Envelope{QueueID: "OWN", MailFrom: "<Me@Here.example>", Recipients: []string{"<a@b.example>"}}, Skipped: policy.ReasonTrusted, Verdict: policy.Skipped(policy.ReasonTrusted)}
	skipped.Session.Client = netip.MustParseAddr("192.0.2.1")
	b, err := Pack("id", "h", []Made{{skipped, time.Unix(1e9, 0)}})
	if err != nil || len(b.Blocks) != 1 {
		t.Fatal(b, err)
	}
	r := b.Blocks[0].Rows[0]
	for _, k := range []history.KeyIn{history.QueueKey("OWN"), history.SenderKey("here.example"), history.ClientKey(skipped.Session.Client), history.OutcomeKey(policy.Skip, policy.ReasonTrusted)} {
		if r.Keys[k.Column] != k.Key {
			t.Errorf("column %d has the key %d, want %d", k.Column, r.Keys[k.Column], k.Key)
		}
	}
	if want := history.HintOf("", "here.example", "Me@Here.example"); r.Hint != want || !r.Time.Equal(time.Unix(1e9, 0)) || r.Time.Location() != time.UTC {
		t.Errorf("hint %d, want %d; at %s", r.Hint, want, r.Time)
	}
	u, err := history.NewUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	records, err := u.Unpack(b.Blocks[0].Data, func(int) bool { return true })
	if err != nil || len(records) != 1 || strings.Contains(string(records[0]), "a@b.example") {
		t.Errorf("%q, %v", records, err)
	}
}

// TestChunks: what is left at the end is written in batches of the usual size.
func TestChunks(t *testing.T) {
	for n, want := range map[int]string{0: "[]", 1: "[1]", flushRecords: fmt.Sprint([]int{flushRecords}), flushRecords + 1: fmt.Sprint([]int{flushRecords, 1})} {
		got := []int{}
		for part := range chunks(make([]string, n)) {
			got = append(got, len(part))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%d: %v", n, got)
		}
	}
	for range chunks(make([]string, 2*flushRecords)) {
		break
	}
}

// TestBlockSize: a block takes no further record as soon as it is large.
func TestBlockSize(t *testing.T) {
	packer := newPacker(t)
	line, err := json.Marshal(&recent.Entry{ID: "I"})
	if err != nil {
		t.Fatal(err)
	}
	for short, blocks := range map[int]int{1: 0, 0: 1, -1: 1} {
		p := packing{packer: packer}
		p.lines.WriteString(strings.Repeat("x", history.MaxBlockSize-len(line)-len("\n")-short))
		if !p.add(&recent.Entry{ID: "I"}) || len(p.batch.Blocks) != blocks {
			t.Errorf("%d octets short: %d blocks", short, len(p.batch.Blocks))
		}
	}
}

// TestEnd: a list that is cut goes on at its last entry, and so does one of which there is more but no place is known.
func TestEnd(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(1000-second), 0) }
	for _, tt := range []struct {
		entries, limit int
		more           bool
		next           time.Time
		want           int
		wantMore       bool
		wantNext       time.Time
	}{
		{3, 2, false, time.Time{}, 2, true, at(1)}, {3, 1, true, at(7), 1, true, at(0)}, {2, 2, false, time.Time{}, 2, false, time.Time{}}, {1, 2, false, at(7), 1, false, at(7)},
		{2, 2, true, time.Time{}, 2, true, at(1)}, {2, 2, true, at(7), 2, true, at(7)}, {0, 2, true, time.Time{}, 0, true, time.Time{}},
	} {
		f := Found{More: tt.more, Next: tt.next}
		for n := range tt.entries {
			f.Entries = append(f.Entries, &recent.Entry{Time: at(n)})
		}
		if f = (Finder{}).end(f, tt.limit); len(f.Entries) != tt.want || f.More != tt.wantMore || !f.Next.Equal(tt.wantNext) {
			t.Errorf("%+v: %d entries, more %t from %v on", tt, len(f.Entries), f.More, f.Next)
		}
	}
}

// TestNextPlace: of two copies of the last decision, the earlier says where the next page begins.
func TestNextPlace(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, tt := range []struct {
		name       string
		remembered time.Duration // after the store's copy, which is at 0; far: another decision
		entries    int
		want       time.Duration
	}{
		{"nothing was found", 0, 0, time.Minute}, {"the copy of the daemon is earlier", -time.Millisecond, 1, -time.Millisecond}, {"it is as late as the place", time.Minute, 1, time.Minute},
		{"it is later than the store's", time.Millisecond, 1, 0}, {"another decision", -time.Hour, 1, 0},
	} {
		old := Found{Next: at}
		for range tt.entries {
			old.Entries = append(old.Entries, &recent.Entry{ID: "other", Time: at.Add(time.Hour)}, &recent.Entry{ID: "I", Time: at})
		}
		if tt.want == time.Minute {
			old.Next = at.Add(time.Minute)
		}
		remembered := []*recent.Entry{{ID: "J", Time: at.Add(-time.Minute)}, {ID: "I", Time: at.Add(tt.remembered)}}
		if got := (Finder{}).next(remembered, old); got.Sub(at) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got.Sub(at), tt.want)
		}
	}
}

// TestFoundSize: a search ends with the record by which its size is over the bound, within the records that are read
// together and after them.
func TestFoundSize(t *testing.T) {
	at := time.Unix(1e9, 0)
	line, err := json.Marshal(&recent.Entry{ID: "I", Time: at})
	if err != nil {
		t.Fatal(err)
	}
	packer := newPacker(t)
	one := len(line)
	for _, tt := range []struct {
		blocks bool // each record has a block of its own
		found  int
		want   int
	}{{false, 2 * one, 3}, {false, 2*one - 1, 2}, {true, 2 * one, 3}, {true, maxBlocks * one, maxBlocks + 1}, {true, maxBlocks*one - 1, maxBlocks}} {
		s := &shelf{data: packer.Pack(append(bytes.Clone(line), '\n'))}
		for i := range 2 * maxBlocks {
			h := history.Hit{Time: at.Add(-time.Duration(i) * time.Second)}
			if tt.blocks {
				h.Block.ID = int64(i)
			}
			s.hits = append(s.hits, h)
		}
		r, err := NewReader(func() history.Store { return s })
		if err != nil {
			t.Fatal(err)
		}
		r.found = tt.found
		f, err := r.Find(t.Context(), history.Query{Limit: 99}, func(*recent.Head) bool { return true })
		if err != nil || len(f.Entries) != tt.want || !f.More {
			t.Errorf("%+v: %d entries, more %t, %v", tt, len(f.Entries), f.More, err)
		}
	}
}

// TestTurns: the first decisions are written after a turn and a half, and then after each turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		k := start(t, m, nil, all)
		begin := time.Now()
		for n, due := range []time.Duration{15 * time.Second, 25 * time.Second, 35 * time.Second} {
			k.Decided(decision(n, policy.Reject), 0)
			time.Sleep(time.Until(begin.Add(due)) - 1)
			synctest.Wait()
			if m.records() != n {
				t.Errorf("%d are written before %v, want %d", m.records(), due, n)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if m.records() != n+1 {
				t.Errorf("%d are written after %v, want %d", m.records(), due, n+1)
			}
		}
		stop(k, time.Minute)
	})
}

// slow is a store that takes a while for each batch.
type slow struct{ memory }

func (s *slow) AddHistory(ctx context.Context, now time.Time, b history.Batch) error {
	time.Sleep(5 * time.Second)
	return s.memory.AddHistory(ctx, now, b)
}

// TestFullTurn: so many decisions are written before their turn, and no batch has more. While one is written, the queue
// still takes decisions.
func TestFullTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{}
		k, err := New(Options{Store: func() history.Store { return m }, Every: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, all)
		if err != nil {
			t.Fatal(err)
		}
		sealed, n := k.sealer.Seal(&judge.Decision{}, time.Now(), 0), 0 // a small one, so that the test is quick
		send := func(decisions int) {
			for range decisions {
				k.queue <- sealed
				n++
			}
			time.Sleep(2 * collect.GatherTime)
			synctest.Wait()
		}
		written := func(want ...int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			var got []int
			for i := range m.batches {
				got = append(got, m.batches[i].Len())
			}
			if !slices.Equal(got, want) {
				t.Errorf("of %d decisions %v are written, want %v", n, got, want)
			}
		}
		send(flushRecords - 1)
		written()
		send(1)
		send(flushRecords + 1)
		if got := len(k.queue); got != 0 {
			t.Errorf("%d decisions wait in the queue while a batch is written", got)
		}
		written(flushRecords, flushRecords)
		stop(k, time.Minute)
		written(flushRecords, flushRecords, 1)
	})
}

// TestFinderEnd: what comes after the end of either list is on a later page, and that page begins at the earliest place
// from which nothing is missed, not where the last entry is.
func TestFinderEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := recent.New(recent.Options{Entries: 9})
		for n := range 2 {
			time.Sleep(time.Hour)
			ring.Decided(decision(n, policy.Reject), 0)
		}
		last := time.Now()
		packer := newPacker(t)
		for name, tt := range map[string]struct {
			examined time.Duration // how long before the last decision
			limit    int
			want     string
			next     time.Duration
		}{
			"the store has more":              {2 * time.Hour, 5, "[Q1 Q0]", 2 * time.Hour},
			"so has the memory of the daemon": {2 * time.Hour, 1, "[Q1]", 0},
			"the store has more before Q0":    {time.Minute, 5, "[Q1]", time.Minute},
			"the store has more before Q1":    {-time.Minute, 5, "[]", -time.Minute},
		} {
			at := last.Add(-tt.examined - time.Millisecond)
			line, err := json.Marshal(&recent.Entry{ID: "I", Time: at})
			if err != nil {
				t.Fatal(err)
			}
			s := &shelf{hits: []history.Hit{{Time: at}, {Time: at}}, data: packer.Pack(append(line, '\n'))}
			r, err := NewReader(func() history.Store { return s })
			if err != nil {
				t.Fatal(err)
			}
			r.examine = 1
			f, err := Finder{Ring: ring, Reader: r}.Find(t.Context(), history.Query{}, func(h *recent.Head) bool { return h.QueueID != "" }, tt.limit)
			if got := fmt.Sprint(ids(f.Entries)); err != nil || got != tt.want || !f.More || !f.Next.Equal(last.Add(-tt.next)) {
				t.Errorf("%s: %s, more %v from %s on, %v", name, got, f.More, last.Sub(f.Next), err)
			}
		}
	})
}

// TestTooLarge: a record that is too large leaves nothing behind in the block.
func TestTooLarge(t *testing.T) {
	packer := newPacker(t)
	u, err := history.NewUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	p := packing{packer: packer}
	for _, id := range []string{"first", strings.Repeat("x", 1<<20), "last"} {
		if fits := len(id) < 1<<20; p.add(&recent.Entry{ID: id}) != fits {
			t.Errorf("a record of %d octets: fits %v", len(id), !fits)
		}
	}
	p.end()
	records, err := u.Unpack(p.batch.Blocks[0].Data, func(int) bool { return true })
	if err != nil || len(p.batch.Blocks[0].Rows) != 2 || len(records) != 2 || max(len(records[0]), len(records[1])) > 1000 {
		t.Errorf("%d records, %v", len(records), err)
	}
}
