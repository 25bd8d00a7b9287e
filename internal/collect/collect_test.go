package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/spf"
)

// memory is a store in memory that can fail, hang and count.
type memory struct {
	report.Store
	mu      sync.Mutex
	err     error
	slow    time.Duration
	batches []report.Batch
	ids     map[string]bool
}

func (m *memory) Add(ctx context.Context, _ time.Time, b report.Batch) error {
	m.mu.Lock()
	slow, err := m.slow, m.err
	m.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ids == nil {
		m.ids = map[string]bool{}
	}
	if !m.ids[b.ID] {
		m.ids[b.ID] = true
		m.batches = append(m.batches, b)
	}
	return nil
}

func (m *memory) set(err error, slow time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err, m.slow = err, slow
}

// messages returns the number of messages in the store, by policy domain.
func (m *memory) messages() map[dns.Name]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[dns.Name]int64{}
	for _, b := range m.batches {
		for _, t := range b.Tallies {
			for _, r := range t.Rows {
				out[t.Policy.Domain] += r.Count
			}
		}
	}
	return out
}

func (m *memory) sum() (n int64) {
	for _, k := range m.messages() {
		n += k
	}
	return n
}

var settings = Settings{Interval: 24 * time.Hour, Spread: 4 * time.Hour, Organization: "Example ISP", MaxRows: 100_000, Domain: "dmarc.isp.example"}

// decision is a message of the domain from a client, at a time.
func decision(domain dns.Name, client string, at time.Time) *judge.Decision {
	return &judge.Decision{
		Verdict: policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Enforced: true},
		Evaluation: &msgauth.Evaluation{
			Session: msgauth.Session{Client: netip.MustParseAddr(client)}, Time: at, From: author.From{AuthorDomain: domain},
			MailFrom: spf.Check{Domain: "evil.example", Result: spf.Fail},
			DMARC: dmarc.Evaluation{
				AuthorDomain: domain, PolicyDomain: domain, Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject, Method: dmarc.TreeWalk,
				Record: &dmarc.Record{P: dmarc.PolicyReject, RUA: []string{"mailto:rua@" + string(domain)}, FO: []string{"0"}},
			},
		},
	}
}

// start makes a Collector that the test stops.
func start(t *testing.T, m *memory, spool *Spool, every time.Duration) *Collector {
	t.Helper()
	return New(Options{
		Store: func() report.Store {
			if m == nil {
				return nil
			}
			return m
		},
		Spool: spool, Every: every, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}, settings)
}

// stop stops the Collector, with that much time for it.
func stop(c *Collector, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c.Stop(ctx)
}

var errDown = errors.New("the database is down")

// TestCounts: equal messages become one row, different ones several, and every message is counted.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		c := start(t, m, nil, 10*time.Second)
		for i := range 100 {
			c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
			c.Decided(decision("shop.example", fmt.Sprintf("198.51.100.%d", i), time.Now()), 0)
			c.Decided(decision("bank.example", "192.0.2.1", time.Now()), 0)
		}
		time.Sleep(9 * time.Second)
		if n := m.sum(); n != 0 {
			t.Errorf("%d messages in the store before the interval ended", n)
		}
		time.Sleep(2 * time.Second)
		want := map[dns.Name]int64{"shop.example": 200, "bank.example": 100}
		if got := m.messages(); !maps.Equal(got, want) {
			t.Errorf("after the interval: %v, want %v", got, want)
		}
		if n := c.Counts().Stored.Load(); n != 102 {
			t.Errorf("%d rows, want 102", n)
		}
		b := m.batches[0]
		if len(m.batches) != 1 || len(b.ID) < 16 || b.MaxRows != settings.MaxRows || b.MaxJobs != report.MaxJobs || b.MaxOwned != report.MaxOwned || b.Current != report.WindowAt(time.Now(), settings.Interval) {
			t.Errorf("%d batches, the first is %+v", len(m.batches), b)
		}
		for i, tally := range b.Tallies {
			if i > 0 && b.Tallies[i-1].Policy.ID().Compare(tally.Policy.ID()) >= 0 {
				t.Error("the policies are not in order")
			}
			for j := range tally.Rows {
				if j > 0 && tally.Rows[j-1].Key().Compare(tally.Rows[j].Key()) >= 0 {
					t.Error("the rows are not in order")
				}
			}
		}
		if len(b.Seen) != 2 || b.Seen[0].Domain != "bank.example" || b.Seen[0].Kind != report.SeenFail {
			t.Errorf("seen: %v", b.Seen)
		}
		stop(c, time.Second)
		c.Decided(decision("late.example", "192.0.2.1", time.Now()), 0)
		if n := c.Counts().LostQueue.Load(); n != 1 || len(m.batches) != 1 {
			t.Errorf("after Stop: %d lost, %d batches", n, len(m.batches))
		}
	})
}

