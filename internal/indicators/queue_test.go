package indicators

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/dns"
	"sekimori/internal/webfetch"
)

// TestOneAHost has marks of several domains on one host, and looks for two fetches from it at a time.
func TestOneAHost(t *testing.T) {
	in(t, nil, func(w *world) {
		var at, most atomic.Int64
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(time.Second)
			at.Add(-1)
			return []byte(picture(200)), nil
		})
		for n := range 6 {
			q := query(fmt.Sprintf("d%d.example", n))
			q.Location = fmt.Sprintf("https://host.example/%d.svg", n)
			w.Find(w.t.Context(), q)
		}
		time.Sleep(7 * time.Second)
		w.fetches(6)
		if most.Load() != 1 {
			t.Errorf("%d fetches from one host at a time", most.Load())
		}
	})
}

// TestSlowHost has a host that takes ten seconds for each of its many marks. Others do not wait for it.
func TestSlowHost(t *testing.T) {
	in(t, nil, func(w *world) {
		w.answers(func(_ context.Context, _ webfetch.Kind, url string) ([]byte, error) {
			if strings.Contains(url, "slow.example") {
				time.Sleep(10 * time.Second)
			}
			return []byte(picture(200)), nil
		})
		for n := range 100 {
			q := query(fmt.Sprintf("d%d.example", n))
			q.Location = fmt.Sprintf("https://slow.example/%d.svg", n)
			w.Find(w.t.Context(), q)
		}
		w.want("shop.example", "skipped not_fetched")
		time.Sleep(time.Second)
		w.want("shop.example", "pass")
		time.Sleep(1000 * time.Second)
	})
}

// TestFullQueue has all workers busy and more marks than may wait. Nothing blocks.
func TestFullQueue(t *testing.T) {
	in(t, nil, func(w *world) {
		w.answers(func(ctx context.Context, _ webfetch.Kind, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, errDown
		})
		began := time.Now()
		for n := range maxWorkers + maxQueue + 100 {
			w.want(fmt.Sprintf("d%d.example", n), "skipped not_fetched")
			if n < maxWorkers {
				w.settle() // until a worker has taken it
			}
		}
		if time.Since(began) != 0 {
			t.Error("somebody waited")
		}
		if dropped := w.o.Counts.Dropped.Load(); len(w.queue) != maxQueue || dropped != 100 {
			t.Errorf("%d in the queue, %d dropped", len(w.queue), dropped)
		}
		w.want("d7.example", "skipped not_fetched") // it is there already
		if dropped := w.o.Counts.Dropped.Load(); dropped != 100 {
			t.Errorf("%d dropped", dropped)
		}
	})
}

// TestManyMarksOfADomain has one Organizational Domain with more marks than may wait. All workers are busy
// with other domains.
func TestManyMarksOfADomain(t *testing.T) {
	in(t, nil, func(w *world) {
		hold := make(chan struct{})
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			<-hold
			return []byte(picture(200)), nil
		})
		for n := range maxWorkers {
			w.want(fmt.Sprintf("busy%d.example", n), "skipped not_fetched")
			w.settle()
		}
		for n := range 100 {
			w.want(fmt.Sprintf("d%d.shop.example", n), "skipped not_fetched")
		}
		if n := len(w.pending) - maxWorkers; n != maxOfDomain {
			t.Errorf("%d marks of one domain wait", n)
		}
		w.want("other.example", "skipped not_fetched")
		if n := len(w.pending) - maxWorkers; n != maxOfDomain+1 {
			t.Errorf("another domain does not get in: %d", n)
		}
		close(hold)
		w.settle()
	})
}

// TestOneFetch has many messages that ask at once.
func TestOneFetch(t *testing.T) {
	in(t, func(o *Options) { o.Wait = 2 * time.Second }, func(w *world) {
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			time.Sleep(time.Second)
			return []byte(picture(200)), nil
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { w.want("shop.example", "pass") })
		}
		all.Wait()
		w.fetches(1)
	})
}

