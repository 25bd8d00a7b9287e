package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
	"sekimori/internal/store/sqlite"
)

// memory is a store in memory that can fail.
type memory struct {
	history.Store
	mu      sync.Mutex
	err     error
	batches []history.Batch
	kept    time.Time // what is older was removed last
}

func (m *memory) AddHistory(_ context.Context, _ time.Time, b history.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.batches = append(m.batches, b)
	}
	return m.err
}

func (m *memory) ExpireHistory(_ context.Context, now time.Time, keep time.Duration, _ int64) (history.Size, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = now.Add(-keep)
	return history.Size{Octets: 7, Days: 3, Dropped: 1}, nil
}

func (m *memory) records() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.batches {
		n += m.batches[i].Len()
	}
	return n
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

var all = Settings{What: history.All, Recipients: true, Keep: 7 * 24 * time.Hour, Size: 1 << 30}

func start(t *testing.T, s history.Store, spool *collect.Files[history.Batch], settings Settings) *Keeper {
	t.Helper()
	k, err := New(Options{
		Store: func() history.Store { return s }, Spool: spool, Every: 10 * time.Second, Host: "mx1.example", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func stop(k *Keeper, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	k.Stop(ctx)
}

// decision is the decision on message n.
func decision(n int, action policy.Action) *judge.Decision {
	domain := dns.Name(fmt.Sprintf("a%d.example", n%3))
	e := &msgauth.Evaluation{
		Session: msgauth.Session{Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 5)}), HELO: "helo.example"},
		Envelope: msgauth.Envelope{QueueID: fmt.Sprintf("Q%d", n), MailFrom: fmt.Sprintf("<secret-sender@s%d.example>", n%2),
			Recipients: []string{"<secret-recipient@here.example>"}},
		Time: time.Now(), From: author.From{AuthorDomain: domain, Mailboxes: []author.Mailbox{{Local: "secret-author", Domain: domain}}},
		MailFrom: spf.Check{Domain: "s.example", Result: spf.Fail}, DMARC: dmarc.Evaluation{AuthorDomain: domain, Result: dmarc.ResultFail},
	}
	return &judge.Decision{
		Session: e.Session, Envelope: e.Envelope, Evaluation: e,
		Verdict: policy.Verdict{Action: action, Applied: action, Enforced: true, Reason: policy.ReasonReject, ID: fmt.Sprintf("ID%06d", n)},
	}
}

// TestKept: with "failing", all but accepted messages are kept, and one in 100 of these.
func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		settings := all
		settings.What = history.Failing
		k := start(t, m, nil, settings)
		for n := range 250 {
			k.Decided(decision(n, policy.Accept), 0)
			k.Decided(decision(n, policy.Reject), 0)
		}
		synctest.Wait()
		if n := m.records(); n != 0 {
			t.Errorf("%d records before the first write", n)
		}
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if n := m.records(); n != 253 {
			t.Errorf("%d records, want 250 that failed and 3 that were accepted", n)
		}
		settings.What = history.Off
		k.Set(settings)
		k.Decided(decision(1, policy.Reject), 0)
		stop(k, time.Second)
		k.Decided(decision(1, policy.Reject), 0) // after Stop
		c := k.Counts()
		if m.records() != 253 || c.Queued.Load() != 253 || c.Stored.Load() != 253 || c.Lost() != 0 || c.Octets.Load() != 7 || c.Days.Load() != 3 || c.Dropped.Load() != 1 {
			t.Errorf("%d records, queued %d, stored %d, lost %d", m.records(), c.Queued.Load(), c.Stored.Load(), c.Lost())
		}
	})
}

