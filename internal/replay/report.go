package replay

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"sekimori/internal/policy"
	"sekimori/internal/printable"
)

// Bounds on what a report holds; what is beyond them is counted.
const (
	maxDomains = 100_000 // author domains; the rest share a row
	maxListed  = 10_000  // bad messages, and differences
	maxRows    = 100     // rows and lines of the text
)

// Report is what replay prints as JSON.
type Report struct {
	// Messages counts those read, the bad ones included.
	Messages int `json:"messages"`
	// Bad counts those that could not be judged; BadMessages names the first
	// 10,000.
	Bad         int          `json:"bad"`
	BadMessages []BadMessage `json:"bad_messages"`
	// Unanswered counts the messages that asked the DNS something and got no
	// answer: on receipt they may have been judged otherwise.
	Unanswered int `json:"unanswered"`
	// Verdicts counts messages by verdict, before mode monitor softens it.
	Verdicts map[policy.Action]int `json:"verdicts"`
	// Reasons counts them by the rule that decided.
	Reasons map[policy.Reason]int `json:"reasons"`
	// Domains, those with the harshest verdicts first.
	Domains []Domain `json:"domains"`
	// Candidate compares with the second configuration, if there is one.
	Candidate *Candidate `json:"candidate,omitempty"`
	// DNS is how much of it was needed; absent without a snapshot.
	DNS *Use `json:"dns,omitempty"`

	rows map[string]*Domain
}

// BadMessage is one that could not be judged.
type BadMessage struct {
	Message int    `json:"message"`          // its number, from 1
	File    string `json:"file,omitempty"`   // where each has its own
	Offset  int64  `json:"offset,omitempty"` // in an mbox, in octets
	Reason  string `json:"reason"`
	where   string
}

// Domain is a row of the table.
type Domain struct {
	// Author is the Author Domain, "" for messages that name none, "*" for the
	// domains beyond 100,000.
	Author   string                `json:"author_domain"`
	Messages int                   `json:"messages"`
	Verdicts map[policy.Action]int `json:"verdicts"`
	// Unanswered counts those that got no answer of the DNS.
	Unanswered int `json:"unanswered"`
}

// Candidate compares two configurations.
type Candidate struct {
	Verdicts map[policy.Action]int `json:"verdicts"` // the candidate's
	// Different counts the messages on which the verdicts differ.
	Different int `json:"different"`
	// Changes counts them by "live -> candidate".
	Changes map[string]int `json:"changes"`
	// Differences are the first 10,000 of them.
	Differences []Difference `json:"differences"`
}

// Difference is a message on which the configurations differ.
type Difference struct {
	Message   int            `json:"message"`
	File      string         `json:"file,omitempty"`
	Offset    int64          `json:"offset,omitempty"`
	QueueID   string         `json:"queue_id,omitempty"`
	Author    string         `json:"author_domain"`
	Live      policy.Verdict `json:"live"`
	Candidate policy.Verdict `json:"candidate"`
	where     string
}

func newReport(compared bool) *Report {
	r := &Report{
		BadMessages: []BadMessage{}, Verdicts: map[policy.Action]int{}, Reasons: map[policy.Reason]int{},
		Domains: []Domain{}, rows: map[string]*Domain{},
	}
	if compared {
		r.Candidate = &Candidate{Verdicts: map[policy.Action]int{}, Changes: map[string]int{}, Differences: []Difference{}}
	}
	return r
}

func (r *Report) add(o outcome) {
	r.Messages++
	m := o.message
	if o.err != nil {
		r.Bad++
		if len(r.BadMessages) < maxListed {
			r.BadMessages = append(r.BadMessages, BadMessage{m.Number, m.Name, m.Offset, o.err.Error(), m.where()})
		}
		return
	}
	action := o.live.Verdict.Action
	r.Verdicts[action]++
	r.Reasons[o.live.Verdict.Reason]++
	row := r.row(string(o.author))
	row.Messages++
	row.Verdicts[action]++
	if o.unanswered {
		r.Unanswered++
		row.Unanswered++
	}
	if r.Candidate != nil {
		r.Candidate.add(o)
	}
}

func (r *Report) row(author string) *Domain {
	row := r.rows[author]
	if row == nil && len(r.rows) >= maxDomains {
		author = "*"
		row = r.rows[author]
	}
	if row == nil {
		row = &Domain{Author: author, Verdicts: map[policy.Action]int{}}
		r.rows[author] = row
	}
	return row
}

func (c *Candidate) add(o outcome) {
	live, candidate := o.live.Verdict, o.compared
	c.Verdicts[candidate.Action]++
	// Mode and quarantine style are a difference too: what is done differs.
	if live.Action == candidate.Action && live.Applied == candidate.Applied {
		return
	}
	c.Different++
	c.Changes[change(live)+" -> "+change(candidate)]++
	if m := o.message; len(c.Differences) < maxListed {
		c.Differences = append(c.Differences, Difference{m.Number, m.Name, m.Offset, o.queueID, string(o.author), live, candidate, m.where()})
	}
}

// change names a verdict, with what is done where that is another thing.
func change(v policy.Verdict) string {
	if v.Action == v.Applied {
		return string(v.Action)
	}
	return string(v.Action) + " (applied as " + string(v.Applied) + ")"
}

