package console

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/explain"
	"sekimori/internal/history/archive"
	"sekimori/internal/msgauth"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
	"sekimori/internal/status"
)

// one is the data of the page that shows one decision. It shows only what the Ring keeps.
type one struct {
	*recent.Entry
	Summary    string
	Session    msgauth.Session
	Envelope   msgauth.Envelope
	Why        []explain.Line
	Identities []identity
	Signatures []signature
	Questions  []question
	Records    []record
	Sections   []explain.Section // the whole explanation, without the lines of Why
	Offers     []offer
	Mark       template.URL // the picture of the author's mark, or ""
}

// identity is a name that the message claims, and what the check of it found.
type identity struct {
	Name, Value string
	Check       string // SPF, DMARC or iprev
	Result      string
	Aligned     string
	Note        string
}

// signature is a DKIM signature, with what DMARC made of it.
type signature struct {
	dkim.Signature
	Aligned string
	Fields  string
}

// question is one step of a check that asked DNS, and what it found.
type question struct{ Check, Asked, Found string }

// record is a policy that a domain publishes.
type record struct{ Name, Text string }

// decision shows the newest decision with the given queue ID or explanation ID. If the
// request has the parameter "at", it shows the decision that was made at that time.
func (c *Console) decision(r *http.Request, _ *status.Status) (any, *problem) {
	finder, ok := c.finder()
	if !ok {
		return nil, off
	}
	q := r.URL.Query()
	query := recent.Query{QueueID: q.Get("queue_id"), ID: q.Get("id")}
	at, err := strconv.ParseInt(q.Get("at"), 10, 64)
	if err != nil && query == (recent.Query{}) {
		return nil, &problem{http.StatusBadRequest, "Which decision?", "Choose one from the list of decisions, or search for its queue ID."}
	}
	if err != nil {
		found, failed := finder.Find(r.Context(), archive.QueryOf(query), query.Matches, 1)
		if len(found.Entries) == 0 {
			return nil, forgotten(failed)
		}
		return c.lay(found.Entries[0]), nil
	}
	one, failed := c.nearest(r.Context(), finder, query, time.Unix(0, at))
	if one == nil {
		return nil, forgotten(failed)
	}
	return c.lay(one), nil
}

// around is how much the time of a decision in the store may differ from that which the daemon remembers.
const around = time.Second

// nearest returns the decision that was made at a time, or nil.
func (c *Console) nearest(ctx context.Context, finder archive.Finder, query recent.Query, at time.Time) (*recent.Entry, error) {
	if finder.Ring != nil {
		exact, _ := finder.Ring.Find(func(h *recent.Head) bool { return query.Matches(h) && h.Time.Equal(at) }, 1)
		if len(exact) > 0 {
			return exact[0], nil
		}
	}
	query.From, query.Until = at.Add(-around), at.Add(around)
	found, err := finder.Find(ctx, archive.QueryOf(query), query.Matches, maxRows)
	return archive.Nearest(found.Entries, at), err
}

// forgotten is the problem of a decision that was not found. err says why the store could not be searched.
func forgotten(err error) *problem {
	if err != nil {
		return &problem{http.StatusServiceUnavailable, "The store cannot be searched now.", err.Error()}
	}
	return &problem{
		http.StatusNotFound, "This decision is no longer remembered.",
		"The daemon remembers as many decisions as admin.recent says, and keeps those that history.what names in the store. The log has all of them.",
	}
}

