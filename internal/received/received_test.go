package received

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        Field
	}{
		{"Postfix", " from mail.bank.example (mail.bank.example [192.0.2.1])\r\n" +
			"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\t key-exchange X25519)\r\n\t(No client certificate requested)\r\n" +
			"\tby mx.here.example (Postfix) with ESMTPS id 4dQZ7x2wJ1z9sP\r\n\tfor <r@here.example>; Sun, 22 Nov 2026 08:00:00 +0900 (JST)",
			Field{From: true, HELO: "mail.bank.example", Name: "mail.bank.example", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example",
				With: "ESMTPS", ID: "4dQZ7x2wJ1z9sP", For: "r@here.example", Date: time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC)}},
		{"Postfix, no reverse name, IPv6", " from x (unknown [IPv6:2001:db8::25])\r\n\tby MX.here.example (Postfix) with SMTP id A1; Sun, 22 Nov 2026 08:00:00 +0000",
			Field{From: true, HELO: "x", Address: netip.MustParseAddr("2001:db8::25"), By: "mx.here.example", With: "SMTP", ID: "A1",
				Date: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}},
		{"Postfix, logged in", " from [10.1.1.1] (client.example [198.51.100.1])\r\n\t(Authenticated sender: ann@here.example)\r\n" +
			"\tby mx.here.example (Postfix) with ESMTPSA id A1",
			Field{From: true, HELO: "[10.1.1.1]", Name: "client.example", Address: netip.MustParseAddr("198.51.100.1"), By: "mx.here.example",
				With: "ESMTPSA", ID: "A1"}},
		{"Postfix, sent on the host", " by mx.here.example (Postfix, from userid 1000)\r\n\tid A1; Sun, 22 Nov 2026 08:00:00 +0000",
			Field{By: "mx.here.example", ID: "A1", Date: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}},
		{"Sendmail", " from mail.bank.example (mail.bank.example [192.0.2.1])\r\n" +
			"\tby mx.here.example (8.17.1.9/8.17.1.9) with ESMTPS id 5AM8xQ\r\n" +
			"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NOT)\r\n\tfor <r@here.example>; Sun, 22 Nov 2026 08:00:00 GMT",
			Field{From: true, HELO: "mail.bank.example", Name: "mail.bank.example", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example",
				With: "ESMTPS", ID: "5AM8xQ", For: "r@here.example", Date: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}},
		{"Sendmail, forged name, ident", " from x.example (ann@mail.bank.example [192.0.2.1] (may be forged)) by mx.here.example (8.17.1.9/8.17.1.9) with SMTP id 5A",
			Field{From: true, HELO: "x.example", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example", With: "SMTP", ID: "5A"}},
		{"Sendmail, no reverse name, IPv6", " from x.example ([IPv6:2001:db8:0:0:0:0:0:25]) by mx.here.example (8.17.1.9/8.17.1.9) with ESMTP id 5A",
			Field{From: true, HELO: "x.example", Address: netip.MustParseAddr("2001:db8::25"), By: "mx.here.example", With: "ESMTP", ID: "5A"}},
		{"Sendmail, sent on the host", " (from ann@localhost)\r\n\tby mx.here.example (8.17.1.9/8.17.1.9/Submit) id 5A; x",
			Field{By: "mx.here.example", ID: "5A"}},
		{"FreeBSD's envelope-from", " from x ([192.0.2.1]) by mx.here.example (8.17.1/8.17.1) with ESMTP id 5A (envelope-from <a@bank.example>)",
			Field{From: true, HELO: "x", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example", With: "ESMTP", ID: "5A",
				EnvelopeFrom: "a@bank.example", HasEnvelopeFrom: true}},
		{"LMTP into a mailbox", " from mx.here.example\r\n\tby mx.here.example with LMTP\r\n\tid 8G\r\n\t(envelope-from <>)\r\n" +
			"\tfor <r@here.example>; Sun, 22 Nov 2026 08:00:00 +0000",
			Field{From: true, HELO: "mx.here.example", By: "mx.here.example", With: "LMTP", ID: "8G", For: "r@here.example", HasEnvelopeFrom: true,
				Date: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}},
		{"an address mapped into IPv6", " from x (x [::ffff:192.0.2.1]) by mx.here.example with SMTP id 5A",
			Field{From: true, HELO: "x", Name: "x", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example", With: "SMTP", ID: "5A"}},
		{"a client that writes an address where its HELO stands", " from [203.0.113.9] (real.example [192.0.2.1]) by mx.here.example with SMTP id 5A",
			Field{From: true, HELO: "[203.0.113.9]", Name: "real.example", Address: netip.MustParseAddr("192.0.2.1"), By: "mx.here.example", With: "SMTP", ID: "5A"}},
		{"a comment without a client: no address", " from x (y) by mx.here.example with SMTP id 5A",
			Field{From: true, HELO: "x", By: "mx.here.example", With: "SMTP", ID: "5A"}},
		{"Cyrus' LMTP", " from x ([unix socket]) by imap.here.example (Cyrus v2.5.11) with LMTPA; Sun, 22 Nov 2026 08:00:00 +0000",
			Field{From: true, HELO: "x", By: "imap.here.example", With: "LMTPA", Date: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}},
	} {
		got, err := Parse(tt.value)
		got.Date = got.Date.UTC()
		got.loggedIn, got.onHost, got.hasComments = false, false, false // TestForms and TestWithin check these
		if got.Date.IsZero() {
			got.Date = time.Time{}
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", tt.name, err, got, tt.want)
		}
	}
	for name, bad := range map[string]string{
		"empty": "", "no by": " from x (x [192.0.2.1])", "no HELO": " from (x [192.0.2.1]) by y", "a comment without end": " from x (x [192.0.2.1] by y",
		"words before by":    " from x (x [192.0.2.1]) via z by mx.here.example",
		"a HELO of words":    " from x (a [192.0.2.1]) y (b [192.0.2.2]) by mx.here.example",
		"no name":            " from x (x [192.0.2.1]) by",
		"a comment as name":  " from x (x [192.0.2.1]) by (mx.here.example)",
		"more than a client": " from x (x [192.0.2.1] y) by mx.here.example with SMTP id 5A",
		"two addresses":      " from x (a [192.0.2.1] [192.0.2.2]) by mx.here.example with SMTP id 5A",
		"a zone":             " from x (a [2001:db8::1%eth0]) by mx.here.example with SMTP id 5A",
		"not an address":     " from x (a [192.0.2]) by mx.here.example with SMTP id 5A",
		"qmail":              " (qmail 123 invoked by uid 0); 22 Nov 2026 08:00:00 -0000",
		"not a name":         " by a..b with SMTP",
		"too long":           " by mx.here.example (" + strings.Repeat("x", maxReceived) + ")",
		"open at the end":    " by mx.here.example (x",
	} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAuthenticated(t *testing.T) {
	for with, want := range map[string]bool{"ESMTPSA": true, "ESMTPA": true, "UTF8SMTPSA": true, "LMTPA": true, "ESMTPS": false, "SMTP": false,
		"": false, "XA": false} {
		if got := (Field{With: with}).Authenticated(); got != want {
			t.Errorf("%s: %t", with, got)
		}
	}
}

// These are the Received fields of the test messages. The site's own hosts are mx.here.example and
// imap.here.example.
const (
	external = "Received: from mail.bank.example (mail.bank.example [192.0.2.1])\r\n\tby mx.here.example (Postfix) with ESMTPS id Q1\r\n" +
		"\tfor <r@here.example>; Sun, 22 Nov 2026 08:00:00 +0000\r\n"
	filtered = "Received: from localhost (localhost [127.0.0.1])\r\n\tby mx.here.example (Postfix) with ESMTP id Q2; Sun, 22 Nov 2026 08:00:01 +0000\r\n"
	stored   = "Received: from mx.here.example (mx.here.example [10.0.0.1])\r\n" +
		"\tby imap.here.example (Postfix) with ESMTP id Q3; Sun, 22 Nov 2026 08:00:02 +0000\r\n"
	lmtp = "Received: from imap.here.example\r\n\tby imap.here.example with LMTP id Q4\r\n\t(envelope-from <a@bank.example>)\r\n" +
		"\tfor <r@here.example>; Sun, 22 Nov 2026 08:00:02 +0000\r\n"
	forged  = "Received: from good.example (good.example [198.51.100.1])\r\n\tby mx.here.example (Postfix) with ESMTPS id F1; Sun, 22 Nov 2026 07:00:00 +0000\r\n"
	theirs  = "Received: from pc (pc [10.9.9.9]) by mail.bank.example (Exim 4) with esmtp id E1; Sun, 22 Nov 2026 07:00:00 +0000\r\n"
	login   = "Received: from pc (pc [203.0.113.7]) by mx.here.example (Postfix) with ESMTPSA id Q5; Sun, 22 Nov 2026 07:00:00 +0000\r\n"
	strange = "Received: from mail.bank.example ??? by mx.here.example; now\r\n"
	inside  = "Received: by mx.here.example (Postfix, from userid 0) id Q6; Sun, 22 Nov 2026 08:00:00 +0000\r\n"
)

func TestOrigin(t *testing.T) {
	hosts := Origin{TrustedHosts: []dns.Name{"mx.here.example", "imap.here.example"}}
	trusted := func(a netip.Addr) bool { return a.IsLoopback() || netip.MustParsePrefix("10.0.0.0/8").Contains(a) }
	const path = "Return-Path: <a@bank.example>\r\nX-Original-To: r@here.example\r\n"
	const rest = "From: a@bank.example\r\nX-Original-To: theirs\r\n\r\n"
	empty := ""
	for _, tt := range []struct {
		name   string
		o      Origin
		header string
		box    string
		client string // an address, "internal", or "error: " and a part of the error
		from   string
		left   int // number of header fields that the client sent
	}{
		{"one hop", hosts, path + external + rest, "", "192.0.2.1", "<a@bank.example>", 2},
		{"content filter, mail store, LMTP", hosts, lmtp + stored + filtered + external + theirs + rest, "", "192.0.2.1", "<a@bank.example>", 3},
		{"fields below the border may be forged", hosts, path + external + forged + rest, "", "192.0.2.1", "<a@bank.example>", 3},
		{"a forged field right below those of trusted hosts counts", hosts, path + stored + forged + external + rest, "", "198.51.100.1", "<a@bank.example>", 3},
		{"no client is outside", hosts, path + stored + filtered + theirs + rest, "", "127.0.0.1", "<a@bank.example>", 3},
		{"sent on the host", hosts, path + inside + rest, "", "internal", "", 2},
		{"sent on the host, by way of the filter", hosts, path + filtered + inside + rest, "", "127.0.0.1", "<a@bank.example>", 3},
		{"the topmost field is not by a trusted host", hosts, path + theirs + external + rest, "", "error: not by a trusted host", "", 0},
		{"no field at all", hosts, path + rest, "", "error: not by a trusted host", "", 0},
		{"a field that names a trusted host cannot be parsed", hosts, path + stored + strange + rest, "", "error: not in a form", "", 0},
		{"the client in the field of a trusted host is unreadable, and the field below is forged", hosts, path + strings.Replace(external, "[192.0.2.1]",
			"[unknown]", 1) + forged + rest, "", "error: unreadable", "", 0},
		{"another host, unreadable", hosts, path + stored + strings.Replace(strange, "mx.here", "mx.there", 1) + rest, "", "10.0.0.1", "<a@bank.example>", 3},
		{"by number", Origin{Received: 2}, path + stored + external + rest, "", "192.0.2.1", "<a@bank.example>", 2},
		{"by a number that is too large", Origin{Received: 3}, path + stored + external + rest, "", "error: the message has 2 received fields", "", 0},
		{"by the number of a field that cannot be parsed", Origin{Received: 1}, path + strange + rest, "", "error: number 1", "", 0},
		{"logged in", hosts, path + login + rest, "", "203.0.113.7", "<a@bank.example>", 2},
		{"sender of the mbox", hosts, external + rest, "b@bank.example", "192.0.2.1", "<b@bank.example>", 2},
		{"Return-Path and a sender of the mbox", hosts, path + external + rest, "b@bank.example", "192.0.2.1", "<a@bank.example>", 2},
		{"null sender", hosts, "Return-Path: <>\r\n" + external + rest, "x", "192.0.2.1", "<>", 2},
		{"null sender of an mbox", hosts, external + rest, "MAILER-DAEMON", "192.0.2.1", "<>", 2},
		{"a mail reader's mbox", hosts, external + rest, "-", "error: sender is not known", "", 0},
		{"a Return-Path below the border", hosts, external + "Return-Path: <x@evil.example>\r\n" + rest, "", "error: sender is not known", "", 0},
		{"the sender is given", Origin{Received: 1, MailFrom: &empty}, path + external + rest, "", "192.0.2.1", "<>", 2},
		{"the client is given: only delivery fields are removed", Origin{Client: netip.MustParseAddr("::ffff:203.0.113.1"), HELO: "h"}, path +
			external + rest, "", "203.0.113.1", "<a@bank.example>", 3},
		{"the client is given, and there is no other field", Origin{Client: netip.MustParseAddr("203.0.113.1")}, path + "\r\n", "", "203.0.113.1", "<a@bank.example>", 0},
	} {
		h, _ := message.Parse([]byte(tt.header))
		got, err := tt.o.Find(h, tt.box, trusted)
		if want, fails := strings.CutPrefix(tt.client, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v", tt.name, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		client := "internal"
		if !got.Internal {
			client = got.Session.Client.String()
		}
		if client != tt.client || got.Envelope.MailFrom != tt.from || len(got.Header) != tt.left {
			t.Errorf("%s: client %s, from %s, %d fields: %v", tt.name, client, got.Envelope.MailFrom, len(got.Header), got.Header)
		}
	}
	h, _ := message.Parse([]byte(path + external + rest))
	got, err := hosts.Find(h, "", trusted)
	if err != nil || got.Session.HELO != "mail.bank.example" || got.Envelope.QueueID != "Q1" || got.Envelope.Recipients[0] != "<r@here.example>" ||
		!got.Time.Equal(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v, %v", got, err)
	}
	h, _ = message.Parse([]byte(path + login + rest))
	if got, err := hosts.Find(h, "", trusted); err != nil || got.Session.Authenticated == "" {
		t.Errorf("logged in: %+v, %v", got, err)
	}
}

func FuzzReceived(f *testing.F) {
	for _, s := range []string{external, filtered, stored, lmtp, forged, theirs, login, strange, inside, "Received: (from a@b) by c\r\n",
		"Received: from x ([IPv6:::1]:25) by y\r\n", "Received: from [192.0.2.1] (helo=x) by y\r\n", "Received: from u (HELO x) (a@192.0.2.1) by y\r\n"} {
		f.Add(strings.TrimPrefix(s, "Received:"))
	}
	f.Fuzz(func(t *testing.T, value string) {
		r, err := Parse(value)
		if err != nil {
			return
		}
		if r.By == "" {
			t.Errorf("%q has no host", value)
		}
		if r.Address.IsValid() && (r.HELO == "" || r.Address.Zone() != "" || r.Address.Is4In6()) {
			t.Errorf("%q: %+v", value, r)
		}
		// If the field has no comments, an address after "from" is the HELO name. Parse must not
		// take it for the address of the client.
		word := strings.Fields(message.Unfold(value))
		if addr, ok := literal(word[1]); ok && r.Address == addr && strings.Count(value, "[") == 1 && !strings.Contains(value, "(") {
			t.Errorf("%q: the address is that of HELO", value)
		}
	})
}
