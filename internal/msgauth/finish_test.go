package msgauth

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// TestMailFromOutOfTime checks what is left of an SPF check that does not end in time: DMARC must know which
// domain could have passed.
func TestMailFromOutOfTime(t *testing.T) {
	for _, tt := range []struct {
		why, from, helo string
		want            spf.Check
	}{
		{"a sender", "<A@Bank.example>", "mx.bank.example", spf.Check{Domain: "bank.example", Sender: "A@Bank.example"}},
		{"the null sender", "<>", "mx.bank.example", spf.Check{Domain: "mx.bank.example", NullSender: true}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := NewVerifier(deaf{}, Options{}).Connect(t.Context(), Session{Client: client})
			c.Helo(tt.helo)
			m := c.Begin(Session{}, Envelope{MailFrom: tt.from})
			e := m.Finish(t.Context(), Envelope{})
			m.Close()
			c.Close()
			tt.want.Identity, tt.want.Result, tt.want.Reason, tt.want.Problem = spf.MailFrom, spf.TempError, spf.ReasonTimeLimit, outOfTime
			if !reflect.DeepEqual(e.MailFrom, tt.want) {
				t.Errorf("%s: %+v", tt.why, e.MailFrom)
			}
			time.Sleep(2 * time.Hour) // the lookups of deaf end
		})
	}
}

// TestNoHelo checks the result of HELO for a client that sent none.
func TestNoHelo(t *testing.T) {
	c := NewVerifier(nameserver.Zone(t, zoneText), Options{}).Connect(t.Context(), Session{Client: client})
	defer c.Close()
	m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
	defer m.Close()
	want := spf.Check{Identity: spf.HELO, Result: spf.None, Problem: "no HELO"}
	if e := m.Finish(t.Context(), Envelope{}); !reflect.DeepEqual(e.HELO, want) {
		t.Errorf("%+v", e.HELO)
	}
}

// TestIPRevWithoutResult checks that a check of the client's name that ran out of time says so, and that one
// that panicked does not.
func TestIPRevWithoutResult(t *testing.T) {
	for why, tt := range map[string]struct {
		r       dns.Resolver
		problem string
	}{
		"out of time": {deaf{}, outOfTime},
		"panicked":    {bomb{next: nameserver.Zone(t, zoneText), typ: dns.TypePTR}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := evaluate(t, NewVerifier(tt.r, Options{}), "<a@bank.example>", hello).IPRev
			if r.Status != iprev.TempError || r.Problem != tt.problem || (r.DNSError != nil) != (tt.problem != "") {
				t.Errorf("%s: %+v", why, r)
			}
			time.Sleep(2 * time.Hour)
		})
	}
}

// TestPrivateClientHasNoName checks that the name of a client in the site's own networks is not asked for.
func TestPrivateClientHasNoName(t *testing.T) {
	for address, want := range map[string]string{"192.168.0.9": "192.168.0.9", "::ffff:192.168.0.9": "192.168.0.9", "fe80::9%eth0": "fe80::9"} {
		synctest.Test(t, func(t *testing.T) {
			z := nameserver.Zone(t, zoneText)
			c := NewVerifier(away{next: z}, Options{LookAhead: true}).Connect(t.Context(), Session{Client: netip.MustParseAddr(address), ClientName: "mx.bank.example"})
			defer c.Close()
			c.Helo("mx.bank.example")
			m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
			defer m.Close()
			m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"}})
			r := m.Finish(t.Context(), Envelope{}).IPRev
			if r.Status != iprev.PermError || r.IP.String() != want || r.Problem == "" || r.DNSError != nil {
				t.Errorf("%s: %+v", address, r)
			}
			synctest.Wait()
			for _, q := range z.Queries() {
				if !strings.HasPrefix(q, "_dmarc.") {
					t.Errorf("%s: asked %s", address, q)
				}
			}
		})
	}
}

// TestCloseEndsLookups checks that nothing goes on for a message that is over, while its connection goes on.
func TestCloseEndsLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		c := NewVerifier(counting{open: &open}, Options{}).Connect(t.Context(), Session{Client: client})
		m := c.Begin(Session{}, Envelope{MailFrom: "<a@bank.example>"})
		m.EndOfHeader(message.Header{{Name: "From", Value: " a@bank.example"},
			{Name: "DKIM-Signature", Value: strings.TrimSuffix(strings.TrimPrefix(sig("bank.example", "s1"), "DKIM-Signature:"), "\r\n")}})
		for _, want := range []int64{4, 1, 0} { // iprev, SPF, DMARC and DKIM; iprev; nothing
			synctest.Wait()
			if n := open.Load(); n != want {
				t.Errorf("%d lookups are open, want %d", n, want)
			}
			if want == 4 {
				m.Close()
			} else {
				c.Close()
			}
		}
	})
}

