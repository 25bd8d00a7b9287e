package msgauth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/slots"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// TestLower has names around the size of the buffer.
func TestLower(t *testing.T) {
	for name, want := range map[string]string{"": "", "AbZ": "abz", "@AZ[": "@az[", "Abcde": ""} {
		got, ok := lower(make([]byte, 0, 4), name)
		if string(got) != want || ok != (len(name) <= 4) {
			t.Errorf("%s: %q, %t", name, got, ok)
		}
	}
}

// TestReturnPath has each kind of sender.
func TestReturnPath(t *testing.T) {
	for want, p := range map[string]mailaddr.Path{"": {}, "<>": {Null: true}, "<a@b.example>": {Local: "a", DomainRaw: "b.example"}, "<@b.example>": {DomainRaw: "b.example"}} {
		if got := returnPath(p); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
	if got := returnPath(mailaddr.Path{Local: "a"}); got != "" {
		t.Errorf("without a domain: %q", got)
	}
}

// TestRefusal has each kind of error.
func TestRefusal(t *testing.T) {
	own := &author.Error{Kind: author.KindAmbiguous, Offset: 3, Detail: "d"}
	for _, tt := range []struct {
		err  error
		want *author.Error
	}{
		{nil, nil}, {own, own}, {fmt.Errorf("wrapped: %w", own), own},
		{errors.New("other"), &author.Error{Kind: author.KindMalformed, Detail: "other"}},
	} {
		if got := refusal(tt.err); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %+v, want %+v", tt.err, got, tt.want)
		}
	}
}

// TestTakeKept checks that each answer is given once, and only for its own name and type.
func TestTakeKept(t *testing.T) {
	var s stage
	s.keep([]dns.Answer{{Name: "a.example", Type: dns.TypeA}, {Name: "b.example", Type: dns.TypeTXT}, {Name: "a.example", Type: dns.TypeTXT}})
	for _, tt := range []struct {
		name dns.Name
		typ  dns.Type
		want bool
	}{
		{"c.example", dns.TypeA, false}, {"b.example", dns.TypeA, false}, {"a.example", dns.TypeTXT, true}, {"a.example", dns.TypeTXT, false},
		{"a.example", dns.TypeA, true}, {"b.example", dns.TypeTXT, true}, {"b.example", dns.TypeTXT, false},
	} {
		a, ok := s.takeKept(tt.name, tt.typ)
		if ok != tt.want || ok && (a.Name != tt.name || a.Type != tt.typ) {
			t.Errorf("%s %s: %t, %s %s", tt.name, tt.typ, ok, a.Name, a.Type)
		}
	}
}

// taskState is what passesDMARC reads of a task.
type taskState[T any] struct {
	value T
	done  chan struct{}
	panic *Panic
}

// TestPassesDMARC has each state of the tasks whose results it reads. It must not read those of a task
// that runs or that panicked.
func TestPassesDMARC(t *testing.T) {
	z := nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=reject"`)
	found := dmarc.Discover(t.Context(), z, "example.com", dmarc.Options{})
	pass := spf.Check{Identity: spf.MailFrom, Result: spf.Pass, Domain: "example.com"}
	open := make(chan struct{})
	for why, tt := range map[string]struct {
		discovery taskState[*dmarc.Discovery]
		mailFrom  taskState[spf.Check]
		want      bool
	}{
		"both are there":             {taskState[*dmarc.Discovery]{value: found}, taskState[spf.Check]{value: pass}, true},
		"the policy is asked for":    {taskState[*dmarc.Discovery]{value: found, done: open}, taskState[spf.Check]{value: pass}, false},
		"the policy panicked":        {taskState[*dmarc.Discovery]{value: found, panic: &Panic{}}, taskState[spf.Check]{value: pass}, false},
		"no policy was asked for":    {taskState[*dmarc.Discovery]{}, taskState[spf.Check]{value: pass}, false},
		"SPF runs":                   {taskState[*dmarc.Discovery]{value: found}, taskState[spf.Check]{value: pass, done: open}, false},
		"SPF panicked":               {taskState[*dmarc.Discovery]{value: found}, taskState[spf.Check]{value: pass, panic: &Panic{}}, false},
		"SPF fails":                  {taskState[*dmarc.Discovery]{value: found}, taskState[spf.Check]{value: spf.Check{Result: spf.Fail, Domain: "example.com"}}, false},
		"SPF of a stranger's domain": {taskState[*dmarc.Discovery]{value: found}, taskState[spf.Check]{value: spf.Check{Result: spf.Pass, Domain: "other.example"}}, false},
	} {
		m := &Verification{dkim: dkim.NewVerifier(nil, dkim.Options{})}
		m.discovery.value, m.discovery.done, m.discovery.panic = tt.discovery.value, tt.discovery.done, tt.discovery.panic
		m.mailFrom.value, m.mailFrom.done, m.mailFrom.panic = tt.mailFrom.value, tt.mailFrom.done, tt.mailFrom.panic
		if got := m.passesDMARC(); got != tt.want {
			t.Errorf("%s: %t", why, got)
		}
		m.dkim.Close()
	}
}

