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

// Limits for the lists of a summary. Entries beyond a limit are only counted.
const (
	maxDomains = 100_000 // author domains that have a row of their own; all others share one row
	maxListed  = 10_000  // listed bad messages, and listed differences
	maxRows    = 100     // rows of a table and lines of a list in the text for people
)

// Summary is the result of a run. replay prints it as JSON.
type Summary struct {
	// Messages counts all messages that were read, including the bad messages.
	Messages int `json:"messages"`
	// Bad counts the messages that could not be judged. BadMessages lists the first 10,000 of them.
	Bad         int          `json:"bad"`
	BadMessages []BadMessage `json:"bad_messages"`
	// Unanswered counts the messages for which SPF, iprev, DKIM or DMARC gave the result temperror,
	// usually because a DNS lookup failed. On receipt, the daemon may have decided differently on
	// these messages.
	Unanswered int `json:"unanswered"`
	// Verdicts counts the messages by the action of the verdict. Mode monitor may apply a milder
	// action.
	Verdicts map[policy.Action]int `json:"verdicts"`
	// Reasons counts messages by the reason of the verdict.
	Reasons map[policy.Reason]int `json:"reasons"`
	// Domains has a row for each author domain. The first rows are the domains with the most
	// rejected messages.
	Domains []Domain `json:"domains"`
	// Candidate is the comparison with the candidate configuration. It is nil if there is none.
	Candidate *Candidate `json:"candidate,omitempty"`
	// DNS says how many DNS questions the run had. It is nil if the run had no snapshot.
	DNS *Use `json:"dns,omitempty"`

	rows map[string]*Domain
}

// BadMessage is a message that could not be judged.
type BadMessage struct {
	Message int    `json:"message"`          // number of the message; the first has number 1
	File    string `json:"file,omitempty"`   // "" for a message in an mbox
	Offset  int64  `json:"offset,omitempty"` // offset of the message in an mbox, in octets
	Reason  string `json:"reason"`
	where   string
}

// Domain is a row of the table: an author domain and the verdicts on its messages.
type Domain struct {
	// Author is the Author Domain. It is "" for messages that name none, and "*" for all domains
	// beyond the first 100,000.
	Author   string                `json:"author_domain"`
	Messages int                   `json:"messages"`
	Verdicts map[policy.Action]int `json:"verdicts"`
	// Unanswered counts the messages for which SPF, iprev, DKIM or DMARC gave the result temperror.
	Unanswered int `json:"unanswered"`
}

// Candidate compares the verdicts of two configurations.
type Candidate struct {
	Verdicts map[policy.Action]int `json:"verdicts"` // by the action of the candidate's verdict
	// Different counts the messages with different verdicts.
	Different int `json:"different"`
	// Changes counts the messages with different verdicts by the two actions, as in "accept ->
	// reject".
	Changes map[string]int `json:"changes"`
	// Differences lists the first 10,000 messages with different verdicts.
	Differences []Difference `json:"differences"`
}

// Difference is a message with different verdicts.
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
	// Verdicts with the same action are still different if the configurations apply the action in
	// different ways, for example because one of them is in mode monitor.
	if live.Action == candidate.Action && live.Applied == candidate.Applied {
		return
	}
	c.Different++
	c.Changes[change(live)+" -> "+change(candidate)]++
	if m := o.message; len(c.Differences) < maxListed {
		c.Differences = append(c.Differences, Difference{m.Number, m.Name, m.Offset, o.queueID, string(o.author), live, candidate, m.where()})
	}
}

// change returns the action of a verdict. If a different action is applied, change returns both.
func change(v policy.Verdict) string {
	if v.Action == v.Applied {
		return string(v.Action)
	}
	return string(v.Action) + " (applied as " + string(v.Applied) + ")"
}

// finish copies the rows into Domains and sorts them.
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

// columns are the actions that have a column in the table, from left to right.
var columns = []policy.Action{policy.Accept, policy.Tag, policy.Quarantine, policy.Reject, policy.TempFail, policy.Skip}

// Text writes the summary as a text for people.
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

// judged returns the number of messages that could be judged.
func (s *Summary) judged() int { return s.Messages - s.Bad }

func (s *Summary) unansweredPercent() float64 {
	return 100 * float64(s.Unanswered) / float64(max(s.judged(), 1))
}

// tolerableUnansweredPercent limits the percentage of messages that count as Unanswered. With more
// of them, the summary no longer shows what the daemon would have done.
const tolerableUnansweredPercent = 1

// Reliable reports whether at most tolerableUnansweredPercent of the messages count as Unanswered.
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
	_ = w.Flush() // the writer is in memory, so there is no error
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
