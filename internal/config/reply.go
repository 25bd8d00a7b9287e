package config

import (
	"net/url"
	"strings"

	"sekimori/internal/policy"
)

// Reply has the texts at the end of an SMTP reply that refuses a message; see
// policy.ReplyHelp. A text that is "" is left out.
type Reply struct {
	Contact string `yaml:"contact"` // an address, or another text that says whom to ask
	URL     string `yaml:"url"`     // a page for senders
}

func (k *checker) reply(r Reply) {
	known := len(k.list)
	if strings.ContainsFunc(r.Contact, notPrintable) || r.Contact != strings.TrimSpace(r.Contact) {
		k.add("policy.reply.contact", "%q must be printable ASCII, such as postmaster@isp.example", r.Contact)
	}
	if u, err := url.Parse(r.URL); r.URL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		strings.ContainsFunc(r.URL, notPrintable) || strings.Contains(r.URL, " ")) {
		k.add("policy.reply.url", "%q is not a URL in ASCII; write one, such as https://isp.example/mail", r.URL)
	}
	if n := len(policy.ReplyHelp(r.URL, r.Contact)); len(k.list) == known && n > policy.MaxHelp {
		k.add("policy.reply", "contact and url are too long: with the words between them they have %d octets, and at most %d fit into a reply", n, policy.MaxHelp)
	}
}

// notPrintable reports whether an SMTP reply cannot contain r.
func notPrintable(r rune) bool { return r < ' ' || r > '~' }
