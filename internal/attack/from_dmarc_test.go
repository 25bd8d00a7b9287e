package attack

import (
	"strings"
	"testing"
)

// dmarcGames are DNS zones with unusual DMARC records. Most are records of v.example, which the
// attacker impersonates. Others are records of the attacker, who wants his domain to align with
// another domain.
var dmarcGames = []struct {
	why, zone, from, mailFrom, want string
	queries                         int // number of questions for DMARC records that are allowed, if more than 8
}{
	{"plain", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, "v.example", "", "reject", 0},
	{"no record", "", "v.example", "", "accept none", 0},
	{"p twice, the harmless first", `_dmarc.v.example TXT "v=DMARC1; p=none; p=reject"`, "v.example", "", "accept none", 0},
	{"p twice, the harmless last", `_dmarc.v.example TXT "v=DMARC1; p=reject; p=none"`, "v.example", "", "accept none", 0},
	{"a tag twice that is not p", `_dmarc.v.example TXT "v=DMARC1; p=reject; rua=mailto:a@b.example; rua=mailto:c@d.example"`, "v.example", "", "accept none", 0},
	{"v twice", `_dmarc.v.example TXT "v=DMARC1; v=DMARC1; p=reject"`, "v.example", "", "accept none", 0},
	{"two records", "_dmarc.v.example TXT \"v=DMARC1; p=none\"\n_dmarc.v.example TXT \"v=DMARC1; p=reject\"", "v.example", "", "accept none", 0},
	{"two equal records", "_dmarc.v.example TXT \"v=DMARC1; p=reject\"\n_dmarc.v.example TXT \"v=DMARC1; p=reject\" \"\"", "v.example", "", "accept none", 0},
	{"a record and one of something else", "_dmarc.v.example TXT \"v=spf1 -all\"\n_dmarc.v.example TXT \"v=DMARC1; p=reject\"", "v.example", "", "reject", 0},
	{"100 records of something else", numbered(100, `_dmarc.v.example TXT "nothing of #"`) + `_dmarc.v.example TXT "v=DMARC1; p=reject"`, "v.example", "",
		"reject", 0},
	{"wildcard of the domain holds SPF", "*.v.example TXT \"v=spf1 -all\"\n_dmarc.v.example TXT \"v=DMARC1; p=reject\"", "a.v.example", "", "reject", 0},
	{"wildcard of the domain holds DMARC", `*.v.example TXT "v=DMARC1; p=reject"`, "a.v.example", "", "reject", 0},
	{"split in strings of one octet", `_dmarc.v.example TXT "v" "=" "D" "M" "A" "R" "C" "1" ";" "p" "=" "r" "eject"`, "v.example", "", "reject", 0},
	{"5,000 unknown tags", "_dmarc.v.example TXT " + inStrings("v=DMARC1; p=reject; "+terms(5000, "x#=y;")), "v.example", "", "accept temperror", 0},
	{"500 report addresses", "_dmarc.v.example TXT " +
		inStrings("v=DMARC1; p=reject; rua="+strings.TrimSuffix(strings.ReplaceAll(terms(500, "mailto:a#@r.example,"), " ", ""), ",")), "v.example", "", "reject", 0},
	{"60 KiB of spaces", "_dmarc.v.example TXT " + inStrings("v=DMARC1; "+strings.Repeat(" ", 50000)+"p=reject"), "v.example", "", "accept temperror", 0},
	{"p misspelt, with a report address", `_dmarc.v.example TXT "v=DMARC1; p=rejekt; rua=mailto:a@v.example"`, "v.example", "", "accept fail", 0},
	{"p misspelt", `_dmarc.v.example TXT "v=DMARC1; p=rejekt"`, "v.example", "", "accept none", 0},
	{"no p", `_dmarc.v.example TXT "v=DMARC1; rua=mailto:a@v.example"`, "v.example", "", "accept fail", 0},
	{"upper case values", `_dmarc.v.example TXT "v=DMARC1; P=REJECT"`, "v.example", "", "reject", 0},
	{"version in lower case", `_dmarc.v.example TXT "v=dmarc1; p=reject"`, "v.example", "", "accept none", 0},
	{"version not first", `_dmarc.v.example TXT "p=reject; v=DMARC1"`, "v.example", "", "accept none", 0},
	{"space before the version", `_dmarc.v.example TXT " v=DMARC1; p=reject"`, "v.example", "", "accept none", 0},
	{"spaces around the equals sign", `_dmarc.v.example TXT "v = DMARC1 ; p = reject"`, "v.example", "", "reject", 0},
	{"version 10", `_dmarc.v.example TXT "v=DMARC10; p=reject"`, "v.example", "", "accept none", 0},
	{"NUL in the value", `_dmarc.v.example TXT "v=DMARC1; p=reject\000"`, "v.example", "", "accept none", 0},
	{"NUL before the value", `_dmarc.v.example TXT "v=DMARC1; p=\000none"`, "v.example", "", "accept none", 0},
	{"8-bit octets in another tag", `_dmarc.v.example TXT "v=DMARC1; x=\233; p=reject"`, "v.example", "", "reject", 0},
	{"garbage behind", `_dmarc.v.example TXT "v=DMARC1; p=reject; !!!"`, "v.example", "", "reject", 0},
	{"no final value", `_dmarc.v.example TXT "v=DMARC1; p=reject; sp="`, "v.example", "", "accept none", 0},
	{"pct=0, gone since RFC 9989", `_dmarc.v.example TXT "v=DMARC1; p=reject; pct=0"`, "v.example", "", "reject", 0},
	{"t=y", `_dmarc.v.example TXT "v=DMARC1; p=reject; t=y"`, "v.example", "", "quarantine fail", 0},
	{"sp", `_dmarc.v.example TXT "v=DMARC1; p=none; sp=reject"`, "a.v.example", "", "reject", 0},
	{"np for a name that is not there", `_dmarc.v.example TXT "v=DMARC1; p=none; sp=none; np=reject"`, "nothing.v.example", "", "reject", 0},
	{"the author's name holds only an empty answer", "_dmarc.v.example TXT \"v=DMARC1; p=none; sp=none; np=reject\"\nx.a.v.example A 192.0.2.1",
		"a.v.example", "", "accept fail", 0},
	{"8 labels", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, "1.2.3.4.5.6.v.example", "", "reject", 8},
	{"9 labels", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, "1.2.3.4.5.6.7.v.example", "", "reject", 8},
	{"20 labels", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, strings.Repeat("a.", 18) + "v.example", "", "reject", 8},
	{"120 labels", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, strings.Repeat("a.", 118) + "v.example", "", "reject", 8},
	{"20 labels and the return path of 20 others", `_dmarc.v.example TXT "v=DMARC1; p=reject"`, strings.Repeat("a.", 18) + "v.example", "<x@" +
		strings.Repeat("b.", 18) + "attacker.example>", "reject", 16},
	{"a policy only at the ninth label from the right", "_dmarc.1.2.3.4.5.6.7.v.example TXT \"v=DMARC1; p=reject\"", "0.1.2.3.4.5.6.7.v.example", "",
		"accept none", 8},
	{"CNAME to the bank's record", "_dmarc.v.example CNAME _dmarc.bank.example", "v.example", "", "reject", 0},
	{"CNAME to nothing", "_dmarc.v.example CNAME nothing.v.example", "v.example", "", "accept none", 0},
	{"CNAME to itself", "_dmarc.v.example CNAME _dmarc.v.example", "v.example", "", "accept temperror", 0},
	{"CNAME chain", "_dmarc.v.example CNAME a.v.example\na.v.example CNAME b.v.example\nb.v.example CNAME _dmarc.bank.example", "v.example", "", "reject", 0},
	{"CNAME of 30", "_dmarc.v.example CNAME c0.v.example\n" + numbered(30, "c#.v.example CNAME c#x.v.example\nc#x.v.example CNAME c#y.v.example"),
		"v.example", "", "accept none", 0},
	{"servers that fail", "! _dmarc.v.example TXT servfail", "v.example", "", "accept temperror", 0},
	{"servers that fail for the parent, the author has none", "! _dmarc.v.example TXT servfail\na.v.example A 192.0.2.1", "a.v.example", "",
		"accept temperror", 0},
	{"the top level has a policy", `_dmarc.example TXT "v=DMARC1; p=reject; psd=y"`, "v.example", "", "reject", 0},
	{"the top level has a policy for its children", `_dmarc.example TXT "v=DMARC1; p=none; sp=reject; psd=y"`, "v.example", "", "reject", 0},
	{"the top level has one, without psd: by RFC 9989 §4.10.2 it is everybody's Organizational Domain", `_dmarc.example TXT "v=DMARC1; p=reject"`,
		"v.example", "", "accept pass", 0},
	{"psd=y at the attacker does not align its children", "_dmarc.attacker.example TXT \"v=DMARC1; p=none; psd=y\"\n_dmarc.v.attacker.example TXT " +
		"\"v=DMARC1; p=reject\"", "v.attacker.example", "<x@attacker.example>", "reject", 0},
	{"psd=n at a child ends the walk there", "_dmarc.v.attacker.example TXT \"v=DMARC1; p=reject; psd=n\"", "v.attacker.example", "<x@attacker.example>",
		"reject", 0},
	{"strict alignment: a pass of the parent does not count", `_dmarc.v.attacker.example TXT "v=DMARC1; p=reject; aspf=s; adkim=s"`, "v.attacker.example",
		"<x@attacker.example>", "reject", 0},
	{"relaxed alignment: the parent is", `_dmarc.v.attacker.example TXT "v=DMARC1; p=reject"`, "v.attacker.example", "<x@attacker.example>", "accept pass", 0},
	{"aspf misspelt", `_dmarc.v.attacker.example TXT "v=DMARC1; p=reject; aspf=strict"`, "v.attacker.example", "<x@attacker.example>", "accept pass", 0},
	{"the bank's name within the attacker's", "", "bank.example.attacker.example", "<x@attacker.example>", "accept pass", 0},
	{"a name that ends in the attacker's letters", "_dmarc.notattacker.example TXT \"v=DMARC1; p=reject\"", "notattacker.example", "<x@attacker.example>",
		"reject", 0},
	{"single label, a top level without psd likewise", "_dmarc.example TXT \"v=DMARC1; p=reject\"", "example", "<x@attacker.example>", "accept pass", 0},
	{"single label that the return path has too", "example TXT \"v=spf1 +all\"", "example", "<x@example>", "accept none", 0},
	{"siblings below a top level without a policy", "", "v.example", "<x@attacker.example>", "accept none", 0},
	{"the author domain is the underscore name", "_dmarc.v.example TXT \"v=DMARC1; p=reject\"", "_dmarc.v.example", "", "reject", 0},
}

func TestDMARCGames(t *testing.T) {
	for _, c := range dmarcGames {
		t.Run(c.why, func(t *testing.T) {
			d := start(t, c.zone+"\n")
			o := d.send(t, attempt{helo: "[192.0.2.66]", mailFrom: c.mailFrom, from: []string{" a@" + c.from}})
			got := o.verdict + " " + o.results("dmarc")
			want := c.want
			if want == "reject" {
				want += " fail"
			}
			asked := 0
			for _, q := range o.asked {
				if strings.HasPrefix(q, "_dmarc") {
					asked++
				}
			}
			if got != want || o.property("dmarc", "header.from") != c.from {
				t.Errorf("got %q, want %q: %s asked %q", got, want, o.label.Format(), o.asked)
			}
			if limit := max(c.queries, 8); asked > limit {
				t.Errorf("%d questions about DMARC, at most %d: %q", asked, limit, o.asked)
			}
		})
	}
}