// finish brings the rows in order.
func (r *Report) finish() {
	for _, row := range r.rows {
		r.Domains = append(r.Domains, *row)
	}
	slices.SortFunc(r.Domains, func(a, b Domain) int {
		return cmp.Or(
			b.Verdicts[policy.Reject]-a.Verdicts[policy.Reject], b.Verdicts[policy.Quarantine]-a.Verdicts[policy.Quarantine],
			b.Messages-a.Messages, strings.Compare(a.Author, b.Author))
	})
}

// columns are the verdicts in the order of the table.
var columns = []policy.Action{policy.Accept, policy.Tag, policy.Quarantine, policy.Reject, policy.TempFail, policy.Skip}

// Text writes the report for people.
func (r *Report) Text(out io.Writer) error {
	var b strings.Builder
	if r.Unanswered > 0 {
		fmt.Fprintf(&b, "DNS FAILED for %d of %d messages (%.1f %%): what is said of them is not what was so on receipt", r.Unanswered, r.judged(), r.unansweredPercent())
		if r.DNS != nil {
			b.WriteString("; the same command with --retry-failures asks again")
		}
		b.WriteString(".\n\n")
	}
	r.table(&b)
	if r.Candidate != nil {
		r.Candidate.text(&b)
	}
	if r.Bad > 0 {
		fmt.Fprintf(&b, "\n%d messages could not be judged:\n", r.Bad)
		for _, bad := range r.BadMessages[:min(len(r.BadMessages), maxRows)] {
			fmt.Fprintf(&b, "  %s: %s\n", printable.Value(bad.where), printable.Value(bad.Reason))
		}
		more(&b, r.Bad)
	}
	if d := r.DNS; d != nil {
		if d.Asked == 0 {
			fmt.Fprintf(&b, "\nNo DNS was needed: the snapshot answered all %d questions", d.FromSnapshot)
		} else {
			fmt.Fprintf(&b, "\nDNS: %d questions answered from the snapshot, %d asked, %d answers kept", d.FromSnapshot, d.Asked, d.Kept)
		}
		if d.Failures > 0 {
			fmt.Fprintf(&b, "; %d failures among them", d.Failures)
		}
		b.WriteString(".\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// judged counts the messages that could be judged.
func (r *Report) judged() int { return r.Messages - r.Bad }

func (r *Report) unansweredPercent() float64 {
	return 100 * float64(r.Unanswered) / float64(max(r.judged(), 1))
}

// tolerableUnansweredPercent is the share of messages without an answer of the DNS
// that a run may have and still tell what the daemon would have done.
const tolerableUnansweredPercent = 1

// Reliable reports whether nearly every message got the answers it asked for.
func (r *Report) Reliable() bool { return r.unansweredPercent() <= tolerableUnansweredPercent }

func (r *Report) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, messages, unanswered string, cell func(policy.Action) string) {
		fmt.Fprintf(w, "%s\t", messages)
		for _, c := range columns {
			fmt.Fprintf(w, "%s\t", cell(c))
		}
		if r.Unanswered > 0 {
			fmt.Fprintf(w, "%s\t", unanswered)
		}
		fmt.Fprintf(w, "  %s\n", name)
	}
	row("author domain", "messages", "no DNS", func(a policy.Action) string { return string(a) })
	number := func(n int) string {
		if n == 0 {
			return "-"
		}
		return strconv.Itoa(n)
	}
	count := func(m map[policy.Action]int) func(policy.Action) string {
		return func(a policy.Action) string { return number(m[a]) }
	}
	for _, d := range r.Domains[:min(len(r.Domains), maxRows)] {
		name := printable.Value(d.Author)
		switch d.Author {
		case "":
			name = "(no author, or not evaluated)"
		case "*":
			name = "(other domains)"
		}
		row(name, strconv.Itoa(d.Messages), number(d.Unanswered), count(d.Verdicts))
	}
	row("all "+strconv.Itoa(len(r.Domains)), strconv.Itoa(r.judged()), number(r.Unanswered), count(r.Verdicts))
	_ = w.Flush() // into memory
	more(b, len(r.Domains))
}

func more(b *strings.Builder, n int) {
	if n > maxRows {
		fmt.Fprintf(b, "  ... and %d more; --json has them\n", n-maxRows)
	}
}

func (c *Candidate) text(b *strings.Builder) {
	fmt.Fprintf(b, "\nThe candidate decides otherwise on %d messages\n", c.Different)
	keys := slices.SortedFunc(maps.Keys(c.Changes), func(x, y string) int {
		return cmp.Or(c.Changes[y]-c.Changes[x], strings.Compare(x, y))
	})
	for _, k := range keys {
		fmt.Fprintf(b, "  %d %s\n", c.Changes[k], k)
	}
	for _, d := range c.Differences[:min(len(c.Differences), maxRows)] {
		fmt.Fprintf(b, "  %s, author %s: %s (%s) -> %s (%s)\n", printable.Value(d.where), printable.Value(d.Author), change(d.Live), d.Live.Reason, change(d.Candidate), d.Candidate.Reason)
	}
	more(b, c.Different)
}
