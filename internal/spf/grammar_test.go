package spf

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/octets"
)

// terms are the terms of a record, as regular expressions: the ABNF of RFC 7208 §12.
var terms = func() (out []*regexp.Regexp) {
	const (
		transform = `(?:0*[1-9][0-9]*)?r?[-.+,/_=]*`
		expand    = `(?:%\{[slodipvh]` + transform + `\}|%%|%_|%-)`
		anyExpand = `(?:%\{[slodipvhcrt]` + transform + `\}|%%|%_|%-)`
		literal   = `[!-$&-~]`
		topLabel  = `(?:[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9])`
		spec      = `(?:` + literal + `|` + expand + `)*(?:\.` + topLabel + `\.?|` + expand + `)`
		bits4     = `(?:/(?:[0-9]|[12][0-9]|3[0-2]))?`
		bits6     = `(?://(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?`
		octet     = `(?:[0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])`
		qualifier = `[-+?~]?`
	)
	for _, term := range []string{
		qualifier + `all`,
		qualifier + `(?:include|exists):` + spec,
		qualifier + `(?:a|mx)(?::` + spec + `)?` + bits4 + bits6,
		qualifier + `ptr(?::` + spec + `)?`,
		qualifier + `ip4:` + octet + `(?:\.` + octet + `){3}` + bits4,
		`(?:redirect|exp)=` + spec,
		`[a-z][-a-z0-9_.]*=(?:` + literal + `|` + anyExpand + `)*`,
	} {
		out = append(out, regexp.MustCompile(`(?i)^`+term+`$`))
	}
	return out
}()

var (
	known = regexp.MustCompile(`(?i)^(?:redirect|exp)=`)
	ip6   = regexp.MustCompile(`(?i)^[-+?~]?ip6:([0-9a-f:.]+)(?:/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?$`)
)

// valid reports whether text is a record by the grammar.
func valid(text string) bool {
	version, rest, _ := strings.Cut(text, " ")
	if !strings.EqualFold(version, "v=spf1") || len(version) != len("v=spf1") {
		return false
	}
	seen := map[string]bool{}
	for term := range strings.SplitSeq(rest, " ") {
		if term == "" {
			continue
		}
		if m := ip6.FindStringSubmatch(term); m != nil {
			addr, err := netip.ParseAddr(m[1])
			if err != nil || !addr.Is6() {
				return false
			}
			continue
		}
		name := strings.ToLower(known.FindString(term))
		ok := false
		for i, re := range terms {
			if unknown := i == len(terms)-1; !unknown || name == "" { // redirect= and exp= have a stricter value than other modifiers
				ok = ok || !strings.ContainsFunc(term, func(r rune) bool { return r < '!' || r > '~' }) && re.MatchString(term)
			}
		}
		if !ok || seen[name] && name != "" {
			return false
		}
		seen[name] = true
	}
	return true
}

func checkGrammar(t *testing.T, text string) {
	t.Helper()
	if len(text) > 1000 {
		return
	}
	_, err := ParseRecord(text)
	if want := valid(text); want != (err == nil) {
		t.Errorf("%q: %v, by the grammar %t", text, err, want)
	}
}

// pieces are what a record is made of.
var pieces = []string{
	"a", "ip4:", ":", "/", "%{d", "}", "%", ".", "=", "1", "com", "-",
	"v=spf1", " ", "ip6:", "redirect=", "exp=", "include:", "exists:", "ptr", "mx", "all", "192.0.2.1", "2001:db8::1", "r", "0", "32", "128", "%{", "{",
	"_", "~", "?", "+", "%%", "%_", "s", "l", "o", "i", "v", "h", "c", "p", "\x00", "\x7f", "é", "\t", "x", "%{i}", "example", "//", "/24",
}

