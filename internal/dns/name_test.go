package dns

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/printable"
)

func TestParseName(t *testing.T) {
	label63, label64 := strings.Repeat("a", 63), strings.Repeat("a", 64)
	longest := strings.Repeat("a.", 126) + "a" // 253 octets
	cases := []struct {
		in     string
		want   Name
		err    error
		reason string
	}{
		{"", "", nil, "the root"},
		{".", "", nil, "the root, absolute"},
		{"example.com", "example.com", nil, ""},
		{"Example.COM.", "example.com", nil, "lower case, one trailing dot"},
		{"example.com..", "", ErrEmptyLabel, "only one trailing dot is accepted"},
		{"..", "", ErrEmptyLabel, ""},
		{".example.com", "", ErrEmptyLabel, ""},
		{"a..b", "", ErrEmptyLabel, ""},
		{label63 + ".example", Name(label63 + ".example"), nil, "longest label"},
		{label64 + ".example", "", ErrLongLabel, ""},
		{"example." + label64, "", ErrLongLabel, "in the last label"},
		{longest, Name(longest), nil, "longest name"},
		{longest + ".", Name(longest), nil, "the trailing dot does not count"},
		{longest + "a", "", ErrLongName, ""},
		{strings.Repeat("é", 64) + ".example", "", ErrLongLabel, "refused before it is encoded, which takes quadratic time"},
		{"a\u3002" + strings.Repeat("ａ", 64), "", ErrLongLabel, "a long label after the ideographic full stop"},
		{strings.Repeat("ａ", 63) + "．example", Name(strings.Repeat("a", 63) + ".example"), nil, "characters count, not octets"},
		{strings.Repeat("é", 5000), "", ErrLongName, "refused before any work is done on it"},
		{"_dmarc.Example", "_dmarc.example", nil, "underscores are ordinary"},
		{"a b\x00\\\".example", "a b\x00\\\".example", nil, "any ASCII octet: SPF macros (RFC 7208 §7)"},
		{"bücher.example", "xn--bcher-kva.example", nil, "U-label"},
		{"BÜCHER.example", "xn--bcher-kva.example", nil, "U-label in capitals"},
		{"faß.example", "xn--fa-hia.example", nil, "not transitional: ß stays"},
		{"例え。example", "xn--r8jz45g.example", nil, "the ideographic full stop separates"},
		{"a。。b", "", ErrEmptyLabel, "an empty label between ideographic full stops"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", nil, "A-labels stay"},
		{"xn--99999999.example", "xn--99999999.example", nil, "so do labels that cannot be converted"},
		{"\xff.example", "", ErrInvalidIDNA, "not UTF-8"},
		{"a\u202eb.example", "", ErrInvalidIDNA, "direction override"},
	}
	for _, c := range cases {
		got, err := ParseName(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.80q: got %q, %v, want %q, %v (%s)", c.in, got, err, c.want, c.err, c.reason)
		}
	}
}

func TestParseHostname(t *testing.T) {
	cases := []struct {
		in     string
		want   Name // "" if an error is expected
		reason string
	}{
		{"Mail-1.Example.com.", "mail-1.example.com", ""},
		{"_spf.example.com", "_spf.example.com", "underscores occur"},
		{"bücher.example", "xn--bcher-kva.example", ""},
		{"localhost", "", "one label"},
		{"", "", "no label"},
		{"example.net(.example.com", "", "CVE-2020-12272"},
		{"a b.example", "", "space"},
		{"a\n.example", "", "control character"},
		{"a;b.example", "", "would end a result in Authentication-Results"},
		{"a..example", "", "empty label"},
	}
	for _, c := range cases {
		got, err := ParseHostname(c.in)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: got %q, %v, want %q (%s)", c.in, got, err, c.want, c.reason)
		}
	}
	if _, err := ParseHostname("a..example"); !errors.Is(err, ErrEmptyLabel) {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
}

func TestNameParts(t *testing.T) {
	cases := []struct {
		name   Name
		labels int
		parent Name
		keep2  Name
	}{
		{"", 0, "", ""},
		{"com", 1, "", "com"},
		{"example.com", 2, "com", "example.com"},
		{"a.b.example.com", 4, "b.example.com", "example.com"},
	}
	for _, c := range cases {
		if l, p, k := c.name.Labels(), c.name.Parent(), c.name.Keep(2); l != c.labels || p != c.parent || k != c.keep2 {
			t.Errorf("%q: %d labels, parent %q, keep %q", c.name, l, p, k)
		}
		if k := c.name.Keep(0); k != "" {
			t.Errorf("%q: Keep(0) is %q", c.name, k)
		}
		if k := c.name.Keep(-1); k != "" {
			t.Errorf("%q: Keep(-1) is %q", c.name, k)
		}
	}
}

func TestUnder(t *testing.T) {
	cases := []struct {
		name, ancestor Name
		want           bool
		reason         string
	}{
		{"example.com", "example.com", true, "itself"},
		{"a.example.com", "example.com", true, ""},
		{"badexample.com", "example.com", false, "not at a dot"},
		{"example.com", "a.example.com", false, "the other way round"},
		{"example.com", "", true, "the root"},
		{"", "com", false, ""},
		{"", "", true, ""},
	}
	for _, c := range cases {
		if got := c.name.Under(c.ancestor); got != c.want {
			t.Errorf("%q under %q: %v (%s)", c.name, c.ancestor, got, c.reason)
		}
	}
}

func TestPrepend(t *testing.T) {
	cases := []struct {
		name   Name
		labels string
		want   Name
		err    error
	}{
		{"example.com", "_dmarc", "_dmarc.example.com", nil},
		{"example.com", "S1._domainkey", "s1._domainkey.example.com", nil},
		{"", "com", "com", nil},
		{"example.com", "", "", ErrEmptyLabel},
		{"example.com", "a.", "", ErrEmptyLabel},
		{"example.com", strings.Repeat("a", 64), "", ErrLongLabel},
		{Name(strings.Repeat("a.", 126) + "a"), "a", "", ErrLongName},
	}
	for _, c := range cases {
		got, err := c.name.Prepend(c.labels)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q before %q: got %q, %v, want %q, %v", c.labels, c.name, got, err, c.want, c.err)
		}
	}
}

