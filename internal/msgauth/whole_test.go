package msgauth

import (
	"context"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// hurry runs a message through v, and ends the connection at once, as a client does that sends QUIT.
// It returns also how long the client waited.
func hurry(t *testing.T, v *Verifier, from, raw string) (e *Evaluation, w *Whole, waited time.Duration) {
	t.Helper()
	begin := time.Now()
	c := v.Connect(t.Context(), Session{Client: client})
	defer c.Close()
	c.Helo("mx.example.com")
	m := c.Begin(Session{}, Envelope{MailFrom: from})
	defer m.Close()
	h, body := message.Parse([]byte(raw))
	m.EndOfHeader(h)
	if _, err := m.Write(body); err != nil {
		t.Fatal(err)
	}
	e = m.Finish(t.Context(), Envelope{MailFrom: from})
	w = m.Whole(e)
	return e, w, time.Since(begin)
}

func outcome(e *Evaluation) string {
	out := "spf=" + string(e.MailFrom.Result)
	for _, s := range e.DKIM {
		out += " dkim=" + string(s.Result)
		if s.NotWaited {
			out += "(not waited)"
		}
	}
	for _, a := range []struct {
		name string
		is   bool
	}{{"SPF", e.DMARC.AlignedSPF}, {"DKIM", e.DMARC.AlignedDKIM}} {
		if a.is {
			out += " aligned " + a.name
		}
	}
	return out
}

// TestWhole checks that results for which the reply did not wait come afterwards, and that neither the
// reply waits for them nor the Evaluation that it used changes.
func TestWhole(t *testing.T) {
	zoneText, raw := signed(t)
	zoneText += "m.example.com TXT \"v=spf1 ip4:192.0.2.1 -all\"\n"
	mail := string(raw)
	const grace = DefaultGrace
	soon := 400 * time.Millisecond
	// second is the same signature with another selector, whose key does not exist.
	second := strings.Replace(mail[:strings.Index(mail, "\r\nFrom:")+2], "s=s1", "s=s2", 1)
	for _, tt := range []struct {
		name, from, raw string
		zone            string // instead of zoneText
		delays          map[dns.Name]time.Duration
		budget          time.Duration
		waited          time.Duration
		shown           string
		whole           string // "" if there is no Whole
		took            time.Duration
	}{
		{name: "nothing is missing", from: "<a@example.com>", shown: "spf=pass dkim=pass aligned SPF aligned DKIM"},
		{name: "SPF comes soon", from: "<a@example.com>", delays: map[dns.Name]time.Duration{"example.com": soon}, waited: grace,
			shown: "spf=temperror dkim=pass aligned DKIM", whole: "spf=pass dkim=pass aligned SPF aligned DKIM", took: soon},
		{name: "SPF never comes", from: "<a@example.com>", delays: map[dns.Name]time.Duration{"example.com": never}, waited: grace,
			shown: "spf=temperror dkim=pass aligned DKIM", whole: "spf=temperror dkim=pass aligned DKIM", took: maxWholeTime * 3 / 4},
		{name: "the key comes soon", from: "<a@example.com>", delays: map[dns.Name]time.Duration{keyName: soon}, waited: grace,
			shown: "spf=pass dkim=temperror(not waited) aligned SPF", whole: "spf=pass dkim=pass aligned SPF aligned DKIM", took: soon},
		{name: "the key never comes", from: "<a@example.com>", delays: map[dns.Name]time.Duration{keyName: never}, waited: grace,
			shown: "spf=pass dkim=temperror(not waited) aligned SPF", whole: "spf=pass dkim=temperror(not waited) aligned SPF", took: maxWholeTime * 3 / 4},
		{name: "the key comes soon, SPF of a stranger never", from: "<a@stranger.example>",
			raw:    second + mail,
			delays: map[dns.Name]time.Duration{"s2._domainkey.example.com": soon, "stranger.example": never}, waited: grace,
			shown: "spf=temperror dkim=temperror(not waited) dkim=pass aligned DKIM", whole: "spf=temperror dkim=permerror dkim=pass aligned DKIM",
			took: maxWholeTime * 3 / 4},
		{name: "the domain of SPF aligns, as is known soon", from: "<a@m.example.com>", raw: second + mail,
			delays: map[dns.Name]time.Duration{"s2._domainkey.example.com": soon, "_dmarc.m.example.com": soon}, waited: grace,
			shown: "spf=pass dkim=temperror(not waited) dkim=pass aligned DKIM", whole: "spf=pass dkim=permerror dkim=pass aligned SPF aligned DKIM", took: 2 * soon},
		{name: "the domain of SPF aligns, as is never known", from: "<a@m.example.com>", raw: second + mail,
			delays: map[dns.Name]time.Duration{"s2._domainkey.example.com": soon, "_dmarc.m.example.com": never}, waited: grace,
			shown: "spf=pass dkim=temperror(not waited) dkim=pass aligned DKIM", whole: "spf=pass dkim=permerror dkim=pass aligned DKIM", took: maxWholeTime},
		{name: "iprev and HELO do not matter", from: "<a@example.com>",
			delays: map[dns.Name]time.Duration{"mx.example.com": never, "1.2.0.192.in-addr.arpa": never}, waited: grace,
			shown: "spf=pass dkim=pass aligned SPF aligned DKIM"},
		{name: "SPF has failed for good, and HELO never comes", from: "<a@example.com>", zone: strings.Replace(zoneText, "\nexample.com ", "\n! example.com TXT servfail\nx.example ", 1),
			delays: map[dns.Name]time.Duration{"mx.example.com": never}, waited: grace, shown: "spf=temperror dkim=pass aligned DKIM"},
		{name: "the budget ends first", from: "<a@example.com>", delays: map[dns.Name]time.Duration{"example.com": never}, budget: 2 * grace, waited: grace,
			shown: "spf=temperror dkim=pass aligned DKIM", whole: "spf=temperror dkim=pass aligned DKIM", took: grace * 3 / 4},
		{name: "the policy comes when the time for SPF is over", from: "<a@example.com>",
			delays: map[dns.Name]time.Duration{"_dmarc.example.com": 9 * time.Second, "example.com": never}, waited: 9 * time.Second,
			shown: "spf=temperror dkim=pass aligned DKIM"},
		{name: "the budget has ended", from: "<a@example.com>", delays: map[dns.Name]time.Duration{"example.com": never}, budget: grace, waited: grace,
			shown: "spf=temperror dkim=pass aligned DKIM"},
		{name: "a message that does not pass was waited for", from: "<a@stranger.example>", raw: "From: a@example.com\r\n\r\n",
			delays: map[dns.Name]time.Duration{"stranger.example": soon}, waited: soon, shown: "spf=none"},
		{name: "nobody asks for reports", from: "<a@example.com>", zone: strings.Replace(zoneText, "; rua=mailto:d@example.com", "", 1),
			delays: map[dns.Name]time.Duration{"example.com": soon}, waited: grace, shown: "spf=temperror dkim=pass aligned DKIM"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if tt.zone == "" {
				tt.zone = zoneText
			}
			if tt.raw == "" {
				tt.raw = mail
			}
			z := late{next: nameserver.Zone(t, tt.zone), delays: tt.delays}
			v := NewVerifier(z, Options{LookAhead: true, SPFAhead: DefaultSPFAhead, Budget: tt.budget, Now: stopped()})
			e, w, waited := hurry(t, v, tt.from, tt.raw)
			before := *e
			signatures := append([]dkim.Signature(nil), e.DKIM...)
			if got := outcome(e); got != tt.shown || waited != tt.waited {
				t.Errorf("%s: after %v %s", tt.name, waited, got)
			}
			if w == nil {
				if tt.whole != "" {
					t.Errorf("%s: nothing runs on", tt.name)
				}
				return
			}
			begin := time.Now()
			whole := w.Wait(t.Context())
			if got := outcome(whole); got != tt.whole || time.Since(begin) != tt.took {
				t.Errorf("%s: whole after %v: %s", tt.name, time.Since(begin), got)
			}
			if outcome(e) != tt.shown || !reflect.DeepEqual(e.DKIM, signatures) || !reflect.DeepEqual(*e, before) {
				t.Errorf("%s: the Evaluation of the reply changed", tt.name)
			}
			if whole.DMARC.PolicyDomain != e.DMARC.PolicyDomain || whole.DMARC.Record != e.DMARC.Record || whole.Time != e.Time {
				t.Errorf("%s: the policy changed", tt.name)
			}
			if again := w.Wait(t.Context()); again != whole {
				t.Errorf("%s: the second Wait differs", tt.name)
			}
			if n := v.wholes.messages.Load() + v.wholes.headers.Load(); n != 0 {
				t.Errorf("%s: %d are still taken", tt.name, n)
			}
		})
	}
}

