package reporting

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
)

// Shown is the answer of "sekimori report show".
type Shown struct {
	Reports []ShownReport `json:"reports"` // of one window; several if the domain changed its policy
}

// ShownReport is a report with all that is known about its way.
type ShownReport struct {
	Report
	Policy Policy `json:"policy_published"`
	// Verdict says in a sentence what became of the report, or would become of it now.
	Verdict string `json:"verdict"`
	// Rules are the rules by which a report is withheld, in the order in which they are checked, as
	// they are now. Missing if the report is done.
	Rules        []Rule        `json:"rules,omitempty"`
	Destinations []Destination `json:"destinations,omitempty"` // those of the record as it is now
	Record       string        `json:"record,omitempty"`       // the DMARC record as it is now
	Deliveries   []Delivery    `json:"deliveries"`             // the mails, if there were any
}

// Policy is the policy that the report says was applied.
type Policy struct {
	P       string `json:"p"`
	SP      string `json:"sp"`
	NP      string `json:"np"`
	ADKIM   string `json:"adkim"`
	ASPF    string `json:"aspf"`
	FO      string `json:"fo"`
	Testing bool   `json:"t"`
	Method  string `json:"discovery_method"` // treewalk or psl
}

// Rule is one rule and what was found out.
type Rule struct {
	Word string `json:"word"`
	// State is passed (the rule leaves a destination), applies (nothing is sent because of it), later
	// (a temporary failure) or skipped (there was nothing left to check).
	State    string `json:"state"`
	Evidence string `json:"evidence"` // a sentence, with days where they matter
}

// Destination is an address that the record names.
type Destination struct {
	URI     string `json:"uri"`
	Address string `json:"address,omitempty"` // missing if the URI is unusable
	Word    string `json:"word,omitempty"`    // missing if a report is sent there, else why not
	Detail  string `json:"detail,omitempty"`
}

// Delivery is the mail to one destination.
type Delivery struct {
	Address string     `json:"address"`
	Word    string     `json:"word"` // waiting, sent, refused, failed, or why nothing was sent
	Detail  string     `json:"detail,omitempty"`
	Tries   int        `json:"tries"`
	NextTry *time.Time `json:"next_try,omitempty"`
	Reply   string     `json:"reply,omitempty"` // of the mail server, or of the bounce
	At      *time.Time `json:"at,omitempty"`    // time of the last change
	Bounced bool       `json:"bounced"`         // whether the mail came back
}

// Office has what a command needs to decide about reports as the daemon does.
type Office struct {
	Store report.Store
	// Sender decides and writes as the daemon does, but as if sending were on.
	Sender  Sender
	Sending bool // report.aggregate.send
	Now     time.Time
}

// Sender is the part of a dispatch.Dispatcher that commands use. Only Send changes the store.
type Sender interface {
	Explain(ctx context.Context, job report.Job) (destination.Decision, error)
	WriteXML(ctx context.Context, w io.Writer, job report.Job) error
	WriteMail(ctx context.Context, w io.Writer, job report.Job, to string) error
	Copy(ctx context.Context, job report.Job, to string) (submit.Result, error)
	Send(ctx context.Context, job int64) (report.Outcome, error)
}

// Show returns the reports about a domain in its newest window, or the one with a Report-ID, and says
// who gets them, or would get them now. It changes nothing.
func (o *Office) Show(ctx context.Context, what string, sel Selection) (*Shown, error) {
	found, err := find(ctx, o.Store, what, sel, o.Now)
	if err != nil {
		return nil, err
	}
	out := &Shown{}
	for _, j := range found {
		one, err := o.show(ctx, j)
		if err != nil {
			return nil, err
		}
		out.Reports = append(out.Reports, *one)
	}
	return out, nil
}

func (o *Office) show(ctx context.Context, j report.Job) (*ShownReport, error) {
	p := j.Policy
	s := &ShownReport{Report: newReport(j), Deliveries: []Delivery{}, Policy: Policy{P: string(p.P), SP: string(p.SP), NP: string(p.NP),
		ADKIM: string(p.ADKIM), ASPF: string(p.ASPF), FO: p.FO, Testing: p.Testing, Method: string(p.Method)}}
	deliveries, err := o.Store.Deliveries(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		s.Deliveries = append(s.Deliveries, newDelivery(d))
	}
	if j.State == report.StateDone {
		s.Verdict = ended(j)
		return s, nil
	}
	decision, err := o.decide(ctx, j)
	if err != nil {
		return nil, err
	}
	s.Verdict = o.verdict(decision)
	if decision.Record != nil {
		s.Record = decision.Record.Raw
	}
	for _, r := range decision.Rules {
		s.Rules = append(s.Rules, Rule{Word: string(r.Word), State: string(r.State), Evidence: r.Evidence})
	}
	for _, d := range decision.Destinations {
		s.Destinations = append(s.Destinations, Destination{URI: d.URI, Address: d.Address, Word: string(d.Word), Detail: d.Detail})
	}
	return s, nil
}

func newDelivery(d report.Delivery) Delivery {
	out := Delivery{Address: d.Address, Word: string(d.Word), Detail: d.Detail, Tries: d.Tries, Reply: d.Reply, Bounced: d.Bounced}
	if !d.NextTry.IsZero() && d.Word == report.Waiting {
		next := d.NextTry.UTC()
		out.NextTry = &next
	}
	if !d.At.IsZero() {
		at := d.At.UTC()
		out.At = &at
	}
	return out
}

