package dmarc

import (
	"context"
	"errors"
	"fmt"

	"sekimori/internal/dns"
)

// maxWalkLabels is the maximum number of queries of a tree walk. After the first
// query, a name with more labels is cut to its last seven labels (§4.10).
const maxWalkLabels = 8

// DNSError is a lookup that failed or was not made, so the evaluation has no
// final result (§5.3.6).
type DNSError struct {
	Kind   string   `json:"kind"` // text of a [dns.ErrorKind] ("too_large" also if a record is over MaxRecordLen), "walk_limit" or "unknown"
	Name   dns.Name `json:"name"`
	Type   dns.Type `json:"type"`
	Detail string   `json:"detail,omitempty"`
}

// Error implements error.
func (e *DNSError) Error() string {
	return fmt.Sprintf("dmarc: %s %s: %s", e.Name, e.Type, e.Kind)
}

func newDNSError(name dns.Name, typ dns.Type, err error) *DNSError {
	e := &DNSError{Kind: "unknown", Name: name, Type: typ, Detail: err.Error()}
	var de *dns.Error
	if errors.As(err, &de) {
		e.Kind = de.Kind.String()
	}
	return e
}

// Purpose is why a question was asked.
type Purpose string

// The purposes.
const (
	PurposeAuthor     Purpose = "author"         // the Author Domain's own record
	PurposePolicy     Purpose = "policy"         // further names of the author's tree walk (§4.10.1), or with Method PSL the Organizational Domain
	PurposeOrg        Purpose = "organizational" // names of the author's tree walk that are needed for alignment only (§4.10.2)
	PurposeIdentifier Purpose = "identifier"     // names of the tree walk for an identifier
	PurposeExistence  Purpose = "existence"      // whether the author exists, which decides whether np applies (§4.7)
)

// Finding is what the answer to a question showed.
type Finding string

// The findings.
const (
	FoundRecord    Finding = "record"
	FoundMultiple  Finding = "multiple"  // several records, all discarded (§4.10)
	FoundMalformed Finding = "malformed" // a record that is invalid as a whole
	FoundNothing   Finding = "nothing"   // the name exists, but has no record
	FoundNXDomain  Finding = "nxdomain"
	FoundExists    Finding = "exists" // the Author Domain exists, with or without records
	FoundError     Finding = "error"
)

// Step is one question to the DNS in a discovery or evaluation. Steps are in the
// order of asking. No question is asked twice.
type Step struct {
	Name    dns.Name  `json:"name"`
	Type    dns.Type  `json:"type"`
	Purpose Purpose   `json:"purpose"`
	Found   Finding   `json:"found"`
	PSD     string    `json:"psd,omitempty"`
	Error   *DNSError `json:"error,omitempty"`
}

// node is what is known of one name in the tree.
type node struct {
	record *Record
	exists bool // DNS has the name with _dmarc in front, so it has the name itself too (RFC 8020)
	err    *DNSError
}

// lookup returns what is known of domain. It asks DNS the first time only.
func (d *Discovery) lookup(ctx context.Context, r dns.Resolver, domain dns.Name, why Purpose) *node {
	if n := d.nodes[domain]; n != nil {
		return n
	}
	n := &node{}
	d.nodes[domain] = n
	name, err := domain.Prepend("_dmarc")
	if err != nil {
		return n // the name would be too long, so it does not exist
	}
	step := Step{Name: name, Type: dns.TypeTXT, Purpose: why}
	answer, err := r.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		n.err = newDNSError(name, dns.TypeTXT, err)
		step.Found, step.Error = FoundError, n.err
	} else {
		n.exists = answer.Exists()
		n.record, step.Found = selectRecord(answer)
		switch {
		case n.record != nil:
			step.PSD = n.record.PSD
		case step.Found == FoundError:
			n.err = &DNSError{Kind: "too_large", Name: name, Type: dns.TypeTXT, Detail: ErrRecordTooLong.Error()}
			step.Error = n.err
		}
	}
	d.Trace = append(d.Trace, step)
	return n
}

