package attack

import (
	"slices"
	"strings"
	"testing"

	"sekimori/internal/config"
)

// identityZone gives SPF records to the unusual domain names that these tests use.
const identityZone = `
_mail.attacker.example    TXT "v=spf1 +all"
*.wild.attacker.example   TXT "v=spf1 +all"
xn--r8jz45g.example       TXT "v=spf1 +all"
com                       TXT "v=spf1 +all"
example                   TXT "v=spf1 +all"
localhost                 TXT "v=spf1 +all"
admin\064bank.example.attacker.example TXT "v=spf1 +all"
bank.example\000.attacker.example      TXT "v=spf1 +all"
`

// heloGames are HELO names of a client that has the attacker's address and sends mail with a null
// return path. The From address is in the bank's domain. The message must be rejected with each of
// these names.
var heloGames = []struct{ why, helo, spf string }{
	{"its own", "mail.attacker.example", "pass"},
	{"upper case", "MAIL.ATTACKER.EXAMPLE", "pass"},
	{"final dot", "mail.attacker.example.", "pass"},
	{"the bank's", "bank.example", "fail"},
	{"the bank's, final dot", "bank.example.", "fail"},
	{"the bank's in full-width letters, which IDNA maps", "ｂａｎｋ.example", "fail"},
	{"underscore", "_mail.attacker.example", "pass"},
	{"literal", "[192.0.2.66]", "none"},
	{"literal of the bank's", "[198.51.100.1]", "none"},
	{"IPv6 literal", "[IPv6:2001:db8::1]", "none"},
	{"literal with a name", "[bank.example]", "none"},
	{"address without brackets", "192.0.2.66", "none"},
	{"single label", "localhost", "none"},
	{"top level", "com", "none"},
	{"root", ".", "none"},
	{"only dots", "....", "none"},
	{"empty label", "mail..attacker.example", "none"},
	{"leading dot", ".attacker.example", "none"},
	{"label of 64 octets", strings.Repeat("a", 64) + ".wild.attacker.example", "none"},
	{"name of 300 octets", strings.Repeat("a.", 140) + "wild.attacker.example", "none"},
	{"very long", strings.Repeat("a", 1500) + ".attacker.example", "none"},
	{"U-label", "例え.example", "pass"},
	{"8-bit octets", "mail\xe9.attacker.example", "none"},
	{"space", "mail.attacker.example bank.example", "none"},
	{"a result behind a semicolon", "mail.attacker.example; dmarc=pass header.from=bank.example", "none"},
	{"a result in a comment", "mail.attacker.example (; dmarc=pass)", "none"},
	{"a comment not closed", "mail.attacker.example (", "none"},
	{"quotes", `"mail.attacker.example"; dmarc=pass`, "none"},
	{"one quote", `x".wild.attacker.example`, "none"},
	{"escaped quote", `x\".wild.attacker.example`, "none"},
	{"a field after a line break", "x.wild.attacker.example\r\nAuthentication-Results: mx.here.example; dmarc=pass", "none"},
	{"a continuation after a line break", "x.wild.attacker.example\r\n dmarc=pass", "none"},
	{"line feed alone", "x.wild.attacker.example\n dmarc=pass", "none"},
	{"carriage return alone", "x.wild.attacker.example\r dmarc=pass", "none"},
	{"control octets", "\x01\x08\x1b[2J.wild.attacker.example", "none"},
	{"percent, for those who print replies with a format", "%s%n%d.wild.attacker.example", "none"},
	{"escapes as DNS software writes them", `bank.example\000.attacker.example`, "none"},
	{"an at sign", "admin@bank.example", "none"},
	{"equals signs", "x=y.wild.attacker.example", "none"},
	{"8 KiB", strings.Repeat("x.", 4096), "none"},
	{"empty", "", "none"},
}

func TestHELO(t *testing.T) {
	d := start(t, identityZone, func(c *config.Config) { c.Headers.ReceivedSPF = true })
	for _, c := range heloGames {
		t.Run(c.why, func(t *testing.T) {
			a := attempt{helo: c.helo, quietHELO: c.helo == "", mailFrom: "<>", from: []string{" a@bank.example"}}
			o := d.send(t, a)
			if got := o.results("spf"); got != c.spf {
				t.Errorf("spf=%s, want %s: %q", got, c.spf, o.asked)
			}
			if o.results("dmarc") != "fail" || o.results("dkim") != "none" || o.verdict != "reject" {
				t.Errorf("%s %q", o, o.reply)
			}
			// If MAIL FROM is not empty, DMARC does not use the HELO name.
			a.mailFrom, a.from = "<x@bank.example>", []string{" a@attacker.example"}
			if o := d.send(t, a); o.results("spf") != "fail" || o.results("dmarc") != "fail" {
				t.Errorf("HELO counted beside a return path: %s", o)
			}
		})
	}
}