// TestNeverBlocks: while the store fails, decisions are dropped and counted, and the memory is bounded.
func TestNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errors.New("down")}
		k := start(t, m, nil, all)
		d := decision(1, policy.Reject)
		d.Evaluation.MailFrom.Record = strings.Repeat("x", 4000)
		const sent = 20_000
		for range sent {
			k.Decided(d, 0)
			if k.gathered.Load() > maxGathered+maxQueue*5000 {
				t.Fatalf("%d octets", k.gathered.Load())
			}
			if len(k.queue) == maxQueue {
				synctest.Wait()
			}
		}
		synctest.Wait()
		c := k.Counts()
		if c.Queued.Load()+c.LostQueue.Load() != sent || c.LostQueue.Load() < sent/2 || c.Queued.Load() < 1000 {
			t.Errorf("queued %d, lost %d of %d", c.Queued.Load(), c.LostQueue.Load(), sent)
		}
		m.fail(nil)
		time.Sleep(5 * time.Minute)
		stop(k, time.Minute)
		if int64(m.records()) != c.Queued.Load() || k.gathered.Load() != 0 {
			t.Errorf("%d records of %d, %d octets left", m.records(), c.Queued.Load(), k.gathered.Load())
		}
	})
}

// TestStopWithoutStore: what cannot be written until Stop's end is counted as lost.
func TestStopWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := start(t, &memory{err: errors.New("down")}, nil, all)
		for n := range 70 {
			k.Decided(decision(n, policy.Reject), 0)
		}
		stop(k, 5*time.Second)
		if c := k.Counts(); c.LostStop.Load() != 70 || c.Lost() != 70 {
			t.Errorf("lost %d, want 70", c.LostStop.Load())
		}
		k.Decided(decision(70, policy.Reject), 0)
		stop(k, 0)
		if c := k.Counts(); c.Queued.Load() != 70 || c.Lost() != 70 {
			t.Errorf("after Stop: %d queued, %d lost", c.Queued.Load(), c.Lost())
		}
	})
}

// TestSpool: what the store does not take is spooled, and drained by the next run.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	open := func(t *testing.T) *collect.Files[history.Batch] {
		s, err := collect.OpenFiles(dir, 1<<20, collect.Codec[history.Batch]{Encode: history.Encode, Decode: history.Decode})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	m := &memory{err: errors.New("down")}
	synctest.Test(t, func(t *testing.T) {
		spool := open(t)
		defer spool.Close()
		k := start(t, m, spool, all)
		for n := range 70 {
			k.Decided(decision(n, policy.Reject), 0)
		}
		stop(k, time.Minute)
		if c := k.Counts(); spool.Len() != 1 || c.Spooled.Load() != 70 || c.Lost() != 0 {
			t.Errorf("%d files, spooled %d, lost %d", spool.Len(), c.Spooled.Load(), c.Lost())
		}
	})
	m.fail(nil)
	synctest.Test(t, func(t *testing.T) {
		spool := open(t)
		defer spool.Close()
		k := start(t, m, spool, all)
		time.Sleep(time.Minute)
		stop(k, time.Minute)
		if m.records() != 70 || spool.Len() != 0 {
			t.Errorf("%d records, %d files", m.records(), spool.Len())
		}
	})
}

// opened returns a Finder without a Ring on a database.
func opened(t *testing.T, path string) (*sqlite.DB, Finder) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := NewReader(func() history.Store { return db })
	if err != nil {
		t.Fatal(err)
	}
	return db, Finder{Reader: r}
}

func ids(entries []*recent.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.QueueID)
	}
	return out
}

