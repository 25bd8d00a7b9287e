package aggregate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mjl-/mox/dmarcrpt"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/testkit/suites"
)

// need returns the path of a program or a file of a Debian package. If it is absent, the test is
// skipped, or fails in CI.
func need(t *testing.T, path, pkg string) string {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing (apt-get install %s)", path, pkg)
	}
	t.Skipf("%s is not installed (apt-get install %s)", path, pkg)
	return ""
}

// run runs a program and returns what it printed. If the program fails, the test fails.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%.4000s\n%.4000s", name, err, complaints.Bytes(), out.Bytes())
	}
	return out.Bytes()
}

// line returns values as text with bars between them.
func line(values ...any) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%v|", v)
	}
	return b.String()
}

const schema = "xsd/rfc9990-dmarc-2.0.xsd"

// mails writes the mails of all examples to files, changed by change.
func mails(t *testing.T, change func(xml string) string) []string {
	t.Helper()
	var files []string
	for _, e := range examples() {
		var gz, out bytes.Buffer
		if err := compress(&gz, change(text(t, e.report, e.rows...))); err != nil {
			t.Fatal(err)
		}
		m := &Mail{Report: e.report, FromName: e.report.Organization, From: "noreply@dmarc.isp.example", To: "rua@shop.example"}
		if err := WriteMail(&out, m, &gz); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), e.name+".eml")
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func TestXmllint(t *testing.T) {
	xmllint := need(t, "/usr/bin/xmllint", "libxml2-utils")
	xsd := suites.Path(t, schema)
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	run(t, xmllint, append([]string{"--noout", "--schema", xsd}, files...)...)

	// The schema is not so lax that it takes everything.
	bad := filepath.Join(t.TempDir(), "bad.xml")
	if err := os.WriteFile(bad, []byte(strings.Replace(text(t, usual(), passed()), "<testing>n</testing>", "<t>n</t>", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(xmllint, "--noout", "--schema", xsd, bad).CombinedOutput(); err == nil {
		t.Errorf("xmllint takes an element t: %s", out)
	}
}

// TestXmllintGenerated checks reports of every shape: 10,000 in CI, and 300 elsewhere.
func TestXmllintGenerated(t *testing.T) {
	xmllint := need(t, "/usr/bin/xmllint", "libxml2-utils")
	xsd := suites.Path(t, schema)
	n := 300
	if os.Getenv("CI") == "true" {
		n = 10_000
	}
	if s := os.Getenv("SEKIMORI_TEST_REPORTS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(15, 9990)) // the same reports in every run
	args := []string{"--noout", "--schema", xsd}
	for i := range n {
		r, list := generated(rnd)
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text(t, r, list...)), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	run(t, xmllint, args...)
}

// generated returns a report in which everything may be anything: values that are usual, missing,
// wrong, or made to break the XML.
func generated(rnd *rand.Rand) (*Report, []report.Row) {
	words := []string{"", "pass", "fail", "none", "reject", "quarantine", "softfail", "temperror", "permerror", "neutral", "policy", "hardfail", "PASS",
		"local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder", "sampled_out", "relaxed", "strict", "treewalk", "psl", "shop.example",
		"bücher.example", "a<b>&c", "]]>", "\x00\x1b", "\xff\xc3", "\u2028\ufffe", strings.Repeat("x", 300), "https://isp.example/?a=b&c=d", "0:1:d:s", "not waited for"}
	word := func() string { return words[rnd.IntN(len(words))] }
	name := func() dns.Name { return dns.Name(word()) }
	addr := func() netip.Addr {
		switch rnd.IntN(4) {
		case 0:
			return netip.Addr{}
		case 1:
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.Uint32())})
		case 2:
			return netip.MustParseAddr("2001:db8::7%eth0")
		}
		return netip.MustParseAddr("::ffff:192.0.2.1")
	}
	r := &Report{
		Organization: word(), Contact: word(), ContactInfo: word(), Generator: word(), ReportID: NewReportID(word(), day, name(), name()),
		Job: report.Job{Window: report.Window{Begin: rnd.Int64N(1 << 40), End: rnd.Int64N(1 << 40)}, Lost: rnd.Int64N(3), Policy: report.Policy{Domain: name(),
			P: dmarc.Policy(word()), SP: dmarc.Policy(word()), NP: dmarc.Policy(word()), ADKIM: dmarc.Mode(word()), ASPF: dmarc.Mode(word()), FO: word(),
			Testing: rnd.IntN(2) == 0, Method: dmarc.Method(word()), Invalid: word()}},
	}
	for range rnd.IntN(4) {
		r.Errors = append(r.Errors, word())
	}
	var list []report.Row
	for range 1 + rnd.IntN(4) {
		row := report.Row{Source: addr(), Disposition: report.Disposition(word()), DKIM: rnd.IntN(2) == 0, SPF: rnd.IntN(2) == 0, HeaderFrom: name(), EnvelopeFrom: name(),
			EnvelopeTo: name(), AuthSPF: report.SPFResult{Domain: word(), Result: word(), Human: word()}, Count: rnd.Int64()}
		for range rnd.IntN(3) {
			row.Reasons = append(row.Reasons, report.Reason{Type: word(), Comment: word()})
		}
		for range rnd.IntN(5) {
			row.AuthDKIM = append(row.AuthDKIM, report.DKIMResult{Domain: name(), Selector: word(), Result: word(), Human: word()})
		}
		list = append(list, row)
	}
	return r, list
}

func TestPythonXMLSchema(t *testing.T) {
	need(t, "/usr/lib/python3/dist-packages/xmlschema", "python3-xmlschema")
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	if out := run(t, "/usr/bin/python3", append([]string{"testdata/schema.py", suites.Path(t, schema)}, files...)...); len(out) > 0 {
		t.Errorf("%s", out)
	}
}

// TestMox gives the mails to the reader of the mail server mox.
func TestMox(t *testing.T) {
	for i, file := range mails(t, func(xml string) string { return xml }) {
		e := examples()[i]
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dmarcrpt.ParseMessageReport(slog.New(slog.DiscardHandler), f)
		_ = f.Close()
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		want := read(t, text(t, e.report, e.rows...))
		m, p := got.ReportMetadata, got.PolicyPublished
		if got.Version != "1.0" || m.OrgName != want.Metadata.OrgName || m.Email != want.Metadata.Email || m.ReportID != want.Metadata.ID || m.ExtraContactInfo != want.Metadata.Extra ||
			m.DateRange.Begin != day.Begin || m.DateRange.End != day.End || strings.Join(m.Errors, "|") != strings.Join(want.Metadata.Error, "|") {
			t.Errorf("%s: metadata %+v, want %+v", e.name, m, want.Metadata)
		}
		if p.Domain != want.Policy.Domain || string(p.Policy) != want.Policy.P || string(p.SubdomainPolicy) != want.Policy.SP || string(p.ADKIM) != want.Policy.ADKIM ||
			string(p.ASPF) != want.Policy.ASPF || p.ReportingOptions != want.Policy.FO {
			t.Errorf("%s: policy %+v, want %+v", e.name, p, want.Policy)
		}
		if len(got.Records) != len(want.Records) {
			t.Errorf("%s: %d records, want %d", e.name, len(got.Records), len(want.Records))
			continue
		}
		for k, r := range got.Records {
			w := want.Records[k]
			a := line(r.Row.SourceIP, r.Row.Count, r.Row.PolicyEvaluated.Disposition, r.Row.PolicyEvaluated.DKIM, r.Row.PolicyEvaluated.SPF, len(r.Row.PolicyEvaluated.Reasons),
				r.Identifiers.HeaderFrom, r.Identifiers.EnvelopeFrom, r.AuthResults.DKIM, r.AuthResults.SPF[0].Domain, r.AuthResults.SPF[0].Scope, r.AuthResults.SPF[0].Result)
			b := line(w.Source, w.Count, w.Disposition, w.DKIM, w.SPF, len(w.Reasons), w.HeaderFrom, *w.EnvelopeFrom, w.AuthDKIM, w.AuthSPF[0].Domain, w.AuthSPF[0].Scope, w.AuthSPF[0].Result)
			if a != b {
				t.Errorf("%s: record %s, want %s", e.name, a, b)
			}
		}
	}
}

// TestDmarcCat gives the attached files to dmarc-cat, which takes a file only if it likes its name.
func TestDmarcCat(t *testing.T) {
	dmarcCat := need(t, "/usr/bin/dmarc-cat", "dmarc-cat")
	dir := t.TempDir()
	for _, e := range examples() {
		file := filepath.Join(dir, FileName(e.report))
		var gz bytes.Buffer
		if err := WriteGzip(&gz, e.report, rows(e.rows...)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, gz.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		out := string(run(t, dmarcCat, "-N", file))
		want := read(t, text(t, e.report, e.rows...))
		for _, s := range []string{e.report.Organization, e.report.Contact, string(e.report.Job.Policy.Domain), fmt.Sprintf("Reports(%d)", len(e.rows)), want.Records[0].Source,
			want.Records[0].HeaderFrom} {
			if !strings.Contains(out, s) {
				t.Errorf("%s: dmarc-cat does not show %q:\n%s", e.name, s, out)
			}
		}
	}
}

// TestDmarctsReportParser gives the mails to the functions of dmarcts-report-parser, with a database
// that only notes what it is given.
func TestDmarctsReportParser(t *testing.T) {
	program := need(t, "/usr/sbin/dmarcts-report-parser", "dmarcts-report-parser")
	var got []struct {
		Result  int
		Inserts [][]any
	}
	out := run(t, "/usr/bin/perl", append([]string{"testdata/dmarcts.pl", program}, mails(t, func(xml string) string { return xml })...)...)
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for i, e := range examples() {
		if got[i].Result != 1 || len(got[i].Inserts) != 1+len(e.rows) {
			t.Errorf("%s: result %d, %v", e.name, got[i].Result, got[i].Inserts)
			continue
		}
		want := read(t, text(t, e.report, e.rows...))
		head := got[i].Inserts[0] // mindate, maxdate, domain, org, reportid, email, ...
		if line(head[0], head[1], head[2], head[3], head[4], head[5]) != line(want.Metadata.Begin, want.Metadata.End, want.Policy.Domain, want.Metadata.OrgName,
			want.Metadata.ID, want.Metadata.Email) {
			t.Errorf("%s: report %v", e.name, head[:6])
		}
		for k, r := range want.Records { // serial, rcount, disposition, spf_align, dkim_align, reason, dkimdomain, dkimresult, spfdomain, spfresult, identifier_hfrom
			row := got[i].Inserts[1+k]
			disposition := r.Disposition
			if disposition == "pass" {
				disposition = "unknown" // a word of RFC 9990 that this program does not know
			}
			if line(row[1], row[2], row[3], row[4], row[8], row[9], row[10]) != line(r.Count, disposition, r.SPF, r.DKIM, r.AuthSPF[0].Domain, r.AuthSPF[0].Result, r.HeaderFrom) {
				t.Errorf("%s: row %v, want %+v", e.name, row, r)
			}
		}
	}
}

// TestMailDMARC is about a known failure: Mail::DMARC 1.20211209 looks for elements without a
// namespace, and so finds nothing in a report of RFC 9990. Version 2 reads it. Without the namespace,
// it reads our reports, so nothing else is in its way.
func TestMailDMARC(t *testing.T) {
	need(t, "/usr/share/perl5/Mail/DMARC/Report/Receive.pm", "libmail-dmarc-perl")
	type record struct {
		IP, Disposition, From string
		Count                 json.Number
		SPF, DKIM             []string
	}
	var got []struct {
		Error, Org, ID, Domain, P string
		Begin, End                json.Number
		Records                   []record
	}
	reads := func(change func(string) string) {
		t.Helper()
		got = nil
		out := run(t, "/usr/bin/perl", append([]string{"testdata/maildmarc.pl"}, mails(t, change)...)...)
		d := json.NewDecoder(bytes.NewReader(out))
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	reads(func(xml string) string { return xml })
	for i, e := range examples() {
		if got[i].Error == "" {
			t.Errorf("%s: Mail::DMARC reads the namespace now: %+v; check every value, and say so in the documentation", e.name, got[i])
		}
	}
	reads(func(xml string) string { return strings.Replace(xml, ` xmlns="`+Namespace+`"`, "", 1) })
	for i, e := range examples() {
		want := read(t, text(t, e.report, e.rows...))
		g := got[i]
		if g.Error != "" || g.Org != want.Metadata.OrgName || g.ID != want.Metadata.ID || g.Domain != want.Policy.Domain || g.P != want.Policy.P || g.Begin.String() != fmt.Sprint(day.Begin) ||
			len(g.Records) != len(want.Records) {
			t.Errorf("%s: %+v", e.name, g)
			continue
		}
		for k, r := range g.Records {
			if w := want.Records[k]; r.IP != w.Source || r.From != w.HeaderFrom || r.Count.String() != fmt.Sprint(w.Count) || len(r.DKIM) != len(w.AuthDKIM) || len(r.SPF) != 1 {
				t.Errorf("%s: record %+v, want %+v", e.name, r, w)
			}
		}
	}
}
