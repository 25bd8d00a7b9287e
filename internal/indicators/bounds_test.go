package indicators

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/markca"
	"sekimori/internal/webfetch"
)

var shopID = id{domain: "shop.example"}

// aCache returns a cache with a good answer of begin, which ends in 4 hours and may be used for 10.
func aCache(begin time.Time) *cache {
	c := newCache(1<<20, &Counts{})
	c.learn(shopID, judged{Answer: bimi.Answer{Result: bimi.Pass, Mark: &bimi.Mark{}, Fetched: begin, Until: begin.Add(4 * time.Hour)}, Ends: begin.Add(10 * time.Hour)}, begin)
	return c
}

// TestCacheTimes has each bound of the times of an answer: a moment before it and at it.
func TestCacheTimes(t *testing.T) {
	begin := time.Unix(1e9, 0)
	down, gone := judged{Answer: bimi.Answer{Result: bimi.TempError, Reason: "down"}}, judged{Answer: bimi.Answer{Result: bimi.Fail, Reason: "gone"}}
	const hour = time.Hour
	for _, tt := range []struct {
		name  string
		do    func(*cache)
		at    time.Duration
		want  string // result, whether it is to be fetched, stale answers
		fresh bool   // an empty cache
	}{
		{"good", nil, 3*hour - 1, "pass false 0", false},
		{"good, to be renewed", nil, 3 * hour, "pass true 0", false},
		{"good, at its last moment", nil, 4*hour - 1, "pass true 0", false},
		{"good, over", nil, 4 * hour, " true 0", false},
		{"down", func(c *cache) { c.learn(shopID, down, begin.Add(3*hour)) }, 4*hour - 1, "pass false 0", false},
		{"down, an hour later", func(c *cache) { c.learn(shopID, down, begin.Add(3*hour)) }, 4 * hour, "pass true 1", false},
		{"down, at the last moment", func(c *cache) { c.learn(shopID, down, begin.Add(3*hour)) }, 10*hour - 1, "pass true 1", false},
		{"down, over", func(c *cache) { c.learn(shopID, down, begin.Add(3*hour)) }, 10 * hour, " true 0", false},
		{"down as the good answer ends", func(c *cache) { c.learn(shopID, down, begin.Add(10*hour-1)) }, 10*hour - 1, "pass false 1", false},
		{"down after the good answer ended", func(c *cache) { c.learn(shopID, down, begin.Add(10*hour)) }, 10 * hour, "temperror false 0", false},
		{"gone", func(c *cache) { c.learn(shopID, gone, begin.Add(hour)) }, 2*hour - 1, "fail false 0", false},
		{"gone, an hour later", func(c *cache) { c.learn(shopID, gone, begin.Add(hour)) }, 2 * hour, " true 0", false},
		{"gone twice", func(c *cache) { c.learn(shopID, gone, begin); c.learn(shopID, gone, begin) }, 2*hour - 1, "fail false 0", false},
		{"gone twice, two hours later", func(c *cache) { c.learn(shopID, gone, begin); c.learn(shopID, gone, begin) }, 2 * hour, " true 0", false},
		{"down twice", func(c *cache) { c.learn(shopID, down, begin); c.learn(shopID, down, begin) }, 2*hour - 1, "pass false 0", false},
		{"down, then good, then down", func(c *cache) {
			c.learn(shopID, down, begin)
			c.learn(shopID, judged{Answer: bimi.Answer{Result: bimi.Pass, Fetched: begin, Until: begin.Add(4 * hour)}, Ends: begin.Add(10 * hour)}, begin)
			c.learn(shopID, down, begin)
		}, hour, "pass true 0", false},
		{"unknown", nil, 0, " true 0", true},
		{"put off", func(c *cache) { c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin, begin.Add(hour)) }, hour - 1, "skipped false 0", true},
		{"put off, over", func(c *cache) { c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin, begin.Add(hour)) }, hour, " true 0", true},
		{"put off while good", func(c *cache) {
			c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin.Add(4*hour-1), begin.Add(9*hour))
		}, 4*hour - 1, "pass false 0", false},
		{"put off while it may be stale", func(c *cache) {
			c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin.Add(10*hour-1), begin.Add(11*hour))
		}, 10*hour - 1, " false 0", false},
		{"put off when all is over", func(c *cache) {
			c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin.Add(10*hour), begin.Add(11*hour))
		}, 10 * hour, "skipped false 0", false},
		{"put off while it is known to be gone", func(c *cache) {
			c.learn(shopID, gone, begin)
			c.postpone(shopID, bimi.Answer{Result: bimi.Skipped}, begin.Add(hour-1), begin.Add(2*hour))
		}, hour - 1, "fail false 0", true},
	} {
		c := newCache(1<<20, &Counts{})
		if !tt.fresh {
			c = aCache(begin)
		}
		if tt.do != nil {
			tt.do(c)
		}
		a, known, due := c.find(shopID, begin.Add(tt.at))
		if got := fmt.Sprint(a.Result, " ", due, " ", c.counts.Stale.Load()); got != tt.want || known != (a.Result != "") {
			t.Errorf("%s, after %s: %q, known %t, want %q", tt.name, tt.at, got, known, tt.want)
		}
	}
}