// TestFind finds decisions by everything by which they can be found, after a restart.
func TestFind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sekimori.db")
	db, _ := opened(t, path)
	k := start(t, db, nil, all)
	for n := range 200 {
		action := policy.Reject
		if n%2 == 1 {
			action = policy.Tag
		}
		k.Decided(decision(n, action), time.Millisecond)
	}
	k.Decided(&judge.Decision{
		Session: msgauth.Session{Client: netip.MustParseAddr("::1")}, Envelope: msgauth.Envelope{QueueID: "OWN", MailFrom: "<me@here.example>", Recipients: []string{"<a@b.example>"}},
		Skipped: policy.ReasonTrusted, Verdict: policy.Skipped(policy.ReasonTrusted),
	}, 0)
	stop(k, time.Minute)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, f := opened(t, path)
	for _, tt := range []struct {
		name string
		q    recent.Query
		want int
	}{
		{"everything", recent.Query{}, 201},
		{"the id in lower case", recent.Query{ID: "id000042"}, 1},
		{"id and another client", recent.Query{ID: "ID000042", Client: netip.MustParseAddr("192.0.2.1")}, 0},
		{"queue id", recent.Query{QueueID: "Q42"}, 1},
		{"author", recent.Query{Author: "a1.example"}, 67},
		{"a domain below", recent.Query{Author: "x.a1.example"}, 0},
		{"author and verdict", recent.Query{Author: "a1.example", Verdict: policy.Tag}, 34},
		{"client", recent.Query{Client: netip.MustParseAddr("192.0.2.3")}, 40},
		{"sender", recent.Query{Sender: "Secret-Sender@s1.example"}, 100},
		{"another sender of the domain", recent.Query{Sender: "<other@s1.example>"}, 0},
		{"reason", recent.Query{Reason: policy.ReasonReject}, 200},
		{"reason and verdict", recent.Query{Reason: policy.ReasonReject, Verdict: policy.Tag}, 100},
		{"reason and author", recent.Query{Reason: policy.ReasonReject, Author: "a1.example"}, 67},
		{"another reason", recent.Query{Reason: policy.ReasonTrusted}, 1},
		{"host", recent.Query{Host: "mx1.example"}, 201},
		{"another host", recent.Query{Host: "mx2.example"}, 0},
		{"not evaluated", recent.Query{Verdict: policy.Skip, QueueID: "OWN"}, 1},
		{"today", recent.Query{From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}, 201},
		{"yesterday", recent.Query{Until: time.Now().Add(-time.Hour)}, 0},
	} {
		tt.q.Limit = 500
		a := f.Answer(t.Context(), tt.q)
		if len(a.Decisions) != tt.want || a.More || a.HistoryError != "" {
			t.Errorf("%s: %d decisions, more %t, error %q; want %d", tt.name, len(a.Decisions), a.More, a.HistoryError, tt.want)
		}
	}
	a := f.Answer(t.Context(), recent.Query{Limit: 3})
	if got := fmt.Sprint(ids(a.Decisions)); got != "[OWN Q199 Q198]" || !a.More {
		t.Errorf("%s, more %t", got, a.More)
	}
	e := a.Decisions[1]
	if e.Host != "mx1.example" || e.Verdict.Reason != policy.ReasonReject || e.Evaluation == nil || e.Evaluation.From.AuthorDomain != "a1.example" || e.Took != time.Millisecond ||
		len(e.Evaluation.Envelope.Recipients) != 1 {
		t.Errorf("%+v", e)
	}
}

// TestPages: a search goes on where it ended, also if few of many records match.
func TestPages(t *testing.T) {
	db, f := opened(t, filepath.Join(t.TempDir(), "sekimori.db"))
	const kept, examined = 150, 100
	if f.Reader.examine != maxExamined {
		t.Errorf("a search reads %d records, want at most %d", f.Reader.examine, maxExamined)
	}
	f.Reader.examine = examined
	var seconds atomic.Int64
	k, err := New(Options{
		Store: func() history.Store { return db }, Every: time.Minute, Host: "mx1.example", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Unix(1_796_000_000+seconds.Add(1), 0) },
	}, all)
	if err != nil {
		t.Fatal(err)
	}
	for n := range kept {
		d := decision(n, policy.Reject)
		d.Evaluation.From.AuthorDomain = "many.few.example.org" // has the same hint
		if n < 2 {
			d.Evaluation.From.AuthorDomain = "few.example.org"
		}
		k.Decided(d, 0)
	}
	stop(k, time.Minute)
	q := recent.Query{Author: "few.example.org", Limit: 10}
	var got []string
	searches := 0
	for ; searches < 5; searches++ {
		found, err := f.Find(t.Context(), QueryOf(q), q.Matches, q.Limit)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(found.Entries)...)
		if !found.More {
			break
		}
		q.Until = found.Next
	}
	if fmt.Sprint(got) != "[Q1 Q0]" || searches != 1 {
		t.Errorf("%v after %d further searches", got, searches)
	}
}

