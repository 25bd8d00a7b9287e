package received

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/message"
)

// relayForms are the topmost fields that relays of different programs write. %HELO is what the
// client chose. All of them name the client 192.0.2.66.
var relayForms = map[string]string{
	"Postfix":                 "from %HELO (host.a.example [192.0.2.66]) by mx2.test (Postfix) with ESMTPS id X; Sun, 22 Nov 2026 08:00:00 +0000",
	"Postfix, TLS, no name":   "from %HELO (unknown [192.0.2.66])\r\n\t(using TLSv1.3 with cipher X (256/256 bits))\r\n\t(No client certificate requested)\r\n\tby mx2.test (Postfix) with ESMTPS id X",
	"Sendmail":                "from %HELO (host.a.example [192.0.2.66] (may be forged)) by mx2.test (8.17.1/8.17.1) with ESMTP id X",
	"Exim":                    "from host.a.example ([192.0.2.66] helo=%HELO)\r\n\tby mx2.test with esmtps (TLS1.3) tls X (Exim 4.96)\r\n\tid X",
	"Exim, port":              "from host.a.example ([192.0.2.66]:4123 helo=%HELO) by mx2.test with esmtp (Exim 4.96) id X",
	"Exim, no name":           "from [192.0.2.66] (helo=%HELO) by mx2.test with esmtp (Exim 4.96) id X",
	"Exim, no name, port":     "from [192.0.2.66] (port=4123 helo=%HELO) by mx2.test with esmtp (Exim 4.96) id X",
	"Exchange":                "from %HELO (192.0.2.66) by mx2.test (10.0.0.5) with Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.2.1",
	"qmail":                   "from unknown (HELO %HELO) (192.0.2.66) by mx2.test with SMTP; 22 Nov 2026 08:00:00 -0000",
	"qmail, a name and ident": "from host.a.example (HELO %HELO) (ann@192.0.2.66) by mx2.test with SMTP",
}

// strangers are fields that a stranger could put below the field of the relay.
const strangers = "Received: from good.example (good.example [198.51.100.1]) by mx2.test (Postfix) with ESMTPS id F\r\n" +
	"Received: (qmail 12 invoked from network); 22 Nov 2026 08:00:00 -0000\r\n"

// TestTopmost checks that only the topmost field names the client, whatever is below it.
func TestTopmost(t *testing.T) {
	const note = "Received: (qmail 12 invoked from network); 22 Nov 2026 08:00:00 -0000\r\n"
	true66 := "Received: " + strings.ReplaceAll(relayForms["Postfix"], "%HELO", "mail.a.example") + "\r\n"
	for _, tt := range []struct {
		name, header string
		want         string // the client; "" if there is none that can be believed
	}{
		{"the field alone", true66, "192.0.2.66"},
		{"fields of a stranger below it", true66 + strangers, "192.0.2.66"},
		{"other fields above it", "X-Filter: clean\r\nAuthentication-Results: mx2.test; none\r\n" + true66 + strangers, "192.0.2.66"},
		{"qmail's note above it", note + "Received: from unknown (HELO x) (192.0.2.66) by mx2.test with SMTP\r\n" + strangers, "192.0.2.66"},
		{"two notes of qmail", note + note + true66, ""},
		{"a note only", note, ""},
		{"no field", "X: y\r\n", ""},
		{"the relay wrote the message itself", "Received: by mx2.test (Postfix, from userid 0) id X\r\n" + strangers, ""},
		{"the relay moved the message within itself", "Received: from localhost by mx2.test with LMTP id X\r\n" + strangers, ""},
		{"an unknown form", "Received: from mail.a.example ??? by mx2.test; now\r\n" + strangers, ""},
		{"no address", "Received: from mail.a.example by mx2.test with ESMTP id X\r\n" + strangers, ""},
		{"too long", "Received: from x (y [192.0.2.66]) by mx2.test (" + strings.Repeat("x", maxReceived) + ")\r\n" + strangers, ""},
	} {
		h, _ := message.Parse([]byte(tt.header + "From: a@a.example\r\n\r\n"))
		f, err := Topmost(h)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: %+v", tt.name, f)
			}
		} else if err != nil || f.Address != netip.MustParseAddr(tt.want) || f.By != "mx2.test" {
			t.Errorf("%s: %+v, %v", tt.name, f, err)
		}
	}
}

// FuzzTopmost: the client is the one that the relay saw, or none, whatever the client chose for its
// HELO name and for the header. Parentheses are left out: if a relay let them through, the client
// could write a whole field, and no reader could tell.
func FuzzTopmost(f *testing.F) {
	for _, helo := range []string{"mail.a.example", "[203.0.113.9]", "203.0.113.9", "x [203.0.113.9]", "helo=[203.0.113.9]", "HELO [203.0.113.9]",
		"x by mx2.test", "[203.0.113.9] by mx2.test with smtp", "IPv6:2001:db8::1", "[IPv6:2001:db8::1]", "", "x;", "]", "[", "a@203.0.113.9"} {
		f.Add(helo, strangers)
	}
	f.Fuzz(func(t *testing.T, helo, below string) {
		if strings.ContainsAny(helo, "()\r\n") {
			return
		}
		for form, value := range relayForms {
			h, _ := message.Parse([]byte("Received: " + strings.ReplaceAll(value, "%HELO", helo) + "\r\n" + below + "\r\n\r\n"))
			if r, err := Topmost(h); err == nil && r.Address != netip.MustParseAddr("192.0.2.66") {
				t.Errorf("%s, HELO %q: the client is %s", form, helo, r.Address)
			}
		}
	})
}

// TestFormsOfRelays checks that each form is readable with usual HELO names, and that its HELO name
// is found.
func TestFormsOfRelays(t *testing.T) {
	for form, value := range relayForms {
		for _, helo := range []string{"mail.a.example", "[203.0.113.9]", "[IPv6:2001:db8::9]", "desktop", "192.0.2.66"} {
			h, _ := message.Parse([]byte("Received: " + strings.ReplaceAll(value, "%HELO", helo) + "\r\n" + strangers + "\r\n"))
			r, err := Topmost(h)
			if err != nil || r.Address != netip.MustParseAddr("192.0.2.66") || r.HELO != helo {
				t.Errorf("%s, HELO %s: %+v, %v", form, helo, r, err)
			}
		}
		v6 := strings.NewReplacer("[192.0.2.66]", "[IPv6:2001:db8::66]", "192.0.2.66", "2001:db8::66", "%HELO", "x.example").Replace(value)
		if r, err := Parse(v6); err != nil || r.Address != netip.MustParseAddr("2001:db8::66") {
			t.Errorf("%s: %s: %+v, %v", form, v6, r, err)
		}
	}
}
