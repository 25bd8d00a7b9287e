package reporting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sekimori/internal/dispatch"
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
	Reply string `json:"reply,omitempty"`
	// Failed says that the report or the copy was not sent, although no rule withholds it.
	Failed bool `json:"failed,omitempty"`
}

// maxCopies is the most reports that one command sends, copies or decides about, because each costs
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

// Send sends the selected reports now, as the daemon does when they are due. A report that was done is
// sent again; one that was sent only with again, or if a domain is selected. One whose window is open is
// left alone; if there are only such, that is a failure.
func (o *Office) Send(ctx context.Context, sel Selection, again bool) (*Sent, error) {
	found, err := o.selected(ctx, sel)
	if err != nil {
		return nil, err
	}
	out := &Sent{Reports: []SentReport{}}
	var open int
	for _, j := range found {
		one := SentReport{Report: newReport(j)}
		if j.Outcome == report.Sent && sel.Domain == "" && !again {
			one.Done = "Left alone, because it was sent; --again or --domain sends it again."
			out.Reports = append(out.Reports, one)
			continue
		}
		outcome, err := o.Sender.Send(ctx, j.ID)
		switch {
		case ctx.Err() != nil && (err != nil || outcome.Word == ""):
			one.Done, one.Failed = "Not sent, because the command was interrupted.", true
		case errors.Is(err, report.ErrNone):
			open++
			one.Done = fmt.Sprintf("Not sent, because its window still takes messages until %s.", stamp(time.Unix(j.Window.End+1, 0).Add(report.Grace)))
		case errors.Is(err, report.ErrLost):
			one.Done, one.Failed = "Not sent, because the daemon or another command is sending it.", true
		case errors.Is(err, report.ErrUnknown):
			one.Done, one.Failed = "Not sent, because its rows are gone: it was done for longer than report.keep.", true
		case errors.Is(err, dispatch.ErrTrouble):
			one.Done, one.Failed = "Not tried, because the mail server took none of the last mails.", true
		case err != nil:
			one.Done, one.Failed = "Failed: "+err.Error()+".", true
		default:
			one = o.sentNow(context.WithoutCancel(ctx), j, outcome)
		}
		out.Reports = append(out.Reports, one)
	}
	if open == len(found) {
		for i := range out.Reports {
			out.Reports[i].Failed = true
		}
	}
	return out, nil
}

// sentNow says what became of a report that was worked on. That is said also if the store fails now, only
// without the destinations.
func (o *Office) sentNow(ctx context.Context, j report.Job, outcome report.Outcome) SentReport {
	if now, err := o.Store.Jobs(ctx, report.Filter{ID: j.ID, Limit: 1}); err == nil && len(now) > 0 {
		j = now[0]
	}
	one := SentReport{Report: newReport(j)}
	deliveries, _ := o.Store.Deliveries(ctx, j.ID)
	var to []string
	for _, d := range deliveries {
		to = append(to, fmt.Sprintf("%s %s", d.Address, d.Word))
	}
	switch outcome.Word {
	case "":
		one.Done, one.Failed = fmt.Sprintf("waits until %s: %s", stamp(outcome.Again), outcome.Reason), true
	case report.Sent:
		one.Done = outcome.Reason // begins with "sent"
	case report.Refused, report.Failed:
		one.Done, one.Failed = fmt.Sprintf("%s: %s", outcome.Word, outcome.Reason), true
	default:
		one.Done = fmt.Sprintf("withheld (%s): %s", outcome.Word, outcome.Reason)
	}
	if len(to) > 0 {
		one.Done += " (" + strings.Join(to, ", ") + ")"
	}
	return one
}

// Text writes what was done for a person.
func (s *Sent) Text(out io.Writer) error {
	w := &errWrite{out: out}
	for _, r := range s.Reports {
		w.printf("%s, %s UTC, %s: %s\n", printable.Value(r.Domain), windowText(r.Begin, r.End), printable.Counted(r.Messages, "message"), printable.Value(r.Done))
		if r.Reply != "" {
			w.printf("    %s\n", printable.Value(r.Reply))
		}
	}
	return w.err
}

// AllSent reports whether nothing failed.
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