// TestFinder: decisions that the daemon remembers, and those of the store, are one list.
func TestFinder(t *testing.T) {
	for name, ringFirst := range map[string]bool{"the daemon first": true, "the store first": false} {
		t.Run(name, func(t *testing.T) { testFinder(t, ringFirst) })
	}
}

func testFinder(t *testing.T, ringFirst bool) {
	t.Helper()
	db, f := opened(t, filepath.Join(t.TempDir(), "sekimori.db"))
	f.Ring = recent.New(recent.Options{Entries: 3})
	k := start(t, db, nil, all)
	for n := range 6 {
		d := decision(n, policy.Reject)
		if ringFirst {
			f.Ring.Decided(d, 0)
		}
		time.Sleep(2 * time.Microsecond)
		k.Decided(d, 0)
		if !ringFirst {
			f.Ring.Decided(d, 0)
		}
		time.Sleep(2 * time.Millisecond)
	}
	stop(k, time.Minute)
	for limit, want := range map[int]string{1: "[Q5] true", 3: "[Q5 Q4 Q3] true", 5: "[Q5 Q4 Q3 Q2 Q1] true", 6: "[Q5 Q4 Q3 Q2 Q1 Q0] false"} {
		found, err := f.Find(t.Context(), history.Query{}, func(*recent.Head) bool { return true }, limit)
		if got := fmt.Sprint(ids(found.Entries), found.More); err != nil || got != want {
			t.Errorf("limit %d: %s, %v; want %s", limit, got, err, want)
		}
		if e := found.Entries[0]; e.Host != "" {
			t.Errorf("the newest is of host %q, want that which the daemon remembers", e.Host)
		}
	}
	// If the search of the store ended early, what the daemon remembers of the time before that comes with the next page.
	f.Reader.examine = 1
	if found, err := f.Find(t.Context(), history.Query{}, func(*recent.Head) bool { return true }, 10); err != nil || fmt.Sprint(ids(found.Entries), found.More) != "[Q5] true" || found.Next.After(found.Entries[0].Time) {
		t.Errorf("%v, more %t, next %s, %v", ids(found.Entries), found.More, found.Next, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a := f.Answer(t.Context(), recent.Query{Limit: 10})
	if got := fmt.Sprint(ids(a.Decisions)); got != "[Q5 Q4 Q3]" || a.HistoryError == "" {
		t.Errorf("without the store: %s, error %q", got, a.HistoryError)
	}
	if e := Nearest(a.Decisions, a.Decisions[1].Time.Add(10*time.Microsecond)); e == nil || e.QueueID != "Q4" {
		t.Errorf("nearest: %+v", e)
	}
	if e := Nearest(a.Decisions, time.Now().Add(time.Hour)); e != nil {
		t.Errorf("an hour away: %+v", e)
	}
}

// contents returns everything in the files of the database, and all records that are packed in it.
func contents(t *testing.T, path string) string {
	t.Helper()
	var text bytes.Buffer
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	db, _ := opened(t, path)
	u, err := history.NewUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	hits, err := db.FindHistory(t.Context(), history.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hits {
		_, data, err := db.HistoryBlock(t.Context(), h.Block)
		if err != nil {
			t.Fatal(err)
		}
		records, err := u.Unpack(data, func(int) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		text.Write(bytes.Join(records, nil))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestPrivacy greps the files of the database, and what is packed in them, for what must not be there.
func TestPrivacy(t *testing.T) {
	agreed := func(d *judge.Decision, in, out int) *judge.Decision {
		d.Verdict = d.Verdict.Respect(policy.Consent{In: in, Out: out})
		return d
	}
	mask := func(d *judge.Decision) *judge.Decision { // as package telemetry does
		e := *d.Evaluation
		e.From.Mailboxes, e.Envelope.MailFrom, e.Envelope.Recipients = nil, "<***@s.example>", []string{"<***@here.example>"}
		masked := *d
		masked.Evaluation, masked.Envelope = &e, e.Envelope
		return &masked
	}
	for _, tt := range []struct {
		name          string
		settings      func(*Settings)
		present, gone []string
	}{
		{"default", func(s *Settings) { s.Recipients = false }, []string{`"Q1"`, "secret-sender", "secret-author"}, []string{"secret-recipient"}},
		{"with recipients", func(*Settings) {}, []string{`"Q1"`, "secret-recipient"}, nil},
		{"local-parts", func(s *Settings) { s.Mask = mask }, []string{`"Q1"`, "***@here.example"}, []string{"secret-sender", "secret-author", "secret-recipient"}},
		{"failing", func(s *Settings) { s.What = history.Failing }, []string{`"Q1"`}, nil},
	} {
		path := filepath.Join(t.TempDir(), "sekimori.db")
		db, _ := opened(t, path)
		settings := all
		settings.Consents = true
		tt.settings(&settings)
		k := start(t, db, nil, settings)
		k.Decided(agreed(decision(1, policy.Reject), 1, 1), 0)
		nobody := agreed(decision(2, policy.Reject), 0, 2)
		nobody.Evaluation.Envelope.QueueID, nobody.Envelope.QueueID = "NOBODYAGREED", "NOBODYAGREED"
		nobody.Verdict.ID, nobody.Evaluation.From.AuthorDomain = "N0B0DY00", "nobody-agreed.example"
		k.Decided(nobody, 0)
		k.Decided(&judge.Decision{
			Envelope: msgauth.Envelope{QueueID: "NOTASKED", MailFrom: "<x@not-asked.example>"}, Oversize: "header_bytes",
			Verdict: policy.Verdict{Action: policy.TempFail},
		}, 0)
		stop(k, time.Minute)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		text := contents(t, path)
		for _, s := range tt.present {
			if !strings.Contains(text, s) {
				t.Errorf("%s: %s is missing", tt.name, s)
			}
		}
		for _, s := range slices.Concat(tt.gone, []string{"NOBODYAGREED", "N0B0DY00", "nobody-agreed.example", "NOTASKED", "not-asked.example"}) {
			if strings.Contains(text, s) {
				t.Errorf("%s: %s is in the database", tt.name, s)
			}
		}
		for _, key := range []history.KeyIn{history.IDKey("N0B0DY00"), history.QueueKey("NOBODYAGREED"), history.AuthorKey("nobody-agreed.example")} {
			db, _ := opened(t, path)
			if hits, err := db.FindHistory(t.Context(), history.Query{Any: []history.KeyIn{key}, Limit: 1}); err != nil || len(hits) > 0 {
				t.Errorf("%s: %d hits for a message that is not kept, %v", tt.name, len(hits), err)
			}
			_ = db.Close()
		}
	}
}

// TestDays: a block has the records of one day.
func TestDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight
		m := &memory{}
		time.Sleep(24*time.Hour - 2*time.Second)
		k := start(t, m, nil, all)
		for n := range 4 {
			k.Decided(decision(n, policy.Reject), 0)
			time.Sleep(time.Second)
		}
		stop(k, time.Minute)
		if b := m.batches[0].Blocks; len(b) != 2 || len(b[0].Rows) != 2 || len(b[1].Rows) != 2 || b[0].Day()+1 != b[1].Day() {
			t.Errorf("%d blocks", len(b))
		}
	})
}

// TestClockAhead: a clock that was set ahead an hour ago at most removes nothing.
func TestClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		var jump atomic.Int64
		begin := time.Now()
		k, err := New(Options{
			Store: func() history.Store { return m }, Every: 10 * time.Second, Host: "mx1.example",
			Now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }, Log: slog.New(slog.DiscardHandler),
		}, all)
		if err != nil {
			t.Fatal(err)
		}
		defer stop(k, time.Minute)
		removes := func() bool { // what is of this year
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.kept.After(begin.AddDate(0, 0, -30))
		}
		steps := []struct {
			wait, jump time.Duration
			removes    bool
		}{
			{time.Minute, 0, false}, {time.Hour, 87600 * time.Hour, true}, {20 * time.Minute, 87600 * time.Hour, false}, {20 * time.Minute, 0, false},
			{50 * time.Minute, 0, false}, {30 * time.Minute, 0, true},
		}
		for i, s := range steps {
			time.Sleep(s.wait)
			if got := removes(); got != s.removes {
				t.Errorf("step %d: removes %t", i, got)
			}
			jump.Store(int64(s.jump))
		}
	})
}