// TestCacheIsBounded has more marks than fit, and bad ones without end. These do not push out good ones.
func TestCacheIsBounded(t *testing.T) {
	counts := &Counts{}
	c := newCache(1<<20, counts)
	now := time.Unix(1e9, 0)
	good := func() judged {
		m := (&bimi.Mark{SVG: []byte(picture(20_000)), Same: true}).Prepared()
		return judged{Answer: bimi.Answer{Result: bimi.Pass, Mark: m, Fetched: now, Until: now.Add(time.Hour)}, Ends: now.Add(time.Hour)}
	}
	name := func(n int) id {
		return id{domain: dns.Name(fmt.Sprintf("d%d.example", n)), location: "https://d.example/"}
	}
	for n := range 1000 {
		c.learn(name(n), good(), now)
		c.find(name(0), now) // asked for all the time
	}
	if _, known, _ := c.find(name(0), now); !known {
		t.Error("what is asked for all the time was pushed out")
	}
	if counts.Octets.Load() > 1<<20 || counts.Octets.Load() < 1<<19 || counts.Evictions.Load() == 0 {
		t.Errorf("%d octets, %d evicted", counts.Octets.Load(), counts.Evictions.Load())
	}
	before := c.good.list.Len()
	for n := range 100_000 {
		c.learn(name(n+1000), judged{Answer: bimi.Answer{Result: bimi.Fail, Reason: ReasonFetch, Checks: []bimi.Check{{Word: "x", Detail: strings.Repeat("x", 500)}}}}, now)
	}
	if n := c.good.list.Len(); n != before || counts.Octets.Load() > 1<<20 || counts.Entries.Load() > 2000 {
		t.Errorf("%d good ones of %d, %d entries with %d octets", n, before, counts.Entries.Load(), counts.Octets.Load())
	}
	c.learn(name(0), judged{Answer: bimi.Answer{Result: bimi.Fail}}, now)
	if n := c.good.list.Len(); n != before-1 {
		t.Errorf("a mark that is bad now is still among the good ones")
	}
}

// TestConcurrent is for the race detector: messages, reloads and a look at what is known, all at once.
func TestConcurrent(t *testing.T) {
	in(t, nil, func(w *world) {
		for range 5 {
			var all sync.WaitGroup
			for g := range 8 {
				all.Go(func() {
					for n := range 50 {
						w.Find(w.t.Context(), query(fmt.Sprintf("d%d.example", (n+g)%20)))
						time.Sleep(time.Millisecond)
					}
				})
			}
			all.Go(func() {
				for range 50 {
					w.Known(10)
					w.Ends()
					time.Sleep(time.Millisecond)
				}
			})
			all.Wait()
			w.end()
			w.o.Before = w.Indicators
			w.start()
			time.Sleep(perDomain)
		}
	})
}

// memory is a store.
type memory struct {
	mu    sync.Mutex
	marks map[bimi.MarkKey][]byte
	until map[bimi.MarkKey]time.Time
	err   error
}

func (m *memory) PutMark(_ context.Context, key bimi.MarkKey, until time.Time, mark []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.marks[key], m.until[key] = mark, until
	}
	return m.err
}

func (m *memory) Mark(ctx context.Context, key bimi.MarkKey, now time.Time) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil || !now.Before(m.until[key]) {
		return nil, m.err
	}
	return m.marks[key], nil
}

// TestRestart starts anew with the same store.
func TestRestart(t *testing.T) {
	store := &memory{marks: map[bimi.MarkKey][]byte{}, until: map[bimi.MarkKey]time.Time{}}
	in(t, func(o *Options) { o.Store = store }, func(w *world) {
		restart := func() { w.end(); w.start() }
		w.want("shop.example", "skipped not_fetched")
		w.fetches(1)
		restart()
		w.want("shop.example", "skipped not_fetched") // the store is asked in the background, too
		w.settle()
		w.want("shop.example", "pass")
		w.fetches(1)
		a := w.Find(w.t.Context(), query("shop.example"))
		if string(a.Mark.SVG) != picture(200) || !a.Until.Equal(a.Fetched.Add(keepGood)) {
			t.Errorf("%+v", a)
		}
		// After a day it is fetched again. If the web server is down, what the store has is used.
		time.Sleep(30 * time.Hour)
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return nil, errDown })
		restart()
		w.want("shop.example", "skipped not_fetched")
		w.fetches(2)
		w.want("shop.example", "pass")
		time.Sleep(50 * time.Hour)
		restart()
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		w.want("shop.example", "temperror unreachable")
		// What is not a mark, or of another version, is fetched.
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte(picture(300)), nil })
		for key := range store.marks {
			store.marks[key], store.until[key] = []byte("x"), time.Now().Add(time.Hour)
		}
		restart()
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		w.want("shop.example", "pass")
		// A store that is away costs nothing but the fetch.
		store.err = errDown
		restart()
		w.want("other.example", "skipped not_fetched")
		w.settle()
		w.want("other.example", "pass")
	})
}

