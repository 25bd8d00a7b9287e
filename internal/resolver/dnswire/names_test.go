package dnswire

import (
	"strings"
	"testing"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

// presentation returns a name in the codec's form: absolute, with special octets written as \DDD.
func presentation(n dns.Name) string {
	var b strings.Builder
	b.Grow(len(n) + 1)
	for i := 0; i < len(n); i++ {
		c := n[i]
		switch {
		case c == '.', c == '-', c == '_', '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			b.WriteByte(c)
		default:
			b.WriteByte('\\')
			b.WriteByte('0' + c/100)
			b.WriteByte('0' + c/10%10)
			b.WriteByte('0' + c%10)
		}
	}
	b.WriteByte('.')
	return b.String()
}

func TestPresentation(t *testing.T) {
	cases := []struct {
		name   dns.Name
		want   string
		reason string
	}{
		{"", ".", "the root"},
		{"example.com", "example.com.", ""},
		{"_dmarc.a-b.example", "_dmarc.a-b.example.", "ordinary octets stay"},
		{`a\b.example`, `a\092b.example.`, "backslash"},
		{"a\x00\xff\".example", `a\000\255\034.example.`, "unprintable octets"},
		{"$x@*.example", `\036x\064\042.example.`, "octets that are special in master files"},
	}
	for _, c := range cases {
		if got := presentation(c.name); got != c.want {
			t.Errorf("%q: got %s, want %s (%s)", c.name, got, c.want, c.reason)
		}
		if back, ok := nameFromPresentation(c.want); !ok || back != c.name {
			t.Errorf("%s: got %q back, %v", c.want, back, ok)
		}
	}
}

func TestNameFromPresentation(t *testing.T) {
	cases := []struct {
		in     string
		want   dns.Name
		ok     bool
		reason string
	}{
		{"EXAMPLE.Com.", "example.com", true, "folds"},
		{"\\065.example.", "a.example", true, "folds escaped letters too"},
		{`a\.b.example.`, "", false, "a dot in a label would look like a separator"},
		{`a\046b.example.`, "", false, "a dot written as a number"},
		{`a\\.example.`, `a\.example`, true, "an escaped backslash before a real dot"},
		{`a\"b.example.`, `a"b.example`, true, "escaped octet"},
		{`\200.example.`, "\xc8.example", true, "does not become an A-label"},
		{strings.Repeat("a.", 127), dns.Name(strings.Repeat("a.", 126) + "a"), true, "the longest name"},
		{strings.Repeat("a.", 128), "", false, "too long"},
	}
	for _, c := range cases {
		got, ok := nameFromPresentation(c.in)
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%s: got %q %v, want %q %v (%s)", c.in, got, ok, c.want, c.ok, c.reason)
		}
	}
}

// FuzzNameOnTheWire: any name is the same after it was written to a query and read from it.
func FuzzNameOnTheWire(f *testing.F) {
	f.Add("example.com")
	f.Add("a\\b\"c.\x00\xff.x")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		name, err := dns.ParseName(s)
		if err != nil {
			return
		}
		question, err := NewQuestion(name, dns.TypeA)
		if err != nil {
			t.Fatalf("%q cannot be packed: %v", name, err)
		}
		q := question.Pack(Options{EDNS: true, Mix: true})
		wire := q.Packet
		wire[2] |= bitResponse
		if m := q.Match(wire); m != Whole {
			t.Fatalf("%q does not match its own question: %d", name, m)
		}
		var m codec.Msg
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		if back, ok := nameFromPresentation(m.Question[0].Name); !ok || back != name {
			t.Fatalf("%q came back as %q", name, back)
		}
	})
}