// TestBudgetNeedsNoGoroutines checks that children of a budget whose Done was called start no goroutine.
func TestBudgetNeedsNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b budget
		b.begin(t.Context(), time.Minute)
		b.Done()
		before := runtime.NumGoroutine()
		for range 200 {
			_, cancel := context.WithCancel(&b)
			defer cancel()
		}
		if n := runtime.NumGoroutine() - before; n > 100 { // other tests may end or start a few
			t.Errorf("%d goroutines", n)
		}
		b.end()
	})
}

// noDone is a context whose Done panics.
type noDone struct{ context.Context }

func (noDone) Done() <-chan struct{} { panic("done") }

// TestDKIMPanics checks that a panic of DKIM as a whole leaves one temporary error.
func TestDKIMPanics(t *testing.T) {
	zoneText, raw := signed(t)
	synctest.Test(t, func(t *testing.T) {
		z := late{next: nameserver.Zone(t, zoneText), delays: map[dns.Name]time.Duration{keyName: never}}
		c := NewVerifier(z, Options{Now: stopped()}).Connect(t.Context(), Session{Client: client})
		defer c.Close()
		m := c.Begin(Session{}, Envelope{MailFrom: "<a@other.example>"})
		defer m.Close()
		h, body := message.Parse(raw)
		m.EndOfHeader(h)
		_, _ = m.Write(body)
		e := &Evaluation{}
		got := m.finishDKIM(noDone{t.Context()}, e)
		if len(got) != 1 || got[0].Result != dkim.TempError || got[0].Reason != dkim.ReasonInternal || len(e.Panics) != 1 || e.Panics[0].Component != DKIM {
			t.Errorf("dkim=%+v, panics %+v", got, e.Panics)
		}
	})
}

// changing is a resolver that answers the first question for a name from one zone, and the others from another.
type changing struct {
	dns.LookupOnly
	first, then dns.Resolver
	name        dns.Name
	asked       *atomic.Int64
}

func (c changing) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == c.name && c.asked.Add(1) > 1 {
		return c.then.Lookup(ctx, name, typ)
	}
	return c.first.Lookup(ctx, name, typ)
}

// TestWholeKeepsThePolicy checks that alignment is taken over from the background only with the policy by
// which the message was decided.
func TestWholeKeepsThePolicy(t *testing.T) {
	zoneText, raw := signed(t)
	const name = "_dmarc.example.com"
	for _, tt := range []struct{ why, then, want string }{
		{"the same policy", zoneText, "spf=pass dkim=pass aligned SPF aligned DKIM"},
		{"another policy", name + ` TXT "v=DMARC1; p=none"`, "spf=pass dkim=pass aligned DKIM"},
		{"no policy", "x.example A 192.0.2.1", "spf=pass dkim=pass aligned DKIM"},
		{"no answer", "! " + name + " TXT servfail", "spf=pass dkim=pass aligned DKIM"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := changing{first: nameserver.Zone(t, zoneText), then: nameserver.Zone(t, tt.then), name: name, asked: new(atomic.Int64)}
			v := NewVerifier(late{next: r, delays: map[dns.Name]time.Duration{"example.com": 400 * time.Millisecond}}, Options{Now: stopped()})
			_, w, _ := hurry(t, v, "<a@example.com>", string(raw))
			if w == nil {
				t.Fatalf("%s: nothing runs on", tt.why)
			}
			if got := outcome(w.Wait(t.Context())); got != tt.want || r.asked.Load() != 2 {
				t.Errorf("%s: %s, asked %d times", tt.why, got, r.asked.Load())
			}
		})
	}
}

// TestLookupSlotSizes checks how many lookups of each purpose may run, of all messages and of one, and of one
// organization, before the reply and after it.
func TestLookupSlotSizes(t *testing.T) {
	v := NewVerifier(nil, Options{})
	checkSlotSizes(t, v.slots, 1)
	checkSlotSizes(t, v.wholeSlots, wholeShare)
}

func checkSlotSizes(t *testing.T, l *lookupSlots, share int) {
	t.Helper()
	for p, want := range map[purpose][3]int{
		forClient: {maxClientLookups, maxMessageLookups, 0}, forPolicy: {maxPolicyLookups, maxMessageLookups, maxOrganizationLookups},
		forAuthor: {maxAuthorLookups, maxMessageLookups, maxOrganizationLookups}, forKey: {maxKeyLookups, maxMessageLookups, maxOrganizationLookups},
		forChain: {maxChainLookups, maxChainKeys, maxSealerLookups},
	} {
		want[0] /= share
		count := func(from slots.Source) (n int) {
			var taken []*slots.Slot
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for {
				var ip [4]byte
				binary.BigEndian.PutUint32(ip[:], 1<<24+uint32(n)<<8)
				slot := l.lock.Take(ctx, netip.PrefixFrom(netip.AddrFrom4(ip), 24), new(atomic.Bool), from)
				if slot == nil {
					break
				}
				taken = append(taken, slot)
				n++
			}
			for _, s := range slices.Backward(taken) {
				s.Release()
			}
			return n
		}
		got := [3]int{count(l.all[p]), count(l.messages[p].Of("m"))}
		if l.organizations[p] != nil {
			got[2] = count(l.organizations[p].Of(strings.Clone("o")))
		}
		if got != want {
			t.Errorf("purpose %d, share %d: %v, want %v", p, share, got, want)
		}
	}
}
