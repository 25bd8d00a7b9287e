// Package aggregate writes aggregate reports: the XML of RFC 9990 and the mail that carries it. It
// asks nobody and decides nothing. Rows are written while they are read, so the size of a report does
// not matter.
//
// The report has every element that RFC 9990 allows and that we have a fact for, in the order of the
// schema, even where the schema allows any order: some readers depend on the order. Every value is
// made safe before it is written: names are A-labels, and control characters and invalid UTF-8 become
// question marks. A word that the schema does not know is replaced by one that it knows, because
// readers drop whole reports that do not follow the schema.
//
// A section without a name of an RFC is of RFC 9990.
package aggregate

import (
	"fmt"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// Report is one aggregate report, without its rows.
type Report struct {
	Job          report.Job
	Organization string // org_name
	Contact      string // address for questions
	ContactInfo  string // a web page or another contact, "" for none
	// ReportID is made by NewReportID once, and never changes. It also has the submitter and the
	// unique part of the file name, so that a report that is sent again has the same name (§3.5.2).
	ReportID  string
	Generator string // such as "sekimori 1.2.3"
	// Errors says what was wrong with the record or with its destinations, in words. The invalid tags
	// of the record and the lost rows of the job need not be here.
	Errors []string
}

const (
	// maxLocalPart bounds the part of a Report-ID before the at sign (RFC 5321 §4.5.3.1.1).
	maxLocalPart = 64
	// maxUnique bounds the unique part, so that there is room for the date and the domain.
	maxUnique = 24
)

// NewReportID returns the Report-ID of a new report (§3.5.3.1), such as
// "20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example". unique is a random text of at least 12
// letters and digits. The part before the at sign is unique by itself, because some readers cut the
// id there and some compare ids of all domains. If the domain is too long for 64 octets, its first
// labels are left out.
func NewReportID(unique string, w report.Window, policyDomain, submitter dns.Name) string {
	left := time.Unix(w.Begin, 0).UTC().Format("20060102") + "." + alphanumeric(unique)
	for domain := hostname(policyDomain); domain != ""; domain = domain.Parent() {
		if len(left)+1+len(domain) <= maxLocalPart {
			left += "." + string(domain)
			break
		}
	}
	return left + "@" + string(hostname(submitter))
}

// alphanumeric keeps the letters and digits of s, in lower case, and at most maxUnique of them. The
// program dmarc-cat refuses other characters in a file name.
func alphanumeric(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, s)
	if s == "" {
		return "0"
	}
	return s[:min(len(s), maxUnique)]
}

// hostname returns a name with only the characters of host names, as an id and a file name need it.
// It changes no name from dns.ParseHostname.
func hostname(n dns.Name) dns.Name {
	n = dns.Name(asciiName(string(n)))
	clean := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, string(n))
	for strings.Contains(clean, "..") {
		clean = strings.ReplaceAll(clean, "..", ".")
	}
	if clean = strings.Trim(clean, "."); clean == "" {
		return "unknown"
	}
	return dns.Name(clean)
}

// Submitter returns the domain of the organization that sends the report. It is taken from the
// Report-ID.
func (r *Report) Submitter() dns.Name {
	_, domain, _ := strings.Cut(r.ReportID, "@")
	return hostname(dns.Name(domain))
}

// unique returns the unique part of the Report-ID.
func (r *Report) unique() string {
	left, _, _ := strings.Cut(r.ReportID, "@")
	if parts := strings.SplitN(left, ".", 3); len(parts) > 1 {
		return alphanumeric(parts[1])
	}
	return alphanumeric(left)
}

// FileName returns the name of the attached file (§3.5.2):
// receiver!policydomain!begin!end!unique.xml.gz
func FileName(r *Report) string {
	w := r.Job.Window
	return fmt.Sprintf("%s!%s!%d!%d!%s.xml.gz", r.Submitter(), hostname(r.Job.Policy.Domain), w.Begin, w.End, r.unique())
}

// Subject returns the subject of the mail (§3.5.3.1). Package report recognizes it.
func Subject(r *Report) string {
	return fmt.Sprintf("Report Domain: %s Submitter: %s Report-ID: <%s>", hostname(r.Job.Policy.Domain), r.Submitter(), r.ReportID)
}

// maxError is the length of the element error, in octets. Nobody reads more.
const maxError = 500

// errorText returns the text of the element error before it is cut, or "". There may be only one such element
// (§3.1.5).
func (r *Report) errorText() string {
	var all []string
	if r.Job.Lost > 0 {
		all = append(all, "this report lacks "+printable.Counted(r.Job.Lost, "message"))
	}
	if r.Job.Policy.Invalid != "" {
		all = append(all, "the record has invalid tags: "+r.Job.Policy.Invalid)
	}
	return strings.Join(append(all, r.Errors...), "; ")
}
