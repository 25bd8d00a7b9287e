package judge

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// TestStoredLimits checks the limits of a stored message at their edges. They must be those at which package
// milter stops to read a message.
func TestStoredLimits(t *testing.T) {
	field := func(octets int) message.Field { // with its name
		return message.Field{Name: "X", Value: strings.Repeat("x", octets-len("X"))}
	}
	from := message.Field{Name: "From", Value: " a@bank.example"}
	size := len(from.Name) + len(from.Value)
	for _, tt := range []struct {
		why    string
		header message.Header
		part   bool // the header was cut off
		want   string
	}{
		{"the longest field", message.Header{from, field(milter.DefaultMaxFieldBytes)}, false, ""},
		{"a longer field", message.Header{from, field(milter.DefaultMaxFieldBytes + 1)}, false, milter.OversizeFieldBytes},
		{"as many fields as may be", append(slices.Repeat(message.Header{field(2)}, 9), from), false, ""},
		{"one field more", append(slices.Repeat(message.Header{field(2)}, 10), from), false, milter.OversizeHeaderFields},
		{"as many octets as may be", message.Header{from, field(200_000), field(300_000 - 200_000 - size)}, false, ""},
		{"one octet more", message.Header{from, field(200_000), field(300_000 - 200_000 - size + 1)}, false, milter.OversizeHeaderBytes},
		{"a part of a header", message.Header{from}, true, milter.OversizeHeaderBytes},
		{"nothing", nil, false, ""},
	} {
		r := row{change: func(j *Judge) { j.MaxHeaderBytes = 300_000 }}
		m := r.message()
		m.Header, m.Whole = tt.header, !tt.part
		if d := r.judge(t).Open(t.Context(), m).Finish(t.Context()); d.Oversize != tt.want || (d.Evaluation == nil) != (tt.want != "") {
			t.Errorf("%s: over %q, want %q", tt.why, d.Oversize, tt.want)
		}
	}
}

// TestStoredTime checks as of when a stored message is judged: the given time, or now.
func TestStoredTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []time.Time{{}, time.Now().Add(-24 * time.Hour)} {
			r := row{}
			m := r.message()
			m.Time = at
			want := at
			if at.IsZero() {
				want = time.Now()
			}
			if d := r.judge(t).Open(t.Context(), m).Finish(t.Context()); !d.Evaluation.Time.Equal(want) {
				t.Errorf("%s: judged as of %s", at, d.Evaluation.Time)
			}
		}
	})
}

// TestTrusts checks who counts as trusted: nobody without a list, and nobody whose address is not known.
func TestTrusts(t *testing.T) {
	everybody := func(netip.Addr) bool { return true }
	client := netip.MustParseAddr("203.0.113.1")
	for _, tt := range []struct {
		why      string
		trusted  func(netip.Addr) bool
		client   netip.Addr
		internal bool
		want     bool
	}{
		{"on the list", everybody, client, false, true},
		{"not on the list", func(netip.Addr) bool { return false }, client, false, false},
		{"no list", nil, client, false, false},
		{"an address that is not known", everybody, netip.Addr{}, false, false},
		{"an internal message", nil, client, true, true},
	} {
		r := row{change: func(j *Judge) { j.Trusted = tt.trusted }}
		m := r.message()
		m.Session.Client, m.Internal = tt.client, tt.internal
		if d := r.judge(t).Open(t.Context(), m).Finish(t.Context()); (d.Skipped == policy.ReasonTrusted) != tt.want {
			t.Errorf("%s: skipped %q", tt.why, d.Skipped)
		}
	}
}

// TestSplits checks each condition for refusing a recipient of another class.
func TestSplits(t *testing.T) {
	for _, tt := range []struct {
		j    Judge
		want bool
	}{
		{Judge{Split: true, Recipients: annOptedOut{}}, true},
		{Judge{Recipients: annOptedOut{}}, false},
		{Judge{Split: true}, false},
		{Judge{Split: true, Recipients: annOptedOut{}, Policy: policy.Config{Mode: policy.Monitor}}, false},
	} {
		if got := tt.j.Splits(); got != tt.want {
			t.Errorf("%+v: %t", tt.j, got)
		}
	}
}

// TestFlood checks a message that monitor mode cannot deliver, because it has more results in our name than
// are deleted.
func TestFlood(t *testing.T) {
	for n, want := range map[int]policy.Action{label.MaxForged: policy.Tag, label.MaxForged + 1: policy.Reject} {
		r := row{header: strings.Repeat("Authentication-Results: mx.here.example; none\n", n), change: func(j *Judge) { j.Policy.Mode = policy.Monitor }}
		d := r.judge(t).Open(t.Context(), r.message()).Finish(t.Context())
		if d.Oversize == "" || d.Verdict.Applied != want || (len(d.Edits) == 0) != (want == policy.Reject) {
			t.Errorf("%d results: %s %s, %d edits", n, d.Oversize, d.Verdict.Applied, len(d.Edits))
		}
	}
}

