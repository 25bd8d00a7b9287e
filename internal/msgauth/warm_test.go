package msgauth

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// durations matches the times in JSON, which may differ between two evaluations of one message.
var durations = regexp.MustCompile(`"(dns|elapsed|wait)_ns":\d+`)

func facts(t *testing.T, e *Evaluation) string {
	t.Helper()
	out, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return durations.ReplaceAllString(string(out), "")
}

// stopped returns a clock that always shows the time at which stopped was called. The clock of a
// synctest bubble would differ from the time at which the test signed its mail.
func stopped() func() time.Time {
	now := time.Now()
	return func() time.Time { return now }
}

// TestWarmIsTheSame: if all answers are in the cache, the results and the number of lookups are the
// same as without a cache, and nothing is asked.
func TestWarmIsTheSame(t *testing.T) {
	zoneText, raw := signed(t)
	now := stopped()
	for _, tt := range []struct{ reason, from, raw string }{
		{"all of it", "<a@example.com>", string(raw)},
		{"null return path", "<>", string(raw)},
		{"no signature, and a walk", "<a@example.com>", "From: a@x.example.com\r\n\r\n"},
		{"unknown domains", "<a@no.example>", "From: a@no.example\r\n\r\n"},
		{"malformed return path", "<a b@@example.com>", "Subject: no author\r\n\r\n"},
	} {
		cold := newMemory(nameserver.Zone(t, zoneText))
		first := evaluate(t, NewVerifier(cold, Options{Now: now}), tt.from, tt.raw)
		if len(cold.asked) == 0 {
			t.Errorf("%s: nothing was asked", tt.reason)
		}
		warm := &memory{known: cold.known} // next is nil, so a Lookup of an unknown name would panic
		v := NewVerifier(warm, Options{Now: now})
		second := evaluate(t, v, tt.from, tt.raw)
		if one, two := facts(t, first), facts(t, second); one != two {
			t.Errorf("%s:\ncold %s\nwarm %s", tt.reason, one, two)
		}
		direct := evaluate(t, NewVerifier(nameserver.Zone(t, zoneText), Options{Now: now}), tt.from, tt.raw)
		if one, two := facts(t, direct), facts(t, second); one != two {
			t.Errorf("%s:\nwithout a cache %s\nwarm %s", tt.reason, one, two)
		}
	}
}

// TestWarmRunsHere: if every answer is in the cache, no stage starts a goroutine.
func TestWarmRunsHere(t *testing.T) {
	zoneText, raw := signed(t)
	r := newMemory(nameserver.Zone(t, zoneText))
	v := NewVerifier(r, Options{})
	evaluate(t, v, "<a@example.com>", string(raw))
	r.next = nil
	synctest.Test(t, func(t *testing.T) { // synctest.Test fails if a goroutine is left
		c := v.Connect(t.Context(), Session{Client: client})
		c.Helo("mx.bank.example")
		m := c.Begin(Session{}, Envelope{MailFrom: "<a@example.com>"})
		if m.mailFrom.done != nil || c.iprev.done != nil {
			t.Error("a stage went to the background")
		}
		c.Close()
	})
}

// peekBomb is a memory that panics in Peek of one name.
type peekBomb struct {
	*memory
	name dns.Name
}

func (b peekBomb) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	if name == b.name {
		panic("boom")
	}
	return b.memory.Peek(name, typ)
}

// TestPanicsHere: if the first run of a stage panics, only that stage loses its result, as after a
// panic in the background.
func TestPanicsHere(t *testing.T) {
	for name, component := range map[dns.Name]Mechanism{
		"bank.example": SPF, "_dmarc.bank.example": DMARC, "1.2.0.192.in-addr.arpa": IPRev, "mx.bank.example": SPF,
	} {
		v := NewVerifier(peekBomb{newMemory(nameserver.Zone(t, zoneText)), name}, Options{})
		e := evaluate(t, v, "<a@bank.example>", hello)
		if len(e.Panics) != 1 || e.Panics[0].Component != component || e.Panics[0].Value != "boom" || !strings.Contains(e.Panics[0].Stack, "peekBomb") {
			t.Errorf("%s: panics %+v", name, e.Panics)
		}
	}
	const signature = "DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s1; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\r\n"
	v := NewVerifier(peekBomb{newMemory(nameserver.Zone(t, zoneText)), "s1._domainkey.bank.example"}, Options{})
	e := evaluate(t, v, "<a@bank.example>", signature+hello)
	if len(e.DKIM) != 1 || e.DKIM[0].Result == "pass" || e.DMARC.Result != dmarc.ResultPass {
		t.Errorf("a key's lookup: %+v", e.DKIM)
	}
}

// TestSecondRunCounts: a stage that runs twice counts each lookup only once, and may make as many
// lookups as a stage that runs once.
func TestSecondRunCounts(t *testing.T) {
	r := newMemory(nameserver.Zone(t, zoneText))
	if _, err := r.Lookup(t.Context(), "mx.bank.example", dns.TypeTXT); err != nil {
		t.Fatal(err)
	}
	var task task[error]
	task.setUp(&Connection{v: NewVerifier(r, Options{})}, iprevStage, "")
	task.start(t.Context(), &task.stage, func(ctx context.Context, r dns.Resolver) error {
		for range maxIPRevLookups {
			if _, err := r.Lookup(ctx, "mx.bank.example", dns.TypeTXT); err != nil {
				return err
			}
		}
		_, err := r.Lookup(ctx, "bank.example", dns.TypeTXT)
		return err
	})
	var e Evaluation
	err, ok := task.wait(t.Context(), &e)
	if c := task.cost(); !ok || kindOf(err) != dns.KindBudget || c.Lookups != maxIPRevLookups+1 || c.Exceeded != 1 {
		t.Errorf("%v, cost %+v", err, c)
	}
}

// hides is a resolver whose Peek finds all answers of a zone except those for one name.
type hides struct {
	dns.LookupOnly
	zone *zone.Zone
	name dns.Name
}

func (h hides) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return h.zone.Lookup(ctx, name, typ)
}

func (h hides) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	if name == h.name {
		return dns.Answer{}, false
	}
	return h.zone.Peek(name, typ)
}

// TestTracedOnce: a stage runs again if Peek does not find an answer. The second run does not ask
// or peek again for the answers that the first run found. The trace and the number of lookups are
// the same as for a stage for which Peek finds no answer.
func TestTracedOnce(t *testing.T) {
	zoneText, raw := signed(t)
	z := nameserver.Zone(t, zoneText)
	trace := func(r dns.Resolver) (questions []string, count int) {
		tr := dns.NewTrace(r)
		e := evaluate(t, NewVerifier(tr, Options{}), "<a@example.com>", string(raw))
		for _, l := range tr.Lookups() {
			questions = append(questions, string(l.Name)+" "+l.Type.String())
		}
		slices.Sort(questions)
		return questions, e.Lookups()
	}
	want, count := trace(away{next: z})
	if len(want) != 7 || count != len(want) {
		t.Fatalf("%d lookups counted: %q", count, want)
	}
	for _, question := range append(want, "nothing TXT") {
		name, _, _ := strings.Cut(question, " ")
		got, n := trace(hides{zone: z, name: dns.Name(name)})
		if !slices.Equal(got, want) || n != count {
			t.Errorf("%s is not at hand: %d lookups counted:\n%q, want\n%q", name, n, got, want)
		}
	}
}
