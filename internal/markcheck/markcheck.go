// Package markcheck says whether the mark of a domain would be shown here, and what the domain has to
// change. It also looks at a mark certificate or a picture before they are published.
package markcheck

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/bimi/svg"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/indicators"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/printable"
)

// Options are what a check needs.
type Options struct {
	Resolver  dns.Resolver
	Discovery dmarc.Options // how DMARC records are found
	Judge     *indicators.Judge
	BIMI      bimi.Options
	Selector  string // "" means bimi.DefaultSelector
	// Domain is for whom a certificate in a file must speak. Without it, the first name in the certificate
	// counts.
	Domain dns.Name
	Now    time.Time
}

// Result is what was found. Its texts may be of strangers.
type Result struct {
	Checked  string       `json:"checked"` // the domain or the file
	Result   bimi.Result  `json:"result"`
	Reason   string       `json:"reason,omitempty"`
	Domain   dns.Name     `json:"domain,omitempty"` // where the record was found, or for whom the certificate must speak
	Selector string       `json:"selector,omitempty"`
	Location string       `json:"location,omitempty"` // l= of the record
	Evidence string       `json:"evidence,omitempty"` // a= of the record
	Checks   []bimi.Check `json:"checks"`             // in the order in which they were made
	Mark     *Mark        `json:"mark,omitempty"`     // given if the result is pass
}

// Mark is a mark that may be shown.
type Mark struct {
	Octets    int        `json:"octets"` // of the picture, uncompressed
	Hash      string     `json:"hash"`   // as in policy.indicator-hash
	Certified bool       `json:"certified"`
	Type      string     `json:"type,omitempty"`
	Owner     string     `json:"owner,omitempty"`
	Issuer    string     `json:"issuer,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"` // when the first certificate of the chain ends
}

// Passed reports whether the mark would be shown.
func (r *Result) Passed() bool { return r.Result == bimi.Pass }

// Domain looks at all that a domain publishes, as if a message came from it that DKIM signed for it. If its
// DMARC policy is not enough, the rest is looked at nevertheless, so that the owner sees everything at once.
func Domain(ctx context.Context, name dns.Name, o Options) *Result {
	selector := o.Selector
	if selector == "" {
		selector = bimi.DefaultSelector
	}
	d := dmarc.Discover(ctx, o.Resolver, name, o.Discovery)
	evaluated := d.Evaluate(ctx, o.Resolver, []dmarc.Identifier{{Mechanism: dmarc.DKIM, Domain: name, State: dmarc.StatePass}})
	m := &bimi.Message{
		From:  &author.From{AuthorDomain: name, Mailboxes: []author.Mailbox{{Local: "postmaster", Domain: name}}},
		DKIM:  []dkim.Signature{{Result: dkim.Pass, Domain: name, SignedHeaders: []string{"From", bimi.SelectorField}}},
		DMARC: &evaluated, Selectors: []string{"v=BIMI1; s=" + selector},
	}
	e := bimi.Evaluate(ctx, o.Resolver, m, d, o.BIMI)
	r := &Result{Checked: string(name), Checks: e.Checks}
	first := e
	if e.Result == bimi.Skipped {
		e = bimi.Evaluate(ctx, o.Resolver, enforced(m, d), organization{d}, o.BIMI)
		for i, c := range e.Checks {
			if !c.OK || c.Word == "selector" { // the first evaluation has said what stands before
				r.Checks = append(r.Checks, e.Checks[i:]...)
				break
			}
		}
	}
	if q, ok := e.Query(); ok {
		e.Checks = nil
		e.Answered(o.Judge.Check(ctx, q, o.Now), o.BIMI)
		r.Checks = append(r.Checks, e.Checks...)
	}
	r.Result, r.Reason, r.Domain, r.Selector, r.Location, r.Evidence = e.Result, e.Reason, e.Domain, e.Selector, e.Location, e.Evidence
	r.Mark = markOf(e.Mark)
	if first.Result == bimi.Skipped {
		r.Result, r.Reason, r.Mark = first.Result, first.Reason, nil
	}
	return r
}