// TestLearn checks that learned signs are asked for if a message fails, and what they change.
func TestLearn(t *testing.T) {
	for _, tt := range []struct {
		why     string
		learned policy.LearnedRule
		client  string
		signs   []trait.Trait
		asked   bool
		action  policy.Action
		change  int
	}{
		{"milder", policy.LearnedUse, "", []trait.Trait{trait.KnownSource}, true, policy.Quarantine, -1},
		{"only shown", policy.LearnedObserve, "", []trait.Trait{trait.KnownSource}, true, policy.Reject, -1},
		{"nothing is known", policy.LearnedUse, "", nil, true, policy.Reject, 0},
		{"a message that passes", policy.LearnedUse, "192.0.2.1", []trait.Trait{trait.KnownSource}, false, policy.Accept, 0},
	} {
		asked := false
		r := row{client: tt.client, change: func(j *Judge) {
			j.Policy.Learned = tt.learned
			j.Learn = func(*msgauth.Evaluation) []trait.Trait { asked = true; return tt.signs }
		}}
		m := r.message()
		if tt.client == "" {
			m.Envelope.MailFrom = "<x@evil.example>" // the author's own SPF would say fail, which outweighs a learned sign
		}
		d := r.judge(t).Open(t.Context(), m).Finish(t.Context())
		if asked != tt.asked || d.Verdict.Action != tt.action || int(d.Learned) != tt.change {
			t.Errorf("%s: asked %t, %s, change %d", tt.why, asked, d.Verdict.Action, d.Learned)
		}
		if tt.asked && d.Evaluation.Has(trait.KnownSource) != (len(tt.signs) > 0) {
			t.Errorf("%s: traits %v", tt.why, d.Evaluation.Traits)
		}
	}
}

// TestConsentAtOnce checks the class of a recipient on which the reply to RCPT waits, and how long that took.
func TestConsentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{release: make(chan struct{})}
		c := newConsents(d)
		for typed, want := range map[string]policy.Class{"<in@x>": policy.In, "<out@x>": policy.Out} {
			if got := c.now(recipient{typed: typed}); got != want || d.most.Load() != 0 {
				t.Errorf("%s: %s, %d lookups", typed, got, d.most.Load())
			}
		}
		go func() {
			time.Sleep(2 * time.Second)
			close(d.release)
		}()
		if got := c.now(recipient{typed: "<slow@x>"}); got != policy.In {
			t.Errorf("slow: %s", got)
		}
		if got, want := c.wait(t.Context(), time.Hour), (policy.Consent{Elapsed: 2 * time.Second}); got != want {
			t.Errorf("%+v, want %+v: a recipient that is not accepted does not count", got, want)
		}
	})
}

// TestConsentElapsed checks that the time of lookups that run at the same time counts once.
func TestConsentElapsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{release: make(chan struct{})}
		c := newConsents(d)
		c.add(recipient{typed: "<slow@x>"})
		time.Sleep(time.Second)
		c.add(recipient{typed: "<slow@x>"})
		time.Sleep(2 * time.Second)
		close(d.release)
		synctest.Wait()
		time.Sleep(time.Minute) // nothing runs
		c.add(recipient{typed: "<slow@x>"})
		if got, want := c.wait(t.Context(), time.Hour), (policy.Consent{In: 3, Elapsed: 3 * time.Second}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// mute is a resolver that never answers, and counts the lookups that wait.
type mute struct {
	dns.LookupOnly
	open *atomic.Int64
}

func (s mute) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	s.open.Add(1)
	defer s.open.Add(-1)
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ}
}

// TestAsksNobody checks that no recipient is looked up for a message that is not evaluated. Lookups run in goroutines; the
// first row shows that one is seen.
func TestAsksNobody(t *testing.T) {
	for _, tt := range []struct {
		why, client, login string
		want               int64
	}{
		{"a stranger", "", "", 1},
		{"a trusted network", "127.0.0.1", "", 0},
		{"a client that logged in", "", "ann", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &directory{}
			r := row{client: tt.client, login: tt.login, change: func(j *Judge) { j.Recipients = d }, to: []string{"<never@x>"}}
			s := r.judge(t).Open(t.Context(), r.message())
			synctest.Wait()
			if got := d.most.Load(); got != tt.want {
				t.Errorf("%s: %d lookups, want %d", tt.why, got, tt.want)
			}
			s.Close()
		})
	}
}

