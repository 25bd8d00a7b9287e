package filter

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
)

// tenNet says which client is in the trusted network of these tests.
func tenNet(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }

// filterFor returns a Filter with the judge j, whose decisions go to seen.
func filterFor(t *testing.T, j judge.Judge, seen *recorder) *Filter {
	t.Helper()
	j.Verifier, j.Label = msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), namedLabel()
	return New(Options{Judge: &j, Observers: []Observer{seen}})
}

// TestInterruptedMessages checks what becomes of a message whose context ends before it is decided. It
// depends on why the context ended, and on whether the message is evaluated at all.
func TestInterruptedMessages(t *testing.T) {
	const trusted, stranger = "10.0.0.1", "203.0.113.1"
	restarting := "451 4.3.2 Service is restarting, try again later"
	for _, tt := range []struct {
		why    string
		mode   policy.Mode
		ip     string
		cause  error // nil: the context does not end
		answer string
		told   int // decisions that observers were told
	}{
		{"nothing happens", policy.Enforce, stranger, nil, "continue", 1},
		{"nothing happens in monitor mode", policy.Monitor, stranger, nil, "continue", 1},
		{"the MTA has gone", policy.Enforce, stranger, milter.ErrPeerGone, "tempfail", 0},
		{"the MTA has gone in monitor mode", policy.Monitor, stranger, milter.ErrPeerGone, "tempfail", 0},
		{"the daemon stops", policy.Enforce, stranger, milter.ErrDraining, restarting, 0},
		{"the daemon stops in monitor mode", policy.Monitor, stranger, milter.ErrDraining, "continue", 1},
		{"the time is up", policy.Enforce, stranger, context.DeadlineExceeded, restarting, 0},
		{"a message that needs no results, and the MTA has gone", policy.Enforce, trusted, milter.ErrPeerGone, "continue", 1},
		{"a message that needs no results, and the daemon stops", policy.Enforce, trusted, milter.ErrDraining, "continue", 1},
	} {
		seen := &recorder{}
		f := filterFor(t, judge.Judge{Policy: policy.Config{Mode: tt.mode}, Trusted: tenNet}, seen)
		addr := serveSessions(t, func(c *milter.Conn) milter.Session {
			s := f.NewSession(c)
			return ending{s, func(m *milter.Modifier) milter.Reply {
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				if tt.cause != nil {
					cancel(tt.cause)
				}
				r := s.EndOfMessage(ctx, m)
				if tt.answer == "tempfail" && r != milter.Tempfail { // package milter would make it of any reply that is not valid
					t.Errorf("%s: reply %q", tt.why, string(r))
				}
				return r
			}}
		})
		res, _ := open(t, addr, tt.ip, "h.example", client.PostfixOffer()).send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
		if got := res.Action.String(); got != tt.answer || len(seen.decisions) != tt.told {
			t.Errorf("%s: %s, %d decisions; want %s, %d", tt.why, got, len(seen.decisions), tt.answer, tt.told)
		}
	}
}

// TestTook checks the time that observers are told with a decision: that since the end of the message, or
// none if the decision was made before.
func TestTook(t *testing.T) {
	over := strings.Repeat("X: y\n", 30)
	for _, tt := range []struct {
		why, ip, raw string
		early        bool
	}{
		{"evaluated", "203.0.113.1", "", false},
		{"trusted", "10.0.0.1", "", false},
		{"over a limit", "203.0.113.1", over, true},
		{"trusted and over a limit", "10.0.0.1", over, true},
	} {
		addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Trusted: tenNet}, milter.Limits{MaxHeaderFields: 20})
		open(t, addr, tt.ip, "h.example", client.PostfixOffer()).send("<x@evil.example>", tt.raw+fmt.Sprintf(mail, "hobby.example"))
		if len(seen.took) != 1 || (seen.took[0] == 0) != tt.early || seen.took[0] < 0 {
			t.Errorf("%s: decisions took %v", tt.why, seen.took)
		}
	}
}

// TestEnforcedWithoutEvaluation checks what observers are told of a message that is not evaluated: what was
// decided on it was done, in each mode.
func TestEnforcedWithoutEvaluation(t *testing.T) {
	for _, mode := range policy.Modes {
		addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: mode}, Trusted: tenNet, TrustAuthenticated: true}, milter.Limits{})
		for i, who := range []struct{ ip, login string }{{"10.0.0.1", ""}, {"203.0.113.1", "ann"}} {
			s := open(t, addr, who.ip, "h.example", client.PostfixOffer())
			s.c.SetMacro("{auth_authen}", who.login)
			s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
			if len(seen.skipped) != i+1 || seen.skipped[i].Action != policy.Skip || !seen.skipped[i].Enforced {
				t.Errorf("%s, %+v: %+v", mode, who, seen.skipped)
			}
		}
	}
}

// broken is a session that panics when the end of a message arrives, before anything is done.
type broken struct{ *session }

func (broken) EndOfMessage(context.Context, *milter.Modifier) milter.Reply { panic("here") }

