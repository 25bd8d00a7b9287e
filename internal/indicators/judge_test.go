package indicators

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/webfetch"
)

// certified is a web with a mark certificate, its revocation lists and its picture.
type certified struct {
	mu    sync.Mutex
	of    map[string][]byte
	kinds map[string]webfetch.Kind
	down  map[string]bool
	asked []string
}

func newCertified(t *testing.T, ca *markca.CA, changes ...func(*markca.Leaf)) *certified {
	return &certified{kinds: map[string]webfetch.Kind{}, down: map[string]bool{}, of: map[string][]byte{
		"https://shop.example/vmc.pem":  ca.Issue(t, "shop.example", changes...),
		"https://shop.example/logo.svg": []byte(markca.SVG),
		markca.IssuerCRL:                ca.CRL(t, markca.List{}),
		markca.RootCRL:                  ca.RootCRL(t, markca.List{}),
	}}
}

func (c *certified) fetch(_ context.Context, kind webfetch.Kind, url string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[url] = kind
	c.asked = append(c.asked, url)
	if text, ok := c.of[url]; ok && !c.down[url] {
		return text, nil
	}
	if c.down[url] {
		return nil, errDown
	}
	return nil, errGone
}

func shop() bimi.Query {
	q := query("shop.example")
	q.Evidence = "https://shop.example/vmc.pem"
	return q
}

