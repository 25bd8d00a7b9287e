package indicators

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/webfetch"
)

func TestFind(t *testing.T) {
	in(t, nil, func(w *world) {
		w.want("shop.example", "skipped not_fetched")
		w.fetches(1)
		w.want("shop.example", "pass")
		w.want("shop.example", "pass")
		w.fetches(1)
		other := query("shop.example")
		other.Location += "?v=2" // the record has changed
		if a := w.Find(w.t.Context(), other); a.Result != bimi.Skipped {
			t.Errorf("another record has the mark of the former one: %+v", a)
		}
		a := w.Find(w.t.Context(), query("shop.example"))
		if a.Authority != bimi.AuthorityNone || string(a.Mark.SVG) != picture(200) || len(a.Checks) != 2 || !a.Until.Equal(a.Fetched.Add(keepGood)) {
			t.Errorf("%+v", a)
		}
		if hits, misses := w.o.Counts.Hits.Load(), w.o.Counts.Misses.Load(); hits != 3 || misses != 2 || len(w.limits.passing) != 0 {
			t.Errorf("%d hits, %d misses, %d domains whose messages are counted although the store knows them", hits, misses, len(w.limits.passing))
		}
	})
}

func TestNoCertificate(t *testing.T) {
	in(t, func(o *Options) { o.Judge.RequireCertificate = true }, func(w *world) {
		w.want("shop.example", "none no_certificate")
		w.fetches(0)
		if a := w.Find(t.Context(), shop()); a.Result != bimi.Skipped {
			t.Errorf("a record with a certificate: %+v", a)
		}
	})
}

// TestBadMarks has pictures and web servers with which nothing can be done.
func TestBadMarks(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		err  error
		want string
	}{
		{"not a picture", "<html>", nil, "fail picture"},
		{"a hostile picture", strings.Replace(picture(0), "<circle", "<script/><circle", 1), nil, "fail picture"},
		{"gone", "", errGone, "fail fetch_failed"},
		{"down", "", errDown, "temperror unreachable"},
		{"another error", "", errors.New("x"), "temperror unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, nil, func(w *world) {
				w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte(c.text), c.err })
				w.want("shop.example", "skipped not_fetched")
				w.fetches(1)
				w.want("shop.example", c.want)
				if a := w.Find(w.t.Context(), query("shop.example")); len(a.Checks) == 0 || a.Checks[len(a.Checks)-1].OK || a.Checks[len(a.Checks)-1].Detail == "" {
					t.Errorf("the answer does not say why: %+v", a.Checks)
				}
			})
		})
	}
}

// TestTimes follows a mark over days: it is fetched again while it is asked for, and it outlives a web
// server that is down for two days.
func TestTimes(t *testing.T) {
	in(t, nil, func(w *world) {
		w.want("shop.example", "skipped not_fetched")
		w.fetches(1)
		time.Sleep(17 * time.Hour)
		w.want("shop.example", "pass")
		w.fetches(1)
		time.Sleep(time.Hour + time.Second) // 18 hours: renewed ahead of its time
		w.want("shop.example", "pass")
		w.fetches(2)
		time.Sleep(25 * time.Hour) // nobody asked in time
		w.want("shop.example", "skipped not_fetched")
		w.fetches(3)
		w.want("shop.example", "pass")

		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return nil, errDown })
		began := time.Now()
		for fetches := 0; time.Since(began) < keepGood+keepStale-time.Minute; time.Sleep(time.Minute) {
			w.want("shop.example", "pass")
			if fetches > 12 {
				t.Fatal("a server that is down is asked too often")
			}
		}
		w.settle()
		w.mu.Lock()
		n := len(w.fetched) - 3
		w.mu.Unlock()
		if n < 5 || n > 8 { // after 18, 19, 21, 25, 33, 49 hours and then every 24
			t.Errorf("%d fetches from a server that is down", n)
		}
		time.Sleep(2 * time.Minute)
		if a := w.Find(w.t.Context(), query("shop.example")); a.Result == bimi.Pass {
			t.Error("a mark is used for longer than two days more")
		}
		if w.o.Counts.Stale.Load() == 0 {
			t.Error("what is stale does not count")
		}
	})
}

// TestGone has a good mark whose picture is then changed into a bad one: it goes at once.
func TestGone(t *testing.T) {
	for name, err := range map[string]error{"404": errGone, "not a picture": nil} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(w *world) {
				w.want("shop.example", "skipped not_fetched")
				w.settle()
				w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte("x"), err })
				time.Sleep(19 * time.Hour)
				w.want("shop.example", "pass")
				w.settle()
				if a := w.Find(w.t.Context(), query("shop.example")); a.Result != bimi.Fail {
					t.Errorf("%+v", a)
				}
			})
		})
	}
}