// decide decides about a job as if it were due now and sending were on. All rules are checked.
func (o *Office) decide(ctx context.Context, j report.Job) (destination.Decision, error) {
	d, err := o.Sender.Explain(ctx, j)
	for i := range d.Rules {
		if d.Rules[i].Word == report.WithheldOff && !o.Sending {
			d.Rules[i] = destination.Rule{Word: report.WithheldOff, State: destination.RuleApplies, Evidence: "report.aggregate.send is false"}
		}
	}
	return d, err
}

// verdict says what a decision means.
func (o *Office) verdict(d destination.Decision) string {
	var to []string
	for _, dest := range d.Destinations {
		if dest.Word == "" && d.Word == "" {
			to = append(to, dest.Address)
		}
	}
	what := ""
	switch {
	case d.Word == report.Waiting:
		what = "it would be decided later, because of a temporary failure: " + d.Reason
	case d.Word != "":
		what = fmt.Sprintf("it would be withheld (%s): %s", d.Word, d.Reason)
	default:
		what = "it would go to " + strings.Join(to, ", ")
	}
	if !o.Sending {
		return "Nothing is sent, because report.aggregate.send is false. If it were true, " + what + "."
	}
	return "If the report were due now, " + what + "."
}

// ended says what became of a job that is done.
func ended(j report.Job) string {
	text := ""
	switch j.Outcome {
	case report.Sent:
		text = "The report was sent"
	case report.Refused:
		text = "The report was refused"
	case report.Failed:
		text = "The report could not be sent"
	default:
		text = fmt.Sprintf("The report was withheld (%s)", j.Outcome)
	}
	if j.Reason != "" {
		text += ": " + j.Reason
	}
	return strings.TrimSuffix(text, ".") + "."
}

// errWrite collects the first error of several writes.
type errWrite struct {
	out io.Writer
	err error
}

func (w *errWrite) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// Text writes the reports for a person.
func (s *Shown) Text(out io.Writer) error {
	w := &errWrite{out: out}
	for i, r := range s.Reports {
		if i > 0 {
			w.printf("\n")
		}
		r.text(w)
	}
	return w.err
}

func (r *ShownReport) text(w *errWrite) {
	w.printf("%s, %s UTC: %s of %s\n", printable.Value(r.Domain), windowText(r.Begin, r.End), printable.Counted(r.Rows, "row"), printable.Counted(r.Messages, "message"))
	line := func(label, value string) {
		if value != "" {
			w.printf("  %-10s %s\n", label, printable.Value(value))
		}
	}
	line("report id", r.ReportID)
	state := r.State
	if r.State != string(report.StateDone) {
		state += ", can be sent at " + stamp(r.SendAt)
	}
	line("state", state)
	p := r.Policy
	test := ""
	if p.Testing {
		test = " t=y"
	}
	line("policy", fmt.Sprintf("p=%s sp=%s np=%s adkim=%s aspf=%s%s, found by %s", p.P, p.SP, p.NP, p.ADKIM, p.ASPF, test, p.Method))
	for _, n := range []struct {
		count int64
		text  string
	}{
		{r.Messages - r.Causes, "are about reports, and no reason to send one"}, {r.Spam, "had a mark of a spam filter"},
		{r.Late, "belong to an earlier window"}, {r.Lost, "more are not in the rows"},
	} {
		if n.count > 0 {
			line("messages", fmt.Sprintf("%d %s", n.count, n.text))
		}
	}
	w.printf("\n%s\n", printable.Text(r.Verdict))
	r.rules(w)
	if len(r.Deliveries) > 0 {
		w.printf("\nMail:\n")
	}
	for _, d := range r.Deliveries {
		word := d.Word
		if d.Bounced {
			word += ", came back"
		}
		w.printf("  %-10s %s", printable.Value(word), printable.Value(d.Address))
		if d.At != nil {
			w.printf(" at %s", stamp(*d.At))
		}
		if d.NextTry != nil {
			w.printf(", next try at %s", stamp(*d.NextTry))
		}
		w.printf("\n")
		for _, more := range []string{d.Detail, d.Reply} {
			if more != "" {
				w.printf("             %s\n", printable.Value(more))
			}
		}
	}
}

// rules writes the rules and the destinations.
func (r *ShownReport) rules(w *errWrite) {
	if len(r.Rules) > 0 {
		w.printf("\nRules, in the order in which they are checked:\n")
	}
	for _, rule := range r.Rules {
		mark := map[string]string{string(destination.RulePassed): "ok", string(destination.RuleApplies): "STOPS",
			string(destination.RuleLater): "later"}[rule.State]
		if mark == "" {
			mark = "-"
		}
		w.printf("  %-6s %-16s %s\n", mark, printable.Value(rule.Word), printable.Value(rule.Evidence))
	}
	if r.Record != "" {
		w.printf("\nRecord now: %s\n", printable.Value(r.Record))
	}
	for _, d := range r.Destinations {
		word := d.Word
		if word == "" {
			word = "ok"
		}
		w.printf("  %-16s %s\n", printable.Value(word), printable.Value(d.URI))
		if d.Detail != "" {
			w.printf("  %-16s %s\n", "", printable.Value(d.Detail))
		}
	}
}

// ErrSeveral means that a command needs one report and found several.
var ErrSeveral = errors.New("reporting: the domain changed its policy within the window, so there are several reports; give the Report-ID")
