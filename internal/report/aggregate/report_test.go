package aggregate

import (
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/compose"
)

// day is the window of 28 November 2026.
var day = report.Window{Begin: 1795824000, End: 1795910399}

func TestNewReportID(t *testing.T) {
	long := dns.Name(strings.Repeat("a23456789.", 24) + "example")
	for _, c := range []struct {
		why               string
		unique            string
		domain, submitter dns.Name
		want              string
	}{
		{"usual", "k7q2m4x9ab3d", "shop.example", "dmarc.isp.example", "20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example"},
		{"capitals and signs are no unique part", "K7-q2/M4", "shop.example", "isp.example", "20261128.k7q2m4.shop.example@isp.example"},
		{"a long domain loses its first labels", "k7q2m4x9ab3d", long, "isp.example",
			"20261128.k7q2m4x9ab3d.a23456789.a23456789.a23456789.example@isp.example"},
		{"as long as fits", "k7q2m4x9ab3d", dns.Name(strings.Repeat("x", 34) + ".example"), "isp.example",
			"20261128.k7q2m4x9ab3d." + strings.Repeat("x", 34) + ".example@isp.example"},
		{"one octet more", "k7q2m4x9ab3d", dns.Name(strings.Repeat("x", 35) + ".example"), "isp.example", "20261128.k7q2m4x9ab3d.example@isp.example"},
		{"a label that is too long is left out", "k7q2m4x9ab3d", dns.Name(strings.Repeat("x", 60) + ".example"), "isp.example",
			"20261128.k7q2m4x9ab3d.example@isp.example"},
		{"line ends", "a\r\nb", "shop\r\nbcc: x", "isp.example\r\n", "20261128.ab.shop--bcc--x@isp.example--"},
		{"no name at all", "", "", "", "20261128.0.unknown@unknown"},
		{"quotes and dots", "x", `..a".b.`, "isp..example", "20261128.x.a-.b@isp.example"},
		{"another script", "x", "bücher.example", "isp.example", "20261128.x.xn--bcher-kva.example@isp.example"},
	} {
		got := NewReportID(c.unique, day, c.domain, c.submitter)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
		if left, _, _ := strings.Cut(got, "@"); len(left) > maxLocalPart || !compose.IsMessageID(got) {
			t.Errorf("%s: %s is no message id with a local part of up to %d octets", c.why, got, maxLocalPart)
		}
	}
	longest := NewReportID(strings.Repeat("u", 500), day, long, long)
	if !compose.IsMessageID(longest) || !strings.HasPrefix(longest, "20261128."+strings.Repeat("u", maxUnique)+".") {
		t.Errorf("the longest id is %s", longest)
	}
}

func TestFileNameAndSubject(t *testing.T) {
	r := usual()
	if got, want := FileName(r), "dmarc.isp.example!shop.example!1795824000!1795910399!k7q2m4x9ab3d.xml.gz"; got != want {
		t.Errorf("file name %s, want %s", got, want)
	}
	if got, want := Subject(r), "Report Domain: shop.example Submitter: dmarc.isp.example Report-ID: <20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example>"; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	r.Job.Policy.Domain, r.ReportID = "a/../\"b\r\n", "somebody-else's"
	if got, want := FileName(r), "unknown!a-.--b--!1795824000!1795910399!somebodyelses.xml.gz"; got != want {
		t.Errorf("file name %s, want %s", got, want)
	}
}

// TestHostname checks which characters stay in an id and in a file name.
func TestHostname(t *testing.T) {
	for in, want := range map[dns.Name]dns.Name{"az-09_.az": "az-09_.az", "`{/:@[": "------", "AZ": "--", "": "unknown", "..": "unknown", "a...b.": "a.b"} {
		if got := hostname(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := alphanumeric("`az{/09:@AZ["); got != "az09az" {
		t.Errorf("the unique part: %q", got)
	}
}
