package config

import (
	"sekimori/internal/label"
	"strings"
	"unicode/utf8"

	"sekimori/internal/printable"
)

// Headers says how messages are labelled.
type Headers struct {
	ReceivedSPF bool               `yaml:"received_spf"`
	MailFrom    label.ShowMailFrom `yaml:"mailfrom"` // how much of the envelope sender the label shows
	Verdict     bool               `yaml:"verdict"`  // whether the field X-Sekimori-Verdict is added
	Subject     string             `yaml:"subject"`  // text put before the Subject of messages that fail and are delivered
	Style       label.Style        `yaml:"style"`    // in which program's form the dmarc result is written
}

// maxSubjectStamp is the largest length of headers.subject, in characters. It
// leaves space for the message's own subject in a mail client's list.
const maxSubjectStamp = 40

func (k *checker) headers(h Headers) {
	word(k, "headers.style", h.Style, label.Styles)
	word(k, "headers.mailfrom", h.MailFrom, label.MailFroms)
	switch {
	case utf8.RuneCountInString(h.Subject) > maxSubjectStamp:
		k.add("headers.subject", "at most %d characters", maxSubjectStamp)
	case strings.ContainsFunc(h.Subject, func(r rune) bool { return !printable.IsShown(r) }):
		k.add("headers.subject", "%q has characters that cannot be printed", h.Subject)
	case h.Subject != "" && strings.TrimSpace(h.Subject) == "":
		k.add("headers.subject", "has only white space")
	}
}
