package dmarc

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// asked is a resolver that sends each question to the resolver in its field
// "next" and keeps a list of the questions.
type asked struct {
	dns.LookupOnly
	next  dns.Resolver
	mu    sync.Mutex
	names []string
}

func (a *asked) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	a.mu.Lock()
	a.names = append(a.names, string(name)+" "+typ.String())
	a.mu.Unlock()
	return a.next.Lookup(ctx, name, typ)
}

func (a *asked) count() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.names)
}

// checkAhead evaluates a message again, with a resolver that asks for all names
// of a tree walk at once. The first evaluation asked one question after the other:
// "want" is its outcome, and "inTurn" are its questions. The outcome must be the
// same. The questions of the first evaluation must be asked again, and no
// question may be asked twice. A further question must belong to a tree walk, or
// ask whether the author exists.
func checkAhead(tb testing.TB, z dns.Resolver, author dns.Name, ids []Identifier, o Options, want Evaluation, inTurn []string) {
	tb.Helper()
	next := &asked{next: z}
	r := dns.NewAhead(next)
	d := Discover(tb.Context(), r, author, o)
	if n := len(next.count()); n > maxWalkLabels {
		tb.Errorf("%d questions at once", n)
	}
	certain := map[Mechanism]bool{}
	for _, id := range ids {
		certain[id.Mechanism] = certain[id.Mechanism] || id.State == StatePass && d.Aligns(id.Mechanism, id.Domain)
	}
	got := d.Evaluate(tb.Context(), r, ids)
	if certain[SPF] && !got.AlignedSPF || certain[DKIM] && !got.AlignedDKIM {
		tb.Errorf("Aligns was certain of a pass that Evaluate does not give: %+v", got)
	}
	one, err1 := json.Marshal(want)
	two, err2 := json.Marshal(got)
	if err1 != nil || err2 != nil || string(one) != string(two) {
		tb.Errorf("in turn %s\nat once %s", one, two)
	}
	possible := []string{string(author) + " A"}
	for _, start := range append([]Identifier{{Domain: author}}, ids...) {
		for _, domain := range walkNames(start.Domain) {
			possible = append(possible, "_dmarc."+string(domain)+" TXT")
		}
	}
	all := next.count()
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		tb.Errorf("asked twice: %q", all)
	}
	for _, q := range all {
		if !slices.Contains(possible, q) {
			tb.Errorf("asked %s, which no walk asks", q)
		}
	}
	for _, q := range inTurn {
		if !slices.Contains(all, q) {
			tb.Errorf("did not ask %s", q)
		}
	}
}

// slow is a resolver that takes a second for each answer.
type slow struct {
	dns.LookupOnly
	next dns.Resolver
}

func (s slow) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	time.Sleep(time.Second)
	return s.next.Lookup(ctx, name, typ)
}

// TestWalkAtOnce checks that a tree walk takes as long as one question if the
// resolver asks for all its names at once. Evaluate must not wait again for
// answers that came during Discover.
func TestWalkAtOnce(t *testing.T) {
	long := strings.Repeat("a", 63)
	long = "a.b." + long + "." + long + "." + long + "." + long[:57] // as long as a name may be
	for _, tt := range []struct {
		why, zone string
		author    dns.Name
		id        dns.Name
		questions int // number of questions that Discover asks
		discover  time.Duration
		evaluate  time.Duration
	}{
		{"the parent's record", `_dmarc.example.com TXT "v=DMARC1; p=none"`, "a.b.example.com", "example.com", 4, time.Second, 0},
		{"nothing anywhere", ``, "1.2.3.4.5.6.7.8.9", "", 8, time.Second, 0},
		{"the two longest names are too long with _dmarc in front", ``, dns.Name(long), "", 3, time.Second, 0},
		{"the author's own record: its parents are asked for at the same time", `_dmarc.a.example.com TXT "v=DMARC1; p=none"`,
			"a.example.com", "example.com", 3, time.Second, 0},
		{"the walk of an identifier takes a second more", `_dmarc.example.com TXT "v=DMARC1; p=none"`,
			"example.com", "x.y.example.com", 2, time.Second, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := &asked{next: slow{next: nameserver.Zone(t, tt.zone)}}
			r := dns.NewAhead(next)
			begin := time.Now()
			d := Discover(t.Context(), r, tt.author, Options{})
			if took := time.Since(begin); took != tt.discover || len(next.count()) != tt.questions {
				t.Errorf("%s: %q took %v", tt.why, next.count(), took)
			}
			begin = time.Now()
			d.Evaluate(t.Context(), r, []Identifier{{SPF, tt.id, StatePass, ""}})
			if took := time.Since(begin); took != tt.evaluate {
				t.Errorf("%s: evaluation took %v", tt.why, took)
			}
			synctest.Wait()
		})
	}
}

// TestWalkAtOnceEndsEarly checks a tree walk that reaches a name whose record is
// known already and ends the tree walk. Names above this name must not be asked
// for.
func TestWalkAtOnceEndsEarly(t *testing.T) {
	for psd, want := range map[string][]string{
		"n": {"_dmarc.mail.example.com TXT"},
		"u": {"_dmarc.com TXT", "_dmarc.mail.example.com TXT"}, // the tree walk goes on: this shows that a question is seen
	} {
		synctest.Test(t, func(t *testing.T) {
			z := nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=none; psd=`+psd+`"`)
			next := &asked{next: z}
			r := dns.NewAhead(next)
			d := Discover(t.Context(), z, "example.com", Options{}) // from here on d knows the record of example.com
			if e := d.Evaluate(t.Context(), r, []Identifier{{SPF, "mail.example.com", StatePass, ""}}); e.Result != ResultPass {
				t.Errorf("result %s", e.Result)
			}
			synctest.Wait() // what is asked ahead is asked in goroutines
			got := next.count()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("psd=%s: asked %q, want %q", psd, got, want)
			}
		})
	}
}

// announced is a resolver that keeps a list of the names that are announced to it.
type announced struct {
	dns.Resolver
	names []dns.Name
}

func (a *announced) Expect(ctx context.Context, name dns.Name, typ dns.Type) bool {
	a.names = append(a.names, name)
	return a.Resolver.Expect(ctx, name, typ)
}

// TestSuffixAtOnce checks Discover with a public suffix list: it must ask for the
// Author Domain and for its Organizational Domain at the same time. What is asked right away is not announced.
func TestSuffixAtOnce(t *testing.T) {
	o := Options{Method: PSL, PSL: testList(t)}
	for author, want := range map[dns.Name]int{"a.b.example.com": 2, "example.com": 1} {
		synctest.Test(t, func(t *testing.T) {
			next := &asked{next: slow{next: nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=none"`)}}
			begin := time.Now()
			r := &announced{Resolver: dns.NewAhead(next)}
			d := Discover(t.Context(), r, author, o)
			if took := time.Since(begin); took != time.Second || len(next.count()) != want || len(r.names) != want-1 || d.PolicyDomain != "example.com" {
				t.Errorf("%s: %q took %v, announced %q, record at %q", author, next.count(), took, r.names, d.PolicyDomain)
			}
		})
	}
}

// TestNoLookAhead checks that no further name is announced to a resolver that looks none up ahead.
func TestNoLookAhead(t *testing.T) {
	r := &announced{Resolver: nameserver.Zone(t, "")}
	if Discover(t.Context(), r, "a.b.c.example.com", Options{}); len(r.names) != 2 { // one before the author's record, one before the walk
		t.Errorf("announced %q", r.names)
	}
}
