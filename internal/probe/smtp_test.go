package probe

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// fakeMTA is an SMTP server with fixed replies. It keeps what it was sent.
type fakeMTA struct {
	replies map[string]string // by the first word of the command; "." is the end of the message
	got     chan string
}

func (f *fakeMTA) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.got = make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var all strings.Builder
		defer func() { f.got <- all.String() }()
		fmt.Fprint(conn, f.reply("greeting"))
		inData := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			word, _, _ := strings.Cut(lines.Text(), " ")
			switch {
			case inData && lines.Text() != ".":
				continue
			case word == "QUIT":
				return
			case word == "DATA":
				inData = true
			case word == ".":
				inData = false
			}
			fmt.Fprint(conn, f.reply(word))
		}
	}()
	return l.Addr().String()
}

func (f *fakeMTA) reply(word string) string {
	if r, ok := f.replies[word]; ok {
		return r
	}
	if word == "DATA" {
		return "354 go\r\n"
	}
	return "250 2.0.0 Ok: queued as 4X\r\n"
}

// TestOverSMTP plays to a fake MTA. Whether the label arrives is tested behind a real one (package
// e2e).
func TestOverSMTP(t *testing.T) {
	const xclient = "250-mx.example.jp\r\n250-SIZE 100\r\n250 XCLIENT NAME ADDR HELO\r\n"
	for _, tt := range []struct {
		name    string
		replies map[string]string
		change  func(*config.Config)
		domain  bool
		ok      bool
		fate    Fate
		says    string // in the notes and problems
		sent    string
	}{
		{"with XCLIENT", map[string]string{"EHLO": xclient}, nil, false, true, Accepted,
			"which is: mx.example.jp; spf=none smtp.helo=probe.invalid;", "XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.66\nEHLO probe.invalid\nMAIL FROM:<>\nRCPT TO:<ann@example.jp>\n"},
		{"without XCLIENT", nil, nil, false, true, Accepted, "so it sees this host's address 127.0.0.1", "EHLO probe.invalid\nMAIL FROM:<>\n"},
		{"without XCLIENT, not trusted", nil, func(c *config.Config) { c.Trusted.Networks = nil }, false, true, Accepted, "exactly one field", ""},
		{"held", map[string]string{"EHLO": xclient}, func(c *config.Config) { c.Policy.NoPolicy = policy.Quarantine }, false, true, Accepted,
			"must be in the hold queue (postqueue -p)", ""},
		{"a spoof is refused", map[string]string{"EHLO": xclient, ".": "550 5.7.1 Email rejected per DMARC policy\r\n"}, nil, true, true, Rejected, "", "postmaster@example.jp"},
		{"a spoof is accepted", map[string]string{"EHLO": xclient}, nil, true, false, Accepted, "The MTA may not pass its mail on to the daemon", ""},
		{"refused by another rule", map[string]string{"EHLO": xclient, "RCPT": "554 5.7.1 Relay access denied\r\n"}, nil, false, false, Rejected,
			"the MTA itself refused it: let --rcpt name a mailbox", ""},
		{"greylisted", map[string]string{"EHLO": xclient, "RCPT": "450 4.7.1 try again later\r\n"}, nil, false, false, Deferred,
			"the MTA itself refused it: let --rcpt name a mailbox", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.AuthservID = "mx.example.jp"
			if tt.change != nil {
				tt.change(cfg)
			}
			o := Options{Config: cfg, Resolver: nameserver.Zone(t, zoneText), Recipient: "ann@example.jp"}
			if tt.domain {
				o.Domains, _ = Options{Config: cfg}.domains()
			}
			mta := &fakeMTA{replies: tt.replies}
			r, err := OverSMTP(t.Context(), o, mta.serve(t))
			if err != nil {
				t.Fatal(err)
			}
			if r.OK != tt.ok || r.Plays[0].Came.Fate != tt.fate || !strings.Contains(problems(r), tt.says) {
				t.Errorf("ok %v, %s:\n%s", r.OK, fates(r), problems(r))
			}
			if got := <-mta.got; !strings.Contains(got, tt.sent) || strings.Contains(got, "sekimori_probe") {
				t.Errorf("the MTA got:\n%s", got)
			}
		})
	}
}

func TestOverSMTPFails(t *testing.T) {
	o := Options{Config: config.Default(), Resolver: nameserver.Zone(t, zoneText), Recipient: "ann@example.jp"}
	for reply, says := range map[string]string{
		"greeting=421 4.3.2 busy\r\n": `the connection was answered by "421 4.3.2 busy"`,
		"EHLO=502 no\r\n":             `EHLO was answered by "502 no"`,
		"greeting=hello\r\n":          "no reply to the connection",
	} {
		word, text, _ := strings.Cut(reply, "=")
		mta := &fakeMTA{replies: map[string]string{word: text}}
		if _, err := OverSMTP(t.Context(), o, mta.serve(t)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", reply, err)
		}
	}
	if _, err := OverSMTP(t.Context(), o, "127.0.0.1:1"); err == nil {
		t.Error("no server, and no error")
	}
	o.Recipient = ""
	if _, err := OverSMTP(t.Context(), o, "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "--rcpt") {
		t.Errorf("no recipient: %v", err)
	}
}
