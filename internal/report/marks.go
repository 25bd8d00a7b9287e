package report

import (
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
)

// Marks says which messages are about reports, and which an earlier filter has marked as spam. Its
// methods only read the header, so nothing of it stays alive.
type Marks struct {
	// Domain and Locals are the addresses of the report mail of this site: that of its author, and that
	// of its bounces. If Domain is "", no address is known.
	Domain dns.Name
	Locals []string
	// Spam lists the fields that an earlier filter writes. A stranger can write such a field, too. So
	// that filter must remove what is not its own.
	Spam []SpamSign
}

// SpamSign is a header field by which an earlier filter marks spam. Value is compared without regard to
// case with the beginning of the field's value. "" is the beginning of every value.
type SpamSign struct{ Name, Value string }

// maxSubject is how much of a Subject is read, in octets. It has room for two domain names and the
// words of §3.5.2. The sender chooses the length.
const maxSubject = 1024

// Find returns the marks of a message.
func (m *Marks) Find(h message.Header, recipients []string) (aboutReports, spam bool) {
	aboutReports = m.isOurs(recipients)
	for i := range h {
		if !aboutReports && h[i].Is("Subject") {
			aboutReports = isReportSubject(h[i].Value)
		}
		spam = spam || m.isSpam(h[i])
	}
	return aboutReports, spam
}

// isReportSubject reports whether a Subject has the form "Report Domain: d Submitter: s" of §3.5.2,
// whatever follows. Case does not matter, because large senders write "Report domain:".
func isReportSubject(value string) bool {
	words := strings.Fields(value[:min(len(value), maxSubject)]) // FWS separates the words
	return len(words) >= 5 && strings.EqualFold(words[0], "Report") && strings.EqualFold(words[1], "Domain:") &&
		strings.EqualFold(words[3], "Submitter:")
}

func (m *Marks) isSpam(f message.Field) bool {
	for _, s := range m.Spam {
		if !f.Is(s.Name) {
			continue
		}
		value := strings.TrimLeft(f.Value, " \t\r\n")
		if len(value) >= len(s.Value) && strings.EqualFold(value[:len(s.Value)], s.Value) {
			return true
		}
	}
	return false
}

// isOurs reports whether the message goes to addresses of our report mail and to nobody else. A forger
// could otherwise add our address to those of the victims.
func (m *Marks) isOurs(recipients []string) bool {
	return m.Domain != "" && len(recipients) > 0 && !slices.ContainsFunc(recipients, func(r string) bool {
		path, err := mailaddr.ParsePath(r)
		return err != nil || path.Domain != m.Domain || !m.isLocal(path.Local)
	})
}

// isLocal compares a local part, without "+" and what follows, because a bounce address has a token
// there.
func (m *Marks) isLocal(local string) bool {
	local, _, _ = strings.Cut(local, "+")
	return slices.ContainsFunc(m.Locals, func(ours string) bool { return strings.EqualFold(local, ours) })
}
