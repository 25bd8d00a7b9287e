package console

import (
	"net/http"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/status"
)

const (
	// overdue is how long after its time a report is late enough to be marked. The alert about
	// reports that are not sent begins at the same age.
	overdue = 26 * time.Hour
	// windowRows is the number of windows in the table. The status can have more.
	windowRows = 31
)

// reports is the data of the page about DMARC reports.
type reports struct {
	*status.Reports
	Outcomes []share
	Rows     []windowRow
	Late     time.Duration // how long the oldest report has been due, or 0
	Overdue  bool
}

// windowRow is the row of one window.
type windowRow struct {
	status.ReportWindow
	Shares []share
	Hours  bool // the window is shorter than a day
}

// reports returns the data of the page. Its Reports are nil if the daemon has no store.
func (c *Console) reports(_ *http.Request, s *status.Status) (any, *problem) {
	if s.Reports == nil {
		return reports{}, nil
	}
	r := reports{Reports: s.Reports, Outcomes: shares(s.Reports.Outcomes, reportClass)}
	for _, w := range s.Reports.Windows[:min(len(s.Reports.Windows), windowRows)] {
		r.Rows = append(r.Rows, windowRow{w, shares(w.Outcomes, reportClass), w.End.Sub(w.Begin) < 24*time.Hour-time.Second})
	}
	if s.Reports.Oldest != nil {
		r.Late = max(0, c.o.Now().Sub(*s.Reports.Oldest))
		r.Overdue = r.Late > overdue
	}
	return r, nil
}

// reportClass returns the CSS class of what became of a report. Withheld reports are not trouble.
func reportClass(word string) string {
	switch report.Word(word) {
	case report.Sent:
		return "v-accept"
	case report.Refused, report.Failed:
		return "v-tempfail"
	case report.WithheldUnusable, report.WithheldUnverified, report.WithheldUndeliverable, report.WithheldSuppressed:
		return "v-quarantine"
	case report.WithheldNotEstablished, report.WithheldNotRequested, report.WithheldOff:
		return "v-tag"
	}
	return "v-skip"
}
