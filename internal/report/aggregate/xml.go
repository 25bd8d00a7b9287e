package aggregate

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// Namespace is the XML namespace of RFC 9990.
const Namespace = "urn:ietf:params:xml:ns:dmarc-2.0"

// ErrNoRows means that there is nothing to report. The schema asks for at least one record.
var ErrNoRows = errors.New("aggregate: the report has no rows")

// ErrNoID means that a report has no usable Report-ID.
var ErrNoID = errors.New("aggregate: the report has no Report-ID; NewReportID makes one")

const (
	// flushAt is how many octets of XML are collected before they are written.
	flushAt = 32 << 10
	// maxText bounds a text of ours or of the operator, such as org_name or a comment, in octets.
	maxText = 500
	// maxName bounds a name, in octets. A domain name has at most 253, a selector too.
	maxName = 255
	// gzipLevel makes reports of many rows 2.3 times as fast as the default level of package gzip, and 5 %
	// larger.
	gzipLevel = 3
)

// WriteGzip is WriteXML, compressed. Equal reports give equal octets.
func WriteGzip(w io.Writer, r *Report, rows iter.Seq2[report.Row, error]) error {
	z, err := gzip.NewWriterLevel(w, gzipLevel)
	if err != nil {
		return fmt.Errorf("aggregate: %w", err)
	}
	if err := WriteXML(z, r, rows); err != nil {
		return err
	}
	return z.Close()
}

// WriteXML writes a report with its rows, in the order in which they come. It stops at the first error
// of the rows or of w and returns that error. It keeps no row, so the memory does not grow with their
// number.
func WriteXML(w io.Writer, r *Report, rows iter.Seq2[report.Row, error]) error {
	if r.ReportID == "" {
		return ErrNoID
	}
	x := writer{out: w, buf: make([]byte, 0, flushAt+flushAt/2)}
	x.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"" + Namespace + "\">\n")
	x.depth = 1
	x.element("version", "1.0")
	x.metadata(r)
	x.published(&r.Job.Policy)
	n := 0
	for row, err := range rows {
		if err != nil {
			return err
		}
		n++
		x.record(&row)
		if len(x.buf) >= flushAt {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return ErrNoRows
	}
	x.close("feedback")
	return x.flush()
}

// metadata writes report_metadata (§3.1.1.1).
func (x *writer) metadata(r *Report) {
	x.open("report_metadata")
	x.text("org_name", r.Organization, maxText)
	x.text("email", r.Contact, maxText)
	if r.ContactInfo != "" {
		x.text("extra_contact_info", r.ContactInfo, maxText)
	}
	x.text("report_id", r.ReportID, maxText)
	x.open("date_range")
	x.integer("begin", r.Job.Window.Begin)
	x.integer("end", r.Job.Window.End)
	x.close("date_range")
	if text := r.errorText(); text != "" {
		x.text("error", text, maxError)
	}
	if r.Generator != "" {
		x.text("generator", r.Generator, maxText)
	}
	x.close("report_metadata")
}

// published writes policy_published (§3.1.1.4). A tag without a value gets the one that applies in its
// place.
func (x *writer) published(p *report.Policy) {
	fallback := func(p, other dmarc.Policy) dmarc.Policy {
		switch p {
		case dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject:
			return p
		}
		return other
	}
	mode := func(m dmarc.Mode) string {
		if m == dmarc.Strict {
			return "s"
		}
		return "r"
	}
	pp := fallback(p.P, dmarc.PolicyNone)
	sp := fallback(p.SP, pp)
	x.open("policy_published")
	x.name("domain", string(p.Domain))
	x.element("p", string(pp))
	x.element("sp", string(sp))
	x.element("np", string(fallback(p.NP, sp)))
	x.element("adkim", mode(p.ADKIM))
	x.element("aspf", mode(p.ASPF))
	if p.Method == dmarc.TreeWalk || p.Method == dmarc.PSL {
		x.element("discovery_method", string(p.Method))
	}
	if p.FO == "" {
		x.element("fo", "0")
	} else {
		x.text("fo", p.FO, maxName)
	}
	if p.Testing {
		x.element("testing", "y")
	} else {
		x.element("testing", "n")
	}
	x.close("policy_published")
}

