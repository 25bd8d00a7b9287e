package aggregate

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
)

var update = flag.Bool("update", false, "write the files in testdata")

// example is a report that is compared with testdata/NAME.xml, and that other programs read. Its name
// is the reason for it.
type example struct {
	name   string
	report *Report
	rows   []report.Row
}

// examples returns the reports of testdata.
func examples() []example {
	row := func(change func(r *report.Row)) report.Row {
		r := passed()
		change(&r)
		return r
	}
	failed := func(change func(r *report.Row)) report.Row {
		return row(func(r *report.Row) {
			r.Disposition, r.DKIM, r.SPF = report.Reject, false, false
			r.AuthDKIM, r.AuthSPF = nil, report.SPFResult{Domain: "shop.example", Result: "fail"}
			change(r)
		})
	}
	because := func(d report.Disposition, reasons ...report.Reason) report.Row {
		return failed(func(r *report.Row) { r.Disposition, r.Reasons = d, reasons })
	}
	with := func(change func(r *Report)) *Report {
		r := usual()
		change(r)
		return r
	}
	signature := func(d, s, result, human string) report.DKIMResult {
		return report.DKIMResult{Domain: dns.Name(d), Selector: s, Result: result, Human: human}
	}
	return []example{
		{"passed-under-enforcing-policy", usual(), []report.Row{passed()}},
		{"passed-under-policy-none", with(func(r *Report) { r.Job.Policy.P, r.Job.Policy.SP, r.Job.Policy.NP = "none", "none", "none" }),
			[]report.Row{row(func(r *report.Row) { r.Disposition = report.None })}},
		{"rejected", usual(), []report.Row{because(report.Reject)}},
		{"quarantined-instead-of-rejected", usual(), []report.Row{because(report.Quarantine, report.Reason{Type: "local_policy", Comment: "p=reject is quarantined here"})}},
		{"monitor-mode-did-nothing", usual(), []report.Row{because(report.None, report.Reason{Type: "local_policy", Comment: "policies are not enforced here"})}},
		{"mailing-list", usual(), []report.Row{because(report.None, report.Reason{Type: "mailing_list", Comment: "looks like mail from a list"})}},
		{"trusted-forwarder", usual(), []report.Row{because(report.None, report.Reason{Type: "trusted_forwarder"})}},
		{"test-mode-and-local-policy", with(func(r *Report) { r.Job.Policy.Testing = true }),
			[]report.Row{because(report.None, report.Reason{Type: "policy_test_mode"}, report.Reason{Type: "local_policy", Comment: "policies are not enforced here"})}},
		{"temporary-error-not-waited-for", usual(), []report.Row{because(report.None, report.Reason{Type: "other", Comment: "DNS did not answer"}),
			failed(func(r *report.Row) {
				r.AuthSPF = report.SPFResult{Domain: "shop.example", Result: "temperror", Human: "not waited for"}
			})}},
		{"null-path-has-empty-envelope-from", usual(), []report.Row{row(func(r *report.Row) {
			r.EnvelopeFrom, r.AuthSPF = "", report.SPFResult{Domain: "mx.shop.example", Result: "pass"}
		})}},
		{"no-name-for-spf", usual(), []report.Row{failed(func(r *report.Row) {
			r.EnvelopeFrom, r.AuthSPF = "", report.SPFResult{Domain: "unknown", Result: "none"}
		})}},
		{"unsigned-still-has-auth-results", usual(), []report.Row{failed(func(*report.Row) {})}},
		{"ten-signatures-in-order", usual(), []report.Row{row(func(r *report.Row) {
			r.AuthDKIM = []report.DKIMResult{signature("shop.example", "s1", "pass", ""), signature("mail.shop.example", "s2", "pass", ""), signature("esp.example", "e1", "pass", "")}
			for _, result := range []string{"fail", "neutral", "none", "policy", "permerror", "temperror", "fail"} {
				r.AuthDKIM = append(r.AuthDKIM, signature("old.example", "k-"+result, result, "the signature does not verify"))
			}
		})}},
		{"ipv6-and-mapped-ipv4", usual(), []report.Row{row(func(r *report.Row) { r.Source = netip.MustParseAddr("2001:db8:0:0:1::25%eth0") }),
			row(func(r *report.Row) { r.Source = netip.MustParseAddr("::ffff:198.51.100.3") })}},
		{"other-scripts-as-a-labels", with(func(r *Report) {
			r.Job.Policy.Domain, r.Organization = "xn--bcher-kva.example", "Büro 日本"
			r.ReportID = NewReportID("k7q2m4x9ab3d", day, r.Job.Policy.Domain, "dmarc.isp.example")
		}), []report.Row{row(func(r *report.Row) {
			r.HeaderFrom, r.EnvelopeFrom, r.AuthSPF.Domain = "xn--bcher-kva.example", "bücher.example", "bücher.example"
		})}},
		{"subdomain-on-the-record-of-its-parent", usual(), []report.Row{row(func(r *report.Row) { r.HeaderFrom = "news.shop.example" })}},
		{"public-suffix-list-and-strict-modes", with(func(r *Report) {
			r.Job.Policy.Method, r.Job.Policy.ADKIM, r.Job.Policy.ASPF, r.Job.Policy.FO = dmarc.PSL, dmarc.Strict, dmarc.Relaxed, "0:1:d:s"
		}), []report.Row{passed()}},
		{"tags-without-values-get-the-effective-ones", with(func(r *Report) {
			r.Job.Policy = report.Policy{Domain: "shop.example", P: dmarc.PolicyQuarantine}
		}), []report.Row{passed()}},
		{"errors-of-record-and-destinations", with(func(r *Report) {
			r.Job.Lost, r.Job.Policy.Invalid = 1234, "rua, sp"
			r.Errors = []string{"there are several DMARC records at _dmarc.mail.shop.example", "reports to other.example are not authorized (RFC 9990, section 4)"}
		}), []report.Row{passed()}},
		{"recipient-domains-if-configured", usual(), []report.Row{row(func(r *report.Row) { r.EnvelopeTo = "customer.example" })}},
		{"as-little-as-possible", &Report{Job: report.Job{Window: day, Policy: report.Policy{Domain: "shop.example"}}, Organization: "ISP", Contact: "p@isp.example",
			ReportID: "20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example"}, []report.Row{{Count: 1, HeaderFrom: "shop.example"}}},
		{"hostile-texts", with(func(r *Report) { r.Job.Policy.Invalid = "</error><x>&\x00\xff" }), []report.Row{
			row(func(r *report.Row) {
				r.AuthDKIM = []report.DKIMResult{signature("</domain>.example", "s]]>\r\n\x1f", "<pass>", ""), signature("", "", "", "")}
				r.EnvelopeFrom, r.AuthSPF.Domain = "a\"&<b>.example", "\xff\xfe.\u202e.example"
			})}},
	}
}

