package holdqueue

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"sekimori/internal/printable"
)

// Text writes the list for people.
func (l *List) Text(out io.Writer, now time.Time) error {
	var b strings.Builder
	if l.Total == 0 {
		b.WriteString("No message is on hold.\n")
	} else {
		l.table(&b, now)
	}
	if left := l.Total - len(l.Messages); left > 0 {
		fmt.Fprintf(&b, "... and %d more\n", left)
	}
	for _, u := range l.Unseen {
		fmt.Fprintf(&b, "Could not look at %s.\n", printable.Value(u))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (l *List) table(b *strings.Builder, now time.Time) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "queue id\tage\toctets\theld by\treason\tauthor domain\tsender\trecipients\n")
	for i := range l.Messages {
		m := &l.Messages[i]
		reason := string(m.Reason)
		if reason == "" {
			reason = m.MTAReason
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t<%s>\t%s\n", m.QueueID, age(now.Sub(m.Arrived)), m.Size, m.HeldBy,
			dash(reason), dash(m.AuthorDomain), printable.Value(m.Sender), m.recipients())
	}
	_ = w.Flush() // the writer is in memory, so there is no error
}

// recipients returns the first recipient, and how many more there are.
func (m *Message) recipients() string {
	switch {
	case len(m.Recipients) == 0:
		return "-"
	case m.RecipientCount == 1:
		return printable.Value(m.Recipients[0])
	}
	return fmt.Sprintf("%s and %d more", printable.Value(m.Recipients[0]), m.RecipientCount-1)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return printable.Value(s)
}

// age returns a duration in its largest unit, or "-" if the clock went back.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