// TestStopFlushes: what was counted is in the store when Stop returns.
func TestStopFlushes(t *testing.T) {
	m := &memory{}
	c := start(t, m, nil, time.Hour)
	for range 1000 {
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
	}
	stop(c, 10*time.Second)
	if n := m.sum(); n != 1000 {
		t.Errorf("%d messages in the store", n)
	}
	stop(c, time.Second) // a second Stop does nothing
}

// TestNeverBlocks: if nobody takes from the queue, Decided drops and counts.
func TestNeverBlocks(t *testing.T) {
	c := &Collector{o: Options{Now: time.Now}, owners: suffix.NewMemory(), queue: make(chan observed, maxQueue)} // nothing runs
	c.Set(settings)
	d := decision("shop.example", "192.0.2.1", time.Now())
	for range maxQueue + 5 {
		c.Decided(d, 0)
	}
	if n := c.Counts(); n.Queued.Load()+n.Dropped.Load() != maxQueue+5 || n.Dropped.Load() < 5 || n.LostQueue.Load() != n.Dropped.Load() {
		t.Errorf("%d queued, %d dropped", n.Queued.Load(), n.Dropped.Load())
	}
	if o := c.octets.Load(); o > maxQueueOctets || o < maxQueueOctets/4 {
		t.Errorf("%d octets in the queue", o)
	}
}

// TestQueueOctets: long observations fill the queue before it has maxQueue of them.
func TestQueueOctets(t *testing.T) {
	c := &Collector{o: Options{Now: time.Now}, owners: suffix.NewMemory(), queue: make(chan observed, maxQueue)}
	c.Set(settings)
	for range maxQueue {
		c.put(observed{obs: &report.Observation{}, octets: 2048})
	}
	if got, want := len(c.queue), maxQueueOctets/2048; got != want || c.octets.Load() != maxQueueOctets || c.Counts().Queued.Load() != int64(want) {
		t.Errorf("%d observations of 2 KiB, want %d; %d octets, %d counted", got, want, c.octets.Load(), c.Counts().Queued.Load())
	}
	c.octets.Store(5)
	c.put(observed{wrote: []dns.Name{"a.example"}, octets: 7}) // the queue has room
	if n := c.Counts(); c.octets.Load() != 12 || n.Queued.Load() != maxQueueOctets/2048 {
		t.Errorf("%d octets, %d counted", c.octets.Load(), n.Queued.Load())
	}
	c.ended = true
	c.put(observed{entry: &ledger.Entry{}, octets: 7})
	c.ended, c.queue = false, make(chan observed)
	c.put(observed{wrote: []dns.Name{"a.example"}, octets: 7})
	if n := c.Counts(); c.octets.Load() != 12 || n.LedgerDropped.Load() != 1 || n.Dropped.Load() != maxQueue-maxQueueOctets/2048 || n.LostQueue.Load() != n.Dropped.Load() {
		t.Errorf("%d octets, %d and %d dropped", c.octets.Load(), n.LedgerDropped.Load(), n.Dropped.Load())
	}
}

