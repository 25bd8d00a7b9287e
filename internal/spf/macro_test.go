package spf

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/octets"
)

// newEvaluation returns an evaluation with the sender, the domain and the HELO
// of the examples in RFC 7208 §7.4.
func newEvaluation(tb testing.TB, ip string) *evaluation {
	tb.Helper()
	return &evaluation{
		ctx: context.Background(), resolver: nameserver.Zone(tb, ""), check: &Check{},
		args:       Args{HELO: "mail.example.com", Now: time.Unix(1700000000, 0)},
		maxQueries: MaxQueries,
		ip:         netip.MustParseAddr(ip),
		local:      "strong-bad", origin: "email.example.com",
	}
}

func TestExpand(t *testing.T) {
	const ip4, ip6 = "192.0.2.3", "2001:db8::cb01"
	for _, tc := range []struct{ ip, macros, want string }{
		// The examples of RFC 7208 §7.4.
		{ip4, "%{s}", "strong-bad@email.example.com"},
		{ip4, "%{o}", "email.example.com"},
		{ip4, "%{d}", "email.example.com"},
		{ip4, "%{d4}", "email.example.com"},
		{ip4, "%{d3}", "email.example.com"},
		{ip4, "%{d2}", "example.com"},
		{ip4, "%{d1}", "com"},
		{ip4, "%{dr}", "com.example.email"},
		{ip4, "%{d2r}", "example.email"},
		{ip4, "%{l}", "strong-bad"},
		{ip4, "%{l-}", "strong.bad"},
		{ip4, "%{lr}", "strong-bad"},
		{ip4, "%{lr-}", "bad.strong"},
		{ip4, "%{l1r-}", "strong"},
		{ip4, "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
		{ip4, "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
		{ip4, "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
		{ip4, "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"},
		{ip4, "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
		{ip6, "%{ir}.%{v}._spf.%{d2}", "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"},
		// Other rules of RFC 7208 §7.
		{ip4, "%%%_%-", "% %20"},
		{ip4, "%{S}", "strong-bad%40email.example.com"},
		{ip4, "%{h}/%{H}", "mail.example.com/mail.example.com"},
		{ip4, "%{c} %{t} %{r} %{p}", "192.0.2.3 1700000000 unknown unknown"},
		{ip6, "%{c}", "2001:db8::cb01"},
		{ip6, "%{C}", "2001%3Adb8%3A%3Acb01"},
		{ip4, "%{s2.@}", ""},
		{ip4, "%{l-.+,/_=}", "strong.bad"},
		{ip4, "%{d127}", "email.example.com"},
	} {
		m, reason := parseMacros(tc.macros, inExplanation)
		if tc.want == "" {
			if reason == "" {
				t.Errorf("%s: no syntax error", tc.macros)
			}
			continue
		}
		if reason != "" {
			t.Errorf("%s: %s", tc.macros, reason)
			continue
		}
		got, _, problem, h := newEvaluation(t, tc.ip).expand(m, "email.example.com")
		if got != tc.want || problem != "" || h != nil {
			t.Errorf("%s is %q, want %q (%s)", tc.macros, got, tc.want, problem)
		}
	}
}

// TestHeloValue: RFC 8616 §4 wants A-labels, but HELO may be anything.
func TestHeloValue(t *testing.T) {
	for helo, want := range map[string]string{
		"MX_1.example.com":   "MX_1.example.com",
		"[192.0.2.3]":        "[192.0.2.3]",
		"メール.example":        "xn--4dkua4c.example",
		"メール..example":       "メール..example",
		"\xffmx.example.com": "\xffmx.example.com",
	} {
		if got := heloValue(helo); got != want {
			t.Errorf("%q is %q, want %q", helo, got, want)
		}
	}
}

// macro is a part of a macro-string (RFC 7208 §7.1).
var macro = regexp.MustCompile(`(?s)%\{([A-Za-z])([0-9]*)([rR]?)([-.+,/_=]*)\}|%%|%_|%-|[^%]`)

// expandSlowly is a second implementation of the expansion, by one regular expression.
func expandSlowly(macros string, e *evaluation, domain string) string {
	return macro.ReplaceAllStringFunc(macros, func(s string) string {
		m := macro.FindStringSubmatch(s)
		if m[1] == "" {
			return cmp.Or(map[string]string{"%%": "%", "%_": " ", "%-": "%20"}[s], s)
		}
		client, family := e.ip.String(), "in-addr"
		if e.ip.Is6() {
			octets := e.ip.As16()
			client, family = strings.Join(strings.Split(strings.ToUpper(hex.EncodeToString(octets[:])), ""), "."), "ip6"
		}
		v := map[string]string{
			"s": e.local + "@" + string(e.origin), "l": e.local, "o": string(e.origin), "d": domain, "i": client, "p": unknown, "v": family,
			"h": e.args.HELO, "c": e.ip.String(), "r": unknown, "t": fmt.Sprint(e.args.Now.Unix()),
		}[strings.ToLower(m[1])]
		if m[2]+m[3]+m[4] != "" {
			delimiters := cmp.Or(m[4], ".")
			parts := strings.Split(strings.Map(func(r rune) rune {
				if strings.ContainsRune(delimiters, r) {
					return 0
				}
				return r
			}, v), "\x00")
			if m[3] != "" {
				slices.Reverse(parts)
			}
			if n, err := strconv.Atoi(m[2]); err == nil && n < len(parts) {
				parts = parts[len(parts)-n:]
			}
			v = strings.Join(parts, ".")
		}
		if m[1] < "a" {
			v = strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
		}
		return v
	})
}

// macroPieces are what macro-strings and local parts are made of.
var macroPieces = []string{
	"%{", "}", "s", "l", "o", "d", "i", "p", "v", "h", "c", "r", "t", "S", "L", "D", "I", "H", "1", "2", "3", "0", "r}", "-", ".", "+", ",", "/", "_", "=", "%%", "%_", "%-", "x", "~", "a.b", "%{l", "%{d", "%{ir",
}

// FuzzMacros compares the expansion of macro-strings that are made of pieces with a second implementation.
func FuzzMacros(f *testing.F) {
	for _, s := range []string{"%{ir}.%{v}.%{l1r-}.x.%{d2}", "%{L2-+}%%%_%-%{c}", "%{h}%{D3r}%{p}%{r}%{t}%{o2}"} {
		f.Add(octets.Program(s, macroPieces...), octets.Program("a.b+c-x=l/_,~%_", macroPieces...), false)
	}
	f.Fuzz(func(t *testing.T, program, local []byte, v6 bool) {
		checkExpansion(t, octets.Chosen(program, macroPieces...), octets.Chosen(local, macroPieces...), v6)
	})
}

func checkExpansion(t *testing.T, macros, local string, v6 bool) {
	t.Helper()
	m, reason := parseMacros(macros, inExplanation)
	if reason != "" {
		return
	}
	e := newEvaluation(t, map[bool]string{false: "192.0.2.3", true: "2001:db8::cb01"}[v6])
	e.local = local
	got, _, problem, h := e.expand(m, "email.example.com")
	if problem != "" || h != nil {
		t.Fatalf("%s: %s, %v", macros, problem, h)
	}
	if want := expandSlowly(macros, e, "email.example.com"); got != want {
		t.Errorf("%s of %q is %q, want %q", macros, local, got, want)
	}
}

// TestExpansions compares each macro with each transformer with a second implementation.
func TestExpansions(t *testing.T) {
	for _, letter := range "slodiphvcrtSLODIPHVCRT" {
		for transformers := range octets.Words(3, "1", "7", "r", "-", "+") {
			for _, v6 := range []bool{false, true} {
				checkExpansion(t, "x%{"+string(letter)+transformers+"}%%%_%-", "strong-bad.a+b_c=d/~é", v6)
			}
		}
	}
}

func TestTransformKeepsEmptyParts(t *testing.T) {
	for _, tc := range []struct {
		value, macro, want string
	}{
		{"a..b", "%{l.}", "a..b"},
		{"-a--b-", "%{l-}", ".a..b."},
		{"-a--b-", "%{l2-}", "b."},
		{"", "%{lr}", ""},
		{"\xff-\xfe", "%{L-}", "%FF.%FE"},
	} {
		part, n, reason := parseMacro(tc.macro, inDomainSpec)
		if reason != "" || n != len(tc.macro) {
			t.Fatalf("%s: %s", tc.macro, reason)
		}
		if got := part.transform(tc.value); got != tc.want {
			t.Errorf("%s of %q is %q, want %q", tc.macro, tc.value, got, tc.want)
		}
	}
}

func TestTruncateName(t *testing.T) {
	label := strings.Repeat("a", 62)
	whole := strings.Join([]string{label, label, label, label}, ".") // 251 octets
	for _, tc := range []struct{ name, want, why string }{
		{"b." + whole, "b." + whole, "253 octets fit"},
		{"b." + whole + ".", "b." + whole, "the dot at the end does not count"},
		{"bb." + whole, whole, "254 octets do not fit"},
		{"c.bb." + whole, whole, "more octets do not fit either"},
		{"b" + strings.Repeat("."+whole, 9), whole, "far too long"},
		{strings.Repeat("b", 300), "", "no label is left"},
		{strings.Repeat(".", 300), strings.Repeat(".", 253), "empty labels are still there to be refused"},
		{"", "", "nothing"},
	} {
		if got := truncateName(tc.name); got != tc.want {
			t.Errorf("%s: %d octets, want %d", tc.why, len(got), len(tc.want))
		}
	}
}

// TestShortenedToNothingOfTheOwner checks terms whose name is too long and loses
// labels on the left (RFC 7208 §7.3). If all labels that the owner of the record
// chose are lost, only the client has chosen the name that is looked up. Such a
// term must not match.
func TestShortenedToNothingOfTheOwner(t *testing.T) {
	const evil = "vouches.for.evil.example"
	long := strings.Repeat("a.", 120) // 240 octets
	label := strings.Repeat("a", 63)
	zoneText := evil + " A 127.0.0.2\n" + evil + " TXT \"v=spf1 +all\"\n" +
		strings.Repeat("a.", 114) + evil + " A 127.0.0.2\n" + // the name that is left of long+evil after shortening
		"x.bank.example A 127.0.0.2\n"
	for _, tc := range []struct {
		why, record, helo, local string
		want                     Result
	}{
		{"the literal stands on the left", "exists:_spf.bank.example.%{h}", long + evil, "u", Fail},
		{"the name of the record stands on the left", "exists:%{d}.%{h}", long + evil, "u", Fail},
		{"the sender's domain stands on the left", "exists:%{o}.%{h}", long + evil, "u", Fail},
		{"the whole name comes from the client", "exists:%{h}", long + long + evil, "u", Fail},
		{"only a dot of a literal is left", "exists:_spf.%{l}.%{h}", long + evil, "u", Fail},
		{"only the local part is left", "exists:_x.bank.example.%{l}", "h.example", long + evil, Fail},
		{"a mechanism of the type a", "a:_spf.bank.example.%{h}", long + evil, "u", Fail},
		{"a mechanism of the type mx", "mx:_spf.bank.example.%{h}", long + evil, "u", Fail},
		{"include neither matches nor is an error", "include:_spf.bank.example.%{h}", long + evil, "u", Fail},
		{"only the local part and HELO are left", "exists:_x.bank.example.%{l}.%{h2}", "evil.example", long + "vouches.for", Fail},
		{"not shortened: the owner asked for the client's name", "exists:%{h}", evil, "u", Pass},
		{"shortened on the left of a literal", "exists:%{l}.x.bank.example", "h.example", strings.Repeat(label+".", 3) + label, Pass},
		{"shortened on the left of the name of the record", "exists:%{l}.x.%{d}", "h.example", strings.Repeat(label+".", 3) + label, Pass},
		{"shortened on the left of nothing but the name of the record", "exists:%{l}.%{d}", "h.example", strings.Repeat(label+".", 3) + label, Pass},
		{"shortened on the left of nothing but the sender's domain", "exists:%{l}.%{o}", "h.example", strings.Repeat(label+".", 3) + label, Pass},
	} {
		z := zoneText
		if tc.want == Pass { // the name that is left after the labels in front were cut
			z += strings.Repeat(label+".", 3) + "x.bank.example A 127.0.0.2\n" + strings.Repeat(label+".", 3) + "bank.example A 127.0.0.2\n"
		}
		r := nameserver.Zone(t, z+"bank.example TXT \"v=spf1 "+tc.record+" -all\"\n")
		got := CheckMailFrom(t.Context(), r, Args{IP: netip.MustParseAddr("192.0.2.1"), HELO: tc.helo, MailFrom: tc.local + "@bank.example",
			Now: time.Unix(1700000000, 0)})
		if got.Result != tc.want {
			t.Errorf("%s: %s (%s), want %s; %q", tc.why, got.Result, got.Problem, tc.want, r.Queries())
		}
	}
	r := nameserver.Zone(t, zoneText+"bank.example TXT \"v=spf1 redirect=_spf.bank.example.%{h}\"\n")
	got := CheckMailFrom(t.Context(), r, Args{IP: netip.MustParseAddr("192.0.2.1"), HELO: long + evil, MailFrom: "u@bank.example", Now: time.Unix(1700000000, 0)})
	if got.Result != Neutral {
		t.Errorf("redirect: %s (%s), want neutral", got.Result, got.Problem)
	}
}