// TestBackoff asks for a bad mark every minute of a week.
func TestBackoff(t *testing.T) {
	in(t, nil, func(w *world) {
		var at []time.Duration
		began := time.Now()
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			at = append(at, time.Since(began).Round(time.Hour))
			return nil, errGone
		})
		for time.Since(began) < 120*time.Hour {
			w.Find(w.t.Context(), query("shop.example"))
			time.Sleep(time.Minute)
		}
		want := "[0s 1h0m0s 3h0m0s 7h0m0s 15h0m0s 31h0m0s 55h0m0s 79h0m0s 103h0m0s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("fetched after %s, want %s", got, want)
		}
	})
}

// TestEstablished has domains that are new, and a store that does not answer.
func TestEstablished(t *testing.T) {
	var known, asked atomic.Int64
	var broken atomic.Bool
	in(t, func(o *Options) {
		o.Established = func(_ context.Context, q bimi.Query) (bool, error) {
			asked.Add(1)
			if broken.Load() {
				return false, errors.New("the database is away")
			}
			return known.Load() == 1, nil
		}
		o.Always = func(d dns.Name) bool { return d == "listed.example" }
	}, func(w *world) {
		w.want("shop.example", "skipped not_fetched")
		w.fetches(0)
		w.want("shop.example", "skipped not_established")
		w.want("listed.example", "skipped not_fetched")
		w.fetches(1)
		w.want("listed.example", "pass")
		if n := asked.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
		known.Store(1)
		time.Sleep(notEstablished - time.Second)
		w.want("shop.example", "skipped not_established")
		time.Sleep(time.Second)
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		w.want("shop.example", "pass")
		broken.Store(true)
		w.want("new.example", "skipped not_fetched")
		w.settle()
		w.want("new.example", "skipped not_fetched")
		w.fetches(2)
	})
}

// TestTenMessages is about a daemon without a store.
func TestTenMessages(t *testing.T) {
	in(t, func(o *Options) {
		o.Established = nil
		o.Always = func(d dns.Name) bool { return d == "listed.example" }
	}, func(w *world) {
		w.want("listed.example", "skipped not_fetched")
		w.fetches(1)
		w.want("listed.example", "pass")
	})
	in(t, func(o *Options) { o.Established = nil }, func(w *world) {
		for range messages - 1 {
			w.want("shop.example", "skipped not_fetched")
		}
		w.fetches(0)
		w.want("mail.shop.example", "skipped not_fetched") // the same Organizational Domain
		w.fetches(1)
		for n := range maxDomains + 10 {
			w.limits.passed(dns.Name(fmt.Sprintf("d%d.example", n)))
		}
		if n := len(w.limits.passing); n != maxDomains {
			t.Errorf("the messages of %d domains are counted", n)
		}
	})
}

// TestOnceAnHour has an organization with many marks.
func TestOnceAnHour(t *testing.T) {
	in(t, nil, func(w *world) {
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		for range 10 {
			w.want("a.shop.example", "skipped not_fetched")
			w.settle()
		}
		for after, want := range map[time.Duration]bool{0: false, perDomain - 1: false, perDomain: true} { // it is not even looked for again
			if _, known, due := w.cache.find(idOf(query("a.shop.example")), time.Now().Add(after)); known == want || due != want {
				t.Errorf("after %s: known %t, due %t", after, known, due)
			}
		}
		w.fetches(1)
		time.Sleep(perDomain)
		w.want("a.shop.example", "skipped not_fetched")
		w.settle()
		w.want("a.shop.example", "pass")
		w.want("b.shop.example", "skipped not_fetched")
		w.fetches(2)
		// A reload does not lift the limit.
		w.end()
		w.o.Before = w.Indicators
		w.start()
		w.want("a.shop.example", "pass")
		w.want("b.shop.example", "skipped not_fetched")
		w.fetches(2)
	})
}

// TestPace has many domains at once.
func TestPace(t *testing.T) {
	in(t, nil, func(w *world) {
		began := time.Now()
		for n := range 101 {
			w.Find(w.t.Context(), query(fmt.Sprintf("d%d.example", n)))
		}
		for {
			w.settle()
			w.mu.Lock()
			n := len(w.fetched)
			w.mu.Unlock()
			if n == 101 {
				break
			}
			time.Sleep(maxPace)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("101 fetches took %s", took)
		}
	})
}