func TestCertified(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	other := markca.New(t, now)
	for _, c := range []struct {
		name    string
		changes []func(*markca.Leaf)
		web     func(*certified)
		rules   func(*mark.Rules)
		want    string
		asked   int
		same    bool
	}{
		{name: "good", want: "pass pass ", asked: 4, same: true},
		{name: "compressed picture", web: func(c *certified) { c.of["https://shop.example/logo.svg"] = markca.Gzip(t, []byte(markca.SVG)) },
			want: "pass pass ", asked: 4, same: true},
		{name: "another picture at l=", web: func(c *certified) { c.of["https://shop.example/logo.svg"] = []byte(picture(300)) }, want: "pass pass ", asked: 4},
		{name: "a bomb at l=", web: func(c *certified) { c.of["https://shop.example/logo.svg"] = markca.Gzip(t, make([]byte, 1<<20)) }, want: "pass pass ", asked: 4},
		{name: "nothing at l=", web: func(c *certified) { delete(c.of, "https://shop.example/logo.svg") }, want: "pass pass ", asked: 4},
		{name: "no certificate", web: func(c *certified) { delete(c.of, "https://shop.example/vmc.pem") }, want: "fail none fetch_failed", asked: 1},
		{name: "server down", web: func(c *certified) { c.down["https://shop.example/vmc.pem"] = true }, want: "temperror none unreachable", asked: 1},
		{name: "no PEM", web: func(c *certified) { c.of["https://shop.example/vmc.pem"] = []byte("<html>") }, want: "fail fail pem", asked: 1},
		{name: "another root", rules: func(r *mark.Rules) { r.Roots = []*x509.Certificate{other.Root} }, want: "fail fail chain", asked: 1},
		{name: "another domain", changes: []func(*markca.Leaf){func(l *markca.Leaf) { l.DNSNames = []string{"other.example"} }}, want: "fail fail san", asked: 1},
		{name: "ended", changes: []func(*markca.Leaf){func(l *markca.Leaf) { l.NotAfter = now.Add(-time.Hour) }}, want: "fail fail validity", asked: 1},
		{name: "another mark type", rules: func(r *mark.Rules) { r.Types = []string{"Government Mark"} }, want: "fail fail type", asked: 1},
		{name: "revoked", web: func(c *certified) {
			block, _ := ca.Certificate(t, "x.example"), 0
			serial := new(big.Int).Sub(block.SerialNumber, big.NewInt(1)) // the one before is the shop's
			c.of[markca.IssuerCRL] = ca.CRL(t, markca.List{Revoked: []*big.Int{serial}})
		}, want: "fail fail revoked", asked: 3},
		{name: "forged list", web: func(c *certified) { c.of[markca.IssuerCRL] = ca.CRL(t, markca.List{Forged: true}) }, want: "temperror none crl", asked: 3},
		{name: "no list", web: func(c *certified) { c.down[markca.IssuerCRL] = true }, want: "temperror none crl", asked: 3},
		{name: "list overdue by an hour", web: func(c *certified) {
			c.of[markca.IssuerCRL] = ca.CRL(t, markca.List{NextUpdate: now.Add(-time.Hour), ThisUpdate: now.Add(-48 * time.Hour)})
		},
			want: "pass pass ", asked: 4, same: true},
		{name: "list overdue by two days", web: func(c *certified) {
			c.of[markca.IssuerCRL] = ca.CRL(t, markca.List{NextUpdate: now.Add(-48 * time.Hour), ThisUpdate: now.Add(-72 * time.Hour)})
		}, want: "temperror none crl", asked: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := newCertified(t, ca, c.changes...)
			if c.web != nil {
				c.web(web)
			}
			j := &Judge{Fetch: web.fetch, Lists: NewLists(), RequireCertificate: true, Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}}}
			if c.rules != nil {
				c.rules(&j.Marks)
			}
			a := j.Check(t.Context(), shop(), now)
			if got := fmt.Sprint(a.Result, " ", a.Authority, " ", a.Reason); got != c.want || len(web.asked) != c.asked {
				t.Fatalf("%q, want %q; fetched %q; checks %+v", got, c.want, web.asked, a.Checks)
			}
			if a.Result != bimi.Pass {
				if a.Mark != nil || !a.Until.IsZero() || slices.IndexFunc(a.Checks, func(c bimi.Check) bool { return !c.OK && c.Detail != "" }) < 0 {
					t.Errorf("%+v", a)
				}
				return
			}
			const lost = "; the certificate's picture is used, and l= is not passed on"
			if detail := a.Checks[len(a.Checks)-1].Detail; map[string]bool{
				"another picture at l=": detail == "it is not the picture of the certificate: publish that one at l="+lost,
				"a bomb at l=":          strings.HasSuffix(detail, lost) && len(detail) > len(lost),
				"nothing at l=":         detail == "the server answered with status 404 ()"+lost,
			}[c.name] == c.same {
				t.Errorf("the last check says %q", detail)
			}
			if a.Mark.Same != c.same || string(a.Mark.SVG) != markca.SVG || !a.Mark.Certified || a.Until.After(now.Add(keepGood)) {
				t.Errorf("%+v", a.Mark)
			}
			for url, kind := range web.kinds {
				want := map[bool]webfetch.Kind{strings.HasSuffix(url, ".pem"): webfetch.Certificate, strings.HasSuffix(url, ".svg"): webfetch.Picture, strings.HasSuffix(url, ".crl"): webfetch.CRL}[true]
				if kind != want {
					t.Errorf("%s is fetched as a %s", url, kind)
				}
			}
		})
	}
}