// TestWholeKeepsAlignment checks that a pass stays a pass. While the message waits after its reply, its author
// publishes the record of the Organizational Domain as its own, and is then an organization of its own.
func TestWholeKeepsAlignment(t *testing.T) {
	zoneText, raw := signedFor(t, "alice@news.example.com")
	zoneText = strings.Replace(zoneText, "p=reject;", "p=reject; psd=n;", 1)
	const name = "_dmarc.news.example.com"
	later := zoneText + strings.Replace(zoneText[strings.Index(zoneText, "_dmarc."):], "_dmarc.example.com", name, 1)
	synctest.Test(t, func(t *testing.T) {
		r := changing{first: nameserver.Zone(t, zoneText), then: nameserver.Zone(t, later), name: name, asked: new(atomic.Int64)}
		v := NewVerifier(late{next: r, delays: map[dns.Name]time.Duration{"example.com": 400 * time.Millisecond}}, Options{Now: stopped()})
		e, w, _ := hurry(t, v, "<a@example.com>", string(raw))
		if w == nil {
			t.Fatalf("nothing runs on: %s", outcome(e))
		}
		if got := outcome(w.Wait(t.Context())); got != "spf=pass dkim=pass aligned DKIM" || r.asked.Load() != 2 {
			t.Errorf("%s, asked %d times", got, r.asked.Load())
		}
	})
}

