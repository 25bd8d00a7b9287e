package wholepath

import (
	"crypto/ed25519"
	"encoding/binary"
	"strings"
	"testing"

	"sekimori/internal/testkit/signer"
)

// seed is one session from which the fuzzer starts.
type seed struct {
	zone, envelope, mail string
	part                 uint8
	frames               string
	want                 string // the results in the label, in order; "" if they are not known
}

func bankKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the bank's key of thirty-two oct"))
}

// saneZone returns the zone text that is part of every session. It has bank.example with an SPF
// record and a DKIM key, the forwarder hop.example with the same key, and evil.example, whose SPF
// record permits every address.
func saneZone() string {
	key := signer.Record(bankKey().Public())
	return `
bank.example              TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
s._domainkey.bank.example TXT "` + key + `"
s._domainkey.hop.example  TXT "` + key + `"
evil.example              TXT "v=spf1 +all"
_dmarc.evil.example       TXT "v=DMARC1; p=none"
1.2.0.192.in-addr.arpa    PTR mail.bank.example.
mail.bank.example         A   192.0.2.1
`
}

const (
	bankEnvelope = "192.0.2.1\nmail.bank.example\n<ann@bank.example>\nr@here.example"
	evilEnvelope = "198.51.100.66\nmail.evil.example\n<x@evil.example>\nr@here.example"
	bankMail     = "From: Ann <ann@bank.example>\r\nTo: r@here.example\r\nSubject: hello\r\n\r\nHello  there.\r\n"
)

// signed returns the message "mail" with a DKIM signature by the given domain. All domains sign
// with the bank's key.
func signed(tb testing.TB, mail, domain string) string {
	tb.Helper()
	return signer.DKIM(tb, bankKey(), "v=1; a=ed25519-sha256; c=relaxed/relaxed; d="+domain+"; s=s; h=from; bh=%BH; b=", mail)
}

// sealed returns the message "mail" with one ARC set by hop.example.
func sealed(tb testing.TB, mail string) string {
	tb.Helper()
	return signer.Seal(tb, signer.Set{
		I: 1, Key: bankKey(), Domain: "hop.example", H: "from", Results: "mx.hop.example; dmarc=pass header.from=bank.example",
	}, mail)
}

// frame returns one milter frame. Each "|" in data is replaced by NUL.
func frame(cmd byte, data string) string {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return string(head) + string(cmd) + strings.ReplaceAll(data, "|", "\x00")
}

