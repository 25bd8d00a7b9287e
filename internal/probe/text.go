package probe

import (
	"fmt"
	"io"
	"strings"

	"sekimori/internal/printable"
)

// Text writes the report as lines for a person to read.
func (r *Report) Text(out io.Writer) error {
	t := &text{}
	t.line(0, "Messages to %s; the configuration is in mode %s.", r.Target, r.Mode)
	t.b.WriteString("\n")
	for i := range r.Plays {
		t.play(i+1, &r.Plays[i])
	}
	for _, n := range r.Notes {
		t.line(0, "Note: %s", n)
	}
	good := 0
	for i := range r.Plays {
		if r.Plays[i].OK {
			good++
		}
	}
	t.line(0, "%d of %d messages came back as the configuration means, in %.2f s.", good, len(r.Plays), r.Seconds)
	_, err := io.WriteString(out, t.b.String())
	return err
}

// text collects lines. Everything that came from outside passes through printable.Text.
type text struct{ b strings.Builder }

func (t *text) line(indent int, format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = printable.Text(s)
		}
	}
	fmt.Fprintf(&t.b, strings.Repeat(" ", indent)+format+"\n", args...)
}

func (t *text) play(number int, p *Play) {
	client := "an unknown client"
	if p.Client.IsValid() {
		client = "client " + p.Client.String()
	}
	t.line(0, "%d. %s: %s", number, p.Name, p.Title)
	t.line(3, "sent       %s, HELO %s, MAIL FROM:<%s>, RCPT TO:<%s>, From: %s", client, p.HELO, p.MailFrom, p.Recipient, p.From)
	t.outcome("came back", p.Came)
	if len(p.Problems) == 0 && len(p.Notes) == 0 {
		t.line(3, "meant      the same")
	} else {
		t.outcome("meant", p.Meant)
	}
	t.line(3, "because    %s", p.Why)
	for _, n := range p.Notes {
		t.line(3, "note       %s", n)
	}
	for _, x := range p.Problems {
		t.line(3, "WRONG      %s", x.What)
		t.line(3, "to do      %s", x.ToDo)
	}
	if p.OK {
		t.line(3, "=> as the configuration means")
	} else {
		t.line(3, "=> NOT as the configuration means")
	}
	t.b.WriteString("\n")
}

func (t *text) outcome(label string, o Outcome) {
	t.line(3, "%-10s %s%s", label, string(o.Fate), reply(o))
	for _, r := range o.Results {
		t.line(14, "Authentication-Results: %s", r)
	}
	if len(o.Results) == 0 && (o.Fate == Delivered || o.Fate == Held) {
		t.line(14, "without a label of ours")
	}
}

func reply(o Outcome) string {
	if o.Reply == "" {
		return ""
	}
	return ": " + o.Reply
}
