package received

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// TestForms checks that the client is found in a Received field of each MTA. The forms are from the
// documentation and the sources of these programs. The hosts are made up.
func TestForms(t *testing.T) {
	for name, tt := range map[string]struct {
		value               string
		helo, client, named string
		login               bool
	}{
		"qmail": {"from unknown (HELO mail.a.example) (192.0.2.66) by mx.test with SMTP; 22 Nov 2026 08:00:00 -0000",
			"mail.a.example", "192.0.2.66", "", false},
		"qmail, a name": {"from host.a.example (HELO mail.a.example) (192.0.2.66) by mx.test with SMTP", "mail.a.example",
			"192.0.2.66", "host.a.example", false},
		"qmail, ident": {"from host.a.example (HELO mail.a.example) (ann@192.0.2.66) by mx.test with SMTP", "mail.a.example",
			"192.0.2.66", "host.a.example", false},
		"qmail, HELO is the name": {"from mail.a.example (192.0.2.66) by mx.test with SMTP", "mail.a.example", "192.0.2.66", "", false},
		"qmail, EHLO and IPv6":    {"from unknown (EHLO mail.a.example) (2001:db8::66) by mx.test with ESMTPS", "mail.a.example", "2001:db8::66", "", false},
		"qpsmtpd": {"from host.a.example (HELO mail.a.example) (192.0.2.66)\r\n" +
			" by mx.test (qpsmtpd/0.96) with ESMTP; Sun, 22 Nov 2026 08:00:00 +0000", "mail.a.example", "192.0.2.66", "host.a.example", false},
		"Exim, no name": {"from [192.0.2.66] (helo=mail.a.example)\r\n\tby mx.test with esmtp (Exim 4.96)\r\n" +
			"\t(envelope-from <u@a.example>)\r\n\tid X", "mail.a.example", "192.0.2.66", "", false},
		"Exim, no name, with port": {"from [192.0.2.66] (port=41234 helo=mail.a.example ident=ann) by mx.test with esmtps (TLS1.3) tls " +
			"TLS_AES_256_GCM_SHA384 (Exim 4.96) id X", "mail.a.example", "192.0.2.66", "", false},
		"Exim, no name, no HELO": {"from [192.0.2.66] by mx.test with smtp (Exim 4.96) id X", "[192.0.2.66]", "192.0.2.66", "", false},
		"Exim, a name":           {"from mail.a.example ([192.0.2.66]) by mx.test with esmtp (Exim 4.96) id X", "mail.a.example", "192.0.2.66", "", false},
		"Exim, a name and another HELO": {"from host.a.example ([192.0.2.66]:41234 helo=mail.a.example) by mx.test with esmtpsa (Exim 4.96) id " +
			"X", "mail.a.example", "192.0.2.66", "host.a.example", true},
		"Exim, no name, a literal as the HELO": {"from [192.0.2.66] (helo=[203.0.113.9]) by mx.test with esmtp (Exim 4.96) id X",
			"[203.0.113.9]", "192.0.2.66", "", false},
		"Exim, no name, with port, a literal as the HELO": {"from [192.0.2.66]:41234 (helo=[203.0.113.9]) by mx.test with esmtp (Exim 4.96) id X",
			"[203.0.113.9]", "192.0.2.66", "", false},
		"Exim, no name, all parameters, a literal as the HELO": {"from [192.0.2.66] (port=41234 helo=[203.0.113.9] ident=ann) by mx.test with esmtp " +
			"(Exim 4.96) id X", "[203.0.113.9]", "192.0.2.66", "", false},
		"Exim, a name, a literal as the HELO": {"from host.a.example ([192.0.2.66]:41234 helo=[203.0.113.9]) by mx.test with esmtp (Exim 4.96) id X",
			"[203.0.113.9]", "192.0.2.66", "host.a.example", false},
		"qmail, a literal as the HELO": {"from unknown (HELO [203.0.113.9]) (192.0.2.66) by mx.test with SMTP", "[203.0.113.9]", "192.0.2.66", "", false},
		"Exchange, a literal as the HELO": {"from [203.0.113.9] (192.0.2.66) by mx.test with Microsoft SMTP Server id 15.20.1",
			"[203.0.113.9]", "192.0.2.66", "", false},
		"Exim, IPv6": {"from [2001:db8::66]:41234 (helo=mail.a.example) by mx.test with esmtp (Exim 4.96) id X",
			"mail.a.example", "2001:db8::66", "", false},
		"Exchange": {"from mail.a.example (192.0.2.66) by mx.test (10.0.0.5) with Microsoft SMTP Server (version=TLS1_2, " +
			"cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.1; Sun, 22 Nov 2026 08:00:00 +0000", "mail.a.example", "192.0.2.66", "", false},
		"Exchange, IPv6": {"from mail.a.example (2001:db8::66) by mx.test (2001:db8::5) with Microsoft SMTP Server id 15.20.1 via " +
			"Frontend Transport", "mail.a.example", "2001:db8::66", "", false},
		"Exchange, a user's submission": {"from mx.test ([fe80::1%5]) by mx.test ([fe80::1%5]) with mapi id 15.20.1", "mx.test", "fe80::1", "", true},
		"CommuniGate": {"from [192.0.2.66] (HELO mail.a.example) by mx.test (CommuniGate Pro SMTP 6.3) with ESMTP id 12 for " +
			"r@mx.test", "mail.a.example", "192.0.2.66", "", false},
		"CommuniGate, logged in": {"from [192.0.2.66] (account ann@mx.test HELO pc) by mx.test (CommuniGate Pro SMTP 6.3) with ESMTPSA id " +
			"12", "pc", "192.0.2.66", "", true},
		"Courier": {"from mail.a.example (host.a.example [::ffff:192.0.2.66]) by mx.test with ESMTP; Sun, 22 Nov 2026 " +
			"08:00:00 +0000", "mail.a.example", "192.0.2.66", "host.a.example", false},
		"Courier, logged in": {"from pc (host.a.example [::ffff:192.0.2.66]) (AUTH: PLAIN ann, SSL: TLSv1.3,256bits) by mx.test with " +
			"ESMTPS id 00", "pc", "192.0.2.66", "host.a.example", true},
		"Haraka": {"from mail.a.example (host.a.example [192.0.2.66]) by mx.test (Haraka/3.0.2) with ESMTPS id X " +
			"envelope-from <u@a.example>", "mail.a.example", "192.0.2.66", "host.a.example", false},
		"OpenSMTPD": {"from mail.a.example (host.a.example [192.0.2.66]) by mx.test (OpenSMTPD) with ESMTPS id 12 " +
			"(TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO)", "mail.a.example", "192.0.2.66", "host.a.example", false},
		"MDaemon": {"from mail.a.example ([192.0.2.66]) by mx.test (MDaemon PRO v21) with ESMTP id md12.msg",
			"mail.a.example", "192.0.2.66", "", false},
		"Domino": {"from mail.a.example ([192.0.2.66]) by mx.test (Lotus Domino Release 9.0.1) with ESMTP id 2026-12 ; " +
			"Sun, 22 Nov 2026 08:00:00 +0900", "mail.a.example", "192.0.2.66", "", false},
		"XMail": {"from mail.a.example (192.0.2.66:41234) by mx.test ([10.0.0.5]:25) with [XMail 1.27 ESMTP Server] id " +
			"<S1> for <r@mx.test> from <u@a.example>", "mail.a.example", "192.0.2.66", "", false},
		"Google": {"from mail.a.example (mail.a.example. [192.0.2.66]) by mx.test with ESMTPS id a1si (version=TLS1_3)",
			"mail.a.example", "192.0.2.66", "mail.a.example", false},
		"Postfix, a literal as the HELO": {"from [203.0.113.9] (host.a.example [192.0.2.66]) by mx.test (Postfix) with SMTP id X",
			"[203.0.113.9]", "192.0.2.66", "host.a.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse(" " + tt.value)
			if err != nil || r.HELO != tt.helo || r.Address != netip.MustParseAddr(tt.client) || r.Name != tt.named || r.By != "mx.test" {
				t.Errorf("%+v, %v", r, err)
			}
			if login := r.Authenticated(); login != tt.login {
				t.Errorf("logged in: %t", login)
			}
		})
	}
}

