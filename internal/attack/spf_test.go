package attack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/msgauth"
)

// numbered returns n lines. In line i, each "#" is replaced by i.
func numbered(n int, line string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(line, "#", strconv.Itoa(i)) + "\n")
	}
	return b.String()
}

// terms is like numbered, but joins the lines with spaces into one line.
func terms(n int, term string) string {
	return strings.ReplaceAll(numbered(n, term), "\n", " ")
}

// inStrings writes a long text as the strings of one TXT record.
func inStrings(text string) string {
	var b strings.Builder
	for len(text) > 200 {
		b.WriteString(`"` + text[:200] + `" `)
		text = text[200:]
	}
	return b.String() + `"` + text + `"`
}

// bombs are SPF records of the hostile domain e.example, which is used in MAIL FROM and in From.
// HELO is an address literal, so nearly all questions are caused by these records.
var bombs = []struct {
	why, zone, want, reason string
	queries                 int // largest number of DNS questions for one message, including those of DMARC and iprev
}{
	{"everybody may send", `e.example TXT "v=spf1 +all"`, "pass", "", 5},
	{"every address may send", `e.example TXT "v=spf1 ip4:0.0.0.0/0 ip6::: -all"`, "pass", "", 5},
	{"an address with a prefix length of none", "e.example TXT \"v=spf1 a/0 -all\"\ne.example A 203.0.113.9", "pass", "", 6},
	{"20 includes", `e.example TXT "v=spf1 ` + terms(20, "include:i#.e.example") + "-all\"\n" + numbered(20, `i#.e.example TXT "v=spf1 -all"`), "permerror",
		"lookup-limit", 15},
	{"a chain of 12 includes", "e.example TXT \"v=spf1 include:i0.e.example -all\"\n" +
		chain("include:", 12), "permerror", "lookup-limit", 15},
	{"includes that fan out, 10 each", `e.example TXT "v=spf1 ` + terms(10, "include:i#.e.example") + "-all\"\n" +
		numbered(10, `i#.e.example TXT "v=spf1 `+terms(10, "include:j#.e.example")+`-all"`) + numbered(10, `j#.e.example TXT "v=spf1 -all"`), "permerror",
		"lookup-limit", 15},
	{"includes itself", `e.example TXT "v=spf1 include:e.example -all"`, "permerror", "lookup-limit", 15},
	{"two that include each other", "e.example TXT \"v=spf1 include:f.example -all\"\nf.example TXT \"v=spf1 include:e.example -all\"", "permerror",
		"lookup-limit", 15},
	{"redirects to itself", `e.example TXT "v=spf1 redirect=e.example"`, "permerror", "lookup-limit", 15},
	{"two that redirect to each other", "e.example TXT \"v=spf1 redirect=f.example\"\nf.example TXT \"v=spf1 redirect=e.example\"", "permerror",
		"lookup-limit", 15},
	{"a chain of 12 redirects", "e.example TXT \"v=spf1 redirect=i0.e.example\"\n" + chain("redirect=", 12), "permerror", "lookup-limit", 15},
	{"redirect and include by turns", "e.example TXT \"v=spf1 include:f.example redirect=f.example\"\nf.example TXT \"v=spf1 redirect=e.example\"",
		"permerror", "lookup-limit", 15},
	{"redirect to nothing", `e.example TXT "v=spf1 redirect=f.example"`, "permerror", "", 6},
	{"include of nothing", `e.example TXT "v=spf1 include:f.example +all"`, "permerror", "", 6},
	{"two redirects", "e.example TXT \"v=spf1 redirect=attacker.example redirect=f.example\"", "permerror", "syntax", 5},
	{"10 mx of 10 hosts, all allowed", mxBomb(10, 10) + `e.example TXT "v=spf1 ` + terms(10, "mx:m#.e.example") + `-all"`, "fail", "", 120},
	{"11 mx", mxBomb(11, 1) + `e.example TXT "v=spf1 ` + terms(11, "mx:m#.e.example") + `-all"`, "permerror", "lookup-limit", 30},
	{"an mx of 11 hosts", mxBomb(1, 11) + `e.example TXT "v=spf1 mx:m0.e.example -all"`, "permerror", "", 20},
	{"an mx of 300 hosts: an answer the resolver refuses", mxBomb(1, 300) + `e.example TXT "v=spf1 mx:m0.e.example -all"`, "permerror", "dns-too-large", 20},
	{"void storm", `e.example TXT "v=spf1 ` + terms(10, "a:v#.e.example") + `+all"`, "permerror", "void-limit", 10},
	{"void storm of exists", `e.example TXT "v=spf1 ` + terms(10, "exists:v#.%{l}.e.example") + `+all"`, "permerror", "void-limit", 10},
	{"void storm of mx", `e.example TXT "v=spf1 ` + terms(10, "mx:v#.e.example") + `+all"`, "permerror", "void-limit", 10},
	{"void storm over includes", `e.example TXT "v=spf1 ` + terms(9, "include:i#.e.example") + "+all\"\n" + numbered(9,
		`i#.e.example TXT "v=spf1 a:v#.e.example -all"`), "permerror", "void-limit", 12},
	{"mx whose hosts do not exist", "e.example TXT \"v=spf1 mx mx mx mx -all\"\n" + numbered(10, "e.example MX # nothing#.e.example"), "fail", "", 50},
	{"CNAME to itself", `e.example CNAME e.example`, "permerror", "dns-loop", 20},
	{"CNAME to each other", "e.example CNAME f.example\nf.example CNAME e.example", "permerror", "dns-loop", 20},
	{"CNAME of an included name to itself", "e.example TXT \"v=spf1 include:i.e.example +all\"\ni.e.example CNAME i.e.example", "permerror", "dns-loop", 20},
	{"CNAME to the bank's record", "e.example CNAME bank.example", "fail", "", 20},
	{"two records", "e.example TXT \"v=spf1 +all\"\ne.example TXT \"v=spf1 -all\"", "permerror", "", 5},
	{"two equal records", "e.example TXT \"v=spf1 +all\"\ne.example TXT \"v=spf1 +all\" \"\"", "permerror", "", 5},
	{"200 records of something else", numbered(200, `e.example TXT "nothing of #"`) + `e.example TXT "v=spf1 +all"`, "pass", "", 8},
	{"v=spf10", `e.example TXT "v=spf10 +all"`, "none", "", 5},
	{"space before the version", `e.example TXT " v=spf1 +all"`, "none", "", 5},
	{"a tab for a space", `e.example TXT "v=spf1\009+all"`, "none", "", 5},
	{"NUL after the version", `e.example TXT "v=spf1\000 +all"`, "none", "", 5},
	{"NUL in the record", `e.example TXT "v=spf1 a\000 +all"`, "permerror", "", 5},
	{"a line break in the record", `e.example TXT "v=spf1\013\010 +all"`, "none", "", 5},
	{"8-bit octets in the record", `e.example TXT "v=spf1 a:\233\160 +all"`, "permerror", "", 5},
	{"an unknown word after +all", `e.example TXT "v=spf1 +all nonsense"`, "permerror", "syntax", 5},
	{"1,000 unknown modifiers", "e.example TXT " + inStrings("v=spf1 "+terms(1000, "x#=y")+"+all"), "pass", "", 8},
	{"500 address ranges", "e.example TXT " + inStrings("v=spf1 "+terms(500, "ip4:10.0.#.1")+"-all"), "permerror", "", 8},
	{"300 address ranges", "e.example TXT " + inStrings("v=spf1 "+terms(250, "ip4:10.0.#.0/24")+"-all"), "fail", "", 8},
	{"a record beyond the bound", "e.example TXT " + inStrings("v=spf1 "+strings.Repeat("ip4:10.0.0.1 ", 640)+"+all"), "permerror", "record-too-long", 8},
	{"an a of 500 addresses: an answer the resolver refuses", "e.example TXT \"v=spf1 a -all\"\n" + numbered(250, "e.example A 10.0.1.#") +
		numbered(250, "e.example A 10.0.2.#"), "permerror", "dns-too-large", 8},
	{"ten ptr", "e.example TXT \"v=spf1 " + terms(10, "ptr:e.example") + "-all\"", "fail", "", 30},
	{"11 ptr", "e.example TXT \"v=spf1 " + terms(11, "ptr:e.example") + "-all\"", "permerror", "lookup-limit", 30},
	{"%{p} over and over", "e.example TXT \"v=spf1 " + terms(10, "exists:%{p}.%{p}.%{p}.#.attacker.example") + "-all\"", "permerror", "", 30},
	{"an expansion of 8 KiB", "e.example TXT " + inStrings("v=spf1 exists:"+strings.Repeat("%{l}%{d}", 120)+".e.example -all"), "fail", "", 10},
	{"more macros than any name holds match nothing", "e.example TXT " + inStrings("v=spf1 exists:"+strings.Repeat("%{l}", 1000)+".e.example -all"),
		"fail", "", 10},
	{"a number no text has parts for", `e.example TXT "v=spf1 exists:%{l99999999999999999999}.e.example -all"`, "fail", "", 10},
	{"zero parts", `e.example TXT "v=spf1 exists:%{l0}.e.example +all"`, "permerror", "syntax", 5},
	{"an unfinished macro", `e.example TXT "v=spf1 exists:%{l +all"`, "permerror", "syntax", 5},
	{"a macro of exp alone", `e.example TXT "v=spf1 exists:%{c}.e.example +all"`, "permerror", "syntax", 5},
	{"a slash within a name", `e.example TXT "v=spf1 a:e.example/%{l} -all"`, "fail", "", 6},
	{"the bank's record included: its fail is no match", `e.example TXT "v=spf1 include:bank.example -all"`, "fail", "", 6},
	{"include by a macro of the sender", "e.example TXT \"v=spf1 include:%{l}.e.example -all\"\nx.e.example TXT \"v=spf1 +all\"", "pass", "", 6},
	{"servers that fail", "e.example TXT \"v=spf1 include:i.e.example +all\"\n! i.e.example TXT servfail", "temperror", "dns", 20},
	{"servers that refuse", "! e.example TXT refused", "temperror", "dns", 20},
}