// TestOptionsOfSignatures checks that DKIM knows what only this package can tell it: the time, the author, the
// sender, and whether the MTA shows the space before a value.
func TestOptionsOfSignatures(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte("the key of the options 32 octets"))
	zoneText := "s1._domainkey.bank.example TXT \"" + signer.Record(key.Public()) + "\"\n"
	const mail = "From: a@bank.example\r\nSubject: s\r\n\r\nbody\r\n"
	sign := func(tags, eml string) string {
		return signer.DKIM(t, key, "v=1; a=ed25519-sha256; d=bank.example; s=s1; bh=%BH; "+tags+"; b=", eml)
	}
	withPath := sign("c=relaxed/relaxed; h=from:return-path", "Return-Path: <x@other.example>\r\n"+mail)
	withPath = strings.Replace(withPath, "Return-Path: <x@other.example>\r\n", "", 1) // as the MTA hands it on
	for _, tt := range []struct {
		why, from, raw string
		now            int64
		session        Session
		want           dkim.Reason
	}{
		{"before the signature expires", "<x@other.example>", sign("c=relaxed/relaxed; h=from; t=1; x=1000", mail), 999, Session{}, ""},
		{"after the signature has expired", "<x@other.example>", sign("c=relaxed/relaxed; h=from; t=1; x=1000", mail), 2000, Session{}, dkim.ReasonExpired},
		{"below the signature of another", "<x@other.example>", sig("other.example", "s1") + sign("c=relaxed/relaxed; h=from", mail), 1, Session{}, ""},
		{"the sender is signed", "<x@other.example>", withPath, 1, Session{}, ""},
		{"another sender is signed", "<y@other.example>", withPath, 1, Session{}, dkim.ReasonDroppedField},
		{"spaces are not shown", "<x@other.example>", sign("c=simple/relaxed; h=from", mail), 1, Session{NoLeadingSpace: true}, dkim.ReasonLeadingSpace},
		{"spaces are shown", "<x@other.example>", sign("c=simple/relaxed; h=from", mail), 1, Session{}, dkim.ReasonSignature},
	} {
		v := NewVerifier(nameserver.Zone(t, zoneText), Options{Now: func() time.Time { return time.Unix(tt.now, 0) }, DKIM: dkim.Options{MaxSignatures: 1, Skew: -1}})
		c := v.Connect(t.Context(), Session{Client: client})
		m := c.Begin(tt.session, Envelope{MailFrom: tt.from})
		h, body := message.Parse([]byte(tt.raw))
		m.EndOfHeader(h)
		_, _ = m.Write(body)
		e := m.Finish(t.Context(), Envelope{})
		m.Close()
		c.Close()
		if s := e.DKIM[len(e.DKIM)-1]; s.Reason != tt.want || (s.Result == dkim.Pass) != (tt.want == "") {
			t.Errorf("%s: %s %s, want %q", tt.why, s.Result, s.Reason, tt.want)
		}
	}
}

// TestCostOfSPF checks that the cost of the HELO check counts with the first message, all of it but the time
// that passed.
func TestCostOfSPF(t *testing.T) {
	filled := func(s *stage) {
		s.used.Store(2)
		s.refused.Store(3)
		s.noRoom.Store(4)
		s.busy.Store(5)
		s.elapsed = 6
	}
	counts := spf.Check{Ahead: 7, Unneeded: 8}
	one, both := Cost{Lookups: 2, Exceeded: 3, NoRoom: 4, DNS: 5, Elapsed: 6, Ahead: 7, Unneeded: 8},
		Cost{Lookups: 4, Exceeded: 6, NoRoom: 8, DNS: 10, Elapsed: 6, Ahead: 14, Unneeded: 16}
	for why, tt := range map[string]struct {
		helo, first bool
		want        Cost
	}{
		"the first message":              {true, true, both},
		"a later message":                {true, false, one},
		"the first message, and no HELO": {false, true, one},
	} {
		m := &Verification{c: &Connection{}, countsConnection: tt.first}
		filled(&m.mailFrom.stage)
		m.mailFrom.value = counts
		if tt.helo {
			m.c.helo = &greeting{}
			filled(&m.c.helo.stage)
			m.c.helo.value = counts
		}
		if got, ok := m.costOfSPF(); got != tt.want || !ok {
			t.Errorf("%s: %+v, want %+v", why, got, tt.want)
		}
	}
}

// TestCostOfWaiting checks how long DKIM and ARC waited at the end of a message.
func TestCostOfWaiting(t *testing.T) {
	zoneText, raw := signed(t)
	synctest.Test(t, func(t *testing.T) {
		const chain = 5 * time.Second
		z := late{next: nameserver.Zone(t, zoneText), delays: map[dns.Name]time.Duration{keyName: never, sealKey: chain}}
		cost := evaluate(t, NewVerifier(z, Options{Now: stopped()}), "<a@example.com>", sealed+string(raw)).Cost
		if dkim, arc := cost[DKIM].Elapsed, cost[ARC].Elapsed; dkim != DefaultGrace || arc != chain-DefaultGrace {
			t.Errorf("DKIM waited %v, ARC %v", dkim, arc)
		}
	})
}

// TestCostOfRunningTask checks that the time of a task that has not ended goes on, and that its value is not
// read.
func TestCostOfRunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := task[spf.Check]{begin: time.Now(), done: make(chan struct{}), value: spf.Check{Ahead: 1, Unneeded: 1}}
		time.Sleep(time.Second)
		if got := costOfCheck(&running); got != (Cost{Elapsed: time.Second}) {
			t.Errorf("%+v", got)
		}
	})
}

// TestSecondRunIsAnother checks that nothing is left of the first run of a task, not even its panic.
func TestSecondRunIsAnother(t *testing.T) {
	var task task[int]
	task.setUp(&Connection{v: NewVerifier(away{next: nameserver.Zone(t, zoneText)}, Options{})}, spfStage, "")
	task.start(t.Context(), &task.stage, func(ctx context.Context, r dns.Resolver) int {
		if _, err := r.Lookup(ctx, "bank.example", dns.TypeTXT); err != nil {
			panic(err)
		}
		return 1
	})
	var e Evaluation
	if n, ok := task.wait(t.Context(), &e); n != 1 || !ok || len(e.Panics) != 0 {
		t.Errorf("%d, %t, panics %+v", n, ok, e.Panics)
	}
}
