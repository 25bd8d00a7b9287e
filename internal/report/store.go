package report

import (
	"context"
	"errors"
	"iter"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// The errors of a Store.
var (
	// ErrNone means that no job is due.
	ErrNone = errors.New("report: no job is due")
	// ErrLost means that the lease of the job ran out, and another sender may have claimed the job.
	ErrLost = errors.New("report: another sender has the job")
	// ErrUnknown means that there is no such job, delivery or suppression.
	ErrUnknown = errors.New("report: not found")
)

// Window is the time that a report covers. Begin is its first second and End its last, so windows
// never overlap.
type Window struct {
	Begin, End int64 // seconds since 1970
}

// Tally has the observations of one policy in one window.
type Tally struct {
	Policy Policy
	Window Window
	SendAt time.Time // when the report may be sent: after the window, the grace and the jitter
	Rows   []Row     // distinct, in ascending order of their keys
	// Causes is how many of the messages are a reason to send, and Spam how many an earlier filter
	// marked. Late is how many belong to an earlier window, and Lost how many messages have no row.
	Causes, Spam, Late, Lost int64
}

// Batch is what a daemon adds at once. A job that is opened in Current for late rows has the SendAt of
// their tally, later by as much as Current ends later than the tally's window.
type Batch struct {
	ID      string     // chosen by the daemon at random; a store takes a batch only once
	Current Window     // where rows go whose own window is no longer open
	Tallies []Tally    // in ascending order of the policy's id and the window's begin
	Seen    []Sighting // without duplicates, in ascending order
	// MaxRows is how many distinct rows a job may have; 0 means no limit. See [Row.Reduced].
	MaxRows int64
	// MaxJobs is how many jobs a window may have, and MaxOwned how many of them may belong to one
	// [Policy.Owner]; 0 means no limit. The messages of further policies are in no report, and a
	// store counts them as [Excess].
	MaxJobs, MaxOwned int64
	// Ledger is what the same messages, and those of which no report is made, add to the ledger. It is
	// stored in the same transaction.
	Ledger ledger.Delta
}

// State is where a job stands.
type State string

// The states of a job.
const (
	StateOpen    State = "open"    // rows may still be added
	StateDue     State = "due"     // waits for a sender, at the earliest at SendAt
	StateClaimed State = "claimed" // a sender works on it
	StateDone    State = "done"
)

// Grace is how long after its end a window still takes rows.
const Grace = 15 * time.Minute

// MaxLate is how long after its end a window may still get a job. Rows that come later go to the
// current window.
const MaxLate = 48 * time.Hour

// MaxPolicies is how many jobs a domain has in one window. A report describes one policy, so a domain
// that changes its record all the time would get a report for each change. The rows of further policies
// go to the newest job.
const MaxPolicies = 3

// MaxJobs and MaxOwned are the usual bounds of a [Batch]. One record for all names below a domain (a
// wildcard) makes a policy domain of each, and so a job and a report of each that a forger thinks up.
const (
	MaxJobs  = 200_000
	MaxOwned = 1000
)

// How long a store keeps what has no other end.
const (
	// KeepDelivery is how long a job that is done stays with its deliveries, at the least: MTAs try for up
	// to five days, and then the delivery says whose bounce comes back. Its rows may go earlier.
	KeepDelivery    = 6 * 24 * time.Hour
	KeepSeen        = 35 * 24 * time.Hour // sightings; those of kind SeenWrote for KeepWrote
	KeepWrote       = 95 * 24 * time.Hour
	KeepBatch       = 3 * 24 * time.Hour  // ids of batches
	KeepSuppression = 90 * 24 * time.Hour // suppressions after their end, because the next one is longer
)

// The days that [Seen] sums up, today included.
const (
	SeenDays  = 30
	WroteDays = 90
)

// Job is one report, from the first message that it counts to its end.
type Job struct {
	ID     int64
	Policy Policy
	Window Window
	State  State
	SendAt time.Time
	// Owner, Lease and LeaseUntil are the claim. Lease counts the claims of this job.
	Owner                    string
	Lease                    int64
	LeaseUntil               time.Time
	Tries                    int    // claims that ended with Finish
	ReportID                 string // with the part after the at sign; "" until it was made
	Rows                     int64  // distinct rows
	Messages                 int64  // the sum of their counts
	Causes, Spam, Late, Lost int64
	Merged                   int64  // messages of further policies, see MaxPolicies
	Outcome                  Word   // "" until the job is done
	Reason                   string // a sentence for the operator
}

// Outcome ends a claim.
type Outcome struct {
	Word   Word   // "" if the job is not done
	Reason string // a sentence for the operator
	// Again is when the job may be claimed again, if Word is "".
	Again time.Time
}

// Delivery is the mail of one job to one destination.
type Delivery struct {
	ID      int64 // chosen by the store
	Job     int64
	Address string
	Word    Word   // DeliveryWaiting, Sent, Refused or Failed, or why nothing is sent there
	Detail  string // a sentence: what was found out about the destination
	Tries   int
	NextTry time.Time
	Reply   string    // the last reply of the MTA, or of the bounce
	At      time.Time // when Word was last set
	Window  Window    // of the job; the store fills it in
	Bounced bool      // a delivery status notification came back
}

// Suppression says that a destination gets no mail, or how many failures it had.
type Suppression struct {
	Target  string // an address, or "@" and a domain
	Since   time.Time
	Until   time.Time // zero: not suppressed, there were only strikes
	Strikes int
	Reason  string
	By      string // ByBounce, ByRefusal or ByOperator
	Window  int64  // begin of the window of the last strike
	// Sent is when the MTA took the first report after the last strike; zero if there was none. If it
	// does not come back, the strikes are forgotten, see ClearAfter.
	Sent time.Time
}

// Seen sums up the sightings of a domain in the last 30 days (Wrote: 90 days).
type Seen struct {
	PassDays  int // distinct days on which it passed
	FirstPass Day
	AnyDays   int // distinct days on which it passed or failed
	FirstAny  Day
	Wrote     Day // the last day on which a user wrote to it, or 0
}

// Passing reports whether a domain is known for passing: on 3 days, the first 7 days ago.
func (s Seen) Passing(today Day) bool {
	return s.PassDays >= PassDays && today-s.FirstPass >= PassSince
}

// When a domain is known for passing.
const (
	PassDays  = 3 // days with a pass
	PassSince = 7 // days since the first of them
)

// Filter selects jobs. The zero value selects all.
type Filter struct {
	Window   int64 // begin
	Domain   dns.Name
	State    State
	ReportID string
	ID       int64
	Limit    int // 0: no limit
}

// Store keeps jobs, rows and deliveries. Strings may hold any octets. Rows come back as they were. In
// other strings a store may replace what its database cannot hold. All its methods are safe for concurrent use, also by several
// processes, if the database can be used by several. The time is always given by the caller, in UTC.
type Store interface {
	// Add adds a batch as a whole or not at all. A batch whose ID was added before changes nothing.
	// All jobs of a day have windows of the same length, so that they do not overlap: that of the first.
	// Other tallies go to the window of that length which [Window.Within] gives.
	// Rows whose job is no longer open, or whose window ended more than MaxLate ago, go to the job of
	// Batch.Current, and count as late. If that job is not open either, because the clock was set back,
	// they go to the first window after it whose job is open or does not exist.
	Add(ctx context.Context, now time.Time, b Batch) error
	// Claim closes the windows that have ended, and claims the job that has waited longest. A job
	// whose lease has run out can be claimed again. The error is ErrNone if no job is due. The lease
	// ends at now + lease.
	Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (Job, error)
	// ClaimJob claims one job before it is due, or again after it was done: a report that got lost is
	// sent again with the id that it had. The error is ErrNone if the window still takes rows, ErrLost if
	// another sender has the job now, and ErrUnknown if there is no such job, or its rows are gone. A job that was done begins
	// anew, with no Outcome, no Reason and no Tries in the store. The returned job still has the Outcome,
	// so that the sender knows.
	ClaimJob(ctx context.Context, now time.Time, id int64, owner string, lease time.Duration) (Job, error)
	// Renew extends the lease, and SetReportID writes down the id before the first attempt to send.
	// The id of a job never changes: SetReportID returns the one that is stored. The error is ErrLost
	// unless owner and lease number still match.
	Renew(ctx context.Context, j Job, until time.Time) error
	SetReportID(ctx context.Context, j Job, id string) (string, error)
	// Finish ends the claim: the job is done, or due again. The error is ErrLost unless owner and
	// lease number still match. A job that is done keeps LeaseUntil, and Expire counts from then.
	Finish(ctx context.Context, j Job, o Outcome) error
	// Rows streams the rows of a job in ascending order of their keys.
	Rows(ctx context.Context, job int64) iter.Seq2[Row, error]
	// Jobs returns jobs, the newest window first, then by domain.
	Jobs(ctx context.Context, f Filter) ([]Job, error)
	// Summary says how the jobs stand at a time, and how many destinations are suppressed then.
	Summary(ctx context.Context, now time.Time) (Summary, error)

	// Deliveries returns the deliveries of a job, in the order in which they were first stored.
	// SetDelivery stores one and returns its id. There is at most one for each job and address: a
	// second one replaces the first and keeps its id. Ids are never used again.
	Deliveries(ctx context.Context, job int64) ([]Delivery, error)
	SetDelivery(ctx context.Context, d Delivery) (int64, error)
	Delivery(ctx context.Context, id int64) (Delivery, error)

	// Suppressions returns all entries, in the order of their targets. Suppress writes one, and
	// Unsuppress removes one.
	Suppressions(ctx context.Context) ([]Suppression, error)
	Suppression(ctx context.Context, target string) (Suppression, error)
	Suppress(ctx context.Context, s Suppression) error
	Unsuppress(ctx context.Context, target string) error

	// Seen sums up the sightings of a domain up to the given day.
	Seen(ctx context.Context, domain dns.Name, today Day) (Seen, error)

	// Allow counts one more of what is limited to so many on a day, and returns false instead if there were
	// as many already. The names of limits are the caller's choice.
	Allow(ctx context.Context, day Day, limit string, most int64) (bool, error)

	// Expire removes what is no longer needed: the rows of jobs that have been done for longer than keep,
	// and whose window ended more than MaxLate ago; these jobs and their deliveries once they have been done
	// for KeepDelivery, too; old sightings, batch ids, and suppressions that ended long ago.
	Expire(ctx context.Context, now time.Time, keep time.Duration) error
	// Secret returns the random secret of this store. It is made once, and shared by all daemons.
	Secret(ctx context.Context) ([]byte, error)
	Close() error
}
