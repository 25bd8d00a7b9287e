package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/suites"
)

// reportZone is the DNS of the report tests: two domains that ask for reports, and ours. The reports of gone.test go to a recipient
// of another domain, which agrees, but whose mail server refuses it.
const reportZone = `
shop.test                          TXT "v=spf1 ip4:192.0.2.20 -all"
shop.test                          MX  10 mx.shop.test
mx.shop.test                       A   192.0.2.21
_dmarc.shop.test                   TXT "v=DMARC1; p=quarantine; rua=mailto:rua@shop.test"
s1._domainkey.shop.test            TXT RSAKEY
gone.test                          TXT "v=spf1 ip4:192.0.2.30 -all"
_dmarc.gone.test                   TXT "v=DMARC1; p=none; rua=mailto:refused@shop.test"
gone.test._report._dmarc.shop.test TXT "v=DMARC1"
quiet.test                         TXT "v=spf1 ip4:192.0.2.40 -all"
_dmarc.quiet.test                  TXT "v=DMARC1; p=none"
_dmarc.dmarc.isp.test              TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
r1._domainkey.dmarc.isp.test       TXT RSAKEY
`

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

// TestReportsEndToEnd follows the reports of one day: mail comes in through Postfix and the daemon, midnight passes, the reports leave
// through another Postfix. One reader gets its report, and the test compares it with what was sent. The other reader refuses the mail;
// the bounce comes back by LMTP, and the address is suppressed.
//
// Midnight passes by moving the window in the store of the stopped daemon a day back.
func TestReportsEndToEnd(t *testing.T) {
	s := shared(t)
	t.Parallel()
	if now := time.Now().UTC(); now.Add(2*time.Minute).Day() != now.Day() {
		t.Skip("the mail of this test would fall into two days: it is almost midnight UTC")
	}
	reader := startReader(t)
	operator, _, _, socket := startOperator(t, reader)
	rsaTXT, _ := s.keys.records()
	dns := nameserver.ServeZone(t, nameserver.Zone(t, strings.ReplaceAll(reportZone, "RSAKEY", rsaTXT)), nameserver.Options{Addr: s.host + ":0"})
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.keys.rsa)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(dir, "key.pem")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "sekimori.db")
	m := newMX(t, plain, settings{
		"dns":   fmt.Sprintf("{servers: [%q]}", dns.Addr()),
		"store": fmt.Sprintf("{url: %q}", "sqlite:"+store),
		"report": fmt.Sprintf("{organization: Example ISP, domain: %s, contact: postmaster@isp.test, mail: {server: %q, "+
			"bounces: {address: %q, mode: 0660, group: postfix}, dkim: {selector: r1, key_file: %q}}, "+
			"aggregate: {send: true, spread: 0s, always: [shop.test, gone.test]}}", reportDomain, operator.smtp, "unix:"+socket, keyFile),
	})

	shopMX, goneMX := peer{"", "192.0.2.20", "mail.shop.test"}, peer{"", "192.0.2.30", "mail.gone.test"}
	for i := range 10 {
		from, p, message := "@shop.test", shopMX, mail{from: "info@shop.test"}.bytes()
		switch {
		case i < 3:
		case i < 5:
			p = spoofer
		case i < 6: // forwarded
			p, message = newsMX, signed(t, message, "shop.test", "s1")
		case i < 9:
			from, p, message = "@gone.test", goneMX, mail{from: "info@gone.test"}.bytes()
		default:
			from, p, message = "@quiet.test", peer{"", "192.0.2.40", "mail.quiet.test"}, mail{from: "info@quiet.test"}.bytes()
		}
		m.post(t, p, unique(from), recipient(), message).accepted(t)
	}

	day := time.Now().UTC().Truncate(24 * time.Hour).Unix()
	if err := m.terminate(); err != nil {
		t.Fatal(err)
	}
	yesterday(t, store)
	m.start(t)

	received := eventualMail(t, reader, "rua@shop.test")
	f := checkReportMail(t, received, day-86400)
	got := map[string]int{}
	for _, r := range f.Records {
		got[strings.Join([]string{r.Source, r.Disposition, r.DKIM, r.SPF}, " ")] += r.Count
	}
	want := map[string]int{"192.0.2.20 pass fail pass": 3, "192.0.2.66 quarantine fail fail": 2, "192.0.2.1 pass pass fail": 1}
	if f.Domain != "shop.test" || !maps.Equal(got, want) {
		t.Errorf("the report on %s says %v, want %v", f.Domain, got, want)
	}
	checkAuthenticated(t, m, received)

	// The other report comes back.
	eventually(t, "the suppression", func() bool { return column(t, store, "SELECT count(*) FROM suppression WHERE until > 0") == "1" })
	if got := column(t, store, "SELECT target || ' ' || by || ' ' || strikes FROM suppression"); got != "refused@shop.test bounce 1" {
		t.Errorf("suppressed: %s", got)
	}
	if got := column(t, store, "SELECT word || ' ' || bounced || ' ' || substr(reply, 1, 9) FROM delivery WHERE address = 'refused@shop.test'"); got != "refused 1 550 5.1.1" {
		t.Errorf("delivery: %s", got)
	}
	if n := column(t, store, "SELECT count(*) FROM job"); n != "2" {
		t.Errorf("%s jobs, want 2: one domain asks for no reports", n)
	}

	// On the next day nothing is sent to that address.
	m.post(t, goneMX, unique("@gone.test"), recipient(), mail{from: "info@gone.test"}.bytes()).accepted(t)
	m.post(t, shopMX, unique("@shop.test"), recipient(), mail{from: "info@shop.test"}.bytes()).accepted(t)
	if err := m.terminate(); err != nil {
		t.Fatal(err)
	}
	yesterday(t, store)
	m.start(t)
	eventually(t, "the second report", func() bool { return len(rawMail(t, reader, "rua@shop.test")) == 2 })
	eventually(t, "the end of the other job", func() bool {
		return column(t, store, "SELECT group_concat(outcome, ' ') FROM (SELECT outcome FROM job WHERE domain = 'gone.test' ORDER BY id)") == "sent suppressed"
	})
	if n := strings.Count(reader.log(t), "to=<refused@shop.test>"); n != 1 {
		t.Errorf("the suppressed address was tried %d times, want once", n)
	}
}