// TestStoreAway: without a spool, rows wait in memory, and the sum is right when the store is back.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errDown}
		c := start(t, m, nil, 10*time.Second)
		for range 60 {
			c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
			time.Sleep(5 * time.Second)
		}
		if n := c.Counts(); n.Pending.Load() != 2 || !n.Failing.Load() || n.Failures.Load() < 5 || n.Lost() != 0 {
			t.Errorf("pending %d, failing %t after %d failures, %d lost", n.Pending.Load(), n.Failing.Load(), n.Failures.Load(), n.Lost())
		}
		m.set(nil, 0)
		time.Sleep(time.Minute)
		if n := m.sum(); n != 60 || c.Counts().Failing.Load() {
			t.Errorf("%d messages, failing %t", n, c.Counts().Failing.Load())
		}
		m.set(errDown, 0)
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		stop(c, 5*time.Second)
		if n := c.Counts().LostCap.Load(); n != 1 {
			t.Errorf("%d lost at the end, want 1", n)
		}
	})
}

// TestEarly: a batch that is full is written before its time, and so is the next that fills up while the
// store is slow.
func TestEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{slow: 5 * time.Second}
		c := start(t, m, nil, time.Hour)
		n, o := 0, observation("2001:db8::", time.Now())
		send := func(messages int) {
			for range messages {
				one := o
				c.put(observed{obs: &one, octets: 1})
				o.Row.Source = o.Row.Source.Next()
				if n++; n%5000 == 0 {
					time.Sleep(2 * GatherTime) // the queue has no room for all
				}
			}
		}
		stored := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := c.Counts().Stored.Load(); got != want || c.Counts().Pending.Load() != int64(n)-want {
				t.Errorf("%d messages: %d stored, want %d, %d pending", n, got, want, c.Counts().Pending.Load())
			}
		}
		send(flushRows - 1)
		time.Sleep(time.Minute)
		stored(0)
		send(1)
		send(flushRows)
		time.Sleep(time.Second)
		stored(0) // the first is being written
		time.Sleep(time.Minute)
		stored(2 * flushRows)
		send(1)
		time.Sleep(time.Minute)
		stored(2 * flushRows)
		stop(c, time.Minute)
		if got := m.sum(); got != int64(n) || c.Counts().Pending.Load() != 0 || c.octets.Load() != 0 || c.Counts().Lost() != 0 {
			t.Errorf("%d of %d messages, %d pending, %d octets, %d lost", got, n, c.Counts().Pending.Load(), c.octets.Load(), c.Counts().Lost())
		}
	})
}

// TestLostAtTheEnd: what is written nowhere until the end is counted and told.
func TestLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		c := New(Options{Store: func() report.Store { return nil }, Every: time.Hour, Now: time.Now, Log: logger(&b)}, settings)
		for i := range 3 {
			c.Decided(decision("shop.example", fmt.Sprintf("192.0.2.%d", i/2), time.Now()), 0)
		}
		stop(c, time.Second)
		const want = `level=WARN msg="the store takes no rows of reports" error="collect: the store is not open yet" spool=false
level=ERROR msg="report rows lost" reason="the daemon stops, and the store does not take them" rows=2 ledger_messages=3 error="collect: the store is not open yet"
`
		if n := c.Counts(); b.String() != want || n.LostCap.Load() != 3 || n.LedgerDropped.Load() != 3 || n.Failures.Load() != 1 {
			t.Errorf("%d lost, %d in the ledger, %d failures\n%s", n.LostCap.Load(), n.LedgerDropped.Load(), n.Failures.Load(), &b)
		}
	})
}

