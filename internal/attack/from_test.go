package attack

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// wildFrom are values of From as ordinary senders write them. The author is at attacker.example,
// which is authenticated in the test. So all of them must pass.
var wildFrom = []struct{ why, value string }{
	{"the common form", " Taro Yamada <taro@attacker.example>"},
	{"address alone", " taro@attacker.example"},
	{"address alone in brackets", " <taro@attacker.example>"},
	{"no space after the colon", "taro@attacker.example"},
	{"tab after the colon", "\tTaro <taro@attacker.example>"},
	{"trailing spaces and a tab", " Taro <taro@attacker.example>  \t"},
	{"trailing fold of white space", " Taro <taro@attacker.example>\r\n "},
	{"fold right after the colon", "\r\n Taro <taro@attacker.example>"},
	{"fold before the address", " Taro\r\n\t<taro@attacker.example>"},
	{"no space before the bracket", ` "Taro"<taro@attacker.example>`},
	{"several spaces", " Taro   Yamada   <taro@attacker.example>"},
	{"spaces within brackets", " Taro < taro@attacker.example >"},
	{"quoted comma", ` "Yamada, Taro" <taro@attacker.example>`},
	{"unquoted comma", " Yamada, Taro <taro@attacker.example>"},
	{"unquoted commas and a legal form", " Foo, Bar and Sons, Inc. <info@attacker.example>"},
	{"unquoted colon", " News: Today <news@attacker.example>"},
	{"unquoted dots", " Dr. T. Yamada Ph.D. <taro@attacker.example>"},
	{"initial that ends in a dot", " Taro Y. <taro@attacker.example>"},
	{"domain for a name", " attacker.example <info@attacker.example>"},
	{"own address quoted for a name", ` "taro@attacker.example" <taro@attacker.example>`},
	{"another address quoted for a name, as lists do", ` "joe@other.example via List" <list@attacker.example>`},
	{"own address unquoted for a name", " taro@attacker.example <taro@attacker.example>"},
	{"own address in single quotes, as Outlook does", " 'taro@attacker.example' <taro@attacker.example>"},
	{"single quotes within double, as Outlook does", ` "'taro@attacker.example'" <taro@attacker.example>`},
	{"single quotes", " 'Taro Yamada' <taro@attacker.example>"},
	{"apostrophe", " Conan O'Brien <conan@attacker.example>"},
	{"apostrophe in the local part", " <o'brien@attacker.example>"},
	{"HTML references", " Conan O&#39;Brien <conan@attacker.example>"},
	{"tag in square brackets", " [Ticket #42] Support <help@attacker.example>"},
	{"tag in square brackets in the middle", " Support [EMEA] Team <help@attacker.example>"},
	{"comment for a department", " Taro Yamada (Sales) <taro@attacker.example>"},
	{"comment after the address", " Taro <taro@attacker.example> (Sales)"},
	{"the old form", " taro@attacker.example (Taro Yamada)"},
	{"cron", " root@attacker.example (Cron Daemon)"},
	{"quoted quotes", ` "Taro \"TY\" Yamada" <taro@attacker.example>`},
	{"quotes in the middle", ` Taro "TY" Yamada <taro@attacker.example>`},
	{"signs that atoms may hold", " A&B + C/D | 100% #1! *new* {x} ~y ^z = 1 $ ? <a@attacker.example>"},
	{"unquoted at sign with spaces", " Taro @ Acme <taro@attacker.example>"},
	{"handle", " @taro <taro@attacker.example>"},
	{"emoji, raw", " 🎉 Sale 🎉 <sale@attacker.example>"},
	{"encoded word, base64", " =?UTF-8?B?5bGx55SwIOWkqumDjg==?= <taro@attacker.example>"},
	{"encoded word, quoted-printable", " =?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <jm@attacker.example>"},
	{"encoded word within quotes", ` "=?UTF-8?B?5bGx55Sw?=" <taro@attacker.example>`},
	{"encoded word right before the bracket", " =?UTF-8?B?5bGx55Sw?=<taro@attacker.example>"},
	{"encoded words over folds", " =?UTF-8?B?5bGx55Sw?=\r\n =?UTF-8?B?5aSq6YOO?=\r\n <taro@attacker.example>"},
	{"encoded word with its language", " =?utf-8*de?Q?M=C3=BCller?= <m@attacker.example>"},
	{"encoded word of an unknown charset", " =?x-mac-japanese?B?jlKTYw==?= <taro@attacker.example>"},
	{"encoded word in ISO-2022-JP", " =?ISO-2022-JP?B?GyRCOzNFRBsoQiAbJEJCQE86GyhC?= <taro@attacker.example>"},
	{"encoded word in ISO-2022-JP whose octets hold brackets", " =?iso-2022-jp?B?GyRCPCtAOD4uGyhC?= <taro@attacker.example>"},
	{"encoded word in Shift_JIS", " =?Shift_JIS?B?jlKTYw==?= <taro@attacker.example>"},
	{"encoded word in EUC-JP", " =?EUC-JP?Q?=BB=B3=C5=C4?= <taro@attacker.example>"},
	{"encoded word in GBK", " =?GBK?B?1cXI/Q==?= <zhang@attacker.example>"},
	{"encoded word in ISO-2022-KR", " =?ISO-2022-KR?B?GyQpQw4xaEdtDw==?= <kim@attacker.example>"},
	{"encoded comment of the old form", " taro@attacker.example (=?ISO-2022-JP?B?GyRCOzNFRBsoQg==?=)"},
	{"raw UTF-8 with full-width signs", " 株式会社　例（サポート）、お知らせ＠本店 <info@attacker.example>"},
	{"raw ISO-2022-JP", " \x1b$B;3ED\x1b(B <taro@attacker.example>"},
	{"raw ISO-2022-JP that holds brackets, quotes and at signs", " \x1b$B<+@8>.%\"@5\x1b(B <taro@attacker.example>"},
	{"raw ISO-2022-JP within quotes", " \"\x1b$B;3ED\x1b(B\" <taro@attacker.example>"},
	{"raw Shift_JIS", " \x8eR\x93c\x81[\x83\x5c <taro@attacker.example>"},
	{"raw EUC-JP", " \xbb\xb3\xc5\xc4 <taro@attacker.example>"},
	{"raw Latin-1", " J\xf6rg M\xfcller <jm@attacker.example>"},
	{"raw Windows-1252 quotes", " \x93Taro\x94 <taro@attacker.example>"},
	{"empty name", ` "" <taro@attacker.example>`},
	{"very long name", " " + strings.Repeat("Very Long ", 90) + "<taro@attacker.example>"},
	{"VERP", " <bounce+taro=here.example@attacker.example>"},
	{"SRS", " <SRS0=a/b=CD=other.example=joe@attacker.example>"},
	{"plus and dashes", " <a+b-c_d.e@attacker.example>"},
	{"dots of Japanese carriers", " <taro..yamada.@attacker.example>"},
	{"the same, quoted", ` <"taro..yamada."@attacker.example>`},
	{"upper case", " TARO <TARO@ATTACKER.EXAMPLE>"},
	{"final dot", " <taro@attacker.example.>"},
	{"two authors of one domain", " Taro <taro@attacker.example>, Hanako <hanako@attacker.example>"},
	{"trailing comma", " Taro <taro@attacker.example>,"},
	{"two words in quotes", ` "Taro" "Yamada" <taro@attacker.example>`},
	{"something like an encoded word", " =?Hello?= <taro@attacker.example>"},
	{"less than a name", " . <taro@attacker.example>"},
	{"dash", " Acme - Support <taro@attacker.example>"},
	{"a quote that is not closed", ` "Yamada, Taro <taro@attacker.example>`},
	{"no brackets", " Taro taro@attacker.example"},
	{"semicolon after the address", " Taro <taro@attacker.example>;"},
	{"the own address as comment", " taro@attacker.example (taro@attacker.example)"},
	{"a handle as comment", " taro@attacker.example (@taro)"},
	{"quoted local part with a space", ` <"taro yamada"@attacker.example>`},
	{"code page 50221", " =?cp50221?B?GyRCOzNFRBsoQg==?= <taro@attacker.example>"},
	{"Windows-31J", " =?Windows-31J?B?jlKTYw==?= <taro@attacker.example>"},
	{"the own address encoded for a name", " =?utf-8?Q?taro=40attacker.example?= <taro@attacker.example>"},
	{"internationalized local part", " 太郎 <太郎@attacker.example>"},
}

