package aggregate

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// FuzzReport puts the same text in every place that a stranger or an operator can fill, and reads the
// mail with the report back: it must have the same structure and the same values.
func FuzzReport(f *testing.F) {
	for _, s := range []string{"", "a", "shop.example", "</row>", "]]>", "&#0;", "a\r\n\r\nb", "\x00", "\xff", "\ufffe", "ü", "\u202e", "--=_report_k7q2m4x9ab3d\r\n", strings.Repeat("ä<", 600)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, words string) {
		r := usual()
		r.Organization, r.Contact, r.ContactInfo, r.Generator, r.Errors = words, words, words, words, []string{words}
		r.Job.Policy.Domain, r.Job.Policy.Invalid, r.Job.Policy.FO = dns.Name(name), words, words
		r.ReportID = NewReportID(words, day, dns.Name(name), dns.Name(name))
		row := report.Row{Disposition: report.Disposition(words), Reasons: []report.Reason{{Type: words, Comment: words}}, HeaderFrom: dns.Name(name), EnvelopeFrom: dns.Name(name),
			EnvelopeTo: dns.Name(name), AuthDKIM: []report.DKIMResult{{Domain: dns.Name(name), Selector: words, Result: words, Human: words}},
			AuthSPF: report.SPFResult{Domain: name, Result: words, Human: words}, Count: 7}
		xml := text(t, r, row, row)
		got := read(t, xml)
		// What is plain comes back as it was; everything else is printable.
		same := func(place, got, in string, limit int, plain bool) {
			t.Helper()
			if plain && len(in) <= limit && got != in {
				t.Errorf("%s: %q came back as %q", place, in, got)
			}
			if len(got) > limit || strings.ContainsFunc(got, func(r rune) bool { return !printable.IsShown(r) }) {
				t.Errorf("%s: %q came back as %q", place, in, got)
			}
		}
		isText, isName := printable.IsPlain(words), printable.IsPlain(name)
		same("org_name", got.Metadata.OrgName, words, maxText, isText)
		same("email", got.Metadata.Email, words, maxText, isText)
		same("extra_contact_info", got.Metadata.Extra, words, maxText, isText)
		same("generator", got.Metadata.Program, words, maxText, isText)
		same("fo", got.Policy.FO, words, maxName, isText && words != "")
		same("domain", got.Policy.Domain, name, maxName, isName)
		if len(got.Records) != 2 || !reflect.DeepEqual(got.Records[0], got.Records[1]) {
			t.Fatalf("records %+v", got.Records)
		}
		rec := got.Records[0]
		same("header_from", rec.HeaderFrom, name, maxName, isName)
		same("envelope_from", *rec.EnvelopeFrom, name, maxName, isName)
		if (rec.EnvelopeTo != nil) != (name != "") {
			t.Errorf("envelope_to %v for %q", rec.EnvelopeTo, name)
		}
		if len(rec.AuthDKIM) != 1 || len(rec.AuthSPF) != 1 || len(rec.Reasons) != 1 || len(got.Metadata.Error) > 1 || rec.Count != 7 {
			t.Fatalf("record %+v, errors %q", rec, got.Metadata.Error)
		}
		same("selector", rec.AuthDKIM[0].Selector, words, maxName, isText && words != "")
		same("human_result", rec.AuthDKIM[0].Human, words, maxText, isText)
		same("spf", rec.AuthSPF[0].Domain, name, maxName, isName && name != "")

		m, err := mail.ReadMessage(bytes.NewReader(letter(t, r, row, row)))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Header) != 8 || m.Header.Get("Message-Id") != "<"+r.ReportID+">" || m.Header.Get("Subject") != Subject(r) {
			t.Errorf("header %v", m.Header)
		}
		_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(m.Body, params["boundary"])
		if _, err := parts.NextPart(); err != nil {
			t.Fatal(err)
		}
		file, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if file.FileName() != FileName(r) || strings.Count(FileName(r), "!") != 4 {
			t.Errorf("file name %s, want %s", file.FileName(), FileName(r))
		}
		z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, file))
		if err != nil {
			t.Fatal(err)
		}
		if attached, err := io.ReadAll(z); err != nil || string(attached) != xml {
			t.Errorf("attached %q, %v", attached, err)
		}
		if _, err := parts.NextPart(); err != io.EOF {
			t.Errorf("a third part: %v", err)
		}
	})
}

// TestXmllintReadsBack checks that libxml2 sees the same values in hostile reports as Go's decoder
// does: it writes them in canonical form, which is read again.
func TestXmllintReadsBack(t *testing.T) {
	xmllint := need(t, "/usr/bin/xmllint", "libxml2-utils")
	rnd := rand.New(rand.NewPCG(1, 2))
	var list []report.Row
	for range 1000 {
		_, some := generated(rnd)
		list = append(list, some...)
	}
	r, _ := generated(rnd)
	want := text(t, r, list...)
	file := filepath.Join(t.TempDir(), "report.xml")
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), xmllint, "--c14n", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := read(t, string(out)), read(t, want); !reflect.DeepEqual(a, b) || len(a.Records) != len(list) {
		t.Errorf("xmllint and Go read different values; %d and %d of %d records", len(a.Records), len(b.Records), len(list))
	}
}
