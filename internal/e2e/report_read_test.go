package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// feedback is what the tests look at in an aggregate report.
type feedback struct {
	XMLName  xml.Name `xml:"urn:ietf:params:xml:ns:dmarc-2.0 feedback"`
	ReportID string   ` xml:"report_metadata>report_id"`
	Begin    int64    `xml:"report_metadata>date_range>begin"`
	End      int64    `xml:"report_metadata>date_range>end"`
	Domain   string   `xml:"policy_published>domain"`
	Records  []struct {
		Source      string `xml:"row>source_ip"`
		Count       int    `xml:"row>count"`
		Disposition string `xml:"row>policy_evaluated>disposition"`
		DKIM        string `xml:"row>policy_evaluated>dkim"`
		SPF         string `xml:"row>policy_evaluated>spf"`
	} `xml:"record"`
}

// rows returns how many messages a report counts for each row, which is named by its source, disposition, DKIM and SPF.
func (f *feedback) rows() map[string]int {
	rows := map[string]int{}
	for _, r := range f.Records {
		rows[strings.Join([]string{r.Source, r.Disposition, r.DKIM, r.SPF}, " ")] += r.Count
	}
	return rows
}

// rawMail returns the mails to an address that the Postfix has delivered, as they are in their files.
func rawMail(t *testing.T, p *own, to string) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "mail", "inbox", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("\nX-Original-To: "+to+"\n")) {
			all = append(all, text)
		}
	}
	return all
}

func eventualMail(t *testing.T, p *own, to string) []byte {
	t.Helper()
	eventually(t, "mail to "+to, func() bool { return len(rawMail(t, p, to)) > 0 })
	all := rawMail(t, p, to)
	if len(all) != 1 {
		t.Fatalf("%d mails to %s, want one", len(all), to)
	}
	return all[0]
}

// checkReportMail unpacks the mail with a report on a domain, and checks its id, its file name and its form.
func checkReportMail(t *testing.T, text []byte, domain string, begin int64) (f feedback) {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if path := msg.Header.Get("Return-Path"); !regexp.MustCompile(`^<dmarc-bounce\+\d+-[a-z2-7]+@dmarc\.isp\.test>$`).MatchString(path) {
		t.Errorf("Return-Path %s", path)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	if _, err := parts.NextPart(); err != nil {
		t.Fatal(err)
	}
	part, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, part))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal(content, &f); err != nil {
		t.Fatal(err)
	}
	t.Run("schema", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "report.xml")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		xmllint, err := exec.LookPath("xmllint")
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip("xmllint (libxml2-utils) is not installed")
		}
		if out, err := exec.Command(xmllint, "--noout", "--schema", suites.Path(t, "xsd/rfc9990-dmarc-2.0.xsd"), file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, content)
		}
	})
	id, _, _ := strings.Cut(f.ReportID, "@")
	name := part.FileName()
	unique := strings.Split(strings.TrimSuffix(name, ".xml.gz"), "!")
	if len(unique) != 5 || !strings.Contains(id, unique[4]) {
		t.Errorf("file name %s, Report-ID %s", name, f.ReportID)
	}
	if want := fmt.Sprintf("dmarc.isp.test!%s!%d!%d!", domain, begin, begin+86399); !strings.HasPrefix(name, want) {
		t.Errorf("file name %s, want %s…", name, want)
	}
	if f.Domain != domain {
		t.Errorf("the report is on %s, want %s", f.Domain, domain)
	}
	if f.Begin != begin || f.End != begin+86399 {
		t.Errorf("from %d to %d, want from %d", f.Begin, f.End, begin)
	}
	if got, want := msg.Header.Get("Subject"), "Report Domain: "+domain+" Submitter: dmarc.isp.test Report-ID: <"+f.ReportID+">"; got != want {
		t.Errorf("Subject %q, want %q", got, want)
	}
	if got := msg.Header.Get("Message-Id"); got != "<"+f.ReportID+">" {
		t.Errorf("Message-ID %s, Report-ID %s", got, f.ReportID)
	}
	return f
}

// checkAuthenticated asks our own verifier about a mail with a report. The client is one that SPF does not know, so the signature alone
// must align.
func checkAuthenticated(t *testing.T, m *mx, text []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.eml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := sekimori(t, "explain", "--config", m.config, "--json", "--ip", "192.0.2.99", "--time", "now", file)
	var answer struct {
		Evaluation struct {
			DMARC struct {
				Result string `json:"result"`
				Policy string `json:"policy_domain"`
				DKIM   bool   `json:"aligned_dkim"`
				SPF    bool   `json:"aligned_spf"`
			} `json:"dmarc"`
		} `json:"evaluation"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 {
		t.Fatalf("explain: exit code %d, %v\n%s%s", code, err, out, stderr)
	}
	if got := answer.Evaluation.DMARC; got.Result != "pass" || got.Policy != reportDomain || !got.DKIM || got.SPF {
		t.Errorf("DMARC of the report mail: %+v", got)
	}
}