// TestWildFrom checks that mail with each value of wildFrom is accepted with attacker.example as
// the author's domain.
func TestWildFrom(t *testing.T) {
	d := start(t, "")
	for _, c := range wildFrom {
		t.Run(c.why, func(t *testing.T) {
			d.expect(t, attempt{from: []string{c.value}}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
		})
	}
}

// fromCases reads the files testdata/from_*.txt. A case consists of the line "why", any number of
// lines "from" and "field", whose value may be a quoted Go string, and the line "want". The key of
// the result is "file/why=>want".
func fromCases(tb testing.TB) map[string]attempt {
	tb.Helper()
	files, err := filepath.Glob("testdata/from_*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no case files: %v", err)
	}
	out := map[string]attempt{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		why := ""
		var a attempt
		for sc := bufio.NewScanner(f); sc.Scan(); {
			key, value, _ := strings.Cut(sc.Text(), ": ")
			text := value
			if strings.HasPrefix(value, `"`) {
				if text, err = strconv.Unquote(value); err != nil {
					tb.Fatalf("%s: %s: %v", file, value, err)
				}
			}
			switch key {
			case "why":
				why, a = value, attempt{}
			case "from":
				a.from = append(a.from, text)
			case "field":
				a.fields += text + "\r\n"
			case "want":
				name := filepath.Base(file) + "/" + why + "=>" + value
				if _, twice := out[name]; twice {
					tb.Fatalf("%s: %q twice", file, why)
				}
				out[name] = a
			default:
				if key != "" && key[0] != '#' {
					tb.Fatalf("%s: unknown line %q", file, sc.Text())
				}
			}
		}
	}
	return out
}