func TestGolden(t *testing.T) {
	known := map[string]bool{}
	for _, e := range examples() {
		file := filepath.Join("testdata", e.name+".xml")
		known[file] = true
		got := text(t, e.report, e.rows...)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: not as in testdata; if that is right, run go test -update\n%s", e.name, got)
		}
	}
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("%s is of no example", file)
		}
	}
}

// TestOrderOfElements checks the order in which the schema lists the elements. The schema allows any
// order in most places, but some readers do not.
func TestOrderOfElements(t *testing.T) {
	r := usual()
	r.Errors = []string{"x"}
	row := passed()
	row.EnvelopeTo, row.Reasons = "y.example", []report.Reason{{Type: "other", Comment: "z"}}
	row.AuthDKIM[0].Human, row.AuthSPF.Human = "h", "h"
	var got []string
	for line := range strings.SplitSeq(text(t, r, row), "\n") {
		if name, _, ok := strings.Cut(strings.TrimLeft(line, " <"), ">"); ok && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "?") {
			got = append(got, strings.Fields(name)[0])
		}
	}
	const want = "feedback version report_metadata org_name email extra_contact_info report_id date_range begin end error generator " +
		"policy_published domain p sp np adkim aspf discovery_method fo testing " +
		"record row source_ip count policy_evaluated disposition dkim spf reason type comment identifiers header_from envelope_from envelope_to " +
		"auth_results dkim domain selector result human_result spf domain scope result human_result"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("order\n%s, want\n%s", s, want)
	}
}