// TestHELOAligns sends an honest bounce: the return path is null, and the HELO name aligns with the
// author's domain. The bounce must pass.
func TestHELOAligns(t *testing.T) {
	d := start(t, "")
	d.expect(t, attempt{mailFrom: "<>", from: []string{" MAILER-DAEMON@attacker.example"}}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
}

// returnPaths are arguments of MAIL FROM. The client has an address that SPF permits for
// attacker.example. The From address is in the bank's domain, so no message may be accepted. The
// field "spf" is the expected SPF result; "*" there means that none, permerror and fail are all
// right.
var returnPaths = []struct{ why, path, spf string }{
	{"its own", "<x@attacker.example>", "pass"},
	{"no brackets", "x@attacker.example", "pass"},
	{"two at signs, the bank first", "<x@bank.example@attacker.example>", "*"},
	{"two at signs, the bank last", "<x@attacker.example@bank.example>", "*"},
	{"route by the bank", "<@bank.example:x@attacker.example>", "pass"},
	{"route by the attacker", "<@attacker.example:x@bank.example>", "fail"},
	{"route of several", "<@a.example,@b.example:x@bank.example>", "fail"},
	{"quoted address of the bank", `<"x@bank.example"@attacker.example>`, "pass"},
	{"quoted address of the attacker", `<"x@attacker.example"@bank.example>`, "fail"},
	{"espoofer: parenthesis", "<x@attacker.example(.bank.example>", "*"},
	{"espoofer: comment", "<(x@attacker.example(x)@bank.example>", "*"},
	{"espoofer: apostrophe", "<@attacker.example,@any.example:'any@bank.example>", "fail"},
	{"name that does not exist, below the attacker", "<x@nothing.attacker.example>", "none"},
	{"name that does not exist, below the bank", "<x@nothing.bank.example>", "none"},
	{"a local part alone", "<postmaster>", "none"},
	{"an at sign alone", "<@>", "*"},
	{"literal", "<x@[192.0.2.66]>", "none"},
	{"single label", "<x@localhost>", "*"},
	{"top level", "<x@com>", "*"},
	{"8-bit domain", "<x@b\xe9nk.example>", "*"},
	{"U-label", "<x@例え.example>", "pass"},
	{"an escaped at sign in DNS", `<x@admin\@bank.example.attacker.example>`, "*"},
	{"results in a quoted local part", `<"x\"; dmarc=pass header.from=bank.example; x=\""@attacker.example>`, "pass"},
	{"results in an unquoted local part", "<x;dmarc=pass@attacker.example>", "*"},
	{"comment in a quoted local part", `<"x (; dmarc=pass"@attacker.example>`, "pass"},
	{"backslashes", `<"\\\\\""@attacker.example>`, "pass"},
	{"backslash at the end", `<"x\"@attacker.example>`, "*"},
	{"line breaks in a quoted local part", "<\"x\r\n dmarc=pass\"@attacker.example>", "*"},
	{"a field in the local part", "<\"x\r\nAuthentication-Results: mx.here.example; dmarc=pass\"@attacker.example>", "*"},
	{"a line feed in the local part", "<x\ny@attacker.example>", "*"},
	{"control octets", "<\"\x01\x1b[2J\x7f\"@attacker.example>", "*"},
	{"8-bit local part", "<\xff\xfe@attacker.example>", "*"},
	{"UTF-8 local part with an override", "<\"\u202ex\"@attacker.example>", "pass"},
	{"percent signs", "<%s%n%{l}%d@attacker.example>", "pass"},
	{"macro letters", "<%{d}@attacker.example>", "pass"},
	{"a very long local part", "<" + strings.Repeat("x", 1500) + "@attacker.example>", "pass"},
	{"beyond any path", "<" + strings.Repeat("x", 9000) + "@attacker.example>", "*"},
	{"equals signs, as SRS has", "<SRS0=a=b=bank.example=x@attacker.example>", "pass"},
	{"spaces around", "< x@attacker.example >", "*"},
	{"brackets twice", "<<x@attacker.example>>", "*"},
	{"brackets not closed", "<x@attacker.example", "*"},
}

func TestReturnPath(t *testing.T) {
	d := start(t, identityZone, func(c *config.Config) { c.Headers.ReceivedSPF = true })
	for _, c := range returnPaths {
		t.Run(c.why, func(t *testing.T) {
			o := d.send(t, attempt{helo: "[192.0.2.66]", mailFrom: c.path, from: []string{" a@bank.example"}})
			if got := o.results("spf"); got != c.spf && (c.spf != "*" || got != "none" && got != "permerror" && got != "fail") {
				t.Errorf("spf=%s, want %s: %q", got, c.spf, o.asked)
			}
			if o.results("dmarc") != "fail" || o.results("dkim") != "none" || o.verdict == "accept" {
				t.Errorf("%s %q", o, o.reply)
			}
		})
	}
}

// TestPTRFlood sends from a client with 10, 11 and 100 reverse names. iprev and SPF may each look
// up the addresses of ten of these names.
func TestPTRFlood(t *testing.T) {
	for _, n := range []int{10, 11, 100} {
		d := start(t, numbered(n, "77.2.0.192.in-addr.arpa PTR host#.bank.example")+numbered(n, "host#.bank.example A 198.51.100.1")+
			`e.example TXT "v=spf1 ptr:bank.example exists:%{p}.e.example -all"`)
		o := d.send(t, attempt{ip: "192.0.2.77", helo: "[192.0.2.77]", mailFrom: "<x@e.example>", from: []string{" a@bank.example"}, queries: 60})
		if o.results("spf") != "fail" || o.results("dmarc") != "fail" {
			t.Errorf("%d names: %s", n, o)
		}
		asked := slices.DeleteFunc(o.asked, func(s string) bool { return !strings.HasPrefix(s, "host") })
		if len(asked) > 20 {
			t.Errorf("%d names: %d addresses asked for", n, len(asked))
		}
	}
}
