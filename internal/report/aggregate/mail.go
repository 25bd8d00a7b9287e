package aggregate

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/report/compose"
)

// Mail is the mail with a report to one destination. Its Message-ID is the Report-ID.
type Mail struct {
	Report   *Report
	FromName string // display name of From
	From, To string // addresses without angle brackets
	Date     time.Time
}

// WriteMail writes the mail (§3.5.3.1): its header, a text for persons, and the compressed report,
// which is read from gz. Lines end with CR LF. It fails before it writes if an address cannot stand in a header.
func WriteMail(w io.Writer, m *Mail, gz io.Reader) error {
	r := m.Report
	boundary := "=_report_" + r.unique() // "=_" stands in no text that quoted-printable or base64 encoded
	h := compose.Header{FromName: m.FromName, From: m.From, To: m.To, Subject: Subject(r), Date: m.Date, MessageID: r.ReportID,
		ContentType: "multipart/mixed", Boundary: boundary}
	buf, err := h.Append(nil)
	if err != nil {
		return fmt.Errorf("aggregate: %w", err)
	}
	buf = compose.AppendTextPart(buf, boundary, m.text())
	file := FileName(r)
	buf = compose.AppendDelimiter(buf, boundary)
	buf = compose.AppendField(buf, "Content-Type", `application/gzip; name="`+file+`"`)
	buf = compose.AppendField(buf, "Content-Transfer-Encoding", "base64")
	buf = compose.AppendField(buf, "Content-Disposition", `attachment; filename="`+file+`"`)
	buf = append(buf, "\r\n"...)
	if _, err := w.Write(buf); err != nil {
		return err
	}
	if err := compose.WriteBase64(w, gz); err != nil {
		return err
	}
	_, err = w.Write(compose.AppendClose(nil, boundary))
	return err
}

// text returns the text part: what this mail is, in a few lines.
func (m *Mail) text() string {
	r := m.Report
	job := &r.Job
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name+":", printable.MarkedUTF8(fmt.Sprintf(format, args...), maxText))
	}
	b.WriteString("This is a DMARC aggregate report (RFC 9990). The attached file has it as XML,\ncompressed with gzip.\n\n")
	line("Domain", "%s", hostname(job.Policy.Domain))
	line("From", "%s", stamp(job.Window.Begin))
	line("To", "%s", stamp(job.Window.End))
	line("Messages", "%d", job.Messages)
	line("Records", "%d", job.Rows)
	if job.Late > 0 {
		line("Of these", "%s came too late for the report of that day", printable.Counted(job.Late, "message"))
	}
	if text := r.errorText(); text != "" {
		line("Note", "%s", text)
	}
	line("Report-ID", "%s", r.ReportID)
	b.WriteString("\n")
	line("Sent by", "%s (%s)", r.Organization, r.Submitter())
	line("Contact", "%s", r.Contact)
	if r.ContactInfo != "" {
		line("More", "%s", r.ContactInfo)
	}
	fmt.Fprintf(&b, "\nYou receive this mail because the DMARC record at\n_dmarc.%s\nasks for reports. To stop them, take this address out of its tag rua.\n",
		hostname(job.Policy.Domain))
	return b.String()
}

// stamp returns a time in words, in UTC.
func stamp(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 UTC")
}
