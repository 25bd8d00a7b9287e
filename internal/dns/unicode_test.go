package dns

import "testing"

func TestUnicode(t *testing.T) {
	for _, c := range []struct{ reason, name, want string }{
		{"no A-label", "mail.example.com", "mail.example.com"},
		{"the root", "", ""},
		{"Japanese", "xn--r8jz45g.example", "例え.example"},
		{"below an ordinary label", "mx.xn--r8jz45g.example", "mx.例え.example"},
		{"two of them", "xn--bcher-kva.xn--r8jz45g", "bücher.例え"},
		{"right to left", "xn--4dbrk0ce.example", "ישראל.example"},
		{"no punycode", "xn--\xff.example", "xn--\xff.example"},
		{"nothing behind the prefix", "xn--.example", "xn--.example"},
		{"hides ASCII", "xn--example-.com", "xn--example-.com"},
		{"a symbol", "xn--i-7iq.example", "xn--i-7iq.example"},
		{"a full-width semicolon", "xn--x-so0i.example", "xn--x-so0i.example"},
		{"a full-width letter", "xn--mi7c.example", "xn--mi7c.example"},
		{"a digit in parentheses", "xn--x-79o.example", "xn--x-79o.example"},
		{"a mark that would join the octet before", "xn--x-1eb.example", "xn--x-1eb.example"},
	} {
		if got := Name(c.name).Unicode(); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

// FuzzUnicode: the result of Unicode converts back to the same name.
func FuzzUnicode(f *testing.F) {
	for _, s := range []string{"例え.example", "xn--r8jz45g.example", "bücher.example", "xn--;", "a=b", "\u0338x.example", "☃.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		u := n.Unicode()
		if back, err := ParseName(u); u != string(n) && (err != nil || back != n) {
			t.Errorf("%q is shown as %q, which is %q (%v)", n, u, back, err)
		}
	})
}
