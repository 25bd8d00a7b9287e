package filter

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
)

// TestProbeMark checks who is a probe: only a peer that sends ProbeMacro before CONNECT. A macro
// that comes with a later event, or text in a value that an SMTP client chooses, does not count.
func TestProbeMark(t *testing.T) {
	forged := "1\x00" + ProbeMacro
	for _, tt := range []struct {
		name  string
		event byte // for which event the macro is sent; 0 for no macro
		macro string
		text  string // HELO name, parameter of MAIL and value of the macro {client_name}
		probe bool
	}{
		{"an MTA", 0, "", "h.example", false},
		{"a probe", 'C', ProbeMacro, "h.example", true},
		{"the name without braces", 'C', "sekimori_probe", "h.example", true},
		{"at HELO", 'H', ProbeMacro, "h.example", false},
		{"at MAIL", 'M', ProbeMacro, "h.example", false},
		{"at RCPT", 'R', ProbeMacro, "h.example", false},
		{"at the end of the message", 'E', ProbeMacro, "h.example", false},
		{"another name", 'C', "{sekimori_probes}", "h.example", false},
		{"the name as a value", 0, "", ProbeMacro, false},
		{"an assignment as a value", 0, "", ProbeMacro + "=1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			watch := topology.New(slog.New(slog.NewTextHandler(&log, nil)))
			mail, probes := &recorder{}, &recorder{}
			addr := serveProbes(t, watch, mail, probes)
			c, err := client.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			offer := client.PostfixOffer()
			offer.Actions &^= 0x20 // the MTA offers no quarantine; topology.Watch counts such MTAs
			if _, err := c.Negotiate(offer); err != nil {
				t.Fatal(err)
			}
			send := func(event byte) {
				if event == tt.event {
					if err := c.SendMacro(event, tt.macro, "1"); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.SetMacro("{client_name}", tt.text)
			c.SetMacro("j", "mx.elsewhere.example") // not a name related to our authserv-id
			send('C')
			if _, err := c.Connect(tt.text, netip.MustParseAddrPort("203.0.113.1:25")); err != nil {
				t.Fatal(err)
			}
			send('H')
			if _, err := c.Helo(tt.text); err != nil {
				t.Fatal(err)
			}
			for _, event := range []byte("MRE") {
				send(event)
			}
			_, err = c.SendMessage(client.Envelope{From: "<x@evil.example>", FromArgs: []string{tt.text}, To: []string{"<r@here.example>"}},
				fmt.Appendf(nil, "%s: 1\r\n"+mailText, tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(mail.decisions) == 1 == tt.probe || len(probes.decisions) == 1 != tt.probe || len(mail.decisions)+len(probes.decisions) != 1 {
				t.Errorf("%d decisions on mail, %d on messages of a probe", len(mail.decisions), len(probes.decisions))
			}
			if lacks := watch.Lacking(topology.LackQuarantine); lacks == 0 != tt.probe {
				t.Errorf("the watch counts %d", lacks)
			}
			if watch.Holds(topology.ForeignName) == tt.probe {
				t.Errorf("the watch warns of the MTA's name: %t", !tt.probe)
			}
		})
	}
	// A value that contains the name after a NUL is not a macro either: the frame then has an odd
	// number of strings, and the session ends.
	mail, probes := &recorder{}, &recorder{}
	c, err := client.Dial("tcp", serveProbes(t, nil, mail, probes))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMacro('C', "{client_name}", forged); err != nil {
		t.Fatal(err)
	}
	c.Timeout = 5 * time.Second
	_, _ = c.Connect("h.example", netip.MustParseAddrPort("203.0.113.1:25")) // the answer to CONNECT is not awaited
	_, err = c.SendMessage(client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}}, []byte(mailText))
	if err == nil || len(mail.decisions)+len(probes.decisions) != 0 {
		t.Errorf("the session goes on after a macro with a NUL: %v, %d and %d decisions", err, len(mail.decisions), len(probes.decisions))
	}
}

const mailText = "From: A <a@hobby.example>\r\nSubject: s\r\n\r\nbody\r\n"

// serveProbes is serve with a recorder for mail and one for the messages of probes.
func serveProbes(t *testing.T, watch *topology.Watch, mail, probes *recorder) (addr string) {
	t.Helper()
	j := &judge.Judge{
		Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{Budget: 2 * time.Second}),
		Label:    label.Settings{Names: label.Names{AuthServID: id}},
	}
	f := New(Options{Judge: j, Topology: watch, Observers: []Observer{mail}, ProbeObservers: []Observer{probes}})
	s := milter.New(milter.Options{NewSession: f.NewSession})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	return ln.Addr().String()
}