// yesterday moves everything in the store a day back, so that the windows that were open are over.
func yesterday(t *testing.T, store string) {
	t.Helper()
	db, err := sql.Open("sqlite", store)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	// Two steps, so that no two jobs are equal in between.
	for _, statement := range []string{
		"UPDATE job SET window_begin = -window_begin",
		"UPDATE job SET window_begin = -window_begin - 86400, window_end = window_end - 86400, not_before = not_before - 86400000000",
		"UPDATE suppression SET window_begin = window_begin - 86400",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// column returns the one value that a query of the store gives, as text.
func column(t *testing.T, store, query string) string {
	t.Helper()
	db, err := sql.Open("sqlite", store+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var value sql.NullString
	if err := db.QueryRowContext(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value.String
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

// checkReportMail unpacks the mail with a report on shop.test, and checks its id, its file name and its form.
func checkReportMail(t *testing.T, text []byte, begin int64) (f feedback) {
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
	if want := fmt.Sprintf("dmarc.isp.test!shop.test!%d!%d!", begin, begin+86399); !strings.HasPrefix(name, want) {
		t.Errorf("file name %s, want %s…", name, want)
	}
	if f.Begin != begin || f.End != begin+86399 {
		t.Errorf("from %d to %d, want from %d", f.Begin, f.End, begin)
	}
	if got, want := msg.Header.Get("Subject"), "Report Domain: shop.test Submitter: dmarc.isp.test Report-ID: <"+f.ReportID+">"; got != want {
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