// logger writes records without their time.
func logger(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// TestWriter checks when a writer tries again, how long it waits for the store, and what it logs.
func TestWriter(t *testing.T) {
	const down, hangs = "down", "hangs"
	for _, tt := range []struct {
		name  string
		spool int64    // its size; 0: there is none
		store []string // what becomes of each call of Add
		end   time.Duration
		calls []time.Duration // of Add
		lost  bool
		kept  int // batches left in the spool
		log   string
	}{
		{name: "at once", store: []string{""}, calls: []time.Duration{0}},
		{
			name: "down for a while", store: []string{down, down, down, down, down, down, down, ""}, calls: seconds(0, 1, 3, 7, 15, 31, 61, 91),
			log: "level=WARN msg=\"the store takes no rows of x\" error=down spool=false\nlevel=INFO msg=\"the store takes rows of x again\"\n",
		},
		{name: "hangs", store: []string{hangs, hangs, ""}, calls: seconds(0, 181, 363),
			log: "level=WARN msg=\"the store takes no rows of x\" error=\"context deadline exceeded\" spool=false\nlevel=INFO msg=\"the store takes rows of x again\"\n"},
		{name: "until the end", store: []string{down, down, down}, end: 4 * time.Second, calls: seconds(0, 1, 3), lost: true,
			log: "level=WARN msg=\"the store takes no rows of x\" error=down spool=false\nlost down\n"},
		{name: "into the spool, and from there", spool: 100, store: []string{down, down, down, ""}, end: time.Minute, calls: seconds(0, 0, 1, 3),
			log: "level=WARN msg=\"the store takes no rows of x\" error=down spool=true\nlevel=INFO msg=\"the store takes rows of x again\"\n"},
		{name: "too slow for a store with a spool", spool: 100, store: []string{hangs, ""}, end: time.Minute, calls: seconds(0, 15),
			log: "level=WARN msg=\"the store takes no rows of x\" error=\"context deadline exceeded\" spool=true\nlevel=INFO msg=\"the store takes rows of x again\"\n"},
		{name: "stays in the spool", spool: 100, store: []string{down, down, down}, end: 2 * time.Second, calls: seconds(0, 0, 1), kept: 1,
			log: "level=WARN msg=\"the store takes no rows of x\" error=down spool=true\n"},
		{name: "a spool without room", spool: 1, store: []string{hangs, hangs, ""}, end: 10 * time.Minute, calls: seconds(0, 16, 198),
			log: "level=WARN msg=\"the store takes no rows of x\" error=\"context deadline exceeded\" spool=true\nlevel=INFO msg=\"the store takes rows of x again\"\n"},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			var counts Written
			begin, calls := time.Now(), []time.Duration(nil)
			o := WriterOptions[string]{
				Name: "x", Rows: func(b string) int { return len(b) }, Counts: &counts, Log: logger(&b),
				Add: func(ctx context.Context, s string) error {
					if s != "batch" {
						t.Errorf("%s: %q is stored", tt.name, s)
					}
					calls = append(calls, time.Since(begin))
					switch tt.store[len(calls)-1] {
					case down:
						return errors.New(down)
					case hangs:
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				},
				Lost: func(_ string, err error) { fmt.Fprintf(&b, "lost %v\n", err) },
			}
			if tt.spool > 0 {
				files, err := OpenFiles(dir, tt.spool, Codec[string]{func(s *string) []byte { return []byte(*s) }, func(b []byte) (string, error) { return string(b), nil }})
				if err != nil {
					t.Fatal(err)
				}
				o.Spool = files
				defer files.Close()
			}
			w := NewWriter(o)
			if tt.end > 0 {
				time.AfterFunc(tt.end, w.GiveUp)
			}
			synctest.Wait() // the drainer looks before there is something
			w.Write("batch")
			time.Sleep(tt.end)
			w.Close()
			if !slices.Equal(calls, tt.calls) || b.String() != tt.log {
				t.Errorf("%s: called at %v\n%s", tt.name, calls, &b)
			}
			failed := int64(len(calls))
			if !tt.lost && tt.kept == 0 {
				failed--
			}
			spooled := int64(0)
			if tt.spool == 100 {
				spooled = 5
			}
			if tt.spool > 0 && o.Spool.Len() != tt.kept || counts.Failures.Load() != failed || counts.Stored.Load() != 5*(int64(len(calls))-failed) || counts.Spooled.Load() != spooled ||
				counts.Failing.Load() != (tt.lost || tt.kept > 0) {
				t.Errorf("%s: %d failures, %d stored, %d spooled, failing %t", tt.name, counts.Failures.Load(), counts.Stored.Load(), counts.Spooled.Load(), counts.Failing.Load())
			}
		})
	}
}

