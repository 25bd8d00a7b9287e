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

// Bounds on what a summary lists. What is beyond them is counted only.
const (
	maxDomains = 100_000 // author domains that have a row; the rest share one
	maxListed  = 10_000  // bad messages, and differences
	maxRows    = 100     // rows of a table, or lines of a list, in the text
)

// Summary is what replay prints as JSON.
type Summary struct {
	// Messages counts the messages that were read, the bad ones included.
	Messages int `json:"messages"`
	// Bad counts the messages that could not be judged. BadMessages has the first
	// 10,000 of them.
	Bad         int          `json:"bad"`
	BadMessages []BadMessage `json:"bad_messages"`
	// Unanswered counts the messages for which a DNS lookup failed. On receipt
	// they may have been judged otherwise.
	Unanswered int `json:"unanswered"`
	// Verdicts counts messages by verdict, before mode monitor softens it.
	Verdicts map[policy.Action]int `json:"verdicts"`
	// Reasons counts messages by the reason of the verdict.
	Reasons map[policy.Reason]int `json:"reasons"`
	// Domains has the domains with the harshest verdicts first.
	Domains []Domain `json:"domains"`
	// Candidate compares with the second configuration, if there is one.
	Candidate *Candidate `json:"candidate,omitempty"`
	// DNS says how many DNS questions were needed. It is absent without a
	// snapshot.
	DNS *Use `json:"dns,omitempty"`

	rows map[string]*Domain
}

// BadMessage is a message that could not be judged.
type BadMessage struct {
	Message int    `json:"message"`          // its number, from 1
	File    string `json:"file,omitempty"`   // absent in an mbox
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
	// Unanswered counts the messages for which a DNS lookup failed.
	Unanswered int `json:"unanswered"`
}