func TestReverseName(t *testing.T) {
	cases := []struct {
		addr string
		want Name
	}{
		{"192.0.2.1", "1.2.0.192.in-addr.arpa"},
		{"::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa"},
		{"2001:db8::567:89ab", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
		{"fe80::1%eth0", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa"},
	}
	for _, c := range cases {
		if got := ReverseName(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.addr, got, c.want)
		}
	}
	if got := ReverseName(netip.Addr{}); got.Labels() != 34 { // an address that is not valid must not panic
		t.Errorf("no address: %s", got)
	}
}

func TestAnswerExists(t *testing.T) {
	cases := []struct {
		answer       Answer
		exists, void bool
		reason       string
	}{
		{Answer{Name: "a", Canonical: "a", Records: []Record{{}}}, true, false, "records"},
		{Answer{Name: "a", Canonical: "a"}, true, true, "NODATA"},
		{Answer{Name: "a", Canonical: "a", Status: NXDomain}, false, true, "NXDOMAIN"},
		{Answer{Name: "a", Canonical: "b", Status: NXDomain}, true, true, "a dangling alias exists (RFC 6604 §3)"},
		{Answer{Name: "a", Status: NXDomain}, false, true, "no canonical name given"},
	}
	for _, c := range cases {
		if e, v := c.answer.Exists(), c.answer.Void(); e != c.exists || v != c.void {
			t.Errorf("%s: exists %v, void %v", c.reason, e, v)
		}
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("read: reset")
	cases := []struct {
		err  *Error
		want string
	}{
		{&Error{Kind: KindTimeout, Name: "a.example", Type: TypeTXT}, "dns: a.example TXT: timeout"},
		{&Error{Kind: KindNetwork, Name: "a", Type: Type(257), Server: "192.0.2.1:53", Err: cause}, "dns: a TYPE257: network (server 192.0.2.1:53): read: reset"},
		{&Error{}, "dns:  TYPE0: unknown"},
	}
	for _, c := range cases {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if !errors.Is(cases[1].err, cause) {
		t.Error("the cause is lost")
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"example.com", "Bücher.Example.", "a..b", "例え。テスト", "\xff", "xn--a", "a\u200db.c", strings.Repeat("ü.", 130)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if n != "" {
				t.Errorf("%q: an error with a name, %q", s, n)
			}
			return
		}
		if len(n) > MaxNameLen || !printable.IsASCII(string(n)) || strings.ContainsAny(string(n), "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Errorf("%q: %q is not canonical", s, n)
		}
		for _, l := range strings.Split(string(n), ".") {
			if len(l) > MaxLabelLen || (l == "" && n != "") {
				t.Errorf("%q: label %q", s, l)
			}
		}
		if again, err := ParseName(string(n)); err != nil || again != n {
			t.Errorf("%q: %q parses as %q, %v", s, n, again, err)
		}
		labels := 0
		for p := n; p != ""; p = p.Parent() {
			if !n.Under(p) || n.Keep(p.Labels()) != p {
				t.Errorf("%q is not under %q, or Keep disagrees", n, p)
			}
			labels++
		}
		if labels != n.Labels() {
			t.Errorf("%q: %d parents, %d labels", n, labels, n.Labels())
		}
		if h, err := ParseHostname(s); err == nil && (h != n || strings.ContainsAny(string(h), " ();<>@\"\\\r\n\x00")) {
			t.Errorf("%q: host name %q", s, h)
		}
	})
}