// selectRecord applies §4.10 step 2: a text that is not a DMARC record is
// ignored, and if several records remain, none of them counts. A single record
// longer than MaxRecordLen gives FoundError, because it must not count as "no
// policy".
func selectRecord(answer dns.Answer) (*Record, Finding) {
	found := FoundNothing
	if answer.Status == dns.NXDomain {
		found = FoundNXDomain
	}
	var record *Record
	for _, rr := range answer.Records {
		r, err := ParseRecord(rr.Text)
		if errors.Is(err, ErrNotDMARC) {
			continue
		}
		if found != FoundNothing && found != FoundNXDomain {
			return nil, FoundMultiple
		}
		switch found = FoundRecord; {
		case errors.Is(err, ErrRecordTooLong):
			found = FoundError
		case err != nil:
			found = FoundMalformed
		}
		record = r
	}
	return record, found
}

// published is a record and the name at which it was found.
type published struct {
	domain dns.Name
	record *Record
}

// path is the outcome of a tree walk.
type path struct {
	found  []published // the longest name first
	failed []dns.Name  // names whose lookup failed, the longest first
	err    *DNSError   // the error of the lookup of failed[0]
}

// walk makes a tree walk: it climbs from start until a record says psd=y or psd=n
// (§4.10). A failed lookup does not end the tree walk, because a record further up
// may still apply.
func (d *Discovery) walk(ctx context.Context, r dns.Resolver, start dns.Name, why Purpose) path {
	var p path
	names := walkNames(start)
	d.expect(ctx, r, names)
	for _, name := range names {
		n := d.lookup(ctx, r, name, why)
		switch {
		case n.err != nil:
			p.failed = append(p.failed, name)
			if p.err == nil {
				p.err = n.err
			}
			continue
		case n.record == nil:
			continue
		}
		p.found = append(p.found, published{name, n.record})
		if n.record.PSD != PSDUnknown {
			break
		}
	}
	return p
}

// expect tells r which names the caller is going to ask for, so that r can look
// them up at the same time. It does not tell r the names whose answer is known. It
// also leaves out the first unknown name, because the caller asks for this name
// right away.
func (d *Discovery) expect(ctx context.Context, r dns.Resolver, domains []dns.Name) {
	for _, domain := range domains {
		if n := d.nodes[domain]; n != nil && n.record != nil && n.record.PSD != PSDUnknown {
			return // the tree walk ends at this record
		}
	}
	now := true // the first unknown name is looked up right away, so it is not announced
	for _, domain := range domains {
		if d.nodes[domain] != nil {
			continue
		}
		if now {
			now = false
			continue
		}
		if name, err := domain.Prepend("_dmarc"); err == nil && !r.Expect(ctx, name, dns.TypeTXT) {
			return // r does not look up names ahead
		}
	}
}

// walkNames returns the names that a tree walk asks for: start, then its parents
// up to the top-level domain. For a long name some of the parents are left out
// (§4.10 steps 4-7).
func walkNames(start dns.Name) []dns.Name {
	if start == "" {
		return nil
	}
	names := make([]dns.Name, 1, maxWalkLabels)
	names[0] = start
	next := start.Parent()
	if start.Labels() >= maxWalkLabels {
		next = start.Keep(maxWalkLabels - 1)
	}
	for ; next != ""; next = next.Parent() {
		names = append(names, next)
	}
	return names
}

// organizationalDomain picks the Organizational Domain of start from the records
// that its tree walk found (§4.10.2).
func organizationalDomain(start dns.Name, found []published) dns.Name {
	for _, p := range found {
		switch {
		case p.record.PSD == PSDNo: // step 1 of §4.10.2
			return p.domain
		case p.record.PSD == PSDYes && p.domain != start: // step 2
			return start.Keep(p.domain.Labels() + 1)
		}
	}
	if len(found) > 0 { // step 3: the record with the fewest labels
		return found[len(found)-1].domain
	}
	return start
}