// Candidate compares two configurations.
type Candidate struct {
	Verdicts map[policy.Action]int `json:"verdicts"` // of the candidate
	// Different counts the messages on which the verdicts differ.
	Different int `json:"different"`
	// Changes counts these messages by "live -> candidate".
	Changes map[string]int `json:"changes"`
	// Differences has the first 10,000 of these messages.
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

func newSummary(compared bool) *Summary {
	r := &Summary{
		BadMessages: []BadMessage{}, Verdicts: map[policy.Action]int{}, Reasons: map[policy.Reason]int{},
		Domains: []Domain{}, rows: map[string]*Domain{},
	}
	if compared {
		r.Candidate = &Candidate{Verdicts: map[policy.Action]int{}, Changes: map[string]int{}, Differences: []Difference{}}
	}
	return r
}

func (s *Summary) add(o outcome) {
	s.Messages++
	m := o.message
	if o.err != nil {
		s.Bad++
		if len(s.BadMessages) < maxListed {
			s.BadMessages = append(s.BadMessages, BadMessage{m.Number, m.Name, m.Offset, o.err.Error(), m.where()})
		}
		return
	}
	action := o.live.Verdict.Action
	s.Verdicts[action]++
	s.Reasons[o.live.Verdict.Reason]++
	row := s.row(string(o.author))
	row.Messages++
	row.Verdicts[action]++
	if o.unanswered {
		s.Unanswered++
		row.Unanswered++
	}
	if s.Candidate != nil {
		s.Candidate.add(o)
	}
}

func (s *Summary) row(author string) *Domain {
	row := s.rows[author]
	if row == nil && len(s.rows) >= maxDomains {
		author = "*"
		row = s.rows[author]
	}
	if row == nil {
		row = &Domain{Author: author, Verdicts: map[policy.Action]int{}}
		s.rows[author] = row
	}
	return row
}

func (c *Candidate) add(o outcome) {
	live, candidate := o.live.Verdict, o.compared
	c.Verdicts[candidate.Action]++
	// Two equal actions still differ if the configurations apply them in
	// different ways, for example in mode monitor.
	if live.Action == candidate.Action && live.Applied == candidate.Applied {
		return
	}
	c.Different++
	c.Changes[change(live)+" -> "+change(candidate)]++
	if m := o.message; len(c.Differences) < maxListed {
		c.Differences = append(c.Differences, Difference{m.Number, m.Name, m.Offset, o.queueID, string(o.author), live, candidate, m.where()})
	}
}

// change returns a verdict's action, and the action that is applied if that is
// another one.
func change(v policy.Verdict) string {
	if v.Action == v.Applied {
		return string(v.Action)
	}
	return string(v.Action) + " (applied as " + string(v.Applied) + ")"
}

// finish sorts the rows into Domains.
func (s *Summary) finish() {
	for _, row := range s.rows {
		s.Domains = append(s.Domains, *row)
	}
	slices.SortFunc(s.Domains, func(a, b Domain) int {
		return cmp.Or(
			b.Verdicts[policy.Reject]-a.Verdicts[policy.Reject], b.Verdicts[policy.Quarantine]-a.Verdicts[policy.Quarantine],
			b.Messages-a.Messages, strings.Compare(a.Author, b.Author))
	})
}

// columns are the verdicts in the order of the table.
var columns = []policy.Action{policy.Accept, policy.Tag, policy.Quarantine, policy.Reject, policy.TempFail, policy.Skip}

// Text writes the summary for people.
func (s *Summary) Text(out io.Writer) error {
	var b strings.Builder
	if s.Unanswered > 0 {
		fmt.Fprintf(&b, "DNS FAILED for %d of %d messages (%.1f %%): on receipt they may have been judged otherwise",
			s.Unanswered, s.judged(), s.unansweredPercent())
		if s.DNS != nil {
			b.WriteString("; the same command with --retry-failures asks again")
		}
		b.WriteString(".\n\n")
	}
	s.table(&b)
	if s.Candidate != nil {
		s.Candidate.text(&b)
	}
	if s.Bad > 0 {
		fmt.Fprintf(&b, "\n%d messages could not be judged:\n", s.Bad)
		for _, bad := range s.BadMessages[:min(len(s.BadMessages), maxRows)] {
			fmt.Fprintf(&b, "  %s: %s\n", printable.Value(bad.where), printable.Value(bad.Reason))
		}
		more(&b, s.Bad)
	}
	if d := s.DNS; d != nil {
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
func (s *Summary) judged() int { return s.Messages - s.Bad }

func (s *Summary) unansweredPercent() float64 {
	return 100 * float64(s.Unanswered) / float64(max(s.judged(), 1))
}

// tolerableUnansweredPercent is the largest share of messages with a failed DNS
// lookup with which the summary still shows what the daemon would have done.
const tolerableUnansweredPercent = 1

// Reliable reports whether the DNS lookups of nearly every message succeeded.
func (s *Summary) Reliable() bool { return s.unansweredPercent() <= tolerableUnansweredPercent }

func (s *Summary) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, messages, unanswered string, cell func(policy.Action) string) {
		fmt.Fprintf(w, "%s\t", messages)
		for _, c := range columns {
			fmt.Fprintf(w, "%s\t", cell(c))
		}
		if s.Unanswered > 0 {
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
	for _, d := range s.Domains[:min(len(s.Domains), maxRows)] {
		name := printable.Value(d.Author)
		switch d.Author {
		case "":
			name = "(no author, or not evaluated)"
		case "*":
			name = "(other domains)"
		}
		row(name, strconv.Itoa(d.Messages), number(d.Unanswered), count(d.Verdicts))
	}
	row("all "+strconv.Itoa(len(s.Domains)), strconv.Itoa(s.judged()), number(s.Unanswered), count(s.Verdicts))
	_ = w.Flush() // into memory
	more(b, len(s.Domains))
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
		fmt.Fprintf(b, "  %s, author %s: %s (%s) -> %s (%s)\n", printable.Value(d.where), printable.Value(d.Author),
			change(d.Live), d.Live.Reason, change(d.Candidate), d.Candidate.Reason)
	}
	more(b, c.Different)
}