// TestWholeAsksWhatIsMissing checks that what is known is not asked for again.
func TestWholeAsksWhatIsMissing(t *testing.T) {
	zoneText, raw := signed(t)
	for missing, known := range map[dns.Name]dns.Name{keyName: "example.com", "example.com": keyName} {
		synctest.Test(t, func(t *testing.T) {
			z := nameserver.Zone(t, zoneText)
			v := NewVerifier(late{next: z, delays: map[dns.Name]time.Duration{missing: 400 * time.Millisecond}}, Options{Now: stopped()})
			_, w, _ := hurry(t, v, "<a@example.com>", string(raw))
			if got := outcome(w.Wait(t.Context())); got != "spf=pass dkim=pass aligned SPF aligned DKIM" {
				t.Errorf("without %s: %s", missing, got)
			}
			asked := map[string]int{}
			for _, q := range z.Queries() {
				asked[q]++
			}
			if asked[string(known)+" TXT"] != 1 || asked[string(missing)+" TXT"] != 1 { // the first question for what is missing was given up
				t.Errorf("without %s: asked %v", missing, asked)
			}
		})
	}
}

// TestWholeWaitEnds checks that Wait ends with its context, and that nothing runs on for long without
// anybody who waits. (synctest fails if a goroutine does not end.)
func TestWholeWaitEnds(t *testing.T) {
	zoneText, raw := signed(t)
	synctest.Test(t, func(t *testing.T) {
		z := late{next: nameserver.Zone(t, zoneText), delays: map[dns.Name]time.Duration{"example.com": never, keyName: 0}}
		v := NewVerifier(z, Options{Now: stopped()})
		e, w, _ := hurry(t, v, "<a@example.com>", string(raw))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if got := w.Wait(ctx); got != e {
			t.Error("a Wait that was given up returns something else than the Evaluation of the reply")
		}
		time.Sleep(maxWholeTime)
		synctest.Wait()
		if n := v.wholes.messages.Load(); n != 0 {
			t.Errorf("%d messages still wait", n)
		}
	})
}

// TestWholeWaitTakesWhatIsThere checks that a Wait whose context has ended still returns results that are there.
func TestWholeWaitTakesWhatIsThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &Whole{shown: &Evaluation{}, whole: &Evaluation{}, done: make(chan struct{})}
	close(w.done)
	for range 100 { // a select between two channels that are ready would choose either
		if w.Wait(ctx) != w.whole {
			t.Fatal("the results are there, and Wait returns the Evaluation of the reply")
		}
	}
}

