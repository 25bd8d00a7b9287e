package mailaddr

import (
	"strings"
	"testing"
)

// FuzzParsePath checks that String writes printable ASCII, and that ParsePath reads that text as
// the same path.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"", "<>", "<a@b.example>", `<"a\"b"@b.example>`, "<@x,@y:a@b.example>", "<a@[192.0.2.1]>", "<用@例え.jp>",
		"<postmaster>", `"\`, "<(a@b>", "<a@b'@c>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if p != (Path{}) {
				t.Fatalf("%+v beside %v", p, err)
			}
			return
		}
		shown := p.String()
		for i := 0; i < len(shown); i++ {
			if shown[i] < ' ' || shown[i] > '~' {
				t.Fatalf("String() = %q", shown)
			}
		}
		if p.Null != (shown == "<>") {
			t.Fatalf("%+v shown as %q", p, shown)
		}
		if strings.ContainsFunc(p.Local, func(r rune) bool { return r >= 0x80 }) || len(shown) > MaxPathLen-2 {
			return
		}
		again, err := ParsePath("<" + strings.TrimSuffix(strings.TrimPrefix(shown, "<"), ">") + ">")
		if p.Local == "" && !p.Null && p.Domain == "" && p.DomainRaw == "" {
			return // `""` has no address to compare
		}
		if err != nil || again.Local != p.Local || again.Domain != p.Domain || again.Null != p.Null {
			t.Fatalf("%q shown as %q gives %+v, %v; want %+v", s, shown, again, err, p)
		}
	})
}
