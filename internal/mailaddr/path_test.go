package mailaddr

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	cases := []struct {
		why, in string
		want    Path
		str     string
	}{
		{"as RFC 5321 has it", "<a@B.Example>", Path{Local: "a", Domain: "b.example", DomainRaw: "B.Example"}, "a@b.example"},
		{"without brackets", "a@b.example", Path{Local: "a", Domain: "b.example", DomainRaw: "b.example"}, "a@b.example"},
		{"null path", "<>", Path{Null: true}, "<>"},
		{"null path as some MTAs give it", "", Path{Null: true}, "<>"},
		{"white space around", " <a@b.example> ", Path{Local: "a", Domain: "b.example", DomainRaw: "b.example"}, "a@b.example"},
		{"quoted local part", `<"we ird"@Sender.Example>`, Path{Local: "we ird", Domain: "sender.example", DomainRaw: "Sender.Example"}, `"we ird"@sender.example`},
		{"quoted pairs", `<"a\"\\b\c"@b.example>`, Path{Local: `a"\bc`, Domain: "b.example", DomainRaw: "b.example"}, `"a\"\\bc"@b.example`},
		{"quotes that are not needed", `<"ab"@b.example>`, Path{Local: "ab", Domain: "b.example", DomainRaw: "b.example"}, "ab@b.example"},
		{"at sign within quotes", `<"a@legit.example"@b.example>`, Path{Local: "a@legit.example", Domain: "b.example", DomainRaw: "b.example"},
			`"a@legit.example"@b.example`},
		{"empty quoted local part", `<""@b.example>`, Path{Domain: "b.example", DomainRaw: "b.example"}, `""@b.example`},
		{"route (espoofer server_a7)", "<@legitimate.com,@any.com:'any@attack.com>", Path{Local: "'any", Domain: "attack.com",
			DomainRaw: "attack.com"}, "'any@attack.com"},
		{"route of one, without brackets", "@x.example:a@b.example", Path{Local: "a", Domain: "b.example", DomainRaw: "b.example"}, "a@b.example"},
		{"route with a literal", "<@[IPv6:2001:db8::1]:a@b.example>", Path{Local: "a", Domain: "b.example", DomainRaw: "b.example"}, "a@b.example"},
		{"address literal", "<a@[192.0.2.1]>", Path{Local: "a", DomainRaw: "[192.0.2.1]"}, "a@[192.0.2.1]"},
		{"IPv6 literal", "<a@[IPv6:2001:db8::1]>", Path{Local: "a", DomainRaw: "[IPv6:2001:db8::1]"}, "a@[IPv6:2001:db8::1]"},
		{"postmaster alone", "<postmaster>", Path{Local: "postmaster"}, "postmaster"},
		{"single label", "<root@localhost>", Path{Local: "root", Domain: "localhost", DomainRaw: "localhost"}, "root@localhost"},
		{"final dot", "<a@b.example.>", Path{Local: "a", Domain: "b.example", DomainRaw: "b.example."}, "a@b.example"},
		{"dots anywhere", "<.a..b.@docomo.example>", Path{Local: ".a..b.", Domain: "docomo.example", DomainRaw: "docomo.example"}, ".a..b.@docomo.example"},
		{"variable reverse path", "<b+u=c.example%x!y/z@b.example>", Path{Local: "b+u=c.example%x!y/z", Domain: "b.example",
			DomainRaw: "b.example"}, "b+u=c.example%x!y/z@b.example"},
		{"SMTPUTF8", "<用@例え.jp>", Path{Local: "用", Domain: "xn--r8jz45g.jp", DomainRaw: "例え.jp"}, `"\x{7528}"@xn--r8jz45g.jp`},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			got, err := ParsePath(c.in)
			if err != nil || got != c.want {
				t.Fatalf("ParsePath(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
			}
			if s := got.String(); s != c.str {
				t.Errorf("String() = %q, want %q", s, c.str)
			}
		})
	}
}

func TestParsePathRefuses(t *testing.T) {
	cases := []struct {
		why, in string
		want    error
	}{
		{"unbalanced comment (espoofer server_a2)", "<(any@legitimate.com>", ErrPathSyntax},
		{"parenthesis in the domain (server_a5)", "<any@legitimate.com(a.attack.com>", ErrPathDomain},
		{"quote and second at sign (server_a6)", "<any@legitimate.com'@any.attack.com>", ErrPathDomain},
		{"unclosed bracket", "<a@b.example", ErrPathSyntax},
		{"only an opening bracket", "<", ErrPathSyntax},
		{"doubled brackets", "<<a@b.example>>", ErrPathSyntax},
		{"two paths", "<a@b.example><c@d.example>", ErrPathDomain},
		{"name before", "John <a@b.example>", ErrPathSyntax},
		{"unclosed quote", `<"a@b.example>`, ErrPathSyntax},
		{"quote closed by a pair", `<"a\"@b.example>`, ErrPathSyntax},
		{"quote that ends in a backslash", `"\`, ErrPathSyntax},
		{"text after the quote", `<"a"b@c.example>`, ErrPathSyntax},
		{"backslash outside quotes", `<a\b@c.example>`, ErrPathSyntax},
		{"no local part", "<@b.example>", ErrPathSyntax},
		{"route and nothing else", "<@b.example:>", ErrPathSyntax},
		{"quotes in the route", `<@b".example:a@b.example>`, ErrPathSyntax},
		{"no domain", "<a@>", ErrPathDomain},
		{"empty label", "<a@b..example>", ErrPathDomain},
		{"space in the domain", "<a@b .example>", ErrPathDomain},
		{"literal without an end", "<a@[192.0.2.1>", ErrPathDomain},
		{"literal with an injection", "<a@[1;spf=pass]>", ErrPathDomain},
		{"empty literal", "<a@[]>", ErrPathDomain},
		{"literal with a slash", "<a@[1/2]>", ErrPathDomain},
		{"literal with a brace", "<a@[a{b]>", ErrPathDomain},
		{"DEL", "<a\x7f@b.example>", ErrPathSyntax},
		{"domain beyond ASCII that is not UTF-8", "<a@x\xfc>", ErrPathDomain},
		{"NUL", "<a\x00@b.example>", ErrPathSyntax},
		{"CR LF within quotes", "<\"a\r\nb\"@b.example>", ErrPathSyntax},
		{"local part that is not UTF-8", "<\xfc@b.example>", ErrPathSyntax},
		{"domain that is not UTF-8", "<a@\xfc.example>", ErrPathDomain},
		{"too long", "<" + strings.Repeat("a", MaxPathLen) + ">", ErrPathTooLong},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			got, err := ParsePath(c.in)
			if !errors.Is(err, c.want) {
				t.Errorf("ParsePath(%q) error %v, want %v", c.in, err, c.want)
			}
			if got != (Path{}) {
				t.Errorf("ParsePath(%q) = %+v beside an error", c.in, got)
			}
		})
	}
}

func TestPathJSON(t *testing.T) {
	p, err := ParsePath(`<a@B.example>`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if want := `{"local":"a","domain":"b.example","domain_raw":"B.example"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