// TestDrainFails checks what a writer does about files of its spool that are damaged, and about one that is stored but
// cannot be removed, or read any more.
func TestDrainFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0000000000000001.batch")
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var counts Written
		begin := time.Now()
		files, err := OpenFiles(dir, 100, Codec[string]{func(s *string) []byte { return []byte(*s) }, func(b []byte) (string, error) {
			if string(b) == "bad" {
				return "", errDown
			}
			return string(b), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer files.Close()
		for _, text := range []string{"bad", "good", "last"} {
			if err := files.Put(text); err != nil {
				t.Fatal(err)
			}
		}
		w := NewWriter(WriterOptions[string]{
			Name: "x", Rows: func(b string) int { return len(b) }, Counts: &counts, Log: logger(&b), Spool: files,
			Add: func(_ context.Context, s string) error {
				fmt.Fprintln(&b, time.Since(begin), s)
				if s != "good" {
					return nil
				}
				return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700))
			},
		})
		time.Sleep(2 * time.Second)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("better"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.Close()
		want := `level=ERROR msg="a file of the spool cannot be read and was set aside" error="collect: a file of the spool is damaged: 0000000000000000.batch"
0s good
level=WARN msg="a file of the spool cannot be removed" error="remove PATH: directory not empty"
level=WARN msg="the spool of x cannot be read" error="read PATH: is a directory"
3s better
3s last
`
		if got := strings.ReplaceAll(b.String(), path, "PATH"); got != want || counts.Torn.Load() != 1 || counts.Stored.Load() != 14 || files.Len() != 0 {
			t.Errorf("%d torn, %d stored, %d left\n%s", counts.Torn.Load(), counts.Stored.Load(), files.Len(), got)
		}
	})
}

func seconds(all ...int) (out []time.Duration) {
	for _, n := range all {
		out = append(out, time.Duration(n)*time.Second)
	}
	return out
}

// TestAmbiguous: if the store took a batch but did not say so in time, the batch is not counted twice.
func TestAmbiguous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		slow := &ambiguous{memory: m}
		c := New(Options{Store: func() report.Store { return slow }, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, settings)
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		time.Sleep(time.Minute)
		stop(c, time.Second)
		if slow.calls < 3 || m.sum() != 1 {
			t.Errorf("%d calls, %d messages", slow.calls, m.sum())
		}
	})
}

// ambiguous is a store that adds batches, but says so only at the third try.
type ambiguous struct {
	*memory
	calls int
}

func (a *ambiguous) Add(ctx context.Context, now time.Time, b report.Batch) error {
	a.calls++
	if err := a.memory.Add(ctx, now, b); err != nil || a.calls >= 3 {
		return err
	}
	return errDown
}

// TestNoAgreement: a message none of whose recipients agreed leaves nothing.
func TestNoAgreement(t *testing.T) {
	m := &memory{}
	c := start(t, m, nil, time.Hour)
	d := decision("shop.example", "192.0.2.1", time.Now())
	d.Verdict.Consent = policy.Consent{Out: 1}
	c.Decided(d, 0)
	stop(c, time.Second)
	if len(m.batches) != 0 {
		t.Errorf("%+v", m.batches)
	}
}

// TestCorrespondents: the domains to which users write are remembered, if that is wanted.
func TestCorrespondents(t *testing.T) {
	for _, tt := range []struct {
		from   string
		wanted bool
		want   int
	}{
		{"<ann@isp.example>", true, 4}, {"<ann@isp.example>", false, 0}, {"<>", true, 0}, {"<noreply@dmarc.isp.example>", true, 0},
	} {
		m := &memory{}
		c := start(t, m, nil, time.Hour)
		s := settings
		s.Correspondents = tt.wanted
		c.Set(s)
		d := &judge.Decision{Skipped: policy.ReasonAuthenticated, Verdict: policy.Skipped(policy.ReasonAuthenticated)}
		d.Envelope.MailFrom, d.Envelope.Recipients = tt.from, []string{"<a@shop.example>", "<b@SHOP.example>", "<c@a.b.bank.example>", "<d@com>", "<postmaster>"} // com has no owner
		c.Decided(d, 0)
		d.Skipped = policy.ReasonTrusted
		c.Decided(d, 0)
		stop(c, time.Second)
		got := 0
		for _, b := range m.batches {
			got += len(b.Seen)
		}
		if got != tt.want {
			t.Errorf("%+v: %d, %+v", tt, got, m.batches)
		}
	}
}

