package learn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/trait"
)

// memory is a ledger in memory that can fail and hang.
type memory struct {
	ledger.Store
	mu        sync.Mutex
	sums      []ledger.Sum
	usual     map[dns.Name]ledger.Usual
	rows      map[dns.Name][]ledger.Row
	breakages map[string]ledger.Breakage
	err       error
	only      string // if it is set, err is for questions of this kind only
	hang      bool
	asked     []dns.Name
	expired   int
	kept      int64    // the domains that the last Expire kept
	notes     []string // what was asked of Sums, Rows and AuthorDomains
}

// fails returns the error of a question. The caller holds mu.
func (m *memory) fails(what string) error {
	if m.only != "" && m.only != what {
		return nil
	}
	return m.err
}

func (m *memory) note(what string, f ledger.Filter, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	today := ledger.DayOf(time.Now())
	m.notes = append(m.notes, fmt.Sprint(append([]any{what, today - f.From, today - f.To, f.Domain}, args...)...))
	return m.fails(what)
}

func (m *memory) Usual(ctx context.Context, author dns.Name, _ ledger.Day) (ledger.Usual, error) {
	m.mu.Lock()
	m.asked = append(m.asked, author)
	hang, err := m.hang, m.fails("usual")
	u := m.usual[author]
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return u, ctx.Err()
	}
	return u, err
}

func (m *memory) Sums(_ context.Context, f ledger.Filter, by ledger.Order, limit int) iter.Seq2[ledger.Sum, error] {
	err := m.note("sums", f, by, limit)
	return func(yield func(ledger.Sum, error) bool) {
		for _, s := range m.sums {
			if !yield(s, nil) {
				return
			}
		}
		if err != nil {
			yield(ledger.Sum{}, err)
		}
	}
}

func (m *memory) Rows(_ context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	err := m.note("rows", f)
	return func(yield func(ledger.Row, error) bool) {
		m.mu.Lock()
		rows := m.rows[f.Domain]
		m.mu.Unlock()
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(ledger.Row{}, err)
		}
	}
}

func (m *memory) AuthorDomains(_ context.Context, f ledger.Filter) (map[dmarc.Policy]float64, error) {
	return map[dmarc.Policy]float64{dmarc.PolicyReject: 7.4}, m.note("domains", f)
}

func (m *memory) Expire(_ context.Context, _ time.Time, most int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expired++
	m.kept = most
	return m.fails("expire")
}

func (m *memory) Breakages(context.Context, time.Time) (all []ledger.Breakage, err error) {
	for _, b := range m.breakages {
		if b.Ended.IsZero() {
			all = append(all, b)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return all, m.fails("breakages")
}

func (m *memory) SetBreakage(_ context.Context, b ledger.Breakage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails("set"); err != nil {
		return err
	}
	m.breakages[string(b.Domain)+string(b.Kind)+b.Subject] = b
	return nil
}

func (m *memory) set(err error, hang bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err, m.hang = err, hang
}

// looks returns how many author domains were looked up.
func (m *memory) looks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

func (m *memory) times(author dns.Name) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.asked {
		if a == author {
			n++
		}
	}
	return n
}

// failing returns a message that fails and has no signature.
func failing(domain dns.Name, client string) *msgauth.Evaluation {
	return &msgauth.Evaluation{Session: msgauth.Session{Client: netip.MustParseAddr(client)}, From: author.From{AuthorDomain: domain},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail}}
}

var shop = ledger.Usual{Domain: "shop.example", Days: 20, Pass: 400, Signed: 400, Both: 400, Networks: []ledger.Network{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Days: 20}}}

func newMemory() *memory {
	return &memory{usual: map[dns.Name]ledger.Usual{"shop.example": shop}, breakages: map[string]ledger.Breakage{}}
}

func start(t *testing.T, m *memory) *Cache {
	t.Helper()
	c := New(Options{Store: m, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.Close)
	return c
}

// TestSigns asks in the background at the first message, and again after an hour.
func TestSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c := start(t, m)
		e := failing("shop.example", "198.51.100.1")
		if got := c.Signs(e); got != nil {
			t.Errorf("before the store was asked: %v", got)
		}
		synctest.Wait()
		want := []trait.Trait{trait.UnsignedUnlikeUsual, trait.UnknownSource}
		for range 3 {
			if got := c.Signs(e); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		if got := c.Signs(failing("shop.example", "203.0.113.9")); !slices.Equal(got, []trait.Trait{trait.UnsignedUnlikeUsual, trait.KnownSource}) {
			t.Errorf("from a known network: %v", got)
		}
		if got := c.Signs(failing("sub.shop.example", "203.0.113.9")); got != nil {
			t.Errorf("a subdomain: %v", got)
		}
		synctest.Wait()
		if n := m.times("shop.example"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(fresh + time.Second)
		m.set(errors.New("away"), false)
		if got := c.Signs(e); !slices.Equal(got, want) {
			t.Errorf("an hour later: %v", got)
		}
		synctest.Wait()
		time.Sleep(usable)
		if got := c.Signs(e); got != nil {
			t.Errorf("%v after the store has been away for 12 hours", got)
		}
		m.set(nil, false)
		time.Sleep(pause + time.Second)
		c.Signs(e)
		synctest.Wait()
		if got := c.Signs(e); !slices.Equal(got, want) {
			t.Errorf("after the store came back: %v", got)
		}
		if n := &c.Counts; n.Misses.Load() == 0 || n.Hits.Load() < 5 || n.Unsigned.Load() < 5 || n.UnknownNet.Load() == 0 || n.KnownNet.Load() != 1 || n.Failures.Load() == 0 {
			t.Errorf("%d misses, %d hits, %d failures", n.Misses.Load(), n.Hits.Load(), n.Failures.Load())
		}
	})
}