// TestSizeOf: every text of an entry counts, and the picture for its two forms.
func TestSizeOf(t *testing.T) {
	if n := sizeOf(&entry{}); n != overhead {
		t.Errorf("an empty entry has %d octets", n)
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	e := &entry{id: id{dns.Name(x(1)), x(2), x(4), x(8)}, answer: bimi.Answer{Checks: []bimi.Check{{Detail: x(16)}, {Detail: x(32)}}, Mark: &bimi.Mark{SVG: []byte(x(100)), Type: x(64), Owner: x(128), Issuer: x(256), Serial: x(512)}}}
	if n := sizeOf(e); n != overhead+15+16+32+2*40+250+64+128+256+512+160 {
		t.Errorf("%d octets", n)
	}
	// A cache that is full to the octet loses nothing.
	for limit, want := range map[int64]int{2 * (overhead + 1): 2, 2*(overhead+1) - 1: 1} {
		c := newCache(4*limit, &Counts{})
		c.put(&entry{id: id{domain: "a"}})
		c.put(&entry{id: id{domain: "b"}})
		if n := c.bad.list.Len(); n != want || c.counts.Entries.Load() != int64(want) || c.counts.Octets.Load() != int64(want)*(overhead+1) || c.counts.Evictions.Load() != int64(2-want) {
			t.Errorf("limit %d: %d entries, %d octets, %d evicted", limit, n, c.counts.Octets.Load(), c.counts.Evictions.Load())
		}
	}
	if c := newCache(1000, &Counts{}); c.good.limit != 750 || c.bad.limit != 250 {
		t.Errorf("limits %d and %d", c.good.limit, c.bad.limit)
	}
}

// TestRules: an answer holds only under the rules by which it was made, so each setting is in their digest.
func TestRules(t *testing.T) {
	root := func(raw string) *x509.Certificate { return &x509.Certificate{Raw: []byte(raw)} }
	seen := map[Rules]string{}
	for name, j := range map[string]*Judge{
		"none": {}, "required": {RequireCertificate: true}, "pilot": {Marks: mark.Rules{Pilot: true}},
		"root a": {Marks: mark.Rules{Roots: []*x509.Certificate{root("a")}}}, "root b": {Marks: mark.Rules{Roots: []*x509.Certificate{root("b")}}},
		"root ab": {Marks: mark.Rules{Roots: []*x509.Certificate{root("ab")}}}, "roots a, b": {Marks: mark.Rules{Roots: []*x509.Certificate{root("a"), root("b")}}},
		"roots ab, empty": {Marks: mark.Rules{Roots: []*x509.Certificate{root("ab"), root("")}}},
		"type a":          {Marks: mark.Rules{Types: []string{"a"}}}, "type b": {Marks: mark.Rules{Types: []string{"b"}}}, "types": {Marks: mark.Rules{Types: []string{"a", "b"}}}, "logs": {Marks: mark.Rules{Logs: mark.BuiltinLogs()}},
	} {
		r := j.Rules()
		if other, is := seen[r]; is {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		if seen[r] = name; r != j.Rules() {
			t.Errorf("%q has two digests", name)
		}
	}
}

// TestOtherSize: a reload with another size of the memory begins with an empty one, and keeps the limits.
func TestOtherSize(t *testing.T) {
	a := New(Options{Judge: &Judge{}, Size: 1 << 20})
	for size, same := range map[int64]bool{1 << 20: true, 1 << 21: false} {
		if b := New(Options{Judge: &Judge{}, Size: size, Before: a}); (b.cache == a.cache) != same || b.limits != a.limits || b.o.Before != nil {
			t.Errorf("%d octets: the same memory %t", size, b.cache == a.cache)
		}
	}
	if New(Options{Judge: &Judge{}}).cache.good.limit != 24<<20 {
		t.Error("the usual size")
	}
}

// TestNames: a root is named by what there is, and those that end first come first.
func TestNames(t *testing.T) {
	at := time.Unix(1e9, 0)
	j := &Judge{Marks: mark.Rules{Roots: []*x509.Certificate{
		{NotAfter: at.Add(2), Subject: pkix.Name{CommonName: "C", Organization: []string{"O"}}}, {NotAfter: at.Add(1), Subject: pkix.Name{Organization: []string{"O", "P"}}}, {NotAfter: at.Add(3)},
	}}}
	if got := fmt.Sprint(j.Roots()); got != fmt.Sprint([]Root{{"O", at.Add(1)}, {"C", at.Add(2)}, {"", at.Add(3)}}) {
		t.Error(got)
	}
	i := New(Options{Judge: j, Now: func() time.Time { return at }})
	if root, certificate := i.Ends(); !root.Equal(at.Add(1)) || !certificate.IsZero() {
		t.Errorf("%s, %s", root, certificate)
	}
	for n, m := range []*bimi.Mark{{Certified: true, NotAfter: at}, {NotAfter: at.Add(1)}, {Certified: true, NotAfter: at.Add(3)}, {Certified: true, NotAfter: at.Add(2)}, nil} {
		i.cache.put(&entry{id: id{selector: fmt.Sprint(n)}, answer: bimi.Answer{Result: bimi.Pass, Mark: m}})
	}
	i.cache.put(&entry{id: id{selector: "bad"}, answer: bimi.Answer{Result: bimi.Fail}})
	if _, certificate := i.Ends(); !certificate.Equal(at.Add(2)) {
		t.Errorf("the first certificate ends at %s", certificate)
	}
	if good, bad := i.Size(); good != 5 || bad != 1 {
		t.Errorf("%d good, %d bad", good, bad)
	}
	if i.Mark(bimi.Query{Selector: "3"}) == nil || i.Mark(bimi.Query{Selector: "bad"}) != nil || i.Mark(bimi.Query{Selector: "x"}) != nil {
		t.Error("a mark in memory is not found, or another one is")
	}
}

// TestTenth: a domain stays established after the message that made it so.
func TestTenth(t *testing.T) {
	l := newLimits()
	for n := range 2 * messages {
		if got := l.often("a.example"); got != (n >= messages) {
			t.Errorf("after %d messages: %t", n, got)
		}
		l.passed("a.example")
	}
	if len(l.passing) != 1 {
		t.Errorf("%d domains", len(l.passing))
	}
}

// TestTake has each bound of once an hour.
func TestTake(t *testing.T) {
	now := time.Unix(1e9, 0)
	for after, want := range map[time.Duration]bool{-1: true, 0: false, perDomain - 1: false, perDomain: true} {
		l := newLimits()
		l.take("a.example", now)
		if ok, again := l.take("a.example", now.Add(after)); ok != want || !ok && !again.Equal(now.Add(perDomain)) {
			t.Errorf("after %s: %t, again at %s", after, ok, again)
		}
	}
	// One whose hour is over may be fetched from even if there is no room for another.
	l := newLimits()
	for n := range maxDomains {
		l.fetched[dns.Name(fmt.Sprint(n))] = now
	}
	l.fetched["0"] = now.Add(-perDomain)
	if ok, _ := l.take("0", now); !ok || len(l.fetched) != maxDomains {
		t.Errorf("%d domains", len(l.fetched))
	}
	if ok, again := l.take("new.example", now); ok || !again.Equal(now.Add(perDomain/4)) {
		t.Errorf("again at %s", again)
	}
}

// TestPaceEnds: a fetch whose time is over before it may begin does not begin.
func TestPaceEnds(t *testing.T) {
	l := newLimits()
	l.slot = time.Now().Add(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.pace(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestListTimes: from when a list is fetched again.
func TestListTimes(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	for name, tt := range map[string]struct {
		next time.Duration // NextUpdate
		want time.Duration
	}{"ends late": {7 * 24 * time.Hour, listFresh}, "ends soon": {time.Hour, time.Hour}, "ends at once": {time.Minute, listAgain}} {
		l := NewLists()
		text := ca.CRL(t, markca.List{NextUpdate: now.Add(tt.next)})
		fetch := func(context.Context, webfetch.Kind, string) ([]byte, error) { return text, nil }
		if l.one(t.Context(), "u", now, fetch, func(*mark.CRL) bool { return true }) == nil {
			t.Errorf("%s: there is no list", name)
		}
		if k := l.of["u"]; k.next.Sub(now) != tt.want || k.size != int64(len(text)) || k.flight != nil {
			t.Errorf("%s: again after %s, %d octets", name, k.next.Sub(now), k.size)
		}
	}
	l := NewLists()
	for n, text := range []string{"no list", ""} {
		if l.one(t.Context(), fmt.Sprint(n), now, func(context.Context, webfetch.Kind, string) ([]byte, error) { return []byte(text), nil }, func(crl *mark.CRL) bool { return !crl.NextUpdate().IsZero() }) != nil || l.of[fmt.Sprint(n)].next.Sub(now) != listAgain {
			t.Errorf("%q is a list", text)
		}
	}
	// A list that cannot be used is returned, so that the judgement can say why, unless there is one that can.
	text := ca.CRL(t, markca.List{})
	fetch := func(context.Context, webfetch.Kind, string) ([]byte, error) { return text, nil }
	useless := func(*mark.CRL) bool { return false }
	if crl := l.one(t.Context(), "useless", now, fetch, useless); crl == nil || l.of["useless"].crl != nil || l.of["useless"].next.Sub(now) != listAgain {
		t.Errorf("a list that cannot be used: %v, %+v", crl, l.of["useless"])
	}
	good := l.one(t.Context(), "good", now, fetch, func(*mark.CRL) bool { return true })
	if crl := l.one(t.Context(), "good", now.Add(listFresh), fetch, useless); good == nil || crl != good || l.of["good"].crl != good || !l.of["good"].used.Equal(now.Add(listFresh)) {
		t.Errorf("after a good one: %v, %+v", crl, l.of["good"])
	}
	// Who waits for another's fetch goes when its own time is over.
	_, _, mine := l.look("flight", now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, flight, other := l.look("flight", now); !mine || other || flight == nil || l.one(ctx, "flight", now, nil, nil) != nil {
		t.Error("two fetch the same list")
	}
}

// TestShrink has each bound of what is remembered of lists.
func TestShrink(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		n    int
		size int64
		want int
	}{{maxLists, 1, maxLists}, {maxLists + 1, 1, maxLists}, {2, maxListOctets / 2, 2}, {2, maxListOctets/2 + 1, 1}, {1, maxListOctets + 1, 1}} {
		l := NewLists()
		for i := range tt.n {
			l.of[fmt.Sprint(i)] = &known{size: tt.size, used: now.Add(time.Duration(i))}
		}
		if l.shrink(); len(l.of) != tt.want || l.of[fmt.Sprint(tt.n-1)] == nil {
			t.Errorf("%d lists of %d octets: %d stay", tt.n, tt.size, len(l.of))
		}
	}
	l := NewLists()
	for i := range maxLists + 1 {
		l.of[fmt.Sprint(i)] = &known{used: now.Add(time.Duration(i))}
	}
	l.of["0"].flight = make(chan struct{}) // it is being fetched, so it stays
	if l.shrink(); l.of["0"] == nil || l.of["1"] != nil {
		t.Error("a list that is being fetched goes")
	}
}

// TestStoreWarns: a store that fails is said in the log, and an answer of it that cannot be used is none.
func TestStoreWarns(t *testing.T) {
	var log strings.Builder
	m := &memory{marks: map[bimi.MarkKey][]byte{}, until: map[bimi.MarkKey]time.Time{}}
	i := New(Options{Judge: &Judge{}, Now: func() time.Time { return time.Unix(1e9, 0) }, Log: slog.New(slog.NewTextHandler(&log, nil)), Store: m})
	good := judged{Answer: bimi.Answer{Result: bimi.Pass, Mark: &bimi.Mark{SVG: []byte("x")}}, Ends: time.Unix(1e9+1, 0)}
	for n, tt := range []struct {
		a    judged
		want bool
	}{{good, true}, {judged{Answer: bimi.Answer{Result: bimi.Fail, Mark: good.Mark}, Ends: good.Ends}, false}, {judged{Answer: bimi.Answer{Result: bimi.Pass}, Ends: good.Ends}, false}} {
		m := id{selector: fmt.Sprint(n)}
		i.keep(t.Context(), m, tt.a)
		if got := i.load(t.Context(), m); (got != nil) != tt.want || got != nil && !reflect.DeepEqual(got.Mark, good.Mark.Prepared()) { // no message should prepare it anew
			t.Errorf("%+v: %+v", tt.a, got)
		}
	}
	damaged := id{selector: "damaged"} // by another version: all is there, and one field is of another type
	i.keep(t.Context(), damaged, good)
	key := i.key(damaged)
	if m.marks[key] = append(bytes.TrimSuffix(m.marks[key], []byte("}")), `,"ends":5}`...); i.load(t.Context(), damaged) != nil {
		t.Errorf("%s is taken", m.marks[key])
	}
	if i.load(t.Context(), id{selector: "none"}) != nil || log.Len() != 0 {
		t.Errorf("%s", log.String())
	}
	m.err = errDown
	if i.load(t.Context(), shopID) != nil || !strings.Contains(log.String(), "does not give a mark") {
		t.Errorf("%s", log.String())
	}
	if i.keep(t.Context(), shopID, good); !strings.Contains(log.String(), "not in the store") {
		t.Errorf("%s", log.String())
	}
}

// TestLog: the log has what came of a mark, and of whom it is.
func TestLog(t *testing.T) {
	for want, m := range map[string]*bimi.Mark{
		"": nil, " owner=Shop issuer=CA certificate_ends=2027-01-01T00:00:00.000Z": {Owner: "Shop", Issuer: "CA", NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		var log strings.Builder
		i := New(Options{Judge: &Judge{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		i.log(query("shop.example"), bimi.Answer{Result: bimi.Fail, Reason: "crl", Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Mark: m})
		if _, got, _ := strings.Cut(log.String(), " level="); got != `INFO msg="bimi: mark fetched" domain=shop.example selector=default result=fail reason=crl until=2026-12-01T00:00:00.000Z`+want+"\n" {
			t.Error(got)
		}
	}
}

// TestStopped: a fetch that may not begin any more says nothing about the mark.
func TestStopped(t *testing.T) {
	j := &Judge{Lists: NewLists(), Fetch: func(context.Context, webfetch.Kind, string) ([]byte, error) { panic("fetched") }}
	for _, q := range []bimi.Query{query("shop.example"), shop()} {
		if a := j.judge(t.Context(), q, time.Now(), func(context.Context) error { return context.Canceled }); a.Result != bimi.TempError || a.Reason != ReasonUnreachable {
			t.Errorf("%+v", a)
		}
	}
}

// TestNoLocation: a record without l= has the picture of the certificate, and nothing differs from it.
func TestNoLocation(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ca := markca.New(t, now)
	web := newCertified(t, ca)
	j := &Judge{Fetch: web.fetch, Lists: NewLists(), Marks: mark.Rules{Roots: []*x509.Certificate{ca.Root}}}
	q := shop()
	q.Location = ""
	if a := j.Check(t.Context(), q, now); a.Result != bimi.Pass || !a.Mark.Same || len(web.asked) != 3 {
		t.Errorf("%+v; fetched %q", a, web.asked)
	}
	if a := j.CheckFile(t.Context(), web.of[q.Evidence], q, now); a.Result != bimi.Pass || string(a.Mark.SVG) != markca.SVG {
		t.Errorf("a file: %+v", a)
	}
}