// TestUnreadable: a field of a trusted host is an error if the form of its client is unknown, or if
// the address of the client cannot be parsed. If such a field counted as a move within the host,
// the forged fields below it would be believed.
func TestUnreadable(t *testing.T) {
	hosts := Origin{TrustedHosts: []dns.Name{"mx.test"}}
	const below = "Received: from good.example (good.example [198.51.100.1]) by mx.test (Postfix) with ESMTP id F\r\n" +
		"Return-Path: <a@a.example>\r\nFrom: a@a.example\r\n\r\n"
	for name, value := range map[string]string{
		"no address at all":               "from mail.a.example by mx.test with ESMTP id 1",
		"a comment without an address":    "from mail.a.example (some words) by mx.test with ESMTP id 1",
		"a name of two words":             "from mail.a.example (two words [192.0.2.66]) by mx.test with ESMTP id 1",
		"a name with a comment":           "from mail.a.example ((x)y [192.0.2.66]) by mx.test with ESMTP id 1",
		"half an address":                 "from mail.a.example (192.0.2) by mx.test with SMTP",
		"half an IPv6 address":            "from mail.a.example (2001:db8:66) by mx.test with SMTP",
		"qmail, a name for the address":   "from unknown (HELO mail.a.example) (elsewhere) by mx.test with SMTP",
		"qmail, cut off":                  "from unknown (HELO mail.a.example) by mx.test with SMTP",
		"Exim's form, no literal":         "from mail.a.example (helo=x) by mx.test with esmtp (Exim 4.96) id X",
		"Exim's form, other words":        "from mail.a.example ([192.0.2.66] shelo=x) by mx.test with esmtp (Exim 4.96) id X",
		"a literal chosen by the client":  "from [127.0.0.1] by mx.test with ESMTP id 1",
		"a port that is not a number":     "from mail.a.example ([192.0.2.66]:http) by mx.test with ESMTP id 1",
		"a HELO that names another host":  "from mx.test.a.example by mx.test with ESMTP id 1",
		"Exim, words in the HELO":         "from [192.0.2.66] (helo=x [203.0.113.9]) by mx.test with esmtp (Exim 4.96) id X",
		"a HELO with a comment":           "from x (good.example [203.0.113.9]) (host.a.example [192.0.2.66]) by mx.test (Postfix) with ESMTP id 1",
		"a HELO with a bare comment":      "from x (203.0.113.9) (host.a.example [192.0.2.66]) by mx.test with ESMTP id 1",
		"a HELO with a comment, qmail":    "from unknown (HELO x) (203.0.113.9) (192.0.2.66) by mx.test with SMTP",
		"a HELO with a comment, Exchange": "from x (203.0.113.9) (192.0.2.66) by mx.test with Microsoft SMTP Server id 15.20.1",
		"a literal, then qmail's form":    "from [203.0.113.9] (HELO x) (192.0.2.66) by mx.test with SMTP",
		"a name like Exim's parameter":    "from [203.0.113.9] (helo=x [192.0.2.66] (may be forged)) by mx.test (8.17.1/8.17.1) with ESMTP id 1",
		"a recipient like Exim's comment": "from [203.0.113.9] by mx.test with SMTP for <a (Exim x)@b>",
		"a move by qmail, no address":     "from unknown (HELO mx.test) (elsewhere) by mx.test with SMTP",
		"a move by qmail, cut off":        "from unknown (HELO mx.test) by mx.test with SMTP",
		"a move, half an address":         "from localhost (192.0.2) by mx.test with SMTP",
		"a move, half an IPv6 address":    "from localhost (2001:db8:66) by mx.test with SMTP",
		"a move, no literal":              "from localhost (helo=x) by mx.test with esmtp (Exim 4.96) id X",
		"a move, a port without number":   "from localhost ([192.0.2.66]:http) by mx.test with ESMTP id 1",
		"a move, no address in brackets":  "from localhost ([elsewhere]) by mx.test with ESMTP id 1",
		"a move, a bracket that is open":  "from localhost ([192.0.2.66) by mx.test with ESMTP id 1",
		"a move, other words":             "from localhost ([192.0.2.66] x=y) by mx.test with ESMTP id 1",
		"a move, two addresses":           "from localhost ([192.0.2.66]) ([192.0.2.67]) by mx.test with ESMTP id 1",
		"two addresses":                   "from mail.a.example ([192.0.2.66] [10.0.0.1]) by mx.test with ESMTP id 1",
		"qmail, from the network, alone":  "(qmail 12 invoked from network); 22 Nov 2026 08:00:00 -0000",
	} {
		t.Run(name, func(t *testing.T) {
			for what, rest := range map[string]string{"above a forged one": below, "alone": strings.TrimPrefix(below, below[:strings.Index(below, "Return-Path")])} {
				if what == "above a forged one" && strings.HasPrefix(value, "(qmail") {
					continue // this note of qmail names no client, but the field below it does
				}
				h, _ := message.Parse([]byte("Received: " + value + "\r\n" + rest))
				if got, err := hosts.Find(h, "a@a.example", func(netip.Addr) bool { return false }); err == nil {
					t.Errorf("%s: %+v", what, got)
				}
			}
		})
	}
}

