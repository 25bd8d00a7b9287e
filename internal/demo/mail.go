package demo

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// Mail is one message of the demo, and how its client sends it.
type Mail struct {
	Name   string // one of the names below, or ""
	Title  string // what the message is meant to show
	Client string // IP address of the client
	HELO   string
	From   string // the address in MAIL FROM; "" for the null sender
	To     string
	Raw    []byte
}

// The names of those messages that package probe sends too.
const (
	Pass   = "pass"   // passes DMARC
	Spoof  = "spoof"  // fails DMARC under p=reject
	Forged = "forged" // carries a result in our name, and fails DMARC under p=none
	Silent = "silent" // the DNS servers of its domain never answer
)

// text returns a message with the given header fields, with the fields To, Date and Message-ID, and
// with one line of body.
func text(body string, header ...string) []byte {
	header = append(header, "To: reader@mx.example", "Date: Sun, 22 Nov 2026 09:00:00 +0900", "Message-ID: <demo@sekimori.example>")
	return []byte(strings.Join(header, "\r\n") + "\r\n\r\n" + body + "\r\n")
}

// sign returns the message with a new first field, a DKIM signature.
func sign(raw []byte, domain, selector string, key crypto.Signer) ([]byte, error) {
	var out bytes.Buffer
	err := dkim.Sign(&out, bytes.NewReader(raw), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	if err != nil {
		return nil, fmt.Errorf("demo: sign for %s: %w", domain, err)
	}
	return out.Bytes(), nil
}

// corpus returns all messages of the demo, with valid DKIM signatures.
func corpus(k *keys, authServID string) ([]Mail, error) {
	signedBank, err := sign(text("Your statement is ready.", "From: Bank <info@bank.example>", "Subject: Statement"),
		"bank.example", "s1", k.bank)
	if err != nil {
		return nil, err
	}
	news, err := sign(text("What happened today.", "From: News <daily@news.example>", "Subject: Today"), "news.example", "rsa", k.newsRSA)
	if err != nil {
		return nil, err
	}
	if news, err = sign(news, "news.example", "ed", k.newsEd); err != nil {
		return nil, err
	}
	viaList := bytes.Replace(signedBank, []byte("ready.\r\n"), []byte("ready.\r\n-- \r\nlists.example mailing list\r\n"), 1)
	viaList = append([]byte("List-Id: <money.lists.example>\r\n"), viaList...)
	slow, err := sign(text("Are you there?", "From: Slow <me@slow.example>", "Subject: Hello"), "slow.example", "s1", k.bank)
	if err != nil {
		return nil, err
	}
	spoof := func(from string) []byte {
		return text("Please pay at once.", "From: Accounts <"+from+">", "Subject: Invoice")
	}
	forged := append([]byte("Authentication-Results: "+strings.ToUpper(authServID)+"; dmarc=pass header.from=bank.example\r\n"+
		"Authentication-Results: other.example; spf=pass\r\n"), spoof("pay@hobby.example")...)
	const to = "reader@mx.example"
	return []Mail{
		{Pass, "the bank's own mail: DKIM and SPF pass and align", bankHost, "mail.bank.example", "info@bank.example", to, signedBank},
		{"", "the bank's mail forwarded by a stranger: DKIM still passes", strangeHost, "fwd.example", "someone@fwd.example", to, signedBank},
		{"", "a newsletter signed with RSA and with ed25519", bankHost, "mail.bank.example", "bounce@news.example", to, news},
		{"", "a shop that has only SPF", shopHost, "mx.shop.example", "order@shop.example", to, spoof("order@shop.example")},
		{Spoof, "somebody else as the bank: p=reject", strangeHost, "mail.bank.example", "x@evil.example", to, spoof("info@bank.example")},
		{"", "somebody as a subdomain the bank never had: np=reject", strangeHost, "mail.bank.example", "x@evil.example", to,
			spoof("ceo@secure-login.bank.example")},
		{"", "somebody else as the shop: p=quarantine", strangeHost, "evil.example", "x@evil.example", to, spoof("order@shop.example")},
		{"", "a domain that tries p=reject out: t=y", strangeHost, "evil.example", "x@evil.example", to, spoof("a@test.example")},
		{"", "the bank's mail through a mailing list that added a footer", listHost, "mail.lists.example", "money-bounces@lists.example", to,
			viaList},
		{Forged, "somebody as a hobbyist, with results forged in our name: p=none", strangeHost, "evil.example", "x@evil.example", to, forged},
		{"", "a domain without DMARC", "192.0.2.40", "mail.old.example", "joe@old.example", to, spoof("joe@old.example")},
		{"", "a bounce: null sender, the HELO name is checked", listHost, "mail.lists.example", "", to,
			text("Could not deliver.", "From: MAILER-DAEMON@mail.lists.example", "Subject: Undelivered")},
		{"", "two From fields", strangeHost, "evil.example", "x@evil.example", to,
			append([]byte("From: Bank <info@bank.example>\r\n"), spoof("x@evil.example")...)},
		{Silent, "a domain whose DNS servers are silent", strangeHost, "evil.example", "me@slow.example", to, slow},
	}, nil
}