// TestGrammar compares ParseRecord with the grammar: each short sequence of pieces at each place of a
// record, and some records cut after each octet.
func TestGrammar(t *testing.T) {
	const structure = 12 // the first of the pieces, which decide what the others are
	for _, place := range []struct{ before, after string }{
		{"v=spf1 ", " -all"}, {"v=spf1 a:a.com", ""}, {"v=spf1 mx:", ".com"}, {"v=spf1 ip4:192.0.2.1", ""}, {"v=spf1 exists:%{", "}.com"}, {"v=spf1 x=", ""},
	} {
		for word := range octets.Words(4, pieces[:structure]...) {
			checkGrammar(t, place.before+word+place.after)
		}
	}
	for _, begin := range []string{"", "v=spf1", "V=SpF1 ", "v=spf1 redirect=a.com", "v=spf1 exp=a.com ", "abcdef", "v=spf1 -"} {
		for word := range octets.Words(2, pieces...) {
			checkGrammar(t, begin+word)
		}
	}
	for _, name := range []string{"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists", "redirect", "exp", "x", "ip4x", "a_", "9"} {
		for word := range octets.Words(2, ":", "=", "/", "//", "a.example", "24", "192.0.2.1", "2001:db8::", "%{i}", "%{c}", "129", "33") {
			checkGrammar(t, "v=spf1 "+name+word)
		}
	}
	for n := range 400 { // each prefix length, and numbers beyond the bounds
		for _, before := range []string{"a/", "mx//", "a:a.com/24//", "ip4:192.0.2.1/", "ip6:2001:db8::/", "exists:%{d", "x=%{l"} {
			for _, zero := range []string{"", "0"} {
				checkGrammar(t, "v=spf1 "+before+zero+strconv.Itoa(n))
				checkGrammar(t, "v=spf1 "+before+zero+strconv.Itoa(n)+"}")
			}
		}
	}
	for _, record := range []string{
		"V=SPF1  +a:%{d2r-+}.a.example/24//64 -ip4:192.0.2.77/32 ip6:2001:db8::1/128 ?include:%{ir}.b-c.example. redirect=%{o} x.y_z-1=%{c}%%%_%-",
		"v=spf1 exists:%{L128R.-+,/_=}.%{h}.1-2 ~ptr:a.b mx/0//0 exp=%{s}%{l}%{v}%{p}.example all",
	} {
		for _, cut := range octets.Cuts(record) {
			checkGrammar(t, cut)
		}
		for _, gap := range octets.Gaps(record) {
			checkGrammar(t, gap)
		}
	}
}

// prefix is a prefix length, or where one may be.
var prefix = regexp.MustCompile(`(/+)[0-9]*`)