// TestFoundIsBounded: large records make a search return fewer of them.
func TestFoundIsBounded(t *testing.T) {
	db, f := opened(t, filepath.Join(t.TempDir(), "sekimori.db"))
	if f.Reader.found != maxFound {
		t.Errorf("a search returns %d octets, want at most %d", f.Reader.found, maxFound)
	}
	f.Reader.found = maxFound / 10
	k := start(t, db, nil, all)
	for n := range 300 {
		d := decision(n, policy.Reject)
		for i := range 5 {
			d.Evaluation.MailFrom.Trace = append(d.Evaluation.MailFrom.Trace, spf.Step{Detail: strings.Repeat(fmt.Sprint(i%10), 1000)})
		}
		k.Decided(d, 0)
	}
	stop(k, time.Minute)
	q := recent.Query{Limit: 500}
	seen := 0
	for range 10 {
		found, err := f.Find(t.Context(), QueryOf(q), q.Matches, q.Limit)
		if err != nil || len(found.Entries) > f.Reader.found/5000+1 {
			t.Fatalf("%d entries, %v", len(found.Entries), err)
		}
		seen += len(found.Entries)
		if !found.More {
			break
		}
		q.Until = found.Next
	}
	if seen < 290 || seen > 300 { // entries of the same millisecond may be on neither page
		t.Errorf("%d entries on all pages, want 300", seen)
	}
}

