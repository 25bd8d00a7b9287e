package authres

import (
	"net/netip"
	"strings"
	"testing"
)

func TestFormatReceivedSPF(t *testing.T) {
	for _, c := range []struct {
		reason string
		spf    ReceivedSPF
		want   string
	}{
		{"RFC 7208 §9.1, first example", ReceivedSPF{
			Result: "pass", Comment: "mybox.example.org: domain of myname@example.com designates 192.0.2.1 as permitted sender",
			Receiver: "mybox.example.org", ClientIP: netip.MustParseAddr("192.0.2.1"), EnvelopeFrom: "myname@example.com", HELO: "foo.example.com"},
			" pass\r\n (mybox.example.org: domain of myname@example.com designates 192.0.2.1 as permitted sender)\r\n" +
				" receiver=mybox.example.org; client-ip=192.0.2.1;\r\n envelope-from=\"myname@example.com\"; helo=foo.example.com;"},
		{"every key", ReceivedSPF{Result: "permerror", ClientIP: netip.MustParseAddr("2001:db8::1"), EnvelopeFrom: "a@b.example", HELO: "h",
			Identity: "mailfrom", Mechanism: "include:x.example", Problem: "too_many_lookups"},
			" permerror client-ip=\"2001:db8::1\"; envelope-from=\"a@b.example\";\r\n helo=h; identity=mailfrom; mechanism=\"include:x.example\";\r\n" +
				" problem=too_many_lookups;"},
		{"null reverse-path, IPv4-mapped client", ReceivedSPF{Result: "none", NullSender: true, ClientIP: netip.MustParseAddr("::ffff:192.0.2.1")},
			` none client-ip=192.0.2.1; envelope-from="";`},
		{"hostile HELO", ReceivedSPF{Result: "fail", HELO: "x; helo=y\r\nX: y\x00", EnvelopeFrom: `"\"@a.example`},
			" fail"},
		{"hostile mechanism", ReceivedSPF{Result: "fail", EnvelopeFrom: "a.example", Mechanism: `exists:x;"=.a.example`}, ` fail envelope-from=a.example;`},
		{"U-labels", ReceivedSPF{Result: "fail", EnvelopeFrom: "例え.example", UTF8: true}, ` fail envelope-from=例え.example;`},
		{"U-labels in a message that has none", ReceivedSPF{Result: "fail", EnvelopeFrom: "例え.example", HELO: "h.example"}, ` fail helo=h.example;`},
		{"hostile comment", ReceivedSPF{Result: "fail", Comment: ") pass ("}, ` fail (_ pass _)`},
		{"two dots are not a dot-atom", ReceivedSPF{Result: "fail", HELO: "a..b"}, ` fail helo="a..b";`},
	} {
		if got := FormatReceivedSPF(c.spf); got != c.want {
			t.Errorf("%s: got\n%q, want\n%q", c.reason, got, c.want)
		}
	}
}

func FuzzFormatReceivedSPF(f *testing.F) {
	f.Add("pass", "a@b.example", "comment")
	f.Add(`"`, "\r\n", ")")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		got := FormatReceivedSPF(ReceivedSPF{Result: a, Comment: c, EnvelopeFrom: b, HELO: a, Problem: c, Mechanism: b})
		for _, line := range strings.Split(got, "\r\n") {
			if len(line) > 998 || !strings.HasPrefix(line, " ") || strings.TrimSpace(line) == "" {
				t.Errorf("bad line %q", line)
			}
			for i := range len(line) {
				if line[i] < ' ' || line[i] > '~' {
					t.Errorf("octet 0x%02x in %q", line[i], line)
				}
			}
		}
		want := 0
		for _, s := range []string{a, b, b, c} { // the values of helo, envelope-from, mechanism and problem
			if harmless(s, false) {
				want++
			}
		}
		if n := strings.Count(got, ";"); n != want {
			t.Errorf("%d pairs, want %d: %q", n, want, got)
		}
	})
}

func TestSignaturePrefixes(t *testing.T) {
	for _, c := range []struct {
		reason   string
		in, want []string
	}{
		{"eight characters", []string{"abcdefghijk", "xbcdefghijk"}, []string{"abcdefgh", "xbcdefgh"}},
		{"as many as it takes, RFC 6008 §4", []string{"abcdefghijk", "abcdefghiXk", "b"}, []string{"abcdefghij", "abcdefghiX", "b"}},
		{"only where needed", []string{"abcdefghij", "z2345678", "abcdefghiX"}, []string{"abcdefghij", "z2345678", "abcdefghiX"}},
		{"padding and octets that are not base64 are left out", []string{"ab=c;d", "abcd\"(\\efghijk"}, []string{"abcd", "abcdefgh"}},
		{"white space is ignored", []string{"ab cd\r\n\tefghij"}, []string{"abcdefgh"}},
		{"one is the beginning of the other", []string{"abcdefgh", "abcdefghi"}, []string{"abcdefgh", "abcdefghi"}},
		{"copies cannot be told apart", []string{strings.Repeat("a", 1000), strings.Repeat("a", 1000)}, []string{strings.Repeat("a", 64), strings.Repeat("a", 64)}},
		{"none", nil, nil},
		{"empty", []string{""}, []string{""}},
	} {
		got := SignaturePrefixes(c.in)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}
