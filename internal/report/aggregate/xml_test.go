package aggregate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"iter"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// usual is an ordinary report.
func usual() *Report {
	return &Report{
		Job: report.Job{Window: day, Messages: 12, Rows: 1, Policy: report.Policy{Domain: "shop.example", P: dmarc.PolicyReject, SP: dmarc.PolicyReject,
			NP: dmarc.PolicyReject, ADKIM: dmarc.Relaxed, ASPF: dmarc.Strict, FO: "1", Method: dmarc.TreeWalk}},
		Organization: "Example ISP", Contact: "postmaster@isp.example", ContactInfo: "https://isp.example/dmarc",
		ReportID: "20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example", Generator: "sekimori 1.0",
	}
}

// passed is a row of mail that passed by DKIM and SPF.
func passed() report.Row {
	return report.Row{Source: netip.MustParseAddr("192.0.2.7"), Disposition: report.Pass, DKIM: true, SPF: true, HeaderFrom: "shop.example",
		EnvelopeFrom: "bounce.shop.example", AuthDKIM: []report.DKIMResult{{Domain: "shop.example", Selector: "s1", Result: "pass"}},
		AuthSPF: report.SPFResult{Domain: "bounce.shop.example", Result: "pass"}, Count: 12}
}

// rows makes a stream of rows.
func rows(list ...report.Row) iter.Seq2[report.Row, error] {
	return func(yield func(report.Row, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// text returns the XML of a report.
func text(t testing.TB, r *Report, list ...report.Row) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteXML(&b, r, rows(list...)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// feedback is a report as a reader sees it.
type feedback struct {
	XMLName  xml.Name `xml:"feedback"`
	Version  string   `xml:"version"`
	Metadata struct {
		OrgName string   `xml:"org_name"`
		Email   string   `xml:"email"`
		Extra   string   `xml:"extra_contact_info"`
		ID      string   `xml:"report_id"`
		Begin   int64    `xml:"date_range>begin"`
		End     int64    `xml:"date_range>end"`
		Error   []string `xml:"error"`
		Program string   `xml:"generator"`
	} `xml:"report_metadata"`
	Policy struct {
		Domain  string `xml:"domain"`
		P       string `xml:"p"`
		SP      string `xml:"sp"`
		NP      string `xml:"np"`
		ADKIM   string `xml:"adkim"`
		ASPF    string `xml:"aspf"`
		Method  string `xml:"discovery_method"`
		FO      string `xml:"fo"`
		Testing string `xml:"testing"`
	} `xml:"policy_published"`
	Records []record `xml:"record"`
}

type record struct {
	Source      string `xml:"row>source_ip"`
	Count       int64  `xml:"row>count"`
	Disposition string `xml:"row>policy_evaluated>disposition"`
	DKIM        string `xml:"row>policy_evaluated>dkim"`
	SPF         string `xml:"row>policy_evaluated>spf"`
	Reasons     []struct {
		Type    string  `xml:"type"`
		Comment *string `xml:"comment"`
	} `xml:"row>policy_evaluated>reason"`
	HeaderFrom   string  `xml:"identifiers>header_from"`
	EnvelopeFrom *string `xml:"identifiers>envelope_from"`
	EnvelopeTo   *string `xml:"identifiers>envelope_to"`
	AuthDKIM     []struct {
		Domain   string `xml:"domain"`
		Selector string `xml:"selector"`
		Result   string `xml:"result"`
		Human    string `xml:"human_result"`
	} `xml:"auth_results>dkim"`
	AuthSPF []struct {
		Domain string `xml:"domain"`
		Scope  string `xml:"scope"`
		Result string `xml:"result"`
		Human  string `xml:"human_result"`
	} `xml:"auth_results>spf"`
}

// read reads a report with Go's XML decoder.
func read(t testing.TB, text string) feedback {
	t.Helper()
	var f feedback
	if err := xml.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if f.XMLName.Space != Namespace {
		t.Fatalf("namespace %q", f.XMLName.Space)
	}
	return f
}

func TestWriteXMLStops(t *testing.T) {
	r := usual()
	if err := WriteXML(&bytes.Buffer{}, r, rows()); !errors.Is(err, ErrNoRows) {
		t.Errorf("without rows: %v", err)
	}
	broken := errors.New("the store is gone")
	err := WriteXML(&bytes.Buffer{}, r, func(yield func(report.Row, error) bool) {
		_ = yield(passed(), nil) && yield(report.Row{}, broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("with an error after the first row: %v", err)
	}
	full := errors.New("disk full")
	endless := 0
	err = WriteXML(failing{full}, r, func(yield func(report.Row, error) bool) {
		for yield(passed(), nil) && endless < 10000 {
			endless++
		}
	})
	if !errors.Is(err, full) || endless >= 10000 {
		t.Errorf("with a full disk: %v after %d rows", err, endless)
	}
	if err := WriteXML(failing{full}, r, rows(passed())); !errors.Is(err, full) {
		t.Errorf("with a full disk at the end: %v", err)
	}
	if err := WriteGzip(&bytes.Buffer{}, r, rows()); !errors.Is(err, ErrNoRows) {
		t.Errorf("compressed, without rows: %v", err)
	}
	if err := WriteGzip(failing{full}, r, rows(passed())); !errors.Is(err, full) {
		t.Errorf("compressed, with a full disk: %v", err)
	}
	m := &Mail{Report: r, From: "noreply@isp.example", To: "rua@shop.example"}
	for at := range 4 { // the header, the file and the end are written one after the other
		if err := WriteMail(&failsAt{full, at}, m, strings.NewReader("x")); (err != nil) != (at < 3) || err != nil && !errors.Is(err, full) {
			t.Errorf("a mail whose write %d fails: %v", at+1, err)
		}
	}
	r.ReportID = ""
	if err := WriteXML(&bytes.Buffer{}, r, rows(passed())); !errors.Is(err, ErrNoID) {
		t.Errorf("without an id: %v", err)
	}
}

// failsAt is a writer of which only one write fails.
type failsAt struct {
	err  error
	left int // writes before that
}

func (f *failsAt) Write(b []byte) (int, error) {
	if f.left--; f.left == -1 {
		return 0, f.err
	}
	return len(b), nil
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestWriteXMLBeginning(t *testing.T) {
	got := text(t, usual(), passed())
	if !strings.HasPrefix(got, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n  <version>1.0</version>\n") {
		t.Errorf("begins with %.200s", got)
	}
	f := read(t, got)
	if f.Metadata.OrgName != "Example ISP" || len(f.Records) != 1 || f.Records[0].Count != 12 {
		t.Errorf("read back: %+v", f)
	}
}

// TestHostileText writes reports whose every value has octets that XML, a name or a reader cannot
// have, or is much too long.
func TestHostileText(t *testing.T) {
	for _, bad := range []string{"\x00\x01\x1f\x7f", "a\r\nb\tc", "</text>&<![CDATA[", "]]>", "\xff\xfe\x80", "\ufffe\uffff\u0085\u2028\u202e", "\xed\xa0\x80",
		strings.Repeat("ü", 1000), strings.Repeat("<", 5000), `"'`} {
		r := usual()
		r.Organization, r.Contact, r.ContactInfo, r.Generator, r.Errors = bad, bad, bad, bad, []string{bad, bad}
		r.Job.Policy.Domain, r.Job.Policy.FO, r.Job.Policy.Invalid = dns.Name(bad), bad, bad
		row := passed()
		row.HeaderFrom, row.EnvelopeFrom, row.EnvelopeTo = dns.Name(bad), dns.Name(bad), dns.Name(bad)
		row.Reasons = []report.Reason{{Type: bad, Comment: bad}}
		row.AuthDKIM = []report.DKIMResult{{Domain: dns.Name(bad), Selector: bad, Result: bad, Human: bad}}
		row.AuthSPF = report.SPFResult{Domain: bad, Result: bad, Human: bad}
		row.Disposition = report.Disposition(bad)
		got := text(t, r, row)
		f := read(t, got)
		texts := []string{f.Metadata.OrgName, f.Metadata.Email, f.Metadata.Extra, f.Metadata.Program, f.Policy.FO, *f.Records[0].Reasons[0].Comment,
			f.Records[0].AuthDKIM[0].Selector, f.Records[0].AuthDKIM[0].Human, f.Records[0].AuthSPF[0].Human}
		names := []string{f.Policy.Domain, f.Records[0].HeaderFrom, *f.Records[0].EnvelopeFrom, *f.Records[0].EnvelopeTo, f.Records[0].AuthDKIM[0].Domain,
			f.Records[0].AuthSPF[0].Domain}
		for _, s := range append(texts, f.Metadata.Error...) {
			if s == "" || len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return !printable.IsShown(r) }) {
				t.Errorf("%q became %q", bad, s)
			}
		}
		for _, s := range names {
			if s == "" || len(s) > maxName || !printable.IsPlain(s) {
				t.Errorf("name %q became %q", bad, s)
			}
		}
		if len(f.Metadata.Error) != 1 || len(f.Metadata.Error[0]) > maxError {
			t.Errorf("%q: error is %q", bad, f.Metadata.Error)
		}
		if f.Records[0].Disposition != "none" || f.Records[0].Reasons[0].Type != "other" || f.Records[0].AuthDKIM[0].Result != "neutral" || f.Records[0].AuthSPF[0].Result != "neutral" {
			t.Errorf("words became %+v", f.Records[0])
		}
	}
}

// pieces notes the sizes of what is written.
type pieces []int

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, len(b))
	return len(b), nil
}

// TestXMLIsWrittenInPieces checks when rows are written: as soon as there are flushAt octets, so that the memory
// does not grow with the number of rows.
func TestXMLIsWrittenInPieces(t *testing.T) {
	r := usual()
	r.Organization, r.ContactInfo, r.Generator = "x", "x", "x"
	one, two := len(text(t, r, passed())), len(text(t, r, passed(), passed()))
	row := two - one
	head := one - row - len("</feedback>\n")
	// The head gets as many octets as are missing to flushAt behind a number of whole rows.
	missing := (flushAt - head) % row
	for _, place := range []*string{&r.Organization, &r.ContactInfo, &r.Generator} {
		n := min(missing, maxText-1)
		*place += strings.Repeat("x", n)
		missing -= n
	}
	if missing > 0 {
		t.Fatalf("%d octets are missing", missing)
	}
	for shorter, want := range map[int]int{0: flushAt, 1: flushAt - 1 + row} {
		r.Organization = r.Organization[shorter:]
		var p pieces
		if err := WriteXML(&p, r, func(yield func(report.Row, error) bool) {
			for range 3 * flushAt / row {
				if len(p) > 3 || !yield(passed(), nil) {
					return
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(p) < 3 || p[0] != want {
			t.Errorf("%d octets shorter: pieces of %v octets, want the first of %d", shorter, p, want)
		}
		for _, n := range p {
			if n >= flushAt+row {
				t.Errorf("a piece of %d octets", n)
			}
		}
		r.Organization += strings.Repeat("x", shorter)
	}
}

// TestASCIINames checks how names are written: plain ones as they are, those of other scripts as A-labels, and none too long.
func TestASCIINames(t *testing.T) {
	long := strings.Repeat("x", maxName)
	for in, want := range map[string]string{
		"": "", "shop.example": "shop.example", "Shop.Example": "Shop.Example", "a b": "a b", "bücher.example": "xn--bcher-kva.example",
		"a\x00b": "a?b", "\xff.example": "?.example", "bücher..example": "b?cher..example", long: long,
	} {
		if got := asciiName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, s := range []string{long + "x", long + long, strings.Repeat("ü", maxName)} {
		if got := asciiName(s); len(got) > maxName || !printable.IsPlain(got) {
			t.Errorf("%d octets became %d: %q", len(s), len(got), got)
		}
	}
}

// TestPublished checks the policy of a record that lacks tags, and of one with values that mean nothing.
func TestPublished(t *testing.T) {
	for _, tt := range []struct {
		why  string
		p    report.Policy
		want [8]string // p, sp, np, adkim, aspf, discovery_method, fo, testing
	}{
		{"nothing", report.Policy{}, [8]string{"none", "none", "none", "r", "r", "", "0", "n"}},
		{"p", report.Policy{P: dmarc.PolicyReject}, [8]string{"reject", "reject", "reject", "r", "r", "", "0", "n"}},
		{"p and sp", report.Policy{P: dmarc.PolicyReject, SP: dmarc.PolicyNone}, [8]string{"reject", "none", "none", "r", "r", "", "0", "n"}},
		{"all", report.Policy{P: dmarc.PolicyNone, SP: dmarc.PolicyQuarantine, NP: dmarc.PolicyReject, ADKIM: dmarc.Strict, ASPF: dmarc.Relaxed, Method: dmarc.PSL, FO: "1", Testing: true},
			[8]string{"none", "quarantine", "reject", "s", "r", "psl", "1", "y"}},
		{"another mode", report.Policy{ASPF: dmarc.Strict, Method: dmarc.TreeWalk}, [8]string{"none", "none", "none", "r", "s", "treewalk", "0", "n"}},
		{"no values of RFC 9990", report.Policy{P: "x", SP: "y", NP: "z", ADKIM: "s ", Method: "guess"}, [8]string{"none", "none", "none", "r", "r", "", "0", "n"}},
	} {
		r := usual()
		r.Job.Policy = tt.p
		p := read(t, text(t, r, passed())).Policy
		if got := [8]string{p.P, p.SP, p.NP, p.ADKIM, p.ASPF, p.Method, p.FO, p.Testing}; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// TestWordsOfTheSchema checks which words the schema allows stand in a row as they are, and what stands there for others.
func TestWordsOfTheSchema(t *testing.T) {
	for _, tt := range []struct {
		word              string
		disposition, dkim string
		spf, reason       string
	}{
		{"none", "none", "none", "none", "other"},
		{"pass", "pass", "pass", "pass", "other"},
		{"quarantine", "quarantine", "neutral", "neutral", "other"},
		{"reject", "reject", "neutral", "neutral", "other"},
		{"fail", "none", "fail", "fail", "other"},
		{"policy", "none", "policy", "policy", "other"},
		{"neutral", "none", "neutral", "neutral", "other"},
		{"temperror", "none", "temperror", "temperror", "other"},
		{"permerror", "none", "permerror", "permerror", "other"},
		{"softfail", "none", "neutral", "softfail", "other"},
		{"local_policy", "none", "neutral", "neutral", "local_policy"},
		{"mailing_list", "none", "neutral", "neutral", "mailing_list"},
		{"policy_test_mode", "none", "neutral", "neutral", "policy_test_mode"},
		{"trusted_forwarder", "none", "neutral", "neutral", "trusted_forwarder"},
		{"other", "none", "neutral", "neutral", "other"},
		{"Pass", "none", "neutral", "neutral", "other"},
		{"", "none", "neutral", "neutral", "other"},
	} {
		if got := [4]string{disposition(report.Disposition(tt.word)), dkimWord(tt.word), spfWord(tt.word), reasonType(tt.word)}; got != [4]string{tt.disposition, tt.dkim, tt.spf, tt.reason} {
			t.Errorf("%q: %q", tt.word, got)
		}
	}
}
