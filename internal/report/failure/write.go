package failure

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/message"
	"sekimori/internal/printable"
	"sekimori/internal/report/compose"
)

// Mail is a failure report to one destination.
type Mail struct {
	Incident  Incident
	Incidents int    // how many messages the report stands for, at least 1
	MessageID string // without angle brackets
	FromName  string // display name of From
	From, To  string // addresses without angle brackets
	Date      time.Time
	UserAgent string // such as "sekimori/1.2.3"
	// Organization and Contact are for the text that persons read.
	Organization, Contact string
}

// Write writes the mail (RFC 6591 §3, RFC 5965): a text for persons, the fields for programs, and a
// part of the message's header. Lines end with CR LF. It fails before it writes if an address cannot
// stand in a header.
func Write(w io.Writer, m *Mail) error {
	const boundary = "=_failure_report" // "=_" stands in no text that quoted-printable encoded; the other parts have no line that begins with "--"
	h := compose.Header{FromName: m.FromName, From: m.From, To: m.To, Subject: "DMARC failure report for " + word(string(m.Incident.Reported)),
		Date: m.Date, MessageID: m.MessageID, ContentType: "multipart/report; report-type=feedback-report", Boundary: boundary}
	buf, err := h.Append(nil)
	if err != nil {
		return fmt.Errorf("failure: %w", err)
	}
	buf = compose.AppendTextPart(buf, boundary, m.text())
	buf = compose.AppendDelimiter(buf, boundary)
	buf = append(buf, "Content-Type: message/feedback-report\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"...)
	for _, f := range m.fields() {
		buf = compose.AppendField(buf, f.Name, printable.Marked(f.Value, 2*maxField))
	}
	buf = append(buf, "\r\n"...)
	buf = compose.AppendDelimiter(buf, boundary)
	buf = append(buf, "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"...)
	for _, f := range m.Incident.Header {
		buf = compose.AppendField(buf, word(f.Name), printable.Marked(f.Value, 2*maxField))
	}
	buf = append(buf, "\r\n"...)
	_, err = w.Write(compose.AppendClose(buf, boundary))
	return err
}

// word makes a value fit for a place in which no space can stand.
func word(s string) string { return strings.ReplaceAll(printable.Marked(s, maxValue), " ", "?") }

// fields returns the fields of message/feedback-report.
func (m *Mail) fields() []message.Field {
	i := &m.Incident
	alignment := "none"
	if len(i.NotAligned) > 0 {
		alignment = strings.Join(i.NotAligned, ", ")
	}
	out := []message.Field{
		{Name: "Feedback-Type", Value: "auth-failure"},
		{Name: "Version", Value: "1"},
		{Name: "User-Agent", Value: m.UserAgent},
		{Name: "Auth-Failure", Value: "dmarc"},
		{Name: "Identity-Alignment", Value: alignment},
		{Name: "Authentication-Results", Value: i.Results},
	}
	if i.Source.IsValid() {
		out = append(out, message.Field{Name: "Source-IP", Value: i.Source.Unmap().WithZone("").String()})
	}
	out = append(out,
		message.Field{Name: "Reported-Domain", Value: word(string(i.Reported))},
		message.Field{Name: "Arrival-Date", Value: compose.Date(i.Arrival)},
		message.Field{Name: "Incidents", Value: strconv.Itoa(max(m.Incidents, 1))},
		message.Field{Name: "Delivery-Result", Value: i.Delivery})
	if s := i.Signature; s != nil {
		out = append(out,
			message.Field{Name: "DKIM-Domain", Value: word(string(s.Domain))},
			message.Field{Name: "DKIM-Identity", Value: word(s.Identity)},
			message.Field{Name: "DKIM-Selector", Value: word(s.Selector)})
	}
	if s := i.SPF; s != nil {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.Text)
		out = append(out, message.Field{Name: "SPF-DNS", Value: "txt : " + word(string(s.Domain)) + ` : "` + quoted + `"`})
	}
	return out
}

// text returns the text part.
func (m *Mail) text() string {
	i := &m.Incident
	var b strings.Builder
	line := func(name, value string) {
		fmt.Fprintf(&b, "%-11s%s\n", name+":", printable.MarkedUTF8(value, maxValue))
	}
	b.WriteString("This is a DMARC failure report (RFC 9991) on a message that names your domain\nas its author and failed DMARC.\n\n")
	line("Domain", string(i.Reported))
	line("Received", i.Arrival.UTC().Format("2006-01-02 15:04:05 UTC"))
	if i.Source.IsValid() {
		line("From host", i.Source.Unmap().WithZone("").String())
	}
	if m.Incidents > 1 {
		line("Messages", strconv.Itoa(m.Incidents)+" since the last report; the parts below are about the newest")
	}
	b.WriteString("\n")
	line("Sent by", m.Organization)
	line("Contact", m.Contact)
	b.WriteString("\nTo protect the privacy of others, local parts of addresses are codes here, and\nthe body and most of the header are left out.\n" +
		"\nYou receive this mail because the DMARC record at\n_dmarc." + word(string(i.PolicyDomain)) +
		"\nasks for such reports. To stop them, take this address out of its tag ruf.\n")
	return b.String()
}