// TestCloseEndsLookups checks that the lookups of a message end with it, and those of a client with its
// connection.
func TestCloseEndsLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		asked := &directory{}
		r := row{change: func(j *Judge) {
			j.Verifier, j.Recipients = msgauth.NewVerifier(mute{open: &open}, msgauth.Options{}), asked
		}, to: []string{"<never@x>"}}
		m := r.message()
		j := r.judge(t)
		connection := j.Connect(t.Context(), m.Session)
		synctest.Wait()
		before := open.Load()
		c := connection.Begin(m.Session, m.Envelope)
		c.Recipient("<never@x>", "", false)
		for _, f := range m.Header {
			c.Header(f.Name, f.Value)
		}
		c.EndOfHeader()
		synctest.Wait()
		if open.Load() <= before || asked.flying.Load() != 1 {
			t.Fatalf("%d lookups of DNS, %d of consent", open.Load(), asked.flying.Load())
		}
		c.Close()
		synctest.Wait()
		if open.Load() != before || asked.flying.Load() != 0 {
			t.Errorf("after the message: %d lookups of DNS, want %d, and %d of consent", open.Load(), before, asked.flying.Load())
		}
		connection.Close()
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("after the connection: %d lookups", open.Load())
		}
		long := j.Open(t.Context(), m) // it goes on, and then crosses a limit
		synctest.Wait()
		if long.Oversize(milter.OversizeFieldBytes) {
			t.Error("a message over a limit goes on")
		}
		synctest.Wait()
		if asked.flying.Load() != 0 {
			t.Errorf("over a limit: %d lookups of consent", asked.flying.Load())
		}
		long.connection.Close()
		synctest.Wait()
		over := m
		over.Whole = false
		s := j.Open(t.Context(), over)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("over a limit from the beginning: %d lookups", open.Load())
		}
		s.Close()
		s = j.Open(t.Context(), m)
		synctest.Wait()
		s.Close()
		synctest.Wait()
		if open.Load() != 0 || asked.flying.Load() != 0 {
			t.Errorf("after a stored message: %d lookups of DNS, %d of consent", open.Load(), asked.flying.Load())
		}
	})
}

// TestIdentify checks that the name under which the MTA greeted this connection is the one that labels it.
func TestIdentify(t *testing.T) {
	r := row{client: "192.0.2.1", change: func(j *Judge) { j.Label.Names = label.Names{HostName: "h.here.example"} }}
	j, m := r.judge(t), r.message()
	connection := j.Connect(t.Context(), m.Session)
	defer connection.Close()
	connection.Identify(j.Label.Identity("mta.here.example"))
	c := connection.Begin(m.Session, m.Envelope)
	for _, f := range m.Header {
		c.Header(f.Name, f.Value)
	}
	if len(c.header) != len(m.Header) {
		t.Errorf("%d fields, want %d", len(c.header), len(m.Header))
	}
	c.EndOfHeader()
	d := c.Finish(t.Context())
	if len(d.Edits) != 1 || !strings.HasPrefix(strings.TrimSpace(d.Edits[0].Value), "mta.here.example;") {
		t.Errorf("%+v", d.Edits)
	}
}

// TestHeaderStart checks that a forged field beyond a limit goes, and that nothing is kept of one before it.
func TestHeaderStart(t *testing.T) {
	r := row{change: func(j *Judge) { j.Policy.Mode = policy.Monitor }}
	m := r.message()
	connection := r.judge(t).Connect(t.Context(), m.Session)
	defer connection.Close()
	c := connection.Begin(m.Session, m.Envelope)
	c.HeaderStart(label.VerdictField, "pass")
	c.Oversize("header_fields")
	c.HeaderStart(label.VerdictField, "pass")
	d := c.Finish(t.Context())
	if len(d.Edits) != 2 || d.Edits[0].Name != label.VerdictField || d.Edits[0].Deleted() != 1 {
		t.Errorf("%+v", d.Edits)
	}
}

// TestWithoutHELO checks that no HELO name is looked at if the stored message tells none.
func TestWithoutHELO(t *testing.T) {
	for helo, want := range map[string]bool{"": false, "h.example": true} {
		r := row{client: "192.0.2.1"}
		m := r.message()
		m.Session.HELO = helo
		if d := r.judge(t).Open(t.Context(), m).Finish(t.Context()); (d.Evaluation.HELO.Problem != "no HELO") != want {
			t.Errorf("HELO %q: %+v", helo, d.Evaluation.HELO)
		}
	}
}