// TestCause says why a fetch failed, and of what.
func TestCause(t *testing.T) {
	for want, err := range map[string]error{
		"no route (https://a.example/)": fmt.Errorf("fetch: %w", &webfetch.Error{URL: "https://a.example/", Err: errors.New("no route")}), "x": errors.New("x"),
	} {
		if got := cause(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestOneListFetch has several that need the same list at once: one fetches it, and all get it when it is there.
func TestOneListFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		text := markca.New(t, now).CRL(t, markca.List{})
		l, hold := NewLists(), make(chan struct{})
		var fetches, got atomic.Int64
		for range 3 {
			go func() {
				crl := l.one(t.Context(), "u", now, func(context.Context, webfetch.Kind, string) ([]byte, error) {
					fetches.Add(1)
					<-hold
					return text, nil
				}, func(*mark.CRL) bool { return true })
				if crl != nil {
					got.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := got.Load(); n != 0 {
			t.Errorf("%d have a list that nobody has fetched", n)
		}
		close(hold)
		synctest.Wait()
		if got.Load() != 3 || fetches.Load() != 1 {
			t.Errorf("%d have the list after %d fetches", got.Load(), fetches.Load())
		}
	})
}

// TestEnds has certificates and lists that end soon.
func TestEnds(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	for _, c := range []struct {
		name        string
		change      func(*markca.Leaf)
		list        markca.List
		until, ends time.Duration
	}{
		{"all last", func(*markca.Leaf) {}, markca.List{}, keepGood, keepGood + keepStale},
		{"the certificate ends", func(l *markca.Leaf) { l.NotAfter = now.Add(5 * time.Hour) }, markca.List{}, 5 * time.Hour, 5 * time.Hour},
		{"the certificate ends later", func(l *markca.Leaf) { l.NotAfter = now.Add(50 * time.Hour) }, markca.List{}, keepGood, 50 * time.Hour},
		{"the list ends", func(*markca.Leaf) {}, markca.List{NextUpdate: now.Add(5 * time.Hour)}, 5 * time.Hour, 29 * time.Hour},
		{"the list is overdue", func(*markca.Leaf) {}, markca.List{NextUpdate: now.Add(-20 * time.Hour), ThisUpdate: now.Add(-48 * time.Hour)}, keepBad, 4 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := newCertified(t, ca, c.change)
			web.of[markca.IssuerCRL] = ca.CRL(t, c.list)
			j := &Judge{Fetch: web.fetch, Lists: NewLists(), Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}}}
			a := j.judge(t.Context(), shop(), now, func(context.Context) error { return nil })
			if a.Result != bimi.Pass || !a.Until.Equal(now.Add(c.until)) || !a.Ends.Equal(now.Add(c.ends)) {
				t.Errorf("%s %s: until %s, ends %s, want %s and %s", a.Result, a.Reason, a.Until.Sub(now), a.Ends.Sub(now), c.until, c.ends)
			}
		})
	}
}

// TestLists has many marks of one issuer, whose list is fetched once.
func TestLists(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	web := newCertified(t, ca)
	j := &Judge{Fetch: web.fetch, Lists: NewLists(), Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}}}
	lists := func() (n int) {
		web.mu.Lock()
		defer web.mu.Unlock()
		for _, url := range web.asked {
			if strings.HasSuffix(url, ".crl") {
				n++
			}
		}
		return n
	}
	check := func(at time.Time, want bimi.Result, fetched int) {
		t.Helper()
		if a := j.Check(t.Context(), shop(), at); a.Result != want {
			t.Errorf("%s: %+v", a.Result, a.Checks)
		}
		if n := lists(); n != fetched {
			t.Errorf("lists were fetched %d times, want %d", n, fetched)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if a := j.Check(t.Context(), shop(), now); a.Result != bimi.Pass {
				t.Errorf("%+v", a.Checks)
			}
		})
	}
	all.Wait()
	check(now.Add(time.Minute), bimi.Pass, 2)
	check(now.Add(listFresh), bimi.Pass, 4)
	// The list's server is down: the old list serves, and the server is asked again a little later.
	web.down[markca.IssuerCRL], web.down[markca.RootCRL] = true, true
	check(now.Add(2*listFresh), bimi.Pass, 6)
	check(now.Add(2*listFresh+time.Minute), bimi.Pass, 6)
	check(now.Add(2*listFresh+listAgain), bimi.Pass, 8)
	check(now.Add(7*24*time.Hour+23*time.Hour), bimi.Pass, 10)
	check(now.Add(7*24*time.Hour+25*time.Hour), bimi.TempError, 12)
	// There are many.
	for n := range 3 * maxLists {
		j.Lists.one(t.Context(), fmt.Sprintf("http://crl.example/%d", n), now, web.fetch, func(*mark.CRL) bool { return true })
	}
	if n := len(j.Lists.of); n != maxLists {
		t.Errorf("%d lists are remembered", n)
	}
	j.Lists.of = map[string]*known{}
	for n := range 5 {
		j.Lists.of[fmt.Sprint(n)] = &known{size: maxListOctets / 3, used: now.Add(time.Duration(n))}
	}
	j.Lists.shrink()
	if n := len(j.Lists.of); n != 3 || j.Lists.of["0"] != nil || j.Lists.of["4"] == nil {
		t.Errorf("%d large lists are remembered", n)
	}
}

