package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// Reports says how the DMARC reports stand. The numbers are of the store, so they are also of
// earlier runs, and of all hosts that share the store.
type Reports struct {
	Read time.Time `json:"read"` // when the store was read
	// Error says why the store could not be read the last time. The numbers are then older.
	Error   string `json:"error,omitempty"`
	Sending bool   `json:"sending"` // report.aggregate.send
	// First is when the first reports can leave, because a domain must have been seen for 7 days.
	// It is given only as long as this time is in the future.
	First *time.Time `json:"first,omitempty"`
	// WaitingReports is how many reports are not done, and WaitingRows how many rows they have.
	WaitingReports int64 `json:"waiting_reports"`
	WaitingRows    int64 `json:"waiting_rows"`
	// Oldest is when the report that has waited longest should have been sent, or will be.
	Oldest *time.Time `json:"oldest_pending,omitempty"`
	// Outcomes counts the reports that are kept and done, by outcome.
	Outcomes   map[string]int64 `json:"outcomes"`
	Suppressed int64            `json:"suppressed_destinations"` // destinations that get no mail now
	Windows    []ReportWindow   `json:"windows"`                 // the newest first
	Largest    []ReportDomain   `json:"largest"`                 // the reports with the most rows, the largest first
	// Suppressions are the destinations that get no mail, at most 50.
	Suppressions []Suppressed `json:"suppressions"`
}

// ReportWindow has the reports of one window of time.
type ReportWindow struct {
	Begin    time.Time        `json:"begin"`
	End      time.Time        `json:"end"` // the last second
	Reports  int64            `json:"reports"`
	Waiting  int64            `json:"waiting"` // reports that are not done
	Rows     int64            `json:"rows"`
	Messages int64            `json:"messages"`
	Late     int64            `json:"late"` // messages of an earlier window
	Lost     int64            `json:"lost"` // messages that no row counts
	Outcomes map[string]int64 `json:"outcomes"`
}

// ReportDomain is one report.
type ReportDomain struct {
	Domain   string    `json:"domain"`
	Begin    time.Time `json:"begin"`
	State    string    `json:"state"`             // open, due, claimed or done
	Outcome  string    `json:"outcome,omitempty"` // given when the state is done
	Rows     int64     `json:"rows"`
	Messages int64     `json:"messages"`
}

// Suppressed is a destination that gets no mail.
type Suppressed struct {
	Target string    `json:"target"` // an address, or "@" and a domain
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	By     string    `json:"by"` // bounce, refusal or operator
}

const (
	// maxSuppressions is how many suppressions the status lists. "sekimori report suppress list" has
	// all.
	maxSuppressions = 50
	// establishing is how long after its first sight a domain can be established at the earliest.
	establishing = 7
)

// SummarizeReports makes Reports from what the store says.
func SummarizeReports(s report.Summary, suppressions []report.Suppression, sending bool, now time.Time) *Reports {
	r := &Reports{Read: now.UTC(), Sending: sending, Outcomes: map[string]int64{}, Suppressed: s.Suppressed,
		Windows: []ReportWindow{}, Largest: []ReportDomain{}, Suppressions: []Suppressed{}}
	if first := dayTime(s.FirstDay + establishing); s.FirstDay != 0 && first.After(now) {
		r.First = &first
	}
	if !s.Oldest.IsZero() {
		oldest := s.Oldest.UTC()
		r.Oldest = &oldest
	}
	for _, st := range s.Standings {
		r.add(st)
	}
	for _, j := range s.Largest {
		r.Largest = append(r.Largest, ReportDomain{Domain: string(j.Policy.Domain), Begin: time.Unix(j.Window.Begin, 0).UTC(), State: string(j.State),
			Outcome: string(j.Outcome), Rows: j.Rows, Messages: j.Messages})
	}
	suppressions = slices.DeleteFunc(slices.Clone(suppressions), func(s report.Suppression) bool { return !s.Until.After(now) })
	slices.SortFunc(suppressions, func(a, b report.Suppression) int {
		return cmp.Or(b.Since.Compare(a.Since), strings.Compare(a.Target, b.Target))
	})
	for _, s := range suppressions[:min(len(suppressions), maxSuppressions)] {
		r.Suppressions = append(r.Suppressions, Suppressed{Target: s.Target, Since: s.Since.UTC(), Until: s.Until.UTC(), Reason: s.Reason, By: s.By})
	}
	return r
}