// TestWithin checks fields that a host writes when it moves a message from one of its programs to
// another, or when a message is submitted on the host itself. The message is then internal.
func TestWithin(t *testing.T) {
	hosts := Origin{TrustedHosts: []dns.Name{"mx.test"}}
	const rest = "Return-Path: <a@a.example>\r\nFrom: a@a.example\r\n\r\n"
	for name, value := range map[string]string{
		"Postfix, pickup":       "by mx.test (Postfix, from userid 0)\r\n\tid ABC; Sun, 29 Nov 2026 05:00:00 +0000 (UTC)",
		"Sendmail, submission":  "(from root@localhost)\r\n\tby mx.test (8.17.1.9/8.17.1.9/Submit) id 5A",
		"Exim, local":           "from root by mx.test with local (Exim 4.96)\r\n\t(envelope-from <root@mx.test>)\r\n\tid X",
		"qmail, local":          "(qmail 12 invoked by uid 0); 22 Nov 2026 08:00:00 -0000",
		"OpenSMTPD, local":      "from localhost (mx.test [local]) by mx.test (OpenSMTPD) with ESMTPA id 12",
		"LMTP":                  "from mx.test by mx.test with LMTP id 12",
		"Cyrus":                 "from mx.test ([unix socket]) by mx.test (Cyrus 3.6) with LMTPA",
		"the host by its name":  "from mx.test by mx.test with ESMTP id 12",
		"the host as localhost": "from localhost by mx.test with ESMTP id 12",
		"a word of hex digits":  "from localhost (cafe) by mx.test with ESMTP id 12",
		"and a colon":           "from localhost (cafe:1) by mx.test with ESMTP id 12",
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := message.Parse([]byte("Received: " + value + "\r\n" + rest))
			if got, err := hosts.Find(h, "", func(netip.Addr) bool { return false }); err != nil || !got.Internal {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// TestQmailNotes checks that the notes of qmail's programs are skipped.
func TestQmailNotes(t *testing.T) {
	hosts := Origin{TrustedHosts: []dns.Name{"mx.test"}}
	const mail = "Return-Path: <a@a.example>\r\nReceived: (qmail 13 invoked by uid 89); 22 Nov 2026 08:00:01 -0000\r\n" +
		"Received: (qmail 12 invoked from network); 22 Nov 2026 08:00:00 -0000\r\n" +
		"Received: from unknown (HELO mail.a.example) (192.0.2.66) by mx.test with SMTP; 22 Nov 2026 08:00:00 -0000\r\nFrom: a@a.example\r\n\r\n"
	h, _ := message.Parse([]byte(mail))
	got, err := hosts.Find(h, "", func(netip.Addr) bool { return false })
	if err != nil || got.Internal || got.Session.Client != netip.MustParseAddr("192.0.2.66") || len(got.Header) != 1 || got.Time.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	// The field below the notes now names a host that is not trusted. The note "invoked by" does
	// not make the message internal.
	h, _ = message.Parse([]byte(strings.Replace(mail, "by mx.test", "by other.test", 1)))
	if got, err := hosts.Find(h, "", func(netip.Addr) bool { return false }); err == nil {
		t.Errorf("%+v", got)
	}
}