func seeds(tb testing.TB) []seed {
	tb.Helper()
	mailFrames := frame('M', "<ann@bank.example>|") + frame('R', "<r@here.example>|")
	rest := frame('L', "From| ann@bank.example|") + frame('N', "") + frame('B', "Hi.\r\n") + frame('E', "")
	forged := "Authentication-Results: mx.here.example; dmarc=pass\r\n"
	all := []seed{
		{envelope: bankEnvelope, mail: bankMail, want: "spf=pass dkim=none dmarc=pass arc=none"},
		{envelope: evilEnvelope, mail: bankMail},
		{envelope: evilEnvelope, mail: signed(tb, bankMail, "bank.example"), want: "spf=pass dkim=pass dmarc=pass arc=none"},
		{envelope: evilEnvelope, mail: signed(tb, bankMail, "bank.example"), part: 3, want: "spf=pass dkim=pass dmarc=pass arc=none"},
		{envelope: evilEnvelope, mail: "From: eve@evil.example\r\n" + signed(tb, bankMail, "bank.example")},
		{envelope: evilEnvelope, mail: signed(tb, bankMail, "bank.example") + "more\r\n"},
		{envelope: evilEnvelope, mail: signed(tb, bankMail, "hop.example")},
		{envelope: evilEnvelope, mail: sealed(tb, "From: Ann <ann@bank.example>\r\n\r\nHello.\r\n"), part: 1, want: "spf=pass dkim=none dmarc=fail arc=pass"},
		{envelope: evilEnvelope, mail: "From: eve@evil.example, ann@bank.example\r\n\r\n"},
		{envelope: evilEnvelope, mail: "From: <@evil.example:ann@bank.example>\r\n\r\nHi.\r\n", part: 1, want: "spf=pass dkim=none dmarc=permerror arc=none"},
		{envelope: evilEnvelope, mail: "From: \"ann@bank.example\" <eve@evil.example>\r\n\r\nHi.\r\n", part: 1},
		{envelope: evilEnvelope, mail: "From: =?utf-8?q?ann=40bank.example=00?= <eve@evil.example>\r\n\r\n"},
		{envelope: evilEnvelope, mail: "Subject: none\r\n\r\nHi.\r\n", part: 1, want: "spf=pass dkim=none dmarc=permerror arc=none"},
		{envelope: "198.51.100.66\nmail.evil.example\n<>\nr@here.example", mail: bankMail, part: 1, want: "spf=none dkim=none dmarc=fail arc=none"},
		{envelope: "2001:db8::1\n[192.0.2.1]\n<\"a\\\"; dkim=pass\"@evil.example>\nr", mail: bankMail, part: 1},
		{envelope: "?\nx\n<ann@bank.example>\nr@here.example", mail: bankMail, part: 1, want: "spf=none dkim=none dmarc=fail arc=none"},
		{envelope: evilEnvelope, mail: forged + strings.ToUpper(forged) + bankMail, part: 1, want: "spf=pass dkim=none dmarc=fail arc=none"},
		{envelope: evilEnvelope, mail: "Authentication-Results: (mx) \"MX.here.example\" (x) 1; spf=pass\r\n" + forged +
			"authentication-results:\r\n mx.here.example/1;\r\n dmarc=pass\r\n" + bankMail, part: 5},
		{envelope: bankEnvelope, mail: strings.Repeat(forged, 30) + bankMail, want: "spf=pass dkim=none dmarc=pass arc=none"},
		{envelope: evilEnvelope, mail: bankMail[:len(bankMail)-2] + "\n.\r\nMAIL FROM:<x>\r\n\r\r\n", part: 1},
		{
			zone: "_dmarc.evil.example TXT \"v=DMARC1; p=quarantine; sp=none\"\n! bank.example TXT servfail\nloop.example CNAME loop.example\n" +
				"_dmarc.example TXT \"v=DMARC1; p=reject; psd=n\"\n",
			envelope: evilEnvelope, mail: bankMail, part: 1,
		},
		{
			zone:     "big.example TXT \"v=spf1 include:big.example a mx ptr exists:%{i}.%{l}.%{d} redirect=big.example\"\n",
			envelope: "198.51.100.66\nbig.example\n<a.b-c@big.example>\nr@here.example", mail: "From: a@big.example\r\n\r\n", part: 2,
		},
		{
			zone:     "s._domainkey.evil.example TXT \"v=DKIM1; k=rsa; h=sha1; p=MIGf\"\nevil.example TXT \"second\"\n",
			envelope: evilEnvelope, mail: signed(tb, "From: e@evil.example\r\n\r\n", "evil.example"), part: 7,
		},
	}
	for _, frames := range []string{
		frame('A', "") + mailFrames + rest + frame('A', "") + mailFrames + rest,
		frame('A', "") + mailFrames + frame('D', "Li|id|") + frame('L', "Authentication-Results| mx.here.example; dmarc=pass|") + rest + frame('Q', ""),
		frame('A', "") + frame('K', "") + frame('C', "h|4..192.0.2.1|") + frame('H', "x|") + mailFrames + rest,
		mailFrames + rest + rest, "\xff\xff\xff\xff", "\x00\x00\x00\x00", frame('Z', ""),
	} {
		all = append(all, seed{envelope: bankEnvelope, mail: bankMail, part: 1, frames: frames})
	}
	return all
}