// TestShortened: of the value of a signature only the beginning is kept, and of a duration the microseconds. The
// decision itself is not changed.
func TestShortened(t *testing.T) {
	db, f := opened(t, filepath.Join(t.TempDir(), "sekimori.db"))
	k := start(t, db, nil, all)
	d := decision(1, policy.Reject)
	d.Evaluation.DKIM = []dkim.Signature{{B: strings.Repeat("b", maxSignatureText+1)}, {B: "short"}}
	const long, short = 1_234_567 * time.Nanosecond, 1_234 * time.Microsecond
	d.Evaluation.Wait = long
	d.Evaluation.Cost = map[msgauth.Mechanism]msgauth.Cost{msgauth.SPF: {Lookups: 3, DNS: long, Elapsed: 2 * long}}
	k.Decided(d, 3*long)
	stop(k, time.Minute)
	e := f.Answer(t.Context(), recent.Query{Limit: 1}).Decisions[0]
	if s := e.Evaluation.DKIM; s[0].B != strings.Repeat("b", maxSignatureText) || s[1].B != "short" || len(d.Evaluation.DKIM[0].B) != maxSignatureText+1 {
		t.Errorf("%+v", s)
	}
	want := msgauth.Cost{Lookups: 3, DNS: short, Elapsed: 2*short + time.Microsecond}
	if c := e.Evaluation.Cost[msgauth.SPF]; c != want || e.Evaluation.Wait != short || e.Took != 3*short+time.Microsecond || d.Evaluation.Wait != long {
		t.Errorf("cost %+v, waited %v, took %v", c, e.Evaluation.Wait, e.Took)
	}
}