// TestWritten: of a message to many, only so many domains are remembered.
func TestWritten(t *testing.T) {
	c := &Collector{o: Options{Now: time.Now}, queue: make(chan observed, 1)}
	s := settings
	s.Correspondents, s.Domain = true, ""
	c.Set(s)
	for _, tt := range []struct {
		prefix string
		most   int
		each   int
	}{{"", maxWritten, 1}, {"sub.", maxWritten, 2}} {
		d := &judge.Decision{Skipped: policy.ReasonAuthenticated}
		d.Envelope.MailFrom = "<ann@dmarc.isp.example>"
		for i := range maxWritten + 1 {
			d.Envelope.Recipients = append(d.Envelope.Recipients, fmt.Sprintf("<a@%sd%d.com>", tt.prefix, i))
			c.Decided(d, 0)
			if o := <-c.queue; len(o.wrote) != min(tt.each*(i+1), tt.most) || o.content != nil || o.octets != maxWritten*64 {
				t.Errorf("%d recipients: %d domains, %d octets", i+1, len(o.wrote), o.octets)
			}
		}
	}
	for _, d := range []*judge.Decision{{Skipped: policy.ReasonTrusted}, {Skipped: policy.ReasonAuthenticated}} {
		d.Envelope.Recipients = []string{"<a@shop.example>"}
		c.Decided(d, 0)
	}
	d := &judge.Decision{Skipped: policy.ReasonAuthenticated}
	for _, from := range []string{"<postmaster>", "<", "<ann@isp.example>"} {
		d.Envelope.MailFrom = from
		c.Decided(d, 0)
	}
	if len(c.queue) != 0 {
		t.Errorf("remembered: %+v", <-c.queue)
	}
}

// TestClockJumps: a window never appears twice, and none is skipped.
func TestClockJumps(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	day := func(n int) int64 { return time.Date(2026, 11, 28+n, 0, 0, 0, 0, time.UTC).Unix() }
	table := newTable()
	for _, tt := range []struct {
		why   string
		clock time.Duration // of the daemon, against now
		stamp time.Duration // of the message, against now
		begin int64
		late  bool
	}{
		{"as usual", 0, 0, day(0), false},
		{"clock forward by a day", 24 * time.Hour, 24 * time.Hour, day(1), false},
		{"evaluated before the jump", 24 * time.Hour, 0, day(0), false},
		{"clock back again", 0, 0, day(0), false},
		{"evaluated in what is the future now", 0, 24 * time.Hour, day(0), true},
		{"evaluated three days ago", 0, -72 * time.Hour, day(0), true},
		{"yesterday", 0, -13 * time.Hour, day(-1), false},
	} {
		o, _ := report.Observe(decision("shop.example", "192.0.2.1", now.Add(tt.stamp)).Evaluation, policy.Verdict{Applied: policy.Reject}, report.Options{})
		ok, late := table.add(&o, now.Add(tt.clock), &settings)
		if !ok || late != tt.late || table.groups[groupKey{o.Policy.ID(), tt.begin}] == nil {
			t.Errorf("%s: late %t, %v", tt.why, late, table.groups)
		}
	}
	b, _ := table.take(now, &settings)
	windows := map[report.Window]int64{}
	for _, tally := range b.Tallies {
		if tally.Window.End-tally.Window.Begin != 86399 || tally.Window.Begin%86400 != 0 || windows[tally.Window] != 0 {
			t.Errorf("window %+v", tally.Window)
		}
		for _, r := range tally.Rows {
			windows[tally.Window] += r.Count
		}
	}
	want := map[report.Window]int64{{Begin: day(-1), End: day(0) - 1}: 1, {Begin: day(0), End: day(1) - 1}: 5, {Begin: day(1), End: day(2) - 1}: 1}
	if !maps.Equal(windows, want) {
		t.Errorf("%v, want %v", windows, want)
	}
}
