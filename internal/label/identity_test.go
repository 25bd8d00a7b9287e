package label

import (
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// checked returns the evaluation of a message with the given MAIL FROM and HELO name.
func checked(mailFrom, helo string) *msgauth.Evaluation {
	e := &msgauth.Evaluation{
		Session:  msgauth.Session{HELO: helo},
		Envelope: msgauth.Envelope{MailFrom: mailFrom},
		MailFrom: spf.Check{Identity: spf.MailFrom, Result: spf.Fail},
	}
	path, err := mailaddr.ParsePath(mailFrom)
	e.MailFrom.NullSender = err == nil && path.Null
	if err == nil && path.Domain.Labels() > 1 {
		e.MailFrom.Domain, e.MailFrom.Sender = path.Domain, path.Local+"@"+string(path.Domain)
	}
	return e
}

// resultOf returns the result of one method in the Authentication-Results field, on one
// line.
func resultOf(o Settings, e *msgauth.Evaluation, method string) string {
	for _, part := range strings.Split(strings.ReplaceAll(Text(&o, id, e, policy.Verdict{}), "\r\n", ""), ";")[1:] {
		if part = strings.TrimSpace(part); strings.HasPrefix(part, method+"=") {
			return part
		}
	}
	return ""
}

// TestSender checks how our fields show MAIL FROM and the HELO name.
func TestSender(t *testing.T) {
	long := strings.Repeat("x", maxLocal)
	for _, tt := range []struct{ why, mailFrom, helo, domain, address string }{
		{"an address", "<a@news.example.com>", "h.example", "smtp.mailfrom=news.example.com", "smtp.mailfrom=a@news.example.com"},
		{"no brackets, capitals", "A.b@News.Example.COM", "h.example", "smtp.mailfrom=news.example.com", "smtp.mailfrom=A.b@news.example.com"},
		{"extension", "<a+b-c_d@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=a+b-c_d@x.example"},
		{"the longest local part", "<" + long + "@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=" + long + "@x.example"},
		{"a longer one", "<" + long + "x@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"quoted, but a dot-atom", `<"a.b"@x.example>`, "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=a.b@x.example"},
		{"a slash, which readers know only in quotes", "<a/b@x.example>", "h.example", "smtp.mailfrom=x.example", `smtp.mailfrom="a/b@x.example"`},
		{"SRS", "<SRS0=a=b=c.example=d@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"BATV", "<prvs=1=u@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"results in a local part", `<"x; dmarc=pass"@x.example>`, "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"the last spf= of the field", `<"; spf=pass"@x.example>`, "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"out of the quotes", `<"\"; dkim=pass \\"@x.example>`, "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"two dots", "<a..b@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"a dot at the end", "<a.@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"address literal", "<a@[192.0.2.1]>", "h.example", `smtp.mailfrom="[192.0.2.1]"`, `smtp.mailfrom="a@[192.0.2.1]"`},
		{"a literal of something else", "<a@[dmarc:pass]>", "h.example", "", ""},
		{"single label", "<root@localhost>", "h.example", "smtp.mailfrom=localhost", `smtp.mailfrom="root@localhost"`},
		{"a local part alone", "<postmaster>", "h.example", "", ""},
		{"no address", "<a b@x.example>", "h.example", "", ""},
		{"U-label: the message is internationalized", "<a@例え.example>", "h.example", "smtp.mailfrom=例え.example", "smtp.mailfrom=a@例え.example"},
		{"A-label in ASCII", "<a@xn--r8jz45g.example>", "h.example", "smtp.mailfrom=xn--r8jz45g.example", "smtp.mailfrom=a@xn--r8jz45g.example"},
		{"UTF-8 local part", "<用户@例え.example>", "h.example", "smtp.mailfrom=例え.example", "smtp.mailfrom=用户@例え.example"},
		{"UTF-8 local part, A-label", "<用户@xn--r8jz45g.example>", "h.example", "smtp.mailfrom=例え.example", "smtp.mailfrom=用户@例え.example"},
		{"decomposed accents", "<e\u0301.\u0915\u094d@例え.example>", "h.example", "smtp.mailfrom=例え.example",
			"smtp.mailfrom=e\u0301.\u0915\u094d@例え.example"},
		{"a full-width semicolon and equals sign", "<；spf＝pass@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"a mark that would join our equals sign", "<\u0338x@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"an override of direction", "<x\u202e@x.example>", "h.example", "smtp.mailfrom=x.example", "smtp.mailfrom=x.example"},
		{"no UTF-8", "<\xff@x.example>", "h.example", "", ""},
		{"null: HELO", "<>", "mail.Example.com", "smtp.helo=mail.example.com", "smtp.helo=mail.example.com"},
		{"HELO with a final dot", "<>", "mail.example.com.", "smtp.helo=mail.example.com", "smtp.helo=mail.example.com"},
		{"HELO of one label", "<>", "localhost", "smtp.helo=localhost", "smtp.helo=localhost"},
		{"HELO with an underscore", "<>", "my_pc.example", "smtp.helo=my_pc.example", "smtp.helo=my_pc.example"},
		{"HELO in A-labels", "<>", "xn--r8jz45g.example", "smtp.helo=xn--r8jz45g.example", "smtp.helo=xn--r8jz45g.example"},
		{"HELO in U-labels, in a message of ASCII", "<>", "例え.example", "smtp.helo=xn--r8jz45g.example", "smtp.helo=xn--r8jz45g.example"},
		{"HELO literal", "<>", "[192.0.2.1]", `smtp.helo="[192.0.2.1]"`, `smtp.helo="[192.0.2.1]"`},
		{"HELO literal, IPv6", "<>", "[ipv6:2001:DB8:0::1]", `smtp.helo="[IPv6:2001:db8::1]"`, `smtp.helo="[IPv6:2001:db8::1]"`},
		{"IPv6 without its tag", "<>", "[2001:db8::1]", "", ""},
		{"IPv6 tag of an IPv4 address", "<>", "[IPv6:192.0.2.1]", "", ""},
		{"a zone", "<>", "[IPv6:fe80::1%eth0]", "", ""},
		{"a literal that does not end", "<>", "[192.0.2.1", "", ""},
		{"a literal of something else", "<>", "[x;dmarc=pass]", "", ""},
		{"a lone bracket", "<>", "[", "", ""},
		{"an address without brackets", "<>", "192.0.2.1", "", ""},
		{"HELO is results", "<>", "x; dmarc=pass", "", ""},
		{"HELO is results without a space", "<>", "x;spf=pass.example", "", ""},
		{"HELO is a comment", "<>", "(x.example", "", ""},
		{"no HELO", "<>", "", "", ""},
	} {
		t.Run(tt.why, func(t *testing.T) {
			e := checked(tt.mailFrom, tt.helo)
			for show, want := range map[ShowMailFrom]string{"": tt.domain, MailFromDomain: tt.domain, MailFromAddress: tt.address} {
				if got := resultOf(Settings{MailFrom: show}, e, "spf"); got != strings.TrimSpace("spf=fail "+want) {
					t.Errorf("%q: %q, want %q", show, got, want)
				}
				// Received-SPF must show the sender and the HELO name in the same way.
				received := strings.ReplaceAll(receivedSPF(show, id, e), "\r\n", "")
				name, value, _ := strings.Cut(want, "=")
				switch {
				case name == "smtp.mailfrom" && !strings.Contains(received, " envelope-from="+value+";") &&
					!strings.Contains(received, ` envelope-from="`+value+`";`),
					name == "smtp.helo" && !strings.Contains(received, " helo="+value+";"),
					want == "" && e.MailFrom.NullSender && strings.Contains(received, " helo="),
					want == "" && !e.MailFrom.NullSender && strings.Contains(received, " envelope-from="):
					t.Errorf("%q: %q, want %q", show, received, want)
				}
			}
		})
	}
}

// TestPlainLocal checks which local parts are plain: dot-atoms of ASCII characters and of
// letters, marks and digits of any script.
func TestPlainLocal(t *testing.T) {
	const atext = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/?^_`{|}~"
	for c := range 256 {
		want := strings.IndexByte(atext, byte(c)) >= 0
		for _, s := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c), 'b'})} {
			if c == '.' {
				want = len(s) > 1
			}
			for _, utf8OK := range []bool{false, true} {
				if got := isPlainLocal(s, utf8OK); got != want {
					t.Errorf("%q: %t", s, got)
				}
			}
		}
	}
	for s, want := range map[string]bool{
		"": false, "a.b": true, ".a": false, "a.": false, "a..b": false, "é": true, "é.\u0301": false, "e\u0301": true, "１": true, "²": false, "⑴": false,
		"€": false,
	} {
		if got := isPlainLocal(s, true); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

func TestLiteralText(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "[": "", "]": "", "[]": "", "[IPv6:]": "", "192.0.2.1]": "", "[192.0.2.1": "", "[192.0.2.1]": "[192.0.2.1]", "x192.0.2.1]": "", "[192.0.2.1x": "",
		"[IPv6:::]": "[IPv6:::]", "[IPv6:x]": "", "[IPv6:fe80::1%a]": "", "[::ffff:192.0.2.1]": "", "[IPv6:::ffff:192.0.2.1]": "[IPv6:::ffff:192.0.2.1]",
	} {
		if got := literalText(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// TestReceivedSPF checks the whole field. Its reason must not hold any text of the sender.
func TestReceivedSPF(t *testing.T) {
	e := checked("<a@x.example>", "h.example")
	e.MailFrom.Result, e.MailFrom.Reason, e.MailFrom.Problem = spf.PermError, spf.ReasonSyntax, `unknown mechanism "; x=pass"`
	e.MailFrom.Mechanism = `exists:%{l};"(.x.example`
	const want = ` permerror receiver=mx.example.jp; envelope-from=x.example; helo=h.example; identity=mailfrom; problem=syntax;`
	if got := strings.ReplaceAll(receivedSPF("", id, e), "\r\n", ""); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProblem checks that only an error has a reason in Received-SPF.
func TestProblem(t *testing.T) {
	for result, want := range map[spf.Result]bool{
		spf.Pass: false, spf.Fail: false, spf.SoftFail: false, spf.Neutral: false, spf.None: false, spf.TempError: true, spf.PermError: true,
	} {
		e := checked("<a@x.example>", "h.example")
		e.MailFrom.Result, e.MailFrom.Reason = result, spf.ReasonSyntax
		if got := receivedSPF("", id, e); strings.Contains(got, "problem=syntax") != want {
			t.Errorf("%s: %q", result, got)
		}
	}
}

// TestIdentity checks how header.i shows the AUID, in messages with and without SMTPUTF8.
func TestIdentity(t *testing.T) {
	for _, tt := range []struct{ auid, ascii, utf8 string }{
		{"@x.example", "@x.example", "@x.example"},
		{"a.b@x.example", "a.b@x.example", "a.b@x.example"},
		{"a=b@x.example", "@x.example", "@x.example"},
		{"; dmarc=pass@x.example", "@x.example", "@x.example"},
		{`"a b"@x.example`, "@x.example", "@x.example"},
		{`"x@y"@x.example`, "@x.example", "@x.example"},
		{"用户@x.example", "@x.example", "用户@x.example"},
		{"用户@xn--r8jz45g.example", "@xn--r8jz45g.example", "用户@例え.example"},
		{"@xn--r8jz45g.example", "@xn--r8jz45g.example", "@例え.example"},
		{"；@x.example", "@x.example", "@x.example"},
		{"\xff@x.example", "@x.example", "@x.example"},
		{"", "", ""},
	} {
		for _, came := range []bool{false, true} {
			e := &msgauth.Evaluation{
				Envelope: msgauth.Envelope{SMTPUTF8: came},
				DKIM:     []dkim.Signature{{Result: dkim.Fail, Identity: tt.auid}},
			}
			want := "dkim=fail"
			if shown := map[bool]string{false: tt.ascii, true: tt.utf8}[came]; shown != "" {
				want += " header.i=" + shown
			}
			if got := resultOf(Settings{}, e, "dkim"); got != want {
				t.Errorf("SMTPUTF8 %t: %q, want %q", came, got, want)
			}
		}
	}
}

// TestInternationalized checks in which messages our fields may hold UTF-8.
func TestInternationalized(t *testing.T) {
	for _, tt := range []struct {
		why  string
		e    msgauth.Evaluation
		want bool
	}{
		{"ASCII", msgauth.Evaluation{Envelope: msgauth.Envelope{MailFrom: "<a@x.example>", Recipients: []string{"<b@y.example>"}}}, false},
		{"declared", msgauth.Evaluation{Envelope: msgauth.Envelope{SMTPUTF8: true}}, true},
		{"sender", msgauth.Evaluation{Envelope: msgauth.Envelope{MailFrom: "<用@x.example>"}}, true},
		{"a recipient", msgauth.Evaluation{Envelope: msgauth.Envelope{Recipients: []string{"<b@y.example>", "<用@y.example>"}}}, true},
		{"author", msgauth.Evaluation{From: author.From{Mailboxes: []author.Mailbox{{Local: "用", Domain: "x.example"}}}}, true},
		{"only a display name; many clients write it without SMTPUTF8",
			msgauth.Evaluation{From: author.From{Mailboxes: []author.Mailbox{{DisplayName: "用", Local: "a", Domain: "x.example"}}}}, false},
	} {
		if got := internationalized(&tt.e); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
		tt.e.From.AuthorDomain, tt.e.DKIM = "xn--r8jz45g.example", []dkim.Signature{{Domain: "xn--r8jz45g.example"}}
		name := map[bool]string{false: "xn--r8jz45g.example", true: "例え.example"}[tt.want]
		for _, method := range []string{"dkim", "dmarc"} {
			if got := resultOf(Settings{}, &tt.e, method); !strings.Contains(got, "="+name) {
				t.Errorf("%s: %q", tt.why, got)
			}
			if got := resultOf(Settings{Style: StyleRspamd}, &tt.e, method); !strings.Contains(got, "="+name) {
				t.Errorf("%s: %q", tt.why, got)
			}
		}
	}
}

// TestDomainText checks that a name with unusual characters is not shown, even if an
// evaluator accepted the name.
func TestDomainText(t *testing.T) {
	for _, n := range []dns.Name{"x;y.example", "x=y", `x"`, "x y", "x(", "x\\", "例え.example", "x\x00"} {
		for _, utf8OK := range []bool{false, true} {
			if got := domainText(n, utf8OK); got != "" {
				t.Errorf("%q is shown as %q", n, got)
			}
		}
	}
}
