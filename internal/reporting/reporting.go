// Package reporting does the work of "sekimori report": it lists the DMARC reports in the store, says
// who gets one and why not, adds and lifts suppressions, and checks whether the mail with the reports
// would pass DMARC itself. Commands read the store beside a running daemon.
package reporting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// Report is one report as the commands show it.
type Report struct {
	Job      int64     `json:"job"` // number in the store
	Domain   string    `json:"domain"`
	Begin    time.Time `json:"begin"`
	End      time.Time `json:"end"`                 // the last second
	State    string    `json:"state"`               // open, due, claimed or done
	SendAt   time.Time `json:"send_at"`             // the earliest time of the next attempt
	Tries    int       `json:"tries"`               // attempts so far
	ReportID string    `json:"report_id,omitempty"` // missing before the first attempt
	Rows     int64     `json:"rows"`                // distinct rows
	Messages int64     `json:"messages"`            // messages that the rows count
	// Causes are the messages that are a reason to send a report: all but mail about reports.
	Causes  int64  `json:"causes"`
	Spam    int64  `json:"spam"`              // messages that a spam filter had marked
	Late    int64  `json:"late"`              // messages of an earlier window
	Lost    int64  `json:"lost"`              // messages that no row counts
	Outcome string `json:"outcome,omitempty"` // given when the state is done
	Reason  string `json:"reason,omitempty"`  // a sentence on the outcome
}

func newReport(j report.Job) Report {
	return Report{Job: j.ID, Domain: string(j.Policy.Domain), Begin: time.Unix(j.Window.Begin, 0).UTC(), End: time.Unix(j.Window.End, 0).UTC(),
		State: string(j.State), SendAt: j.SendAt.UTC(), Tries: j.Tries, ReportID: j.ReportID, Rows: j.Rows, Messages: j.Messages, Causes: j.Causes,
		Spam: j.Spam, Late: j.Late, Lost: j.Lost, Outcome: string(j.Outcome), Reason: j.Reason}
}

// Selection says which reports a command is about. The zero value selects all.
type Selection struct {
	Window string // a day, such as 2026-11-28, today or yesterday
	Domain string
	State  string
}

// ErrUse means that an argument or a flag is wrong.
var ErrUse = errors.New("reporting: wrong use")

// maxListed is the most reports that a list has, because a farm can have a hundred thousand a day.
const maxListed = 10_000

// List is the answer of "sekimori report list".
type List struct {
	Reports []Report `json:"reports"` // the newest window first, then by domain
	// More says that there are more reports than are listed.
	More bool `json:"more,omitempty"`
	// Excess says which messages are in no report, because a window had too many.
	Excess []Excess `json:"excess,omitempty"`
}

// Excess counts the messages of a window for whose policy domains there was no room.
type Excess struct {
	Begin time.Time `json:"begin"`
	End   time.Time `json:"end"`
	// Owner is the registered domain with too many policy domains. It is missing if the window had too many in all.
	Owner    string `json:"owner,omitempty"`
	Messages int64  `json:"messages"`
}

// ListReports returns the selected reports.
func ListReports(ctx context.Context, s report.Store, sel Selection, now time.Time) (*List, error) {
	jobs, err := jobs(ctx, s, sel, now, maxListed+1)
	if err != nil {
		return nil, err
	}
	l := &List{Reports: []Report{}, More: len(jobs) > maxListed}
	for _, j := range jobs[:min(len(jobs), maxListed)] {
		l.Reports = append(l.Reports, newReport(j))
	}
	if sel.Domain != "" || sel.State != "" {
		return l, nil
	}
	sum, err := s.Summary(ctx, now)
	if err != nil {
		return nil, err
	}
	for _, x := range sum.Excess {
		e := Excess{Begin: time.Unix(x.Window.Begin, 0).UTC(), End: time.Unix(x.Window.End, 0).UTC(), Owner: string(x.Owner), Messages: x.Messages}
		if day, err := parseDay(sel.Window, now); sel.Window == "" || err == nil && day.Equal(e.Begin.Truncate(24*time.Hour)) {
			l.Excess = append(l.Excess, e)
		}
	}
	return l, nil
}

