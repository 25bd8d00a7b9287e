package reporting

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sekimori/internal/printable"
	"sekimori/internal/report"
	"sekimori/internal/submit"
)

// Sent is the answer of "sekimori report send".
type Sent struct {
	DryRun  bool         `json:"dry_run,omitempty"`
	Reports []SentReport `json:"reports"`
}

// SentReport says what a command did with a report, or would do.
type SentReport struct {
	Report
	// Done says in a sentence what was done, or what would be done.
	Done string `json:"done"`
	// Reply is what the mail server said about a copy.
	Reply  string `json:"reply,omitempty"`
	Failed bool   `json:"failed,omitempty"` // the copy was not sent
}

// maxCopies is the most reports that one command sends copies of or decides about, because each costs
// DNS queries.
const maxCopies = 1000

// selected returns the jobs that a sending command is about.
func (o *Office) selected(ctx context.Context, sel Selection) ([]report.Job, error) {
	found, err := jobs(ctx, o.Store, sel, o.Now, maxCopies+1)
	switch {
	case err != nil:
		return nil, err
	case len(found) > maxCopies:
		return nil, fmt.Errorf("%w: more than %d reports are selected; choose by --domain and --window", ErrUse, maxCopies)
	case len(found) == 0:
		return nil, errors.New(`no report is selected; "sekimori report list" shows what there is`)
	}
	return found, nil
}

// DryRun says what would be done with the selected reports if they were due now. It changes nothing.
func (o *Office) DryRun(ctx context.Context, sel Selection) (*Sent, error) {
	found, err := o.selected(ctx, sel)
	if err != nil {
		return nil, err
	}
	out := &Sent{DryRun: true, Reports: []SentReport{}}
	for _, j := range found {
		decision, err := o.decide(ctx, j)
		if err != nil {
			return nil, err
		}
		out.Reports = append(out.Reports, SentReport{Report: newReport(j), Done: o.verdict(decision)})
	}
	return out, nil
}

// Copies sends a copy of the selected reports to one address, and to nobody else. Nothing changes in the
// store.
func (o *Office) Copies(ctx context.Context, sel Selection, to string) (*Sent, error) {
	found, err := o.selected(ctx, sel)
	if err != nil {
		return nil, err
	}
	out := &Sent{Reports: []SentReport{}}
	for _, j := range found {
		one := SentReport{Report: newReport(j)}
		got, err := o.Sender.Copy(ctx, j, to)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil:
			one.Done, one.Failed = "The copy was not sent: "+err.Error()+".", true
		case got.Kind != submit.Sent:
			one.Done, one.Reply, one.Failed = fmt.Sprintf("The mail server did not take the copy for %s.", to), got.Reply, true
		default:
			one.Done, one.Reply = fmt.Sprintf("A copy was sent to %s.", to), got.Reply
		}
		out.Reports = append(out.Reports, one)
	}
	return out, nil
}

// Text writes what was done for a person.
func (s *Sent) Text(out io.Writer) error {
	w := &errWrite{out: out}
	for _, r := range s.Reports {
		w.printf("%s, %s UTC, %d messages: %s\n", printable.Value(r.Domain), windowText(r.Begin, r.End), r.Messages, printable.Value(r.Done))
		if r.Reply != "" {
			w.printf("    %s\n", printable.Value(r.Reply))
		}
	}
	return w.err
}

// AllSent reports whether no copy failed.
func (s *Sent) AllSent() bool {
	for _, r := range s.Reports {
		if r.Failed {
			return false
		}
	}
	return true
}

// WriteXML writes the report that a person means, as XML.
func (o *Office) WriteXML(ctx context.Context, out io.Writer, what string, sel Selection) error {
	j, err := o.one(ctx, what, sel)
	if err != nil {
		return err
	}
	return o.Sender.WriteXML(ctx, out, j)
}

// WriteMail writes the mail with the report that a person means: to its first destination, or to the
// contact if it would go to nobody.
func (o *Office) WriteMail(ctx context.Context, out io.Writer, what string, sel Selection, contact string) error {
	j, err := o.one(ctx, what, sel)
	if err != nil {
		return err
	}
	to := contact
	deliveries, err := o.Store.Deliveries(ctx, j.ID)
	if err != nil {
		return err
	}
	if len(deliveries) > 0 {
		to = deliveries[0].Address
	} else if decision, err := o.decide(ctx, j); err != nil {
		return err
	} else if len(decision.Destinations) > 0 && decision.Destinations[0].Address != "" {
		to = decision.Destinations[0].Address
	}
	return o.Sender.WriteMail(ctx, out, j, to)
}

// one returns the one job that a person means.
func (o *Office) one(ctx context.Context, what string, sel Selection) (report.Job, error) {
	found, err := find(ctx, o.Store, what, sel, o.Now)
	switch {
	case err != nil:
		return report.Job{}, err
	case len(found) > 1:
		return report.Job{}, ErrSeveral
	}
	return found[0], nil
}