// record writes one row (§3.1.1.9).
func (x *writer) record(r *report.Row) {
	x.open("record")
	x.open("row")
	x.indent()
	x.buf = append(x.buf, "<source_ip>"...)
	x.buf = appendAddr(x.buf, r.Source)
	x.buf = append(x.buf, "</source_ip>\n"...)
	x.integer("count", r.Count)
	x.open("policy_evaluated")
	x.element("disposition", disposition(r.Disposition))
	x.element("dkim", passOrFail(r.DKIM))
	x.element("spf", passOrFail(r.SPF))
	for _, reason := range r.Reasons {
		x.open("reason")
		x.element("type", reasonType(reason.Type))
		if reason.Comment != "" {
			x.text("comment", reason.Comment, maxText)
		}
		x.close("reason")
	}
	x.close("policy_evaluated")
	x.close("row")

	x.open("identifiers")
	x.name("header_from", string(r.HeaderFrom))
	x.name("envelope_from", string(r.EnvelopeFrom)) // empty for the null path
	if r.EnvelopeTo != "" {
		x.name("envelope_to", string(r.EnvelopeTo))
	}
	x.close("identifiers")

	x.open("auth_results")
	for i := range r.AuthDKIM {
		d := &r.AuthDKIM[i]
		x.open("dkim")
		x.name("domain", orUnknown(string(d.Domain)))
		x.text("selector", orUnknown(d.Selector), maxName)
		x.element("result", dkimWord(d.Result))
		if d.Human != "" {
			x.text("human_result", d.Human, maxText)
		}
		x.close("dkim")
	}
	x.open("spf") // always, because some readers drop a whole report if auth_results is empty
	x.name("domain", orUnknown(r.AuthSPF.Domain))
	x.element("scope", "mfrom")
	x.element("result", spfWord(r.AuthSPF.Result))
	if r.AuthSPF.Human != "" {
		x.text("human_result", r.AuthSPF.Human, maxText)
	}
	x.close("spf")
	x.close("auth_results")
	x.close("record")
}

// appendAddr appends the address as RFC 5952 writes it. A message without a known client address gets
// the unspecified address, because source_ip must be an address.
func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	return a.Unmap().WithZone("").AppendTo(dst)
}

func passOrFail(pass bool) string {
	if pass {
		return "pass"
	}
	return "fail"
}

func disposition(d report.Disposition) string {
	switch d {
	case report.None, report.Pass, report.Quarantine, report.Reject:
		return string(d)
	}
	return string(report.None)
}

func reasonType(t string) string {
	switch policy.OverrideType(t) {
	case policy.OverrideLocalPolicy, policy.OverrideMailingList, policy.OverrideTestMode, policy.OverrideTrustedForwarder:
		return t
	}
	return string(policy.OverrideOther)
}

func dkimWord(result string) string {
	switch result {
	case "none", "pass", "fail", "policy", "neutral", "temperror", "permerror":
		return result
	}
	return "neutral"
}

func spfWord(result string) string {
	if result == "softfail" {
		return result
	}
	return dkimWord(result)
}

// orUnknown returns "unknown" for a text that is missing. Some readers make a hash of an empty element.
func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// asciiName returns a domain name in A-labels. If that is impossible, characters beyond ASCII become
// question marks.
func asciiName(s string) string {
	if printable.IsPlain(s) && len(s) <= maxName {
		return s
	}
	if n, err := dns.ParseName(s); err == nil {
		s = string(n)
	}
	return printable.Marked(s, maxName)
}

// writer collects XML. Its methods write one element, each with its own line and indentation.
type writer struct {
	out   io.Writer
	buf   []byte
	depth int
}

func (x *writer) flush() error {
	_, err := x.out.Write(x.buf)
	x.buf = x.buf[:0]
	if err != nil {
		return fmt.Errorf("aggregate: write the report: %w", err)
	}
	return nil
}

func (x *writer) raw(s string) { x.buf = append(x.buf, s...) }

func (x *writer) indent() {
	const spaces = "                "
	x.buf = append(x.buf, spaces[:min(2*x.depth, len(spaces))]...)
}

func (x *writer) open(name string) {
	x.indent()
	x.buf = append(append(append(x.buf, '<'), name...), ">\n"...)
	x.depth++
}

func (x *writer) close(name string) {
	x.depth--
	x.indent()
	x.buf = append(append(append(x.buf, "</"...), name...), ">\n"...)
}

// element writes an element whose value needs no escapes.
func (x *writer) element(name, value string) {
	x.begin(name)
	x.buf = append(x.buf, value...)
	x.end(name)
}

func (x *writer) integer(name string, value int64) {
	x.begin(name)
	x.buf = strconv.AppendInt(x.buf, value, 10)
	x.end(name)
}

// name writes an element with a domain name.
func (x *writer) name(name, value string) {
	x.begin(name)
	x.buf = appendEscaped(x.buf, asciiName(value))
	x.end(name)
}

// text writes an element with any text, of which at most limit octets are kept.
func (x *writer) text(name, value string, limit int) {
	x.begin(name)
	x.buf = appendEscaped(x.buf, printable.MarkedUTF8(value, limit))
	x.end(name)
}

func (x *writer) begin(name string) {
	x.indent()
	x.buf = append(append(append(x.buf, '<'), name...), '>')
}

func (x *writer) end(name string) {
	x.buf = append(append(append(x.buf, "</"...), name...), ">\n"...)
}

// appendEscaped appends s, whose characters are all allowed in XML 1.0, as character data.
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '&':
			dst = append(dst, "&amp;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