// add adds a standing to the totals and to its window.
func (r *Reports) add(st report.Standing) {
	i := slices.IndexFunc(r.Windows, func(w ReportWindow) bool {
		return w.Begin.Unix() == st.Window.Begin && w.End.Unix() == st.Window.End
	})
	if i < 0 {
		i = len(r.Windows)
		r.Windows = append(r.Windows, ReportWindow{Begin: time.Unix(st.Window.Begin, 0).UTC(), End: time.Unix(st.Window.End, 0).UTC(),
			Outcomes: map[string]int64{}})
	}
	w := &r.Windows[i]
	w.Reports += st.Jobs
	w.Rows += st.Rows
	w.Messages += st.Messages
	w.Late += st.Late
	w.Lost += st.Lost
	if st.State == report.StateDone {
		w.Outcomes[string(st.Outcome)] += st.Jobs
		r.Outcomes[string(st.Outcome)] += st.Jobs
		return
	}
	w.Waiting += st.Jobs
	r.WaitingReports += st.Jobs
	r.WaitingRows += st.Rows
}

// dayTime returns the first second of a day.
func dayTime(d report.Day) time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

// Withheld counts the outcomes that are neither sent nor refused nor failed: the rules by which
// reports were withheld.
func (r *Reports) Withheld() map[string]int64 {
	out := maps.Clone(r.Outcomes)
	for _, w := range []report.Word{report.Sent, report.Refused, report.Failed} {
		delete(out, string(w))
	}
	return out
}

// lines writes the lines about reports. r is nil if the daemon has no store, or has not read it yet.
func (r *Reports) lines(line func(label, format string, args ...any)) {
	if r == nil {
		line("reports", "no store (store.url), or it was not read yet")
		return
	}
	sending := "sending"
	if !r.Sending {
		sending = "only collecting, report.aggregate.send is false"
	}
	pending := ""
	if r.Oldest != nil {
		pending = ", the oldest for " + r.Oldest.Format("2006-01-02 15:04 MST")
	}
	first := ""
	if r.First != nil {
		first = "; first reports on " + r.First.Format(time.DateOnly) + ", when domains can be known for 7 days"
	}
	line("reports", "%s; %d waiting with %d rows%s%s", sending, r.WaitingReports, r.WaitingRows, pending, first)
	if r.Error != "" {
		line("", "THE STORE CANNOT BE READ: %s; the numbers are of %s", printable.Value(r.Error), r.Read.Format("2006-01-02 15:04 MST"))
	}
	if last := r.last(); last != nil {
		line("last reports", "of %s: %s", windowText(last.Begin, last.End), counts(last.Outcomes))
	} else {
		line("last reports", "none yet")
	}
	line("withheld", "%s; %d destinations suppressed", counts(r.Withheld()), r.Suppressed)
}

// last returns the newest window of which a report is done, or nil.
func (r *Reports) last() *ReportWindow {
	for i := range r.Windows {
		if len(r.Windows[i].Outcomes) > 0 {
			return &r.Windows[i]
		}
	}
	return nil
}

// windowText names a window: by its day, and by its hours if it is shorter.
func windowText(begin, end time.Time) string {
	const day = 24 * time.Hour
	if end.Sub(begin) == day-time.Second {
		return begin.Format(time.DateOnly)
	}
	return fmt.Sprintf("%s to %s UTC", begin.Format("2006-01-02 15:04"), end.Add(time.Second).Format("15:04"))
}
