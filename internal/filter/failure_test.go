package filter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// atEnd is a session that closes the channel `came` when the end of the message arrives.
type atEnd struct {
	milter.Session
	came chan struct{}
}

func (s atEnd) EndOfMessage(ctx context.Context, m *milter.Modifier) milter.Reply {
	close(s.came)
	return s.Session.EndOfMessage(ctx, m)
}

// stuck is a resolver that never answers. A lookup ends when its context ends.
type stuck struct{ dns.LookupOnly }

func (stuck) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ}
}

// TestDrainIsNoWayIn checks a message whose evaluation is interrupted because the daemon
// stops. The message must be deferred, and in monitor mode it must be delivered.
func TestDrainIsNoWayIn(t *testing.T) {
	for _, tt := range []struct {
		mode policy.Mode
		code int
	}{{policy.Enforce, 451}, {policy.Monitor, 0}} {
		came := make(chan struct{})
		seen := &recorder{}
		o := Options{Observers: []Observer{seen}, Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(stuck{}, msgauth.Options{Budget: time.Minute}), Label: label.Settings{Names: label.Names{AuthServID: id}},
			Policy: policy.Config{Mode: tt.mode},
		}}
		server := milter.New(milter.Options{NewSession: func(c *milter.Conn) milter.Session { return atEnd{New(o).NewSession(c), came} }})
		server.Set(milter.Settings{ReplyAt: New(o).ReplyAt()})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(ln) }()
		s := open(t, ln.Addr().String(), "203.0.113.1", "h.example", client.PostfixOffer())
		down := make(chan struct{})
		go func() {
			defer close(down)
			<-came
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // Shutdown gets a context that has already ended
			_ = server.Shutdown(ctx)
		}()
		res, err := s.c.SendMessage(client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
		// The daemon sends the reply and then closes the connection. The client's ABORT may
		// fail after that, so err is not checked.
		if res.Action.Code != tt.code || res.Action.Delivers() != (tt.code == 0) {
			t.Errorf("%s: answer %s, %v", tt.mode, res.Action, err)
		}
		<-down
	}
}

// bomb is a resolver that panics when a name under bank.example is looked up.
type bomb struct {
	dns.LookupOnly
	next dns.Resolver
}

func (b bomb) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if strings.HasSuffix(string(name), "bank.example") {
		panic("boom")
	}
	return b.next.Lookup(ctx, name, typ)
}

// endless is a resolver that never answers, and tells why a lookup ended.
type endless struct {
	dns.LookupOnly
	began chan struct{}
	ended chan error
}

func (e endless) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	e.began <- struct{}{}
	<-ctx.Done()
	e.ended <- ctx.Err()
	return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ}
}

// TestLookupsEndWithSession checks that no lookup goes on after the client has gone, or after new options
// have begun lookups of their own.
func TestLookupsEndWithSession(t *testing.T) {
	for _, swapped := range []bool{false, true} {
		r := endless{began: make(chan struct{}, 10), ended: make(chan error, 10)}
		f := New(Options{Judge: &judge.Judge{Verifier: msgauth.NewVerifier(r, msgauth.Options{}), Label: namedLabel()}})
		s := open(t, serveFilter(t, f), "203.0.113.1", "h.example", client.Offer{Version: 6}) // not buffered: each step has a reply
		<-r.began
		if swapped {
			f.Swap(Options{Judge: &judge.Judge{Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), Label: namedLabel()}})
			if _, err := s.c.Mail("<x@evil.example>"); err != nil {
				t.Fatal(err)
			}
		} else if err := s.c.Quit(); err != nil {
			t.Fatal(err)
		}
		if err := <-r.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("swapped %t: a lookup ended by %v", swapped, err)
		}
	}
}

func TestOnPanic(t *testing.T) {
	if r := OnPanic(policy.Config{Mode: policy.Enforce}); r.Code() != 451 {
		t.Errorf("enforce: %s", r)
	}
	if r := OnPanic(policy.Config{Mode: policy.Monitor}); r != milter.Accept {
		t.Errorf("monitor mode acts: %s", r)
	}
}

// TestPanicCostsOneMessage checks a panic in the check of one message. The dmarc result of
// this message must be temperror, the message must not be refused, and the next message
// must be judged.
func TestPanicCostsOneMessage(t *testing.T) {
	addr, _ := serve(t, bomb{next: nameserver.Zone(t, zoneText)}, judge.Judge{Policy: policy.Config{Reject: policy.RejectAlways}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	res, h := s.send("<x@evil.example>", fmt.Sprintf(mail, "bank.example"))
	if label := ours(t, h); !res.Action.Delivers() || !strings.Contains(label, "dmarc=temperror") {
		t.Errorf("answer %s, %s", res.Action, label)
	}
	if _, h := s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example")); !strings.Contains(ours(t, h), "dmarc=fail") {
		t.Error("the next message was not judged")
	}
}

// bug is an observer that panics.
type bug struct{}

func (*bug) Decided(*judge.Decision, time.Duration) { panic("here") }

// TestSalvage checks a message for which the session panics at the end of the message. The
// message must be deferred. In monitor mode it must be delivered, without the fields that
// were forged in our name.
func TestSalvage(t *testing.T) {
	for _, tt := range []struct {
		mode  policy.Mode
		ip    string
		code  int
		label string
	}{
		{policy.Enforce, "203.0.113.1", 451, ""},
		{policy.Monitor, "203.0.113.1", 0, id + "; none (not evaluated: internal error)"},
	} {
		o := Options{Observers: []Observer{&bug{}}, Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), Label: label.Settings{Names: label.Names{AuthServID: id}},
			Policy: policy.Config{Mode: tt.mode},
		}}
		server := milter.New(milter.Options{NewSession: New(o).NewSession})
		server.Set(milter.Settings{OnPanic: OnPanic(o.Judge.Policy)})
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(ln) }()
		t.Cleanup(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = server.Shutdown(ctx)
		})
		s := open(t, ln.Addr().String(), tt.ip, "h.example", client.PostfixOffer())
		for range 2 {
			res, h := s.send("<x@evil.example>", forgedResult+fmt.Sprintf(mail, "hobby.example"))
			if res.Action.Code != tt.code {
				t.Errorf("%s: %s", tt.mode, res.Action)
			}
			if tt.label != "" {
				if got := ours(t, h); got != tt.label {
					t.Errorf("%s: label %q", tt.mode, got)
				}
			}
		}
	}
}