// TestNeverWaits hangs in the store, while messages come.
func TestNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.hang = true
		c := start(t, m)
		began := time.Now()
		for i := range 5000 {
			if got := c.Signs(failing(dns.Name(fmt.Sprintf("d%d.example", i)), "198.51.100.1")); got != nil {
				t.Fatal(got)
			}
		}
		if took := time.Since(began); took != 0 { // of the clock of the test, which stands still unless somebody waits
			t.Errorf("waited %v", took)
		}
		if n := len(c.asked); n > maxAsked {
			t.Errorf("%d domains wait", n)
		}
	})
}

// TestClockBack: what was learned at a time that is not over yet is not used for long.
func TestClockBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := &Cache{o: Options{Now: func() time.Time { return now }}, ask: make(chan dns.Name, maxAsked), asked: map[dns.Name]bool{}, unknown: map[dns.Name]answer{},
		known: map[dns.Name]answer{"shop.example": {shop, now}}}
	now = now.Add(-24 * time.Hour)
	if got := c.Signs(failing("shop.example", "198.51.100.1")); got != nil || len(c.ask) != 1 {
		t.Errorf("%v, %d asked", got, len(c.ask))
	}
}

// TestAges has each bound of how old an answer may be: until when it is used, and from when a new one is looked for.
func TestAges(t *testing.T) {
	at := time.Unix(1e9, 0)
	for age, want := range map[time.Duration][2]bool{ // used, looked for
		0: {true, false}, fresh: {true, false}, fresh + 1: {true, true}, usable: {true, true}, usable + 1: {false, true}, -1: {true, true}, -usable: {true, true}, -usable - 1: {false, true},
	} {
		c := &Cache{o: Options{Now: func() time.Time { return at.Add(age) }}, ask: make(chan dns.Name, maxAsked), asked: map[dns.Name]bool{}, known: map[dns.Name]answer{"shop.example": {shop, at}}}
		if got := c.Signs(failing("shop.example", "198.51.100.1")) != nil; got != want[0] || len(c.ask) == 1 != want[1] || c.Counts.Hits.Load() == 1 != got || c.Counts.Misses.Load() == 1 == got {
			t.Errorf("%s old: used %t, %d asked", age, got, len(c.ask))
		}
	}
	c := &Cache{o: Options{Now: time.Now}}
	e := failing("shop.example", "198.51.100.1")
	e.FromError = &author.Error{}
	if c.Signs(e) != nil || c.Signs(failing("", "198.51.100.1")) != nil || c.Counts.Misses.Load() != 0 { // they would be asked for
		t.Error("a message without an author counts")
	}
}

// TestBounds fills the cache. Domains that nobody knows do not push out those that are known.
func TestBounds(t *testing.T) {
	m := newMemory()
	c := &Cache{o: Options{Store: m, Now: time.Now}, known: map[dns.Name]answer{}, unknown: map[dns.Name]answer{}, asked: map[dns.Name]bool{}, ask: make(chan dns.Name, maxAsked)}
	look := func(author dns.Name) {
		t.Helper()
		if err := c.look(t.Context(), author); err != nil {
			t.Fatal(err)
		}
	}
	look("shop.example")
	for i := range maxUnknown + 100 {
		look(dns.Name(fmt.Sprintf("x%d.example", i)))
	}
	if len(c.unknown) != maxUnknown || c.Len() != 1 {
		t.Errorf("%d unknown, %d known", len(c.unknown), c.Len())
	}
	m.usual = map[dns.Name]ledger.Usual{}
	for i := range maxKnown + 100 {
		name := dns.Name(fmt.Sprintf("k%d.example", i))
		m.usual[name] = shop
		look(name)
	}
	if c.Len() != maxKnown {
		t.Errorf("%d known", c.Len())
	}
	for i := range maxAsked + 100 {
		c.wish(dns.Name(fmt.Sprintf("a%d.example", i)))
	}
	if len(c.ask) != maxAsked || len(c.asked) != maxAsked {
		t.Errorf("%d asked", len(c.ask))
	}
}

