package wire

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// kind returns the Kind of a Malformed error, or "" if err is nil.
func kind(t *testing.T, err error) Kind {
	t.Helper()
	var m Malformed
	if err != nil && !errors.As(err, &m) {
		t.Errorf("%v is not a Malformed", err)
	}
	return m.Kind
}

func TestParseConnect(t *testing.T) {
	for _, tc := range []struct {
		why, data string
		host      string
		family    byte
		addr      string // "": there is no address
		kind      Kind
	}{
		{"IPv4", "h\x004\x09\xdd192.0.2.1\x00", "h", FamilyIPv4, "192.0.2.1:2525", ""},
		{"IPv6", "h\x006\x00\x192001:db8::25\x00", "h", FamilyIPv6, "[2001:db8::25]:25", ""},
		{"the prefix of an address literal", "h\x006\x00\x19IPv6:2001:db8::25\x00", "h", FamilyIPv6, "[2001:db8::25]:25", ""},
		{"in any case", "h\x006\x00\x19ipv6:2001:db8::25\x00", "h", FamilyIPv6, "[2001:db8::25]:25", ""},
		{"an IPv4-mapped address is IPv4", "h\x006\x00\x19::ffff:192.0.2.1\x00", "h", FamilyIPv6, "192.0.2.1:25", ""},
		{"a zone is of this host only", "h\x006\x00\x19fe80::1%eth0\x00", "h", FamilyIPv6, "[fe80::1]:25", ""},
		{"no address is not an error", "h\x004\x00\x00unknown\x00", "h", FamilyIPv4, "", ""},
		{"unknown client", "unknown\x00U", "unknown", FamilyUnknown, "", ""},
		{"local socket", "localhost\x00L\x00\x00/run/s\x00", "localhost", FamilyUnix, "", ""},
		{"no family", "h\x00", "", 0, "", KindMalformedConnect},
		{"an unknown family", "h\x007\x00\x19192.0.2.1\x00", "", 0, "", KindMalformedConnect},
		{"half a port", "h\x004\x00", "", 0, "", KindMalformedConnect},
		{"an address without its end", "h\x004\x00\x19192.0.2.1", "", 0, "", KindMalformedConnect},
	} {
		host, family, addr, err := ParseConnect([]byte(tc.data))
		var want netip.AddrPort
		if tc.addr != "" {
			want = netip.MustParseAddrPort(tc.addr)
		}
		if host != tc.host || family != tc.family || addr != want || kind(t, err) != tc.kind {
			t.Errorf("%s: %q %q %s %v", tc.why, host, family, addr, err)
		}
	}
}

func TestParseHeader(t *testing.T) {
	for _, tc := range []struct {
		why   string
		space bool // the MTA agreed to keep the leading space
		sent  string
		want  string // "": the field is malformed
	}{
		{"leading space kept", true, "Subject\x00  two\x00", "Subject:  two"},
		{"no space is kept too", true, "Subject\x00none\x00", "Subject:none"},
		{"a fold is CRLF", true, "Subject\x00 a\n\tb\n c\x00", "Subject: a\r\n\tb\r\n c"},
		{"CRLF stays", true, "Subject\x00 a\r\n b\x00", "Subject: a\r\n b"},
		{"without LEADSPC one space was eaten", false, "Subject\x00 two\x00", "Subject:  two"},
		{"but never a tab", false, "Subject\x00\ttab\x00", "Subject:\ttab"},
		{"an empty value had its space", false, "Subject\x00\x00", "Subject: "},
		{"8-bit and trailing space stay", true, "SUBJECT\x00 \xe9\xff \x00", "SUBJECT: \xe9\xff "},
		{"white space before the colon is lost", true, "Subject \t \x00 a\x00", "Subject: a"},
		{"an empty value", true, "Subject\x00\x00", "Subject:"},
		{"one string", true, "Subject\x00", ""},
		{"three strings", true, "Subject\x00 a\x00b\x00", ""},
		{"a value without its end", true, "Subject\x00 a", ""},
		{"no name", true, " \x00 a\x00", ""},
	} {
		name, value, err := ParseHeader([]byte(tc.sent), tc.space)
		if tc.want == "" {
			if kind(t, err) != KindMalformedHeader {
				t.Errorf("%s: %q, %v", tc.why, name+":"+value, err)
			}
			continue
		}
		if err != nil || name+":"+value != tc.want {
			t.Errorf("%s: %q, %v", tc.why, name+":"+value, err)
		}
	}
}