// TestFrom sends every case from attacker.example's client with a return path of attacker.example.
// The outcome must be the one that the file gives. A message that is rejected must not have
// dmarc=pass.
func TestFrom(t *testing.T) {
	d := start(t, fromZone)
	for name, a := range fromCases(t) {
		name, want, _ := strings.Cut(name, "=>")
		t.Run(name, func(t *testing.T) {
			o := d.expect(t, a, want)
			if strings.HasPrefix(want, "reject") && o.results("dmarc") == "pass" {
				t.Error("rejected with a pass")
			}
		})
	}
}

// fromZone has the DMARC record of a domain that looks like bank.example because one letter is
// Cyrillic.
const fromZone = `
_dmarc.xn--bnk-6cd.example  TXT "v=DMARC1; p=reject"
`

// TestFromCut sends From fields of 34,000 to 101,000 octets whose last author is at bank.example.
// MTAs cut long fields (Postfix at 60,000 octets), so the daemon may not see that author. So a long
// From must count as an invalid From, even if its first author is authenticated.
func TestFromCut(t *testing.T) {
	d := start(t, "")
	for _, n := range []int{34000, 59900, 60000, 70000, 101000} {
		fill := strings.Repeat("\r\n "+strings.Repeat(" ", 900), n/903)
		d.expect(t, attempt{from: []string{" <x@attacker.example>," + fill + " <admin@bank.example>"}},
			"reject spf=pass dkim=none dmarc=permerror reason=too_large")
	}
}