// TestKeys are all different, and differ by the rules, too.
func TestKeys(t *testing.T) {
	a, b := New(Options{Judge: &Judge{}}), New(Options{Judge: &Judge{RequireCertificate: true}})
	keys := map[bimi.MarkKey]bool{}
	for _, m := range []id{{"ab", "c", "d", "e"}, {"a", "bc", "d", "e"}, {"ab", "c", "", "de"}, {"ab", "c", "de", ""}} {
		keys[a.key(m)], keys[b.key(m)] = true, true
	}
	if len(keys) != 8 {
		t.Errorf("%d different keys of 8", len(keys))
	}
}

func TestHosts(t *testing.T) {
	for _, c := range [][3]string{
		{"https://a.example/x", "https://b.example/y", "[a.example b.example]"}, {"https://a.example/x", "https://a.example:443/y", "[a.example]"},
		{"", "https://b.example/y", "[b.example]"}, {"::", "", "[]"},
	} {
		if got := fmt.Sprint(hosts(bimi.Query{Evidence: c[0], Location: c[1]})); got != c[2] {
			t.Errorf("%q: %s", c, got)
		}
	}
}

// BenchmarkFind asks for a mark that is in memory, as a message does.
func BenchmarkFind(b *testing.B) {
	i := New(Options{Judge: &Judge{Lists: NewLists()}, Now: time.Now, Established: func(context.Context, bimi.Query) (bool, error) { return true, nil }})
	q, now := query("shop.example"), time.Now()
	for n := range 500 {
		other := query(fmt.Sprintf("d%d.example", n))
		i.cache.learn(idOf(other), judged{Answer: bimi.Answer{Result: bimi.Fail}}, now)
	}
	m := (&bimi.Mark{SVG: []byte(picture(20_000)), Same: true}).Prepared()
	i.cache.learn(idOf(q), judged{Answer: bimi.Answer{Result: bimi.Pass, Mark: m, Fetched: now, Until: now.Add(24 * time.Hour)}}, now)
	b.ReportAllocs()
	for b.Loop() {
		if a := i.Find(b.Context(), q); a.Result != bimi.Pass {
			b.Fatal(a)
		}
	}
}

// TestSlowStore has a database that does not answer.
func TestSlowStore(t *testing.T) {
	in(t, func(o *Options) {
		o.Store = silent{}
		o.Established = func(ctx context.Context, _ bimi.Query) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		o.Always = func(d dns.Name) bool { return d == "listed.example" }
	}, func(w *world) {
		began := time.Now()
		w.want("shop.example", "skipped not_fetched")
		w.want("listed.example", "skipped not_fetched")
		if time.Since(began) != 0 {
			t.Error("a message waited")
		}
		time.Sleep(2 * maxStoreTime)
		w.want("listed.example", "pass")
		w.want("shop.example", "skipped not_fetched")
		w.fetches(1)
		began = time.Now()
		w.end()
		if took := time.Since(began); took > maxStoreTime {
			t.Errorf("the stop took %s", took)
		}
	})
}

type silent struct{}

func (silent) PutMark(ctx context.Context, _ bimi.MarkKey, _ time.Time, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

func (silent) Mark(ctx context.Context, _ bimi.MarkKey, _ time.Time) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSlowMark has a mark whose servers take all the time that they get.
func TestSlowMark(t *testing.T) {
	in(t, nil, func(w *world) {
		w.answers(func(ctx context.Context, _ webfetch.Kind, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, &webfetch.Error{Result: webfetch.Slow, Temporary: true, Err: ctx.Err()}
		})
		w.want("shop.example", "skipped not_fetched")
		time.Sleep(maxWork - time.Second)
		w.want("shop.example", "skipped not_fetched")
		time.Sleep(2 * time.Second)
		w.want("shop.example", "temperror unreachable")
	})
}

// TestManyPlaces has a certificate that names many places of its revocation list. None of them answers.
func TestManyPlaces(t *testing.T) {
	var asked []string
	needs := []mark.Need{{URLs: []string{"http://a.example", "http://b.example", "http://c.example", "http://d.example", "http://e.example"}}}
	lists, next := NewLists().get(t.Context(), needs, time.Unix(1e9, 0), func(_ context.Context, _ webfetch.Kind, url string) ([]byte, error) {
		asked = append(asked, url)
		return nil, errGone
	})
	if len(asked) != maxListURLs || len(lists) != 0 || !next.IsZero() {
		t.Errorf("asked %q", asked)
	}
}