func TestParseHelo(t *testing.T) {
	for data, want := range map[string]string{"mx.example.com\x00": "mx.example.com", "\x00": ""} {
		if name, err := ParseHelo([]byte(data)); err != nil || name != want {
			t.Errorf("%q: %q, %v", data, name, err)
		}
	}
	for _, data := range []string{"", "mx", "mx\x00more\x00", "mx\x00\x00"} {
		if name, err := ParseHelo([]byte(data)); kind(t, err) != KindMalformedHelo {
			t.Errorf("%q: %q, %v", data, name, err)
		}
	}
}

func TestParseStrings(t *testing.T) {
	for _, tc := range []struct {
		data string
		want []string
		ok   bool
	}{
		{"", nil, true},
		{"<a@b>\x00", []string{"<a@b>"}, true},
		{"<a@b>\x00SIZE=1\x00\x00", []string{"<a@b>", "SIZE=1", ""}, true},
		{"<a@b>", nil, false},
		{"<a@b>\x00SIZE", nil, false},
	} {
		if got, ok := ParseStrings([]byte(tc.data)); ok != tc.ok || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, %v", tc.data, got, ok)
		}
	}
}

func TestParseOffer(t *testing.T) {
	for _, tc := range []struct {
		why, data string
		want      Offer
		kind      Kind
	}{
		{"Postfix 3.7", "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff", Offer{6, 0x1ff, 0x1fffff}, ""},
		{"more than is known", "\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00more", Offer{Version: 7}, ""},
		{"the oldest", "\x00\x00\x00\x02\x00\x00\x00\x3f\x00\x00\x00\x7f", Offer{2, 0x3f, 0x7f}, ""},
		{"older", "\x00\x00\x00\x01\x00\x00\x00\x3f\x00\x00\x00\x7f", Offer{}, KindUnsupportedVersion},
		{"an octet less", "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff", Offer{}, KindMalformedNegotiation},
		{"nothing", "", Offer{}, KindMalformedNegotiation},
	} {
		if got, err := ParseOffer([]byte(tc.data)); got != tc.want || kind(t, err) != tc.kind {
			t.Errorf("%s: %+v, %v", tc.why, got, err)
		}
	}
}

func TestKnown(t *testing.T) {
	commands := []byte{
		CmdNegotiate, CmdMacro, CmdConnect, CmdHelo, CmdMail, CmdRcpt, CmdData, CmdUnknown, CmdHeader, CmdEndOfHeader,
		CmdBody, CmdEndOfBody, CmdAbort, CmdQuit, CmdQuitNC,
	}
	for cmd := range 256 {
		if want := slices.Contains(commands, byte(cmd)); Known(byte(cmd)) != want {
			t.Errorf("%q: %v", rune(cmd), !want)
		}
	}
}

// FuzzPayloads checks that the strings which are parsed from a payload contain no NUL, and that
// together they are at most twice as long as the payload.
func FuzzPayloads(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "h\x004\x09\xdd192.0.2.1\x00", "h\x006\x00\x19IPv6:2001:db8::25\x00", "Subject\x00 a\n\tb\x00",
		"Mi\x00id\x00{mail_addr}\x00a@example.com\x00", "Cj\x00mx\x00", "<a@b>\x00SIZE=1\x00",
		"\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(what string, err error, parts ...string) {
			length := 0
			for _, s := range parts {
				length += len(s)
				if strings.IndexByte(s, 0) >= 0 {
					t.Errorf("%s: NUL in %q", what, s)
				}
			}
			if length > 2*len(data)+1 { // each LF may have become CRLF
				t.Errorf("%s: %d octets of %d", what, length, len(data))
			}
			if err != nil {
				kind(t, err)
			}
		}
		host, family, addr, err := ParseConnect(data)
		check("CONNECT", err, host)
		if addr.IsValid() && (addr.Addr().Zone() != "" || addr.Addr().Is4In6() || family != FamilyIPv4 && family != FamilyIPv6) {
			t.Errorf("address %s of family %q", addr, family)
		}
		helo, err := ParseHelo(data)
		check("HELO", err, helo)
		args, _ := ParseStrings(data)
		check("MAIL", nil, args...)
		for _, space := range []bool{true, false} {
			name, value, err := ParseHeader(data, space)
			check("header", err, name, value)
			if (err == nil) == (name == "") {
				t.Errorf("name %q, %v", name, err)
			}
		}
		_, err = ParseOffer(data)
		check("offer", err)
		m := Macros{Limit: 64}
		for range 2 {
			check("macros", m.Add(data), m.Get("i"))
			m.Event('M')
			if m.bytes > m.Limit {
				t.Errorf("%d octets of macros", m.bytes)
			}
		}
		m.EndMessage(0)
	})
}