// TestWholeBound has each bound at its limit and beyond it. What is refused takes nothing.
func TestWholeBound(t *testing.T) {
	for why, tt := range map[string]struct {
		messages, headers, more int64
		want                    bool
	}{
		"the last message":        {maxWholes - 1, 0, 0, true},
		"one message more":        {maxWholes, 0, 0, false},
		"the last octets":         {1, maxWholeHeaders - 10, 10, true},
		"one octet more":          {1, maxWholeHeaders - 10, 11, false},
		"no octets, all taken":    {1, maxWholeHeaders, 0, true},
		"all messages and octets": {maxWholes, maxWholeHeaders, 1, false},
	} {
		var b wholeBound
		b.messages.Store(tt.messages)
		b.headers.Store(tt.headers)
		got := b.take(tt.more)
		if got {
			b.release(tt.more)
		}
		if got != tt.want || b.messages.Load() != tt.messages || b.headers.Load() != tt.headers {
			t.Errorf("%s: %t, then %d messages and %d octets", why, got, b.messages.Load(), b.headers.Load())
		}
	}
}

// TestBoundWholes checks that only so many messages, and so many octets of headers, wait after their
// reply, and that the others lose only the completion.
func TestBoundWholes(t *testing.T) {
	zoneText, raw := signed(t)
	for _, tt := range []struct {
		name              string
		late              dns.Name
		padding, messages int
		want              int // how many of the messages wait
	}{
		{"many messages", "example.com", 0, maxWholes + 10, maxWholes},
		{"keys keep the header", keyName, 1 << 20, maxWholeHeaders>>20 + 4, maxWholeHeaders>>20 - 1},
		{"SPF keeps no header", "example.com", 1 << 20, maxWholeHeaders>>20 + 4, maxWholeHeaders>>20 + 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := late{next: nameserver.Zone(t, zoneText), delays: map[dns.Name]time.Duration{tt.late: never}}
			v := NewVerifier(z, Options{Now: stopped(), Grace: -1})
			mail := "X-Padding: " + strings.Repeat("x", tt.padding) + "\r\n" + string(raw)
			var all []*Whole
			for range tt.messages {
				e, w, waited := hurry(t, v, "<a@example.com>", mail)
				if e.DMARC.Result != dmarc.ResultPass || waited != 0 {
					t.Fatalf("%s: dmarc=%s after %v", tt.name, e.DMARC.Result, waited)
				}
				if w != nil {
					all = append(all, w)
				}
			}
			if len(all) != tt.want {
				t.Errorf("%s: %d wait", tt.name, len(all))
			}
			for _, w := range all {
				w.Wait(t.Context())
			}
			if v.wholes.messages.Load() != 0 || v.wholes.headers.Load() != 0 {
				t.Errorf("%s: not everything was given back", tt.name)
			}
			_, w, _ := hurry(t, v, "<a@example.com>", mail)
			if w == nil {
				t.Fatalf("%s: after the flood nothing waits", tt.name)
			}
			w.Wait(t.Context())
		})
	}
}

// TestWholeTakesNoSlots checks that the lookups after the reply take no slots of messages that still
// wait for theirs.
func TestWholeTakesNoSlots(t *testing.T) {
	zoneText, raw := signed(t)
	synctest.Test(t, func(t *testing.T) {
		z := gate{next: nameserver.Zone(t, zoneText), name: "example.com", open: make(chan struct{})}
		v := NewVerifier(z, Options{Now: stopped(), Grace: -1})
		for range maxWholes {
			hurry(t, v, "<a@example.com>", string(raw))
		}
		synctest.Wait()
		for p, pool := range v.slots.all {
			if used := pool.Used(); used != 0 {
				t.Errorf("%d slots of purpose %d are taken", used, p)
			}
		}
		if used := v.wholeSlots.all[forClient].Used(); used == 0 || used > maxClientLookups/wholeShare {
			t.Errorf("%d slots for lookups after the reply are taken", used)
		}
		close(z.open)
	})
}

// TestWholeSurvivesPanic checks that a panic in the background loses only its own result.
func TestWholeSurvivesPanic(t *testing.T) {
	zoneText, raw := signed(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		z := panicking{next: nameserver.Zone(t, zoneText), name: "example.com", asked: &asked}
		v := NewVerifier(z, Options{Now: stopped()})
		e, w, _ := hurry(t, v, "<a@example.com>", string(raw))
		if w == nil || w.Wait(t.Context()).MailFrom.Result != spf.TempError || e.MailFrom.Result != spf.TempError || asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

// panicking is a resolver whose second lookup of a name panics. The first one never ends.
type panicking struct {
	dns.LookupOnly
	next  dns.Resolver
	name  dns.Name
	asked *atomic.Int64
}

func (p panicking) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name != p.name {
		return p.next.Lookup(ctx, name, typ)
	}
	if p.asked.Add(1) > 1 {
		panic("second lookup")
	}
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
}
