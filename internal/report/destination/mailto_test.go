package destination

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"sekimori/internal/printable"
)

func TestParseMailto(t *testing.T) {
	local64 := strings.Repeat("a", 64)
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "example"
	for _, c := range []struct {
		why, uri string
		utf8     bool
		want     string
		err      error
	}{
		{"plain", "mailto:rua@shop.example", false, "rua@shop.example", nil},
		{"scheme in another case", "MailTo:rua@shop.example", false, "rua@shop.example", nil},
		{"the local part keeps its case, the domain does not", "mailto:RUA@Shop.Example", false, "RUA@shop.example", nil},
		{"subaddress and other atoms", "mailto:dmarc+a_b-c=d/e&f'g*h@shop.example", false, "dmarc+a_b-c=d/e&f'g*h@shop.example", nil},
		{"a dot after the domain", "mailto:rua@shop.example.", false, "rua@shop.example", nil},
		{"percent-encoded letters", "mailto:r%75a%40shop%2Eexample", false, "rua@shop.example", nil},
		{"a parameter is ignored", "mailto:a@b.example?bcc=c@d.example", false, "a@b.example", nil},
		{"and several", "mailto:a@b.example?subject=x&to=c@d.example,e@f.example", false, "a@b.example", nil},
		{"a fragment is ignored", "mailto:a@b.example#c@d.example", false, "a@b.example", nil},
		{"IDN", "mailto:rua@b%C3%BCcher.example", false, "rua@xn--bcher-kva.example", nil},
		{"IDN as A-label", "mailto:rua@xn--bcher-kva.example", false, "rua@xn--bcher-kva.example", nil},
		{"local part with SMTPUTF8", "mailto:b%C3%BCro@shop.example", true, "büro@shop.example", nil},
		{"a letter whose low octet is an at sign", "mailto:%C5%80@shop.example", true, "\u0140@shop.example", nil},
		{"local part of 64 octets", "mailto:" + local64 + "@shop.example", false, local64 + "@shop.example", nil},

		{"https", "https://shop.example/dmarc", false, "", errScheme},
		{"no scheme", "rua@shop.example", false, "", errScheme},
		{"the scheme's name alone", "mailto", false, "", errScheme},
		{"space in the scheme", "mailto :rua@shop.example", false, "", errScheme},
		{"nothing", "mailto:", false, "", errMalformed},
		{"only a parameter", "mailto:?to=a@b.example", false, "", errMalformed},
		{"no local part", "mailto:@shop.example", false, "", errMalformed},
		{"no domain", "mailto:rua@", false, "", errMalformed},
		{"no at sign", "mailto:rua", false, "", errMalformed},
		{"cut in an escape", "mailto:rua@shop.exampl%6", false, "", errMalformed},
		{"no digits in an escape", "mailto:r%zza@shop.example", false, "", errMalformed},
		{"only the first digit of an escape", "mailto:r%4za@shop.example", false, "", errMalformed},
		{"only the second digit of an escape", "mailto:r%z4a@shop.example", false, "", errMalformed},
		{"only the second digit, where the rest is UTF-8", "mailto:%z0%A0%80%80@shop.example", true, "", errMalformed},
		{"UTF-8 cut", "mailto:b%C3ro@shop.example", true, "", errMalformed},
		{"dot at the beginning", "mailto:.rua@shop.example", false, "", errMalformed},
		{"dot at the end", "mailto:rua.@shop.example", false, "", errMalformed},
		{"two dots", "mailto:r..ua@shop.example", false, "", errMalformed},

		{"two addresses", "mailto:a@b.example,c@d.example", false, "", errSeveral},
		{"two addresses, encoded", "mailto:a@b.example%2Cc@d.example", false, "", errSeveral},
		{"semicolon", "mailto:a@b.example%3Bc", false, "", errSeveral},
		{"two at signs", "mailto:a%40b.example@c.example", false, "", errSeveral},

		{"CR LF and a field", "mailto:a%0d%0aBcc:c@b.example", false, "", errCharacter},
		{"LF", "mailto:a%0Ab@b.example", false, "", errCharacter},
		{"NUL", "mailto:a%00@b.example", false, "", errCharacter},
		{"DEL", "mailto:a%7F@b.example", false, "", errCharacter},
		{"space", "mailto:a%20b@b.example", false, "", errCharacter},
		{"quotes", "mailto:%22a%22@b.example", false, "", errCharacter},
		{"backslash", "mailto:a%5Cb@b.example", false, "", errCharacter},
		{"angle bracket", "mailto:a%3E@b.example", false, "", errCharacter},
		{"comment", "mailto:a(b)@b.example", false, "", errCharacter},
		{"source route", "mailto::a@b.example", false, "", errCharacter},
		{"mark of direction", "mailto:a%E2%80%AEb@b.example", true, "", errCharacter},
		{"line separator", "mailto:a%E2%80%A8b@b.example", true, "", errCharacter},
		{"the first character after ASCII", "mailto:a%C2%80b@b.example", true, "", errCharacter},
		{"C1 control", "mailto:a%C2%85b@b.example", true, "", errCharacter},

		{"percent hack", "mailto:victim%25bank.example@b.example", false, "", errRouting},
		{"bang path", "mailto:bank.example%21victim@b.example", false, "", errRouting},
		{"a program", "mailto:%7Cid@b.example", false, "", errRouting},
		{"an option", "mailto:-rua@b.example", false, "", errRouting},

		{"without SMTPUTF8", "mailto:b%C3%BCro@shop.example", false, "", errUTF8},
		{"local part of 65 octets", "mailto:a" + local64 + "@shop.example", false, "", errLong},
		{"local part of 4,000 octets", "mailto:" + strings.Repeat("a", 4000) + "@shop.example", false, "", errLong},
		{"address of 255 octets", "mailto:" + strings.Repeat("a", 254-len(long)) + "@" + long, false, "", errLong},

		{"one label", "mailto:root@localhost", false, "", errDomain},
		{"address literal", "mailto:a@%5B127.0.0.1%5D", false, "", errDomain},
		{"IP address", "mailto:a@127.0.0.1", false, "", errDomain},
		{"CR LF in the domain", "mailto:a@b.example%0d%0aBcc:", false, "", errDomain},
		{"space in the domain", "mailto:a@b.example%20", false, "", errDomain},
		{"underscore", "mailto:a@_dmarc.b.example", false, "", errDomain},
		{"hyphen", "mailto:a@-b.example", false, "", errDomain},
		{"empty label", "mailto:a@b..example", false, "", errDomain},
		{"port", "mailto:a@b.example:25", false, "", errDomain},
	} {
		got, host, err := parseMailto(c.uri, c.utf8)
		if got != c.want || !errors.Is(err, c.err) || (err == nil) != strings.HasSuffix(got, "@"+string(host)) {
			t.Errorf("%s: %s: got %q at %q, %v; want %q, %v", c.why, c.uri, got, host, err, c.want, c.err)
		}
	}
	if a, _, err := parseMailto("mailto:"+strings.Repeat("a", 253-len(long))+"@"+long, false); err != nil || len(a) != maxAddress {
		t.Errorf("an address of %d octets: %v", len(a), err)
	}
}

// FuzzParseMailto checks that an address is safe in a header and in an SMTP command, whatever the URI.
func FuzzParseMailto(f *testing.F) {
	for _, s := range []string{"mailto:rua@shop.example", "MAILTO:a%0d%0ab@c.example?bcc=x", "mailto:b%C3%BCro@b%C3%BCcher.example", "mailto:a%25b@c.d"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, uri string, allowed bool) {
		a, host, err := parseMailto(uri, allowed)
		if err != nil {
			if a != "" || host != "" {
				t.Fatalf("%q: %q with %v", uri, a, err)
			}
			return
		}
		if len(a) > maxAddress || !utf8.ValidString(a) || strings.Count(a, "@") != 1 || strings.ContainsAny(a, "\r\n\t <>(),;:\\\"[]%!|") ||
			strings.ContainsFunc(a, func(r rune) bool { return !printable.IsShown(r) }) || !allowed && !printable.IsASCII(a) || a[0] == '-' {
			t.Errorf("%q gives %q", uri, a)
		}
		if again, _, err := parseMailto("mailto:"+strings.NewReplacer("#", "%23", "?", "%3F").Replace(a), allowed); err != nil || again != a {
			t.Errorf("%q is read as %q, %v", a, again, err)
		}
	})
}
