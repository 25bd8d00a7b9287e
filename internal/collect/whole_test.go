package collect

import (
	"context"
	"crypto/ed25519"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// lateSPF is a resolver that answers for bank.example after some time.
type lateSPF struct {
	dns.LookupOnly
	next  dns.Resolver
	delay time.Duration
}

func (l lateSPF) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == "bank.example" {
		select {
		case <-time.After(l.delay):
		case <-ctx.Done():
			return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
		}
	}
	return l.next.Lookup(ctx, name, typ)
}

// decide returns the decision on a message that passes by its signature before SPF is known.
func decide(t *testing.T, delay time.Duration) *judge.Decision {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	zone := nameserver.Zone(t, `
_dmarc.bank.example        TXT "v=DMARC1; p=reject; rua=mailto:d@bank.example"
bank.example               TXT "v=spf1 ip4:192.0.2.1 -all"
s1._domainkey.bank.example TXT "`+signer.Record(key.Public())+"\"\n")
	j := &judge.Judge{
		Verifier: msgauth.NewVerifier(lateSPF{next: zone, delay: delay}, msgauth.Options{LookAhead: true}), Policy: policy.Config{Mode: policy.Enforce},
		Label: label.Settings{Names: label.Names{AuthServID: "mx.here.example"}}, MaxFields: 10, MaxHeaderBytes: 1 << 20,
		Whole: true, Marks: &report.Marks{Spam: []report.SpamSign{{Name: "X-Spam"}}},
	}
	mail := signer.DKIM(t, key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s1; h=From; bh=%BH; b=",
		"From: a@bank.example\r\nX-Spam: yes\r\nSubject: Report Domain: a.example Submitter: b.example\r\n\r\nx\r\n")
	header, body := message.Parse([]byte(mail))
	c := j.Open(t.Context(), judge.Message{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: "h.example"},
		Envelope: msgauth.Envelope{MailFrom: "<a@bank.example>"}, Header: header, Whole: true,
	})
	c.Write(body)
	d := c.Finish(t.Context())
	if d.Whole == nil {
		t.Fatal("nothing is missing")
	}
	return &d
}

// rows returns the rows of the store, and the sums over their tallies.
func (m *memory) rows() (rows []report.Row, sum report.Tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.batches {
		for _, t := range b.Tallies {
			rows = append(rows, t.Rows...)
			sum.Causes, sum.Spam = sum.Causes+t.Causes, sum.Spam+t.Spam
		}
	}
	return rows, sum
}

// TestWhole checks that a row has the results that come after the reply, that Decided does not wait for
// them, and that the marks of the message arrive.
func TestWhole(t *testing.T) {
	for _, tt := range []struct {
		name       string
		delay      time.Duration
		stop       time.Duration // how long Stop may take; it comes at once
		want       string
		incomplete int64
	}{
		{"SPF comes soon", 400 * time.Millisecond, time.Minute, "pass", 0},
		{"SPF never comes", time.Hour, time.Minute, "temperror", 1},
		{"no time to wait", 400 * time.Millisecond, time.Millisecond, "temperror", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{}
			c := start(t, m, nil, 10*time.Second)
			d := decide(t, tt.delay)
			begin := time.Now()
			c.Decided(d, 0)
			if took := time.Since(begin); took != 0 {
				t.Errorf("%s: Decided waited %v", tt.name, took)
			}
			// The store does not look at its context, so that the row is there also without time.
			stop(c, tt.stop)
			rows, sum := m.rows()
			if len(rows) != 1 || rows[0].AuthSPF.Result != tt.want || rows[0].SPF != (tt.want == "pass") {
				t.Errorf("%s: %+v", tt.name, rows)
			}
			if n := c.Counts().Incomplete.Load(); n != tt.incomplete {
				t.Errorf("%s: %d incomplete", tt.name, n)
			}
			if sum.Causes != 0 || sum.Spam != 1 {
				t.Errorf("%s: %d causes and %d marked as spam", tt.name, sum.Causes, sum.Spam)
			}
			c.Decided(d, 0) // after Stop: it must not panic
			time.Sleep(2 * time.Second)
		})
	}
}

// TestBoundUnfinished checks that no more messages wait than there is room for, and that the others are
// counted at once.
func TestBoundUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		c := start(t, m, nil, 10*time.Second)
		d := decide(t, 400*time.Millisecond)
		const more = 5
		c.Decided(d, 0)
		synctest.Wait() // this one is out of the channel
		for range maxUnfinished + more {
			c.Decided(d, 0)
		}
		if n := c.Counts().Queued.Load(); n != more {
			t.Errorf("%d were counted at once, want %d", n, more)
		}
		time.Sleep(time.Second)
		stop(c, time.Minute)
		if n := m.sum(); n != maxUnfinished+more+1 {
			t.Errorf("%d messages in the store", n)
		}
		if n := c.Counts().Incomplete.Load(); n != more {
			t.Errorf("%d incomplete", n)
		}
	})
}
