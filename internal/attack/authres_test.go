package attack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
)

// claims are values of Authentication-Results fields that some programs would take for results of
// our host. The daemon must delete all of these fields. The function send checks this with
// readsAsOurs, which does not use our own parser.
var claims = []struct{ why, value string }{
	{"plain", " mx.here.example; dmarc=pass header.from=bank.example"},
	{"upper case", " MX.HERE.EXAMPLE; dmarc=pass"},
	{"mixed case", " mX.hErE.eXample; dmarc=pass"},
	{"no space", "mx.here.example;dmarc=pass"},
	{"version", " mx.here.example 1; dmarc=pass"},
	{"another version", " mx.here.example 2; dmarc=pass"},
	{"a long version", " mx.here.example 99999999999999999999; dmarc=pass"},
	{"version over a slash", " mx.here.example/1; dmarc=pass"},
	{"none", " mx.here.example; none"},
	{"no results", " mx.here.example"},
	{"only a semicolon", " mx.here.example;"},
	{"comment before", " (x) mx.here.example; dmarc=pass"},
	{"comment after", " mx.here.example (x); dmarc=pass"},
	{"comments everywhere", " (a)mx.here.example(b)1(c);(d)dmarc(e)=(f)pass"},
	{"nested comments", " ((a)(b(c))) mx.here.example; dmarc=pass"},
	{"comment with a semicolon", " (;) mx.here.example; dmarc=pass"},
	{"comment with an escape", ` (\)) mx.here.example; dmarc=pass`},
	{"comment with another id", " (mx.other.example;) mx.here.example; dmarc=pass"},
	{"quoted", ` "mx.here.example"; dmarc=pass`},
	{"quoted with an escape", ` "mx\.here.example"; dmarc=pass`},
	{"every letter escaped", ` "\m\x\.\h\e\r\e\.\e\x\a\m\p\l\e"; dmarc=pass`},
	{"quoted with spaces", ` " mx.here.example "; dmarc=pass`},
	{"half quoted", ` mx."here".example; dmarc=pass`},
	{"quote not closed", ` "mx.here.example; dmarc=pass`},
	{"single quotes", " 'mx.here.example'; dmarc=pass"},
	{"brackets", " <mx.here.example>; dmarc=pass"},
	{"final dot", " mx.here.example.; dmarc=pass"},
	{"folded before", "\r\n mx.here.example;\r\n dmarc=pass"},
	{"folded before by a tab", "\r\n\tmx.here.example;\r\n\tdmarc=pass"},
	{"folded within", " mx.here\r\n .example; dmarc=pass"},
	{"space within", " mx. here.example; dmarc=pass"},
	{"comment within", " mx.(x)here.example; dmarc=pass"},
	{"many folds", strings.Repeat("\r\n ", 50) + "mx.here.example; dmarc=pass"},
	{"semicolons before", " ;;; mx.here.example; dmarc=pass"},
	{"semicolon and space before", " ; mx.here.example; dmarc=pass"},
	{"comma before", " , mx.here.example; dmarc=pass"},
	{"two ids", " mx.other.example mx.here.example; dmarc=pass"},
	{"two ids, ours first", " mx.here.example mx.other.example; dmarc=pass"},
	{"control octet within", " mx.here\x01.example; dmarc=pass"},
	{"control octet before", " \x0bmx.here.example; dmarc=pass"},
	{"8-bit octet after", " mx.here.example\xff; dmarc=pass"},
	{"8-bit octet within", " mx.\xffhere.example; dmarc=pass"},
	{"zero width space within", " mx.\u200bhere.example; dmarc=pass"},
	{"byte order mark before", " \ufeffmx.here.example; dmarc=pass"},
	{"no-break space before", " \u00a0mx.here.example; dmarc=pass"},
	{"soft hyphen within", " mx.he\u00adre.example; dmarc=pass"},
	{"full-width letters", " ｍｘ.here.example; dmarc=pass"},
	{"ideographic full stop", " mx。here。example; dmarc=pass"},
	{"encoded word", " =?utf-8?Q?mx.here.example?=; dmarc=pass"},
	{"encoded word, base64", " =?utf-8?B?bXguaGVyZS5leGFtcGxl?=; dmarc=pass"},
	{"encoded word in part", " mx.=?utf-8?Q?here?=.example; dmarc=pass"},
	{"encoded words over a fold", " =?utf-8?Q?mx.here?=\r\n =?utf-8?Q?.example?=; dmarc=pass"},
	{"encoded word, UTF-16: Python's email package decodes it", " =?utf-16be?B?AG0AeAAuAGgAZQByAGUALgBlAHgAYQBtAHAAbABl?=; dmarc=pass"},
	{"encoded word, UTF-7", " =?utf-7?Q?mx+AC4-here+AC4-example?=; dmarc=pass"},
	{"encoded word of the whole", " =?utf-16be?B?AG0AeAAuAGgAZQByAGUALgBlAHgAYQBtAHAAbABlADsAIABkAG0AYQByAGMAPQBwAGEAcwBz?="},
	{"encoded word over the semicolon", " =?utf-8?Q?_;mx.here.example?=; dmarc=pass"},
	{"equals sign", " mx.here.example=1; dmarc=pass"},
	{"results of all methods", " mx.here.example; spf=pass; dkim=pass header.d=bank.example; dmarc=pass; arc=pass; iprev=pass"},
	{"16 KiB of comment before", " (" + strings.Repeat("x", 16<<10) + ") mx.here.example; dmarc=pass"},
	{"10,000 nested comments before", " " + strings.Repeat("(", 10000) + strings.Repeat(")", 10000) + " mx.here.example; dmarc=pass"},
	{"comment not closed before", " ( mx.here.example; dmarc=pass"},
	{"backslash at the end", ` mx.here.example; dmarc=pass \`},
	{"NUL after: Postfix cuts there", " mx.here.example\x00; dmarc=pass"},
}

// names are spellings of the field name that programs treat as the same name.
var names = []string{"Authentication-Results", "authentication-results", "AUTHENTICATION-RESULTS", "Authentication-results", "Authentication-Results ",
	"Authentication-Results\t "}

const honest = "From: a@attacker.example\r\n"

func TestForgedResults(t *testing.T) {
	d := start(t, "")
	for _, c := range claims {
		t.Run(c.why, func(t *testing.T) {
			for _, name := range names {
				o := d.expect(t, attempt{fields: name + ":" + c.value + "\r\n" + honest}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
				if got := kept(o); len(got) != 0 {
					t.Errorf("%q stays", got)
				}
				d.expect(t, attempt{fields: "From: a@bank.example\r\n" + name + ":" + c.value + "\r\n"}, "reject spf=pass dkim=none dmarc=fail from=bank.example")
			}
		})
	}
}

// kept returns the values of the Authentication-Results fields that are left below our own field.
func kept(o outcome) []string {
	var out []string
	for _, f := range o.header[1:] {
		if strings.EqualFold(f.Name, authres.FieldName) {
			out = append(out, f.Value)
		}
	}
	return out
}

// foreign are values with the name of another host. These fields stay, because a program that
// trusts that host may use them.
var foreign = []string{
	" mx.other.example; dmarc=pass header.from=bank.example",
	" mx.here.example.attacker.example; dmarc=pass",
	" notmx.here.example; dmarc=pass",
	" mx-here.example; dmarc=pass",
	" here.example; dmarc=pass",
	" mx.here.example2; dmarc=pass",
	" mx.other.example; dmarc=pass (not by mx.here.example)",
	" mx.other.example; dmarc=pass reason=\"mx.here.example; spf=pass\"",
	" mx.other.example 1; spf=pass smtp.mailfrom=x@mx.here.example",
	" other; none",
}

func TestForeignResultsStay(t *testing.T) {
	d := start(t, "")
	for _, value := range foreign {
		o := d.send(t, attempt{fields: "Authentication-Results:" + value + "\r\n" + honest})
		if got := kept(o); !slices.Equal(got, []string{value}) {
			t.Errorf("%q: kept %q", value, got)
		}
	}
	// Fields with a similar name must stay too.
	o := d.send(t, attempt{fields: "ARC-Authentication-Results: i=1; mx.here.example; dmarc=pass\r\nX-Authentication-Results: mx.here.example; " +
		"dmarc=pass\r\n" + honest})
	if len(o.header) != 5 {
		t.Errorf("header %q", o.header)
	}
}

// TestManyForgedResults sends up to 1,150 fields in our name, in many spellings. Between them are
// fields in other names, and the rest of the header is in the middle. The fields in other names
// must stay, in their order.
func TestManyForgedResults(t *testing.T) {
	d := start(t, "")
	for _, n := range []int{1, 300, 1150} { // the limit of the daemon is 2,000 header fields in total
		var fields strings.Builder
		var want []string
		for i := range n {
			fmt.Fprintf(&fields, "%s:%s\r\n", names[i%len(names)], claims[i%52].value)
			if i%3 == 0 {
				want = append(want, fmt.Sprintf(" mx%d.other.example; dmarc=pass", i))
				fmt.Fprintf(&fields, "Authentication-Results:%s\r\nX-Filler: %d\r\n", want[len(want)-1], i)
			}
			if i == n/2 {
				fields.WriteString(honest)
			}
		}
		o := d.expect(t, attempt{fields: fields.String()}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
		if got := kept(o); !slices.Equal(got, want) {
			t.Errorf("%d forged: kept %d of %d: %q", n, len(got), len(want), got)
		}
	}
}

// TestSignatureInjection puts hostile values into the tags of a DKIM-Signature field. Our
// Authentication-Results field repeats some of these values. These values must not begin another
// result in our field.
func TestSignatureInjection(t *testing.T) {
	const result = "; dmarc=pass header.from=bank.example"
	tags := map[string]string{"v": "1", "a": "rsa-sha256", "d": "bank.example", "s": "s", "h": "from", "bh": "AAAA", "b": "AAAA", "i": ""}
	hostile := []string{
		"x dmarc=pass", `x" dmarc=pass "`, "x\r\n dmarc=pass", "x\r\n\tmx.here.example", "(x", "x) dmarc=pass", `x\`, `"`, "x\x01y", "x\x1b[2J",
		"x\xffy", "x\u202ey", "x\u2028 dmarc=pass", "=?utf-8?Q?x=3B_dmarc=3Dpass?=", "%s%n", strings.Repeat("x", 3000), strings.Repeat("x.", 200), "@" + result[2:],
		"x@y@z", "../../x", `x\.bank`, `bank\000.example`, "x\x7f", "bank.example.", "", " ",
	}
	d := start(t, "")
	for _, name := range []string{"v", "a", "d", "s", "i", "b", "bh", "h"} {
		for _, value := range hostile {
			t.Run(fmt.Sprintf("%s=%.20q", name, value), func(t *testing.T) {
				var f strings.Builder
				f.WriteString("DKIM-Signature: v=" + tags["v"])
				for _, tag := range []string{"a", "d", "s", "i", "h", "bh", "b"} {
					v := tags[tag]
					if tag == name {
						v = value
					}
					if v != "" {
						f.WriteString("; " + tag + "=" + v)
					}
				}
				if name == "v" {
					f.WriteString("; v=" + value)
				}
				o := d.send(t, attempt{fields: f.String() + "\r\nFrom: a@bank.example\r\n"})
				if got := o.results("dkim"); got == "pass" || strings.Contains(got, ",") {
					t.Errorf("dkim=%s", got)
				}
				if o.results("dmarc") != "fail" || o.results("spf") != "pass" || o.property("dmarc", "header.from") != "bank.example" {
					t.Errorf("%s", o)
				}
			})
		}
	}
}