// chain returns n records i0.e.example, i1.e.example and so on. Each record has a term that refers
// to the next record.
func chain(term string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "i%d.e.example TXT \"v=spf1 %si%d.e.example\"\n", i, term, i+1)
	}
	return b.String()
}

// mxBomb returns the MX records of m domains. Each domain has h MX hosts, and each host has one
// address.
func mxBomb(m, h int) string {
	var b strings.Builder
	for i := range m {
		for j := range h {
			fmt.Fprintf(&b, "m%d.e.example MX 10 h%d-%d.e.example\nh%d-%d.e.example A 203.0.113.7\n", i, i, j, i, j)
		}
	}
	return b.String()
}

// TestBombs checks that hostile SPF records cause no more questions than the case allows, and that
// they do not authorize mail of another domain.
func TestBombs(t *testing.T) { dropBombs(t, 0) }

// TestBombsAhead is TestBombs with questions that are asked early. The limit of each case is raised
// by the number of these questions.
func TestBombsAhead(t *testing.T) { dropBombs(t, msgauth.DefaultSPFAhead) }

func dropBombs(t *testing.T, ahead int) {
	for _, c := range bombs {
		t.Run(c.why, func(t *testing.T) {
			d := start(t, c.zone+"\n", func(cfg *config.Config) {
				cfg.DNS.SPFAhead = ahead
				cfg.DNS.Timeout = cfg.DNS.MessageBudget // no question is repeated because a busy machine is slow
			})
			c.queries += ahead
			a := attempt{mailFrom: "<x@e.example>", helo: "[192.0.2.66]", from: []string{" x@e.example"}, queries: c.queries}
			o := d.send(t, a)
			if got := o.results("spf"); got != c.want || o.verdict != "accept" {
				t.Errorf("%s, want %s: %s", o, c.want, o.reason("spf"))
			}
			if c.reason != "" && o.reason("spf") != c.reason {
				t.Errorf("reason %q, want %q", o.reason("spf"), c.reason)
			}
			// A question counts once. The first daemon of the pair may ask for the client's name after its
			// reply, when the questions of the second are already counted.
			if asked := slices.Compact(o.asked); len(asked) > c.queries {
				t.Errorf("%d questions, at most %d: %q", len(asked), c.queries, asked)
			}
			a.from = []string{" x@bank.example"}
			d.expect(t, a, "reject spf="+c.want+" dkim=none dmarc=fail from=bank.example")
		})
	}
}
