package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns"
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
		if f.reply("greeting") == "" {
			return
		}
		inData, greeted := false, false
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
			case word == "EHLO":
				if _, again := f.replies["EHLO 2"]; again && greeted {
					word = "EHLO 2"
				}
				greeted = true
			}
			if f.reply(word) == "" {
				return
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

// TestOverSMTPFails checks that a session that ends before the message is an error that says where it ended.
func TestOverSMTPFails(t *testing.T) {
	o := Options{Config: config.Default(), Resolver: nameserver.Zone(t, zoneText), Recipient: "ann@example.jp"}
	const xclient = "250-mx.example.jp\r\n250 XCLIENT\r\n"
	for _, tt := range []struct {
		replies map[string]string // "" hangs up
		want    string
	}{
		{map[string]string{"greeting": "421 4.3.2 busy\r\n"}, `the connection was answered by "421 4.3.2 busy"`},
		{map[string]string{"greeting": "hello\r\n"}, `no reply to the connection: short response: "hello"`},
		{map[string]string{"greeting": ""}, "no reply to the connection: EOF"},
		{map[string]string{"EHLO": "502 no\r\n"}, `EHLO was answered by "502 no"`}, {map[string]string{"EHLO": ""}, "no reply to EHLO: EOF"},
		{map[string]string{"EHLO": xclient, "XCLIENT": "550-5.7.0 not\r\n550 5.7.0 you\r\n"}, `XCLIENT was answered by "550 5.7.0 not 5.7.0 you"`},
		{map[string]string{"EHLO": xclient, "XCLIENT": ""}, "no reply to XCLIENT: EOF"},
		{map[string]string{"EHLO": xclient, "EHLO 2": "502 no\r\n"}, `EHLO was answered by "502 no"`}, {map[string]string{"EHLO": xclient, "EHLO 2": ""}, "no reply to EHLO: EOF"},
		{map[string]string{"MAIL": ""}, "EOF"}, {map[string]string{"RCPT": ""}, "EOF"}, {map[string]string{"DATA": ""}, "EOF"}, {map[string]string{".": ""}, "EOF"},
	} {
		mta := &fakeMTA{replies: tt.replies}
		server := mta.serve(t)
		if r, err := OverSMTP(t.Context(), o, server); r != nil || err == nil || err.Error() != "probe: "+server+": "+tt.want {
			t.Errorf("%q: %v", tt.replies, err)
		}
	}
	for _, server := range []string{"127.0.0.1:1", "127.0.0.1", "[::1]"} {
		want := server
		if !strings.HasSuffix(server, ":1") {
			want = net.JoinHostPort(strings.Trim(server, "[]"), "25")
		}
		if _, err := OverSMTP(t.Context(), o, server); err == nil || !strings.HasPrefix(err.Error(), "probe: "+want+": ") || want == server && !strings.HasSuffix(err.Error(), " no program listens there; does the MTA run, and is it reached at this address?") {
			t.Errorf("%s: %v", server, err)
		}
	}
	o.Client = netip.MustParseAddr("127.0.0.1")
	if _, err := OverSMTP(t.Context(), o, "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "is in trusted.networks") {
		t.Errorf("a trusted client: %v", err)
	}
	o.Recipient = ""
	if _, err := OverSMTP(t.Context(), o, "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "--rcpt") {
		t.Errorf("no recipient: %v", err)
	}
	o.Recipient, o.Config = "ann@example.jp", unusable()
	if _, err := OverSMTP(t.Context(), o, "127.0.0.1:1"); err == nil || !strings.HasPrefix(err.Error(), "probe: app: dmarc.psl_file: ") {
		t.Errorf("an unusable configuration: %v", err)
	}
}

// breaking is a connection that gives replies until one of the writes fails.
type breaking struct {
	net.Conn
	io.Reader
	left int // writes
}

var errBroken = errors.New("broken")

func (b *breaking) Read(p []byte) (int, error) { return b.Reader.Read(p) }

func (b *breaking) Write(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errBroken
	}
	b.left--
	return len(p), nil
}

func (*breaking) Close() error { return nil }