// TestForgedList puts a list that the CA did not sign in the place of a good one, as anybody on the way to the
// CA's server can.
func TestForgedList(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	const first, second = "http://a.example/1.crl", "http://b.example/1.crl"
	leaf := ca.Certificate(t, "shop.example", func(l *markca.Leaf) { l.CRLDistributionPoints = []string{first, second} })
	good, forged := ca.CRL(t, markca.List{}), ca.CRL(t, markca.List{Forged: true})
	web := map[string][]byte{first: good, second: good, markca.RootCRL: ca.RootCRL(t, markca.List{}), shop().Evidence: ca.File(leaf), shop().Location: []byte(markca.SVG)}
	var asked []string
	j := &Judge{Lists: NewLists(), Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}}, Fetch: func(_ context.Context, _ webfetch.Kind, url string) ([]byte, error) {
		asked = append(asked, url)
		return web[url], nil
	}}
	check := func(at time.Time, want bimi.Result, asks ...string) {
		t.Helper()
		asked = nil
		a := j.Check(t.Context(), shop(), at)
		asked = slices.DeleteFunc(asked, func(url string) bool { return !strings.HasSuffix(url, "/1.crl") })
		if a.Result != want || !slices.Equal(asked, asks) {
			t.Errorf("%s after asking %q, want %s, %q: %+v", a.Result, asked, want, asks, a.Checks)
		}
	}
	web[first], web[second] = forged, forged
	check(now, bimi.TempError, first, second)
	check(now.Add(time.Minute), bimi.TempError) // asked a little later only
	web[second] = good
	check(now.Add(listAgain), bimi.Pass, first, second)
	check(now.Add(2*listAgain), bimi.Pass, first) // the second is remembered
	web[first], web[second] = good, forged
	check(now.Add(3*listAgain), bimi.Pass, first)
	web[first] = forged
	check(now.Add(3*listAgain+listFresh), bimi.Pass, first) // the good one stays
}

// TestKnown looks at what the console shows.
func TestKnown(t *testing.T) {
	now := time.Now()
	ca := markca.New(t, now)
	web := newCertified(t, ca)
	in(t, func(o *Options) {
		o.Judge.Marks.Roots = []*x509.Certificate{ca.Root}
		o.Now = func() time.Time { return now }
	}, func(w *world) {
		w.answers(web.fetch)
		w.Find(w.t.Context(), shop())
		w.settle()
		w.Find(w.t.Context(), query("none.example"))
		time.Sleep(time.Second)
		root, certificate := w.Ends()
		if all := w.Known(10); len(all) != 2 || all[0].Domain != "shop.example" || all[0].Answer.Mark.Owner != "Shop KK" || all[1].Answer.Reason != ReasonFetch {
			t.Errorf("%+v", all)
		}
		if len(w.Known(1)) != 1 || !root.Equal(ca.Root.NotAfter) || certificate.IsZero() || !certificate.Equal(w.Known(1)[0].Answer.Mark.NotAfter) {
			t.Errorf("%s %s", root, certificate)
		}
		if roots := w.Roots(); len(roots) != 1 || roots[0].Name != "Test Mark Root" {
			t.Errorf("%+v", roots)
		}
	})
}