// TestLimitsAreBounded has more domains in an hour than are remembered.
func TestLimitsAreBounded(t *testing.T) {
	l, now := newLimits(), time.Unix(1e9, 0)
	for n := range maxDomains {
		if ok, _ := l.take(dns.Name(fmt.Sprint(n)), now); !ok {
			t.Fatal(n)
		}
	}
	if ok, again := l.take("one.more", now); ok || !again.After(now) {
		t.Error("one more domain is fetched from")
	}
	if ok, _ := l.take("one.more", now.Add(perDomain)); !ok || len(l.fetched) != 1 {
		t.Errorf("old domains are not forgotten: %d", len(l.fetched))
	}
	if ok, _ := l.take("one.more", now); !ok {
		t.Error("a clock that is set back stops all fetches")
	}
}

// TestWait is about the only case in which a message waits.
func TestWait(t *testing.T) {
	in(t, func(o *Options) { o.Wait = time.Hour }, func(w *world) {
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			time.Sleep(time.Second)
			return []byte(picture(200)), nil
		})
		began := time.Now()
		w.want("shop.example", "pass")
		if took := time.Since(began); took != time.Second {
			t.Errorf("the message waited for %s", took)
		}
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			time.Sleep(time.Minute)
			return nil, errDown
		})
		began = time.Now()
		w.want("slow.example", "skipped not_fetched")
		if took := time.Since(began); took != maxWait {
			t.Errorf("the message waited for %s", took)
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if a := w.Find(ctx, query("slow.example")); a.Result != bimi.Skipped || time.Since(began) != time.Second {
			t.Errorf("%+v after %s", a, time.Since(began))
		}
		time.Sleep(2 * time.Minute)
	})
}

// TestWaitsForNothing: a message does not wait for the renewal of a mark that is known, nor if nothing is fetched.
func TestWaitsForNothing(t *testing.T) {
	in(t, func(o *Options) { o.Wait = time.Hour }, func(w *world) {
		w.want("shop.example", "pass")
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) {
			time.Sleep(time.Second)
			return nil, errDown
		})
		time.Sleep(18 * time.Hour)
		began := time.Now()
		w.want("shop.example", "pass")
		if took := time.Since(began); took != 0 {
			t.Errorf("waited for %s", took)
		}
		w.end()
		w.want("new.example", "skipped not_fetched")
		if took := time.Since(began); took > time.Second { // of the stop
			t.Errorf("waited for %s", took)
		}
	})
}

// TestStops stops while something is fetched and something waits. What is known stays.
func TestStops(t *testing.T) {
	in(t, nil, func(w *world) {
		w.want("good.example", "skipped not_fetched")
		w.settle()
		w.answers(func(ctx context.Context, _ webfetch.Kind, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, &webfetch.Error{Result: webfetch.Stopped, Temporary: true, Err: ctx.Err()}
		})
		for n := range 10 {
			w.want(fmt.Sprintf("d%d.example", n), "skipped not_fetched")
		}
		time.Sleep(time.Second)
		began := time.Now()
		w.end()
		if took := time.Since(began); took != 0 {
			t.Errorf("the stop took %s", took)
		}
		w.want("good.example", "pass")
		w.want("d0.example", "skipped not_fetched")
		w.want("new.example", "skipped not_fetched")
		if len(w.queue) != 0 || len(w.pending) != 0 || len(w.perOrg) != 0 || len(w.busy) != 0 {
			t.Errorf("left over: %d %d %d %d", len(w.queue), len(w.pending), len(w.perOrg), len(w.busy))
		}
	})
}

// TestReload keeps marks only if they are judged by the same rules.
func TestReload(t *testing.T) {
	in(t, nil, func(w *world) {
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		w.end()
		w.o.Before = w.Indicators
		w.start()
		w.want("shop.example", "pass")
		w.end()
		w.o.Before = w.Indicators
		judge := *w.o.Judge
		judge.Marks.Pilot = true
		w.o.Judge = &judge
		w.start()
		w.want("shop.example", "skipped not_fetched")
	})
}

// TestPanic has a fault of ours in the background.
func TestPanic(t *testing.T) {
	var panics atomic.Int64
	in(t, func(o *Options) { o.Panicked = func(any) { panics.Add(1) } }, func(w *world) {
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { panic("x") })
		w.want("shop.example", "skipped not_fetched")
		w.settle()
		w.want("shop.example", "temperror internal")
		w.answers(func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte(picture(200)), nil })
		w.want("other.example", "skipped not_fetched")
		w.settle()
		time.Sleep(time.Second)
		w.want("other.example", "pass")
		if panics.Load() != 1 {
			t.Errorf("%d panics", panics.Load())
		}
	})
}
