package filter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// TestSwap checks that a message keeps the options it began with, and that the next message
// of the same session uses the new options. The old options must be retired when no session
// uses them any more.
func TestSwap(t *testing.T) {
	resolver := nameserver.Zone(t, zoneText)
	retired := map[string]chan struct{}{"a.example": make(chan struct{}, 2), "b.example": make(chan struct{}, 2)}
	options := func(id string) Options {
		return Options{Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(resolver, msgauth.Options{Budget: 2 * time.Second}), Label: label.Settings{Names: label.Names{AuthServID: id}},
			Policy: policy.Config{Mode: policy.Monitor},
		}, Retired: func() { retired[id] <- struct{}{} }}
	}
	f := New(options("a.example"))
	server := milter.New(milter.Options{NewSession: f.NewSession})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()

	// The first message begins before the swap and ends after it. The session replies at
	// every step, so when the reply to MAIL has arrived, the daemon has begun the message.
	offer := client.Offer{Version: 6, Actions: client.PostfixOffer().Actions}
	under := open(t, ln.Addr().String(), "192.0.2.1", "h.example", offer)
	idle := open(t, ln.Addr().String(), "192.0.2.1", "h.example", offer)
	if _, err := under.c.Mail("<x@bank.example>"); err != nil {
		t.Fatal(err)
	}
	f.Swap(options("b.example"))
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) { return under.c.Rcpt("<to@here.example>") },
		func() (client.Action, error) { return under.c.Header("From", "a@bank.example") },
		under.c.EndOfHeader,
	} {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	_, mods, err := under.c.EndOfMessage()
	if err != nil || len(mods) != 1 || !strings.HasPrefix(strings.TrimSpace(mods[0].Value), "a.example") {
		t.Errorf("the message under way: %+v, %v", mods, err)
	}
	for name, s := range map[string]mtaSession{"the session with a message": under, "the idle one": idle} {
		if len(retired["a.example"]) != 0 {
			t.Errorf("%s: its options are retired", name)
		}
		res, _ := s.send("<x@bank.example>", fmt.Sprintf(mail, "bank.example"))
		if len(res.Modifications) != 1 {
			t.Fatalf("%s: %+v", name, res)
		}
		v := strings.TrimSpace(res.Modifications[0].Value)
		if !strings.HasPrefix(v, "b.example") || !strings.Contains(v, "spf=") || strings.Contains(v, "iprev=none") {
			t.Errorf("%s: the next message got %s", name, v)
		}
	}
	<-retired["a.example"]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	f.Swap(options("a.example"))
	<-retired["b.example"] // no session uses these options any more
	if len(retired["a.example"]) != 0 {
		t.Error("options retired twice")
	}
}

// TestSwapOfTrust checks that a swap can make a connected client trusted, and can also make
// it untrusted again.
func TestSwapOfTrust(t *testing.T) {
	options := func(trusted bool) Options {
		return Options{Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{Budget: 2 * time.Second}),
			Label:    label.Settings{Names: label.Names{AuthServID: id}}, Trusted: func(netip.Addr) bool { return trusted },
		}}
	}
	f := New(options(true))
	server := milter.New(milter.Options{NewSession: f.NewSession})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	s := open(t, ln.Addr().String(), "192.0.2.1", "h.example", client.PostfixOffer())
	for i, trusted := range []bool{true, false, true} {
		f.Swap(options(trusted))
		res, _ := s.send("<x@bank.example>", fmt.Sprintf(mail, "bank.example"))
		if labelled := len(res.Modifications) == 1; labelled == trusted {
			t.Errorf("message %d, trusted %v: %+v", i, trusted, res)
		}
	}
	if err := s.c.Quit(); err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestNamesOfMTA checks that each of several MTAs gets the names that are right for it.
func TestNamesOfMTA(t *testing.T) {
	e := New(Options{Judge: &judge.Judge{}}).acquire()
	for _, mta := range []string{"a.example", "a.example", "b.example", "", "a.example"} {
		if got := e.identity(mta).MTA; got != mta {
			t.Errorf("%q is named %q", mta, got)
		}
	}
}

// TestRetired checks that options are retired once, when they were replaced and no session uses them: by Swap if no
// session does, and else by the last session that ends.
func TestRetired(t *testing.T) {
	for users, steps := range map[int][]int{0: {0, 1}, 1: {0, 0, 1}, 2: {0, 0, 0, 1}} { // retired how often after each step
		retired := 0
		f := New(Options{Retired: func() { retired++ }})
		f.release(f.acquire()) // a session that ended before
		var got []int
		got = append(got, retired)
		var used []*edition
		for range users {
			used = append(used, f.acquire())
		}
		f.Swap(Options{})
		got = append(got, retired)
		for _, e := range used {
			f.release(e)
			got = append(got, retired)
		}
		if !slices.Equal(got, steps) {
			t.Errorf("%d sessions: retired %v, want %v", users, got, steps)
		}
	}
}
