package senders

import (
	"fmt"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/ledger"
)

// Mail is a text that one can mail to the postmaster of a sender in trouble. Nothing sends it.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"`
}

// mailAbout writes the mail about a breakage.
func mailAbout(b *ledger.Breakage, policy dmarc.Policy, organization, contact string) Mail {
	what, advice := words(b)
	var t strings.Builder
	fmt.Fprintf(&t, "Dear postmaster of %s,\n\nwe receive mail with your domain in the From field, and check SPF, DKIM and DMARC.\nSince %s (UTC) %s:\n\n  %s\n\n%s\n",
		b.Domain, b.First.UTC().Format("2006-01-02 15:04"), what, b.Evidence, advice)
	switch policy {
	case dmarc.PolicyReject, dmarc.PolicyQuarantine:
		fmt.Fprintf(&t, "\nYour DMARC policy is p=%s, so receivers may refuse such mail or treat it as spam.\n", policy)
	case dmarc.PolicyNone:
	}
	if b.Example != "" {
		fmt.Fprintf(&t, "\nIf you ask us about an example, quote the ID %s.\n", b.Example)
	}
	if organization != "" || contact != "" {
		fmt.Fprintf(&t, "\n-- \n%s\n", strings.TrimSpace(organization+"\n"+contact))
	}
	return Mail{To: "postmaster@" + string(b.Domain), Subject: fmt.Sprintf("Mail from %s: %s", b.Domain, what), Text: t.String()}
}

// words says what stopped working, and what the sender should look at.
func words(b *ledger.Breakage) (what, advice string) {
	switch b.Kind {
	case ledger.SelectorGone:
		return "your mail is no longer signed by the DKIM key " + b.Subject,
			"Please look whether your mail servers still sign, and whether a new key, if you\nchanged it, is in use and published."
	case ledger.SignatureFails:
		return "DKIM signatures by the key " + b.Subject + " do not verify",
			"Please compare the key in DNS with the one that your mail servers sign with, and\nlook whether something changes messages after they are signed."
	case ledger.SPFBroken:
		return "SPF no longer passes for your mail",
			"Please look whether your SPF record is still there and valid (at most ten\nlookups), and whether it has the hosts that send for you."
	case ledger.SPFAddressLost:
		return "your SPF record no longer permits a network that sends for you, " + b.Subject,
			"If these hosts still send for you, please add them to the record again. Their\nmail passes now only by its DKIM signatures, if it has any."
	case ledger.PassShareFallen:
		return "most of your mail fails SPF and DKIM",
			"Please look at the last changes of your mail servers, of your keys, and of your\nrecords in DNS."
	}
	return "something no longer works", "Please look at your keys and your records in DNS."
}