// jobs returns the selected jobs, at most limit.
func jobs(ctx context.Context, s report.Store, sel Selection, now time.Time, limit int) ([]report.Job, error) {
	f := report.Filter{State: report.State(sel.State), Limit: limit}
	if sel.Domain != "" {
		var err error
		if f.Domain, err = dns.ParseName(sel.Domain); err != nil {
			return nil, fmt.Errorf("%w: %q is not a domain", ErrUse, sel.Domain)
		}
	}
	states := []report.State{"", report.StateOpen, report.StateDue, report.StateClaimed, report.StateDone}
	if !slices.Contains(states, f.State) {
		return nil, fmt.Errorf("%w: %q is not a state; write open, due, claimed or done", ErrUse, sel.State)
	}
	if sel.Window == "" {
		return s.Jobs(ctx, f)
	}
	day, err := parseDay(sel.Window, now)
	if err != nil {
		return nil, err
	}
	// The windows of a day can be shorter than the day, and begin at full hours.
	var all []report.Job
	for hour := 23; hour >= 0 && len(all) < limit; hour-- {
		f.Window, f.Limit = day.Add(time.Duration(hour)*time.Hour).Unix(), limit-len(all)
		found, err := s.Jobs(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseDay returns the first second of a UTC day.
func parseDay(text string, now time.Time) (time.Time, error) {
	today := now.UTC().Truncate(24 * time.Hour)
	switch text {
	case "today":
		return today, nil
	case "yesterday":
		return today.AddDate(0, 0, -1), nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1971 {
		return time.Time{}, fmt.Errorf("%w: %q is not a day; write one such as %s, today or yesterday (days are in UTC)",
			ErrUse, text, today.Format(time.DateOnly))
	}
	return day, nil
}

// Text writes the list for a person.
func (l *List) Text(out io.Writer) error {
	if len(l.Reports) == 0 {
		_, err := fmt.Fprintln(out, "No report. (A report exists as soon as a message was counted whose author's domain asks for reports.)")
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WINDOW (UTC)\tDOMAIN\tROWS\tMESSAGES\tSTATE\tNOTE")
	for _, r := range l.Reports {
		state, note := r.State, r.Reason
		switch {
		case r.Outcome != "":
			state = r.Outcome
		case r.Tries > 0:
			note = fmt.Sprintf("%d attempts, the next at %s", r.Tries, stamp(r.SendAt))
		default:
			note = "can be sent at " + stamp(r.SendAt)
		}
		if r.Lost > 0 {
			note += "; " + printable.Counted(r.Lost, "message") + " missing"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", windowText(r.Begin, r.End), printable.Value(r.Domain), r.Rows, r.Messages,
			printable.Value(state), printable.Value(note))
	}
	if l.More {
		fmt.Fprintf(t, "There are more than %d. Choose by --window, --domain or --state.\n", maxListed)
	}
	for _, x := range l.Excess {
		of := "domains"
		if x.Owner != "" {
			of = "names below " + printable.Value(x.Owner)
		}
		fmt.Fprintf(t, "%s: no report has %s, because there are reports on too many %s.\n", windowText(x.Begin, x.End), printable.Counted(x.Messages, "message"), of)
	}
	return t.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// windowText names a window: by its day, and by its hours if it is shorter.
func windowText(begin, end time.Time) string {
	if end.Sub(begin) == 24*time.Hour-time.Second {
		return begin.Format(time.DateOnly)
	}
	return begin.Format("2006-01-02 15:04") + "-" + end.Add(time.Second).Format("15:04")
}

// find returns the jobs that a person means: those of a domain in its newest window (or in the window
// that is selected), or the one with this Report-ID.
func find(ctx context.Context, s report.Store, what string, sel Selection, now time.Time) ([]report.Job, error) {
	if strings.Contains(what, "@") {
		found, err := s.Jobs(ctx, report.Filter{ReportID: what, Limit: 1})
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is no report with the id %s; reports are kept for report.keep after they are done", what)
		}
		return found, err
	}
	const limit = 100 // a window has at most 3 jobs for a domain
	sel.Domain = what
	found, err := jobs(ctx, s, sel, now, limit)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("there is no report about %s; either no mail was counted, or its record has no usable rua, "+
			"or the report is done for longer than report.keep", what)
	}
	newest := slices.MaxFunc(found, func(a, b report.Job) int { return cmp.Compare(a.Window.Begin, b.Window.Begin) }).Window.Begin
	return slices.DeleteFunc(found, func(j report.Job) bool { return j.Window.Begin != newest }), nil
}