// TestPostBreaks: a session that breaks while something is sent is an error at every step, however long the message is.
func TestPostBreaks(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		for left := range 6 {
			conn := &breaking{Reader: strings.NewReader("250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n"), left: left}
			s := &smtpSession{conn: conn, text: textproto.NewConn(conn)}
			r, err := s.post(Mail{Recipient: "a@b", Raw: []byte(strings.Repeat("x", size))})
			if sent := left > 3 && size == 10; sent != (err == nil) || sent && r != (smtpReply{250, "done"}) || !sent && (!errors.Is(err, errBroken) || r.code != 0) {
				t.Errorf("%d octets, %d writes: %v, %v", size, left, r, err)
			}
		}
	}
}

// TestOverSMTPIs6 checks how a client with an IPv6 address is named.
func TestOverSMTPIs6(t *testing.T) {
	o := Options{Config: config.Default(), Resolver: nameserver.Zone(t, zoneText), Recipient: "ann@example.jp", Client: netip.MustParseAddr("2001:db8::1"), Domains: []dns.Name{"none.jp"}}
	mta := &fakeMTA{replies: map[string]string{"EHLO": "250-mx\r\n250 xclient ADDR\r\n"}}
	r, err := OverSMTP(t.Context(), o, mta.serve(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := <-mta.got; !strings.Contains(got, "\nXCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1\nEHLO probe.invalid\nMAIL FROM:<>\nRCPT TO:<ann@example.jp>\nDATA\n") ||
		!strings.HasSuffix(got, "\n.\nQUIT\n") || !strings.Contains(got, "\nFrom: sekimori probe <postmaster@none.jp>\n") {
		t.Errorf("sent\n%s", got)
	}
	if p := r.Plays[0]; p.Client != o.Client || p.Came.Reply != "250 2.0.0 Ok: queued as 4X" || p.Meant.Reply != p.Came.Reply || !r.OK || !strings.HasPrefix(r.Target, "smtp:127.0.0.1:") {
		t.Errorf("%+v", r)
	}
}

// TestLookFor checks what is said about the mailbox.
func TestLookFor(t *testing.T) {
	const counts, missing = "The message counts as mail.", `If this label is missing, see smtpd_milters (Postfix) or INPUT_MAIL_FILTER (Sendmail), and "sekimori status".`
	for _, tt := range []struct {
		meant   Outcome
		code    int
		skipped policy.Reason
		want    []string
	}{
		{Outcome{Fate: Rejected}, 550, "", nil}, {Outcome{Fate: Delivered, Results: []string{"l"}}, 300, "", nil}, {Outcome{Fate: Delivered, Results: []string{"l"}}, 199, "", nil},
		{Outcome{Fate: Delivered}, 250, "", []string{counts}},
		{Outcome{Fate: Delivered, Results: []string{"l"}}, 250, "", []string{
			`Look into the mailbox of a@b for the subject "sekimori probe: n". It must have exactly one field Authentication-Results in our name, which is: l`, missing, counts}},
		{Outcome{Fate: Held, Results: []string{"l"}}, 250, "", []string{"The message must be in the hold queue (postqueue -p); postsuper -r ID lets it go on. Then " +
			`look into the mailbox of a@b for the subject "sekimori probe: n". It must have exactly one field Authentication-Results in our name, which is: l`, missing, counts}},
		{Outcome{Fate: Delivered, Results: []string{"l"}}, 250, policy.ReasonTrusted, []string{`Look into the mailbox of a@b for the subject "sekimori probe: n". It was not evaluated, ` +
			"so it has no label of ours. A field Authentication-Results in it is the one that this command sent.", counts}},
	} {
		var p prober
		p.lookFor(Mail{Name: "n", Recipient: "a@b"}, tt.meant, smtpReply{code: tt.code}, tt.skipped)
		if !slices.Equal(p.report.Notes, tt.want) {
			t.Errorf("%+v %d: %q, want %q", tt.meant, tt.code, p.report.Notes, tt.want)
		}
	}
	for code, want := range map[int]Fate{199: Deferred, 200: Accepted, 299: Accepted, 300: Deferred, 421: Deferred, 499: Deferred, 500: Rejected, 599: Rejected} {
		if got := fateOf(code); got != want {
			t.Errorf("%d: %s", code, got)
		}
	}
	for text, want := range map[string]bool{"XCLIENT": true, "mx\nxclient NAME\nDSN": true, "mx\nXCLIENTS": false, "mx XCLIENT": false, "": false} {
		if offers(text, "XCLIENT") != want {
			t.Errorf("%q: offered is %t", text, !want)
		}
	}
}
