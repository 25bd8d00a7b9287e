package aggregate

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"sekimori/internal/report"
)

// letter returns the mail with a report.
func letter(t testing.TB, r *Report, list ...report.Row) []byte {
	t.Helper()
	var gz, out bytes.Buffer
	if err := WriteGzip(&gz, r, rows(list...)); err != nil {
		t.Fatal(err)
	}
	m := &Mail{Report: r, FromName: r.Organization + " DMARC reports", From: "noreply@dmarc.isp.example", To: "rua@shop.example",
		Date: time.Date(2026, 11, 29, 2, 3, 4, 0, time.UTC)}
	if err := WriteMail(&out, m, &gz); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriteMail(t *testing.T) {
	r := usual()
	r.Job.Lost, r.Job.Late, r.Organization = 3, 2, "Büro für Post"
	raw := letter(t, r, passed())
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Header.Get("Message-ID"), "<"+r.ReportID+">"; got != want {
		t.Errorf("Message-ID %s, want %s", got, want)
	}
	if got, want := m.Header.Get("Subject"), Subject(r); got != want {
		t.Errorf("Subject %s, want %s", got, want)
	}
	typ, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/mixed" {
		t.Fatalf("%s, %v", typ, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	words, err := parts.NextPart() // decodes quoted-printable
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(words)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Domain:      shop.example\r\n", "From:        2026-11-28 00:00:00 UTC\r\n", "To:          2026-11-28 23:59:59 UTC\r\n",
		"Messages:    12\r\n", "Records:     1\r\n", "Note:        this report lacks 3 messages\r\n", "2 messages came too late",
		"Sent by:     Büro für Post (dmarc.isp.example)\r\n", "Contact:     postmaster@isp.example\r\n"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the text lacks %q:\n%s", want, body)
		}
	}
	file, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if got := file.FileName(); got != FileName(r) {
		t.Errorf("file name %s, want %s", got, FileName(r))
	}
	if got := file.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/gzip; name=") {
		t.Errorf("type %s", got)
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, file))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != text(t, r, passed()) {
		t.Errorf("the file has %s, %v", got, err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the file: %v", err)
	}
}

// TestWriteMailRefuses checks that nothing is written if an address would add a field.
func TestWriteMailRefuses(t *testing.T) {
	for _, c := range []struct{ why, from, to, id string }{
		{"To with a line end", "noreply@isp.example", "a@b.example\r\nBcc: c@d.example", ""},
		{"two addresses", "noreply@isp.example", "a@b.example,c@d.example", ""},
		{"From with a line end", "noreply@isp.example\nX: y", "a@b.example", ""},
		{"Report-ID with a line end", "noreply@isp.example", "a@b.example", "a\r\nb@isp.example"},
	} {
		r := usual()
		if c.id != "" {
			r.ReportID = c.id
		}
		var b bytes.Buffer
		if err := WriteMail(&b, &Mail{Report: r, From: c.from, To: c.to}, strings.NewReader("")); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v, written %q", c.why, err, b.String())
		}
	}
}

// compress writes a text as gzip.
func compress(w io.Writer, text string) error {
	z := gzip.NewWriter(w)
	if _, err := io.WriteString(z, text); err != nil {
		return err
	}
	return z.Close()
}

// TestMailText checks the text for persons as a whole, with everything that it may say and without.
func TestMailText(t *testing.T) {
	const head = "This is a DMARC aggregate report (RFC 9990). The attached file has it as XML,\ncompressed with gzip.\n\n" +
		"Domain:      shop.example\nFrom:        2026-11-28 00:00:00 UTC\nTo:          2026-11-28 23:59:59 UTC\nMessages:    12\nRecords:     1\n"
	const id = "Report-ID:   20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example\n\n" +
		"Sent by:     Example ISP (dmarc.isp.example)\nContact:     postmaster@isp.example\n"
	const tail = "\nYou receive this mail because the DMARC record at\n_dmarc.shop.example\nasks for reports. To stop them, take this address out of its tag rua.\n"
	for _, tt := range []struct {
		why    string
		change func(*Report)
		want   string
	}{
		{"usual", func(*Report) {}, head + id + "More:        https://isp.example/dmarc\n" + tail},
		{"no further contact", func(r *Report) { r.ContactInfo = "" }, head + id + tail},
		{"one came late", func(r *Report) { r.Job.Late = 1 },
			head + "Of these:    1 message came too late for the report of that day\n" + id + "More:        https://isp.example/dmarc\n" + tail},
		{"an error", func(r *Report) { r.Errors = []string{"the record has a fault"} }, head + "Note:        the record has a fault\n" + id + "More:        https://isp.example/dmarc\n" + tail},
	} {
		r := usual()
		tt.change(r)
		if got := (&Mail{Report: r}).text(); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.why, got, tt.want)
		}
	}
	r := usual()
	r.Organization = strings.Repeat("x", 2*maxText)
	for line := range strings.SplitSeq((&Mail{Report: r}).text(), "\n") {
		if len(line) > len("Sent by:     ")+maxText {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}