// TestPreload looks up the most frequent authors at the start.
func TestPreload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.sums = []ledger.Sum{{Domain: "shop.example"}, {Domain: "other.example"}}
		c := start(t, m)
		synctest.Wait()
		if got := c.Signs(failing("shop.example", "198.51.100.1")); len(got) != 2 {
			t.Errorf("%v", got)
		}
		if m.times("other.example") != 1 || !slices.Equal(m.notes, []string{fmt.Sprintf("sums%d 0messages%d", ledger.UsualDays, maxPreload)}) {
			t.Errorf("the other one was asked for %d times; %q", m.times("other.example"), m.notes)
		}
	})
	for only, want := range map[string]int{"sums": 0, "usual": 1} { // each fails after the first answer
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.sums, m.err, m.only = []ledger.Sum{{Domain: "shop.example"}, {Domain: "other.example"}}, errors.New("away"), only
			start(t, m)
			synctest.Wait()
			if m.looks() != want {
				t.Errorf("%s fail: %d were looked up", only, m.looks())
			}
		})
	}
}

// TestPause: after a failure the store is left alone for a while, and the log says so once.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.err, m.only = errors.New("away"), "usual"
		var log logs.Buffer
		c := New(Options{Store: m, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer c.Close()
		ask := func(name string) {
			for n := range 3 {
				c.Signs(failing(dns.Name(fmt.Sprintf("%s%d.example", name, n)), "198.51.100.1"))
			}
			synctest.Wait()
		}
		for n, want := range []int{1, 1, 2, 3} { // at once, a moment before the pause is over, at its end, and at the next
			if ask("d"); m.looks() != want || c.Counts.Failures.Load() != int64(want) || strings.Count(log.String(), "does not say what is usual") != 1 {
				t.Errorf("step %d: asked for %d, %d failures\n%s", n, m.looks(), c.Counts.Failures.Load(), log.String())
			}
			time.Sleep([]time.Duration{pause - 1, 1, pause, 0}[n])
		}
		m.set(nil, false)
		time.Sleep(pause)
		synctest.Wait()
		if c.Counts.Failures.Load() != 3 {
			t.Errorf("%d failures after the store came back", c.Counts.Failures.Load())
		}
		m.set(errors.New("away"), false)
		ask("e")
		if n := strings.Count(log.String(), "does not say what is usual"); n != 2 {
			t.Errorf("%d records about a store that is away for the second time", n)
		}
	})
}

// TestKeeperFails: whatever the store does not do, the keeper says so, and tries all again in five minutes and not an
// hour later.
func TestKeeperFails(t *testing.T) {
	for _, only := range []string{"domains", "expire", "breakages", "sums", "rows", "set", "end"} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.sums = []ledger.Sum{{Domain: "shop.example", Counts: ledger.Counts{Messages: 1500, Pass: 1500}}}
			m.rows = map[dns.Name][]ledger.Row{"shop.example": broken("shop.example", time.Now(), 0)}
			var log logs.Buffer
			k := NewKeeper(Options{Store: m, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}, 5)
			defer k.Close()
			time.Sleep(keepTime / 2)
			k.SetMaxDomains(7)
			m.mu.Lock()
			if m.err, m.only = errors.New("away"), only; only == "end" { // of a breakage
				m.only, m.sums = "set", nil
			}
			m.mu.Unlock()
			time.Sleep(keepTime)
			synctest.Wait()
			if n := strings.Count(log.String(), "cannot be looked after"); n != 1 {
				t.Errorf("%s fail: %d records\n%s", only, n, log.String())
			}
			m.set(nil, false)
			time.Sleep(countTime)
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			if n := k.Broken(ledger.SPFBroken); m.kept != 7 || n != 1 && only != "end" || n != 0 && only == "end" {
				t.Errorf("%s failed: %d broken, %d domains are kept", only, n, m.kept)
			}
		})
	}
}

// TestSearched: of which domains the days are looked at.
func TestSearched(t *testing.T) {
	m := newMemory()
	for name, c := range map[dns.Name]ledger.Counts{"few.example": {Messages: leastSearched - 1, Pass: 1}, "enough.example": {Messages: leastSearched, Pass: 1}, "fails.example": {Messages: 2 * leastSearched}} {
		m.sums = append(m.sums, ledger.Sum{Domain: name, Counts: c})
	}
	k := &Keeper{o: Options{Store: m}}
	if _, err := k.find(t.Context(), time.Now()); err != nil || !slices.Equal(m.notes, []string{fmt.Sprintf("sums%d 0messages%d", ledger.BreakageDays+1, maxSearched), fmt.Sprintf("rows%d 0enough.example", ledger.BreakageDays+1)}) {
		t.Errorf("%q, %v", m.notes, err)
	}
}