// FuzzRecord parses records that are made of pieces, and compares with the grammar. It also reads each valid
// record with some other prefix lengths, because most lengths are not among the pieces.
func FuzzRecord(f *testing.F) {
	for _, c := range readCases(f) {
		for line := range strings.Lines(c.zone) {
			if _, text, found := strings.Cut(line, ` TXT "`); found {
				f.Add(octets.Program(strings.TrimSuffix(strings.TrimSpace(text), `"`), pieces...))
			}
		}
	}
	for _, term := range []string{"a/24", "mx//128", "ip4:192.0.2.1/32", "ip6:2001:db8::1/32", "a:example.com/0//1", "-mx:example.com/1"} {
		f.Add(octets.Program("v=spf1 "+term, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		text := octets.Chosen(program, pieces...)
		checkGrammar(t, text)
		checkGrammar(t, "v=spf1 "+text)
		if !valid(text) {
			text = "v=spf1 " + text
		}
		if !prefix.MatchString(text) || !valid(text) {
			return
		}
		h := fnv.New32a()
		h.Write(program)
		for length := h.Sum32() % 10; length < 300; length += 10 {
			checkGrammar(t, prefix.ReplaceAllString(text, fmt.Sprintf("${1}%d", length)))
		}
	})
}

// TestBounds has one case at each bound and one beyond it.
func TestBounds(t *testing.T) {
	pad := func(s string, n int) string { return s + strings.Repeat(" ", n-len(s)) }
	for n, want := range map[int]error{MaxRecordLen: nil, MaxRecordLen + 1: ErrRecordTooLong} {
		if _, err := ParseRecord(pad("v=spf1 -all", n)); !errors.Is(err, want) {
			t.Errorf("a record of %d octets: %v", n, err)
		}
		if c := CheckMailFrom(t.Context(), recordOf(pad("v=spf1 -all", n)), Args{IP: client, MailFrom: "a@example.com"}); (c.Result == Fail) != (want == nil) {
			t.Errorf("a record of %d octets: %s", n, c.Result)
		}
	}
	explained := func(text, helo string) Check {
		r := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			record := text
			if name == "example.com" {
				record = "v=spf1 -all exp=why.example.com"
			}
			return dns.Answer{Name: name, Type: typ, Canonical: name, Records: []dns.Record{{Text: record}}}, nil
		})
		return CheckMailFrom(t.Context(), r, Args{IP: client, HELO: helo, MailFrom: "a@example.com"})
	}
	for _, tt := range []struct {
		why        string
		text, helo string
		want       int // octets
	}{
		{"one octet below the bound of an explanation", strings.Repeat("x", MaxExplanationLen-1), "h", MaxExplanationLen - 1},
		{"at this bound", strings.Repeat("x", MaxExplanationLen), "h", MaxExplanationLen},
		{"above this bound", strings.Repeat("x", MaxExplanationLen+1), "h", MaxExplanationLen},
		{"the longest text that is read", strings.Repeat("x", MaxRecordLen), "h", MaxExplanationLen},
		{"a longer one", strings.Repeat("x", MaxRecordLen+1), "h", 0},
		{"the longest value of a macro", "%{h}", strings.Repeat("h", maxMacroValue), MaxExplanationLen},
		{"a longer value", "%{h}", strings.Repeat("h", maxMacroValue+1), 0},
		{"as many macros as are expanded", strings.Repeat("%{h}", maxMacros), "h", maxMacros},
		{"one macro more", strings.Repeat("%{h}", maxMacros+1), "h", 0},
		{"escapes are no macros", strings.Repeat("%%", maxMacros+1), "h", maxMacros + 1},
		{"the longest expansion", strings.Repeat("%{h}", maxExpansion/maxMacroValue), strings.Repeat("h", maxMacroValue), MaxExplanationLen},
		{"an octet more", strings.Repeat("%{h}", maxExpansion/maxMacroValue) + "x", strings.Repeat("h", maxMacroValue), 0},
	} {
		c := explained(tt.text, tt.helo)
		if got := len(c.Explanation); got != tt.want {
			t.Errorf("%s: %d octets, want %d", tt.why, got, tt.want)
		}
		if last := c.Trace[len(c.Trace)-1]; (last.Outcome == OutcomeExplained) != (tt.want > 0) || last.Detail == "" {
			t.Errorf("%s: the trace ends in %s %.40q", tt.why, last.Outcome, last.Detail)
		}
	}
}

// TestTraces compares the trace, the reason and the problem of every case with a file that a person has
// read. Each kind of error has a case.
func TestTraces(t *testing.T) {
	var b strings.Builder
	for _, c := range readCases(t) {
		check := CheckMailFrom
		if c.values["identity"] == "helo" {
			check = CheckHELO
		}
		got := check(t.Context(), nameserver.Zone(t, c.zone), c.args())
		fmt.Fprintf(&b, "%s: %s %s\n", c.name, got.Result, got.Reason)
		if got.Problem != "" {
			fmt.Fprintf(&b, "  problem: %s\n", got.Problem)
		}
		if got.DNSError != nil {
			fmt.Fprintf(&b, "  lookup: %s %s\n", got.DNSError.Name, got.DNSError.Kind)
		}
		for _, s := range got.Trace {
			fmt.Fprintf(&b, "  %*s%s %q %s: %s\n", 2*s.Depth, "", s.Domain, s.Term, s.Outcome, s.Detail)
		}
		b.WriteString("\n")
	}
	octets.Compare(t, "testdata/traces.txt", b.String())
}