// lay lays out a decision for the page.
func (c *Console) lay(d *recent.Entry) one {
	x := explain.Remembered(d)
	o := one{Entry: d, Summary: x.Summary, Sections: x.Sections()[1:], Offers: offers(d, c.o.Now())}
	x.Decided, x.Verdict.ID = time.Time{}, "" // the top of the page shows these
	o.Why = x.Sections()[0].Lines
	e := d.Evaluation
	if e == nil {
		if d.Session != nil && d.Envelope != nil {
			o.Session, o.Envelope = *d.Session, *d.Envelope
		}
		return o
	}
	o.Session, o.Envelope, o.Mark = e.Session, e.Envelope, c.markOf(e)
	o.Identities, o.Questions = identities(e), questions(e)
	for _, s := range e.DKIM {
		o.Signatures = append(o.Signatures, signature{
			Signature: s, Aligned: aligned(e, dmarc.DKIM, s.Domain), Fields: strings.Join(s.SignedHeaders, ":"),
		})
	}
	for _, check := range []spf.Check{e.MailFrom, e.HELO} {
		if check.Record != "" {
			o.Records = append(o.Records, record{"SPF of " + string(check.Domain), check.Record})
		}
	}
	if r := e.DMARC.Record; r != nil {
		o.Records = append(o.Records, record{"DMARC of " + string(e.DMARC.PolicyDomain), r.Raw})
	}
	return o
}

// identities returns the names by which the message can be attributed to a domain.
func identities(e *msgauth.Evaluation) []identity {
	author := identity{Name: "Author (From)", Value: string(e.From.AuthorDomain), Check: "DMARC",
		Result: string(e.DMARC.Result), Note: string(e.DMARC.Reason)}
	if e.FromError != nil {
		author.Note = e.FromError.Text()
	}
	if e.DMARC.PolicyPublished != "" {
		author.Note += fmt.Sprintf("; %s publishes %s", e.DMARC.PolicyDomain, e.DMARC.PolicyPublished)
	}
	sender := identity{Name: "Envelope sender", Value: e.Envelope.MailFrom, Check: "SPF", Result: string(e.MailFrom.Result),
		Aligned: aligned(e, dmarc.SPF, e.MailFrom.Domain), Note: note(&e.MailFrom)}
	helo := identity{Name: "HELO", Value: e.Session.HELO, Check: "SPF", Result: string(e.HELO.Result), Note: note(&e.HELO)}
	name := identity{Name: "Client's name", Value: string(e.IPRev.Name), Check: "iprev",
		Result: string(e.IPRev.Status), Note: e.IPRev.Problem}
	return []identity{author, sender, helo, name}
}

// note says in a few words why an SPF check has its result.
func note(c *spf.Check) string {
	if c.Problem != "" || c.Mechanism == "" {
		return c.Problem
	}
	return fmt.Sprintf("%s of %s", c.Mechanism, c.Domain)
}

// aligned says whether the domain aligns with the author's. It returns "" if DMARC did not compare
// the domain, because the mechanism did not pass for it.
func aligned(e *msgauth.Evaluation, m dmarc.Mechanism, domain dns.Name) string {
	for _, a := range e.DMARC.Alignments {
		if a.Mechanism != m || a.Domain != domain || domain == "" {
			continue
		}
		switch {
		case a.Error != nil:
			return "not known"
		case a.Aligned:
			return "yes"
		}
		return "no"
	}
	return ""
}

// questions returns the steps of all checks that keep them, in the order in which they were made.
func questions(e *msgauth.Evaluation) (out []question) {
	for _, c := range []struct {
		name string
		*spf.Check
	}{{"SPF of MAIL FROM", &e.MailFrom}, {"SPF of HELO", &e.HELO}} {
		for _, s := range c.Trace {
			asked := string(s.Domain) + ": " + cmp.Or(s.Term, "its record")
			out = append(out, question{c.name, asked, strings.TrimSpace(string(s.Outcome) + " " + s.Detail)})
		}
	}
	for _, s := range e.DMARC.Trace {
		found := string(s.Found)
		if s.Error != nil {
			found += ": " + s.Error.Error()
		}
		out = append(out, question{"DMARC", fmt.Sprintf("%s %s", s.Name, s.Type), found})
	}
	for _, s := range e.IPRev.Trace {
		out = append(out, question{"iprev", fmt.Sprintf("%s %s", s.Name, s.Type), s.Detail})
	}
	return out
}