// broken returns 15 days of a domain whose SPF has stopped to pass.
func broken(domain dns.Name, now time.Time, spf int64) (rows []ledger.Row) {
	for ago := ledger.Day(15); ago >= 1; ago-- {
		r := ledger.Row{Day: ledger.DayOf(now) - ago, Domain: domain, Counts: ledger.Counts{Messages: 100, Pass: 100, PassDKIM: 100, PassSPF: 100}}
		if ago == 1 {
			r.PassSPF = spf
		}
		rows = append(rows, r)
	}
	return rows
}

// TestSearch finds a breakage, says so once, and says when it is over.
func TestSearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.sums = []ledger.Sum{{Domain: "shop.example", Counts: ledger.Counts{Messages: 1500, Pass: 1500}}, {Domain: "small.example"}}
		m.rows = map[dns.Name][]ledger.Row{"shop.example": broken("shop.example", time.Now(), 0), "small.example": broken("small.example", time.Now(), 0)}
		var log logs.Buffer
		k := NewKeeper(Options{Store: m, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}, 5)
		defer k.Close()
		time.Sleep(3*keepTime + time.Minute)
		synctest.Wait()
		if n := k.Broken(ledger.SPFBroken); n != 1 || k.Broken(ledger.SelectorGone) != 0 {
			t.Errorf("%d broken", n)
		}
		if n := strings.Count(log.String(), "stopped to authenticate"); n != 1 || !strings.Contains(log.String(), "domain=shop.example kind=spf_broken") {
			t.Errorf("%d records:\n%s", n, log.String())
		}
		b := m.breakages["shop.examplespf_broken"]
		if !b.Last.Equal(b.First.Add(3 * keepTime)) {
			t.Errorf("first %v, last %v", b.First, b.Last)
		}
		m.mu.Lock()
		m.rows["shop.example"] = broken("shop.example", time.Now(), 100)
		m.mu.Unlock()
		time.Sleep(keepTime)
		synctest.Wait()
		if k.Broken(ledger.SPFBroken) != 0 || !strings.Contains(log.String(), "authenticates again") || m.breakages["shop.examplespf_broken"].Ended.IsZero() {
			t.Errorf("it is not over: %s", log.String())
		}
		if m.expired != 4 || m.kept != 5 { // not at the start
			t.Errorf("expired %d times in four hours, %d domains are kept", m.expired, m.kept)
		}
		if want := fmt.Sprint("domains", ledger.UsualDays-1, " ", 0); !slices.Contains(m.notes, want) {
			t.Errorf("%q, want %q", m.notes, want)
		}
		if got := k.AuthorDomains(); got[dmarc.PolicyReject] != 7.4 {
			t.Errorf("author domains: %v", got)
		}
		m.set(errors.New("away"), false)
		time.Sleep(2 * keepTime)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be looked after"); n != 1 {
			t.Errorf("%d records about a store that is away", n)
		}
	})
}

// TestClockJump: a clock that is set ahead removes nothing, unless it stays so.
func TestClockJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var jump atomic.Int64
		k := NewKeeper(Options{Store: m, Now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }, Log: slog.New(slog.DiscardHandler)}, 5)
		defer k.Close()
		expired := func() int {
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.expired
		}
		for i, tt := range []struct {
			wait time.Duration
			jump time.Duration
			want int
		}{{keepTime - time.Minute, 0, 0}, {2 * time.Minute, 87600 * time.Hour, 1}, {keepTime / 2, 0, 1}, {keepTime / 2, 87600 * time.Hour, 1}, {2*keepTime + time.Minute, 87600 * time.Hour, 2}} {
			time.Sleep(tt.wait)
			if n := expired(); n < tt.want || n > tt.want {
				t.Errorf("step %d: removed %d times, want %d", i, n, tt.want)
			}
			jump.Store(int64(tt.jump))
		}
	})
}

// BenchmarkSigns measures a failing message of a known author domain. The figure is at most 2 µs.
func BenchmarkSigns(b *testing.B) {
	u := shop
	u.Networks = nil
	for i := range ledger.MaxUsual {
		u.Networks = append(u.Networks, ledger.Network{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24), Days: 20})
	}
	c := &Cache{o: Options{Now: time.Now}, known: map[dns.Name]answer{}, unknown: map[dns.Name]answer{}, asked: map[dns.Name]bool{}, ask: make(chan dns.Name, 1)}
	for i := range maxKnown {
		c.known[dns.Name(fmt.Sprintf("d%d.example", i))] = answer{u, time.Now()}
	}
	e := failing("d77.example", "198.51.100.1")
	b.ReportAllocs()
	for b.Loop() {
		if len(c.Signs(e)) != 2 {
			b.Fatal("no sign")
		}
	}
}
