package report

import (
	"time"

	"sekimori/internal/dns"
)

// Summary says how the jobs of a store stand. Its size does not depend on how many jobs there are.
type Summary struct {
	// Standings has a line for each window, state and outcome: the newest window first, then by state
	// and outcome.
	Standings []Standing
	// Largest has the jobs with the most rows of the newest windows, the largest first.
	Largest []Job
	// Oldest is the earliest SendAt of the jobs that are not done, or zero if there are none.
	Oldest time.Time
	// FirstDay is the first day of which a sighting is kept, or 0 if there is none.
	FirstDay Day
	// Suppressed is how many destinations get no mail now.
	Suppressed int64
	// Excess says what the bounds on jobs kept out of the newest windows: the newest window first, then the
	// most messages.
	Excess []Excess
}

// Excess counts the messages of a window that are in no report, because the window had too many jobs.
type Excess struct {
	Window   Window
	Owner    dns.Name // that had Batch.MaxOwned jobs, or "" if the window had Batch.MaxJobs
	Messages int64
}

// The bounds of a Summary.
const (
	SummaryStandings = 1000 // lines; 40 windows in every state
	SummaryLargest   = 20   // jobs
	SummaryExcess    = 20   // lines
)

// Standing counts the jobs of a window that have the same state and outcome.
type Standing struct {
	Window   Window
	State    State
	Outcome  Word // "" unless the job is done
	Jobs     int64
	Rows     int64
	Messages int64
	Late     int64
	Lost     int64
}