// TestSalvageOf checks what becomes of a message after a panic, in each mode, and where it cannot be labelled.
func TestSalvageOf(t *testing.T) {
	const deferred = "451 4.3.0 Internal error, try again later"
	for _, tt := range []struct {
		why     string
		mode    policy.Mode
		ip      string
		actions milter.Action // that the MTA does not allow
		answer  string
		edits   int
	}{
		{"enforce", policy.Enforce, "203.0.113.1", 0, deferred, 0},
		{"enforce, of a trusted client", policy.Enforce, "10.0.0.1", 0, deferred, 0},
		{"monitor: the forged field goes, and the label comes", policy.Monitor, "203.0.113.1", 0, "continue", 2},
		{"monitor, of a trusted client: nothing is edited", policy.Monitor, "10.0.0.1", 0, "accept", 0},
		{"monitor, and the MTA lets no field be deleted", policy.Monitor, "203.0.113.1", milter.ActionChangeHeader, "continue", 1},
		{"monitor, and the MTA lets no field be added: the forged field goes", policy.Monitor, "203.0.113.1", milter.ActionAddHeader, "accept", 1},
	} {
		f := filterFor(t, judge.Judge{Policy: policy.Config{Mode: tt.mode}, Trusted: tenNet}, &recorder{})
		server := milter.New(milter.Options{NewSession: func(c *milter.Conn) milter.Session { return broken{f.NewSession(c).(*session)} }})
		server.Set(milter.Settings{OnPanic: OnPanic(policy.Config{Mode: tt.mode})})
		offer := client.PostfixOffer()
		offer.Actions &^= uint32(tt.actions)
		res, h := open(t, serveOn(t, server), tt.ip, "h.example", offer).send("<x@evil.example>", forgedResult+fmt.Sprintf(mail, "hobby.example"))
		if got := res.Action.String(); got != tt.answer || len(res.Modifications) != tt.edits {
			t.Errorf("%s: %s, %+v", tt.why, got, res.Modifications)
		}
		if tt.edits == 2 && ours(t, h) != id+"; none (not evaluated: internal error)" {
			t.Errorf("%s: label %q", tt.why, h[0].Value)
		}
	}
}

// TestNoMessage checks the calls that can come when no message has begun.
func TestNoMessage(t *testing.T) {
	for mode, want := range map[policy.Mode]milter.Reply{policy.Enforce: OnPanic(policy.Config{}), policy.Monitor: milter.Accept} {
		s := &session{o: &Options{Judge: &judge.Judge{Policy: policy.Config{Mode: mode}}}}
		if got := s.Salvage(nil); got != want {
			t.Errorf("%s: salvage %v, want %v", mode, got, want)
		}
		if got := s.Oversize(milter.OversizeMemory); got != milter.Continue {
			t.Errorf("%s: oversize %v, want continue", mode, got)
		}
		s.HeaderStart("Subject", " s")
		s.Abort()
	}
}

// TestDates checks which messages say that the clock is off. The Date that counts is the first one.
func TestDates(t *testing.T) {
	old, now := "Mon, 9 Nov 2015 06:05:04 +0000", time.Now().UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700")
	for _, tt := range []struct {
		why, fields string
		off         bool
	}{
		{"an old date", "Date: " + old + "\n", true},
		{"the name in other letters", "DATE: " + old + "\n", true},
		{"the present date", "Date: " + now + "\n", false},
		{"none", "", false},
		{"one that cannot be read", "Date: yesterday\n", false},
		{"an old one and then the present one", "Date: " + old + "\nDate: " + now + "\n", true},
		{"the present one and then an old one", "Date: " + now + "\nDate: " + old + "\n", false},
		{"another field", "Resent-Date: " + old + "\n", false},
	} {
		watch := topology.New(slog.New(slog.DiscardHandler))
		addr, _ := serveWatched(t, nameserver.Zone(t, zoneText), judge.Judge{TrustAuthenticated: true}, milter.Limits{}, watch)
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		s.c.SetMacro("{auth_authen}", "ann")
		for range 100 { // as many as the Watch wants to see
			s.send("<x@evil.example>", tt.fields+"From: a@hobby.example\n\nx\n")
		}
		if got := watch.Holds(topology.ClockOff); got != tt.off {
			t.Errorf("%s: the clock is off: %t", tt.why, got)
		}
	}
}

// TestWatchedMessages checks what the Watch is told of messages: whether their clients are trusted, and whether
// the MTA shows messages at all.
func TestWatchedMessages(t *testing.T) {
	for _, tt := range []struct {
		why, ip, login string
		trusted        bool // every client is in the trusted network
		evaluated      bool
	}{
		{"of a trusted network", "10.0.0.1", "", true, false},
		{"of a user", "203.0.113.1", "ann", false, false},
		{"of strangers", "203.0.113.1", "", false, true},
	} {
		watch := topology.New(slog.New(slog.DiscardHandler))
		addr, _ := serveWatched(t, nameserver.Zone(t, zoneText), judge.Judge{Trusted: tenNet, TrustAuthenticated: true}, milter.Limits{}, watch)
		s := open(t, addr, tt.ip, "h.example", client.PostfixOffer())
		s.c.SetMacro("{auth_authen}", tt.login)
		deliver := func() { s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example")) }
		for range 100 { // as many as the Watch wants to see
			deliver()
		}
		if got := watch.Holds(topology.AllTrusted); got != tt.trusted {
			t.Errorf("%s: all are trusted: %t", tt.why, got)
		}
		// Ten transactions without a message mean that the MTA shows none, unless one was evaluated meanwhile.
		// One that reached DATA counts twice.
		abandon := func(steps ...func() (client.Action, error)) {
			for _, step := range append([]func() (client.Action, error){
				func() (client.Action, error) { return s.c.Mail("<x@evil.example>") },
				func() (client.Action, error) { return s.c.Rcpt("<a@here.example>") },
			}, steps...) {
				if _, err := step(); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.c.Abort(); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			abandon()
			abandon(s.c.Data)
		}
		deliver() // its reply comes when all before it was handled
		if watch.Holds(topology.NothingEvaluated) {
			t.Errorf("%s: too few transactions are enough", tt.why)
		}
		abandon()
		s.c.SetMacro("{auth_authen}", "ann") // a message that is not evaluated
		deliver()
		if got := watch.Holds(topology.NothingEvaluated); got == tt.evaluated {
			t.Errorf("%s: nothing is evaluated: %t", tt.why, got)
		}
	}
}