// enforced returns the message as it would be if the DMARC policy were enforced.
func enforced(m *bimi.Message, d *dmarc.Discovery) *bimi.Message {
	out, e := *m, *m.DMARC
	out.DMARC = &e
	e.Result, e.PolicyPublished, e.Source, e.Record = dmarc.ResultPass, dmarc.PolicyReject, dmarc.SourceAuthor, &dmarc.Record{P: dmarc.PolicyReject}
	name := d.AuthorDomain
	e.Alignments = []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: name, State: dmarc.StatePass}, Aligned: true}}
	return &out
}

// organization gives the Organizational Domain with a policy that is enforced.
type organization struct{ *dmarc.Discovery }

// OrganizationRecord implements [bimi.Organizations].
func (o organization) OrganizationRecord(ctx context.Context, r dns.Resolver) (dmarc.Organization, error) {
	org, err := o.Discovery.OrganizationRecord(ctx, r)
	org.Record = &dmarc.Record{P: dmarc.PolicyReject}
	return org, err
}

func markOf(m *bimi.Mark) *Mark {
	if m == nil {
		return nil
	}
	out := &Mark{Octets: len(m.SVG), Hash: m.Hash(), Certified: m.Certified, Type: m.Type, Owner: m.Owner, Issuer: m.Issuer}
	if m.Certified {
		end := m.NotAfter
		out.NotAfter = &end
	}
	return out
}

// Certificate looks at the file of a mark certificate. Only the revocation lists that it names are
// fetched.
func Certificate(ctx context.Context, file string, text []byte, o Options) *Result {
	r := &Result{Checked: file, Domain: o.Domain, Selector: o.Selector}
	if r.Domain == "" {
		r.Domain, r.Selector = spokenFor(text, o.Selector)
	}
	a := o.Judge.CheckFile(ctx, text, bimi.Query{Domain: r.Domain, Selector: r.Selector}, o.Now)
	r.Result, r.Reason, r.Checks, r.Mark = a.Result, a.Reason, a.Checks, markOf(a.Mark)
	return r
}

// spokenFor returns the domain for which a certificate speaks, and the selector if it is for one only.
func spokenFor(text []byte, selector string) (dns.Name, string) {
	names, err := mark.Names(text)
	if err != nil || len(names) == 0 {
		return "", selector
	}
	before, after, found := strings.Cut(names[0], "._bimi.")
	if !found {
		before, after = selector, names[0]
	}
	domain, err := dns.ParseName(after)
	if err != nil {
		return "", selector
	}
	return domain, before
}

// Picture looks at a picture.
func Picture(file string, text []byte) *Result {
	r := &Result{Checked: file, Result: bimi.Pass}
	plain, err := svg.Check(text)
	if err != nil {
		r.Result, r.Reason = bimi.Fail, "picture"
		for _, p := range svg.Problems(err) {
			r.Checks = append(r.Checks, bimi.Check{Word: "picture", Detail: p.String()})
		}
		return r
	}
	r.Checks = []bimi.Check{{Word: "picture", OK: true, Detail: fmt.Sprintf("%d octets of SVG Tiny Portable/Secure", len(plain))}}
	r.Mark = markOf(&bimi.Mark{SVG: plain})
	return r
}

// Text writes the result for a person: a line for each check, and what comes of them.
func (r *Result) Text(out io.Writer) error {
	var b strings.Builder
	for _, c := range r.Checks {
		state := "ok"
		if !c.OK {
			state = "FAIL"
		}
		fmt.Fprintf(&b, "%-5s %-13s %s\n", state, printable.Value(c.Word), printable.Value(c.Detail))
	}
	switch {
	case !r.Passed():
		why := r.Reason
		if why != "" {
			why = " (" + printable.Value(why) + ")"
		}
		fmt.Fprintf(&b, "\n%s: %s%s. This receiver would not show the mark.\n", printable.Value(r.Checked), r.Result, why)
	case r.Mark == nil || !r.Mark.Certified:
		fmt.Fprintf(&b, "\n%s: the picture may be shown. No certificate was looked at.\n", printable.Value(r.Checked))
	default:
		fmt.Fprintf(&b, "\n%s: pass. This receiver would show the mark of %s (%s, %s), until %s.\n", printable.Value(r.Checked), printable.Value(r.Mark.Owner),
			printable.Value(r.Mark.Type), printable.Value(r.Mark.Issuer), r.Mark.NotAfter.UTC().Format(time.DateOnly))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
