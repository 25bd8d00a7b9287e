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
	MailFrom    label.ShowMailFrom `yaml:"mailfrom"` // how much of the envelope sender is shown
	Verdict     bool               `yaml:"verdict"`  // write the field X-Sekimori-Verdict
	Subject     string             `yaml:"subject"`  // put before the Subject of messages that fail and are delivered; "" is off
	Style       label.Style        `yaml:"style"`    // how the dmarc result is written
}

// maxSubjectStamp is in characters. It leaves space for the subject itself.
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
