package senders

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"sekimori/internal/printable"
)

// What the text of one sender lists; JSON has more.
const (
	textSigners  = 8
	textNetworks = 16
)

// Text writes the list for a terminal: a table, or the details if one domain or those in trouble were asked
// for.
func (l *List) Text(out io.Writer) error {
	var b strings.Builder
	switch {
	case len(l.Senders) == 0 && l.Broken:
		fmt.Fprintf(&b, "No sender in trouble from %s to %s.\n", l.From, l.To)
	case len(l.Senders) == 0:
		fmt.Fprintf(&b, "No mail was counted from %s to %s.\n", l.From, l.To)
	case l.Broken || len(l.Senders[0].ByDay) > 0:
		for i := range l.Senders {
			if i > 0 {
				b.WriteString("\n")
			}
			l.Senders[i].text(&b)
		}
	default:
		l.table(&b)
	}
	if l.More {
		b.WriteString("There are more; --limit lists more of them.\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (l *List) table(b *strings.Builder) {
	fmt.Fprintf(b, "%s to %s\n\n", l.From, l.To)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DOMAIN\tPOLICY\tMESSAGES\tPASS\tBY DKIM\tBY SPF\tFAIL\tREJECTED\tQUARANTINED\tKEYS\tNETWORKS\t")
	for i := range l.Senders {
		s := &l.Senders[i]
		mark := ""
		if len(s.Trouble) > 0 {
			mark = string(s.Trouble[0].Kind)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", printable.Value(string(s.Domain)), s.policy(), s.Messages, share(s.Pass, s.Messages),
			share(s.PassDKIM, s.Messages), share(s.PassSPF, s.Messages), s.Fail, s.Rejected, s.Quarantined, len(s.Signers), len(s.Networks), mark)
	}
	_ = w.Flush() // a Builder does not fail
}

func (s *Sender) policy() string {
	if s.Policy == "" {
		return "-"
	}
	return string(s.Policy)
}

func (s *Sender) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s (DMARC policy: %s): %s on %s\n", printable.Value(string(s.Domain)), s.policy(), printable.Counted(s.Messages, "message"), printable.Counted(int64(s.Days), "day"))
	fmt.Fprintf(b, "  %s pass: %s by DKIM, %s by SPF; %d fail, %d are not decided; %d rejected, %d quarantined\n", share(s.Pass, s.Messages),
		share(s.PassDKIM, s.Messages), share(s.PassSPF, s.Messages), s.Fail, s.TempError, s.Rejected, s.Quarantined)
	if s.Example != "" {
		fmt.Fprintf(b, "  a message that failed: sekimori explain --id %s\n", printable.Value(s.Example))
	}
	for _, x := range s.Trouble {
		x.text(b)
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	if len(s.Signers) > 0 {
		fmt.Fprintln(w, "  KEY\tPASS\tFAIL\tFIRST\tLAST")
		for _, k := range s.Signers[:min(len(s.Signers), textSigners)] {
			fmt.Fprintf(w, "  d=%s s=%s\t%d\t%d\t%s\t%s\n", printable.Value(string(k.Domain)), printable.Value(k.Selector), k.Pass, k.Fail, k.First, k.Last)
		}
		_ = w.Flush()
	}
	if len(s.Networks) > 0 {
		fmt.Fprintln(w, "  NETWORK\tAUTHOR\tDAYS\tLAST")
		for _, n := range s.Networks[:min(len(s.Networks), textNetworks)] {
			fmt.Fprintf(w, "  %s\t%s\t%d\t%s\n", n.Network, printable.Value(string(n.Domain)), n.Days, n.Last)
		}
		_ = w.Flush()
		if n := len(s.Networks) - textNetworks; n > 0 {
			fmt.Fprintf(b, "  and %d more\n", n)
		}
	}
	if len(s.ByDay) > 0 {
		fmt.Fprintln(w, "  DAY\tMESSAGES\tPASS\tDKIM\tSPF\tFAIL\tREJECTED\tQUARANTINED\tPOLICY")
		for _, d := range s.ByDay {
			fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", d.Day, d.Messages, d.Pass, d.PassDKIM, d.PassSPF, d.Fail, d.Rejected, d.Quarantined, d.Policy)
		}
		_ = w.Flush()
	}
}

func (x *Trouble) text(b *strings.Builder) {
	state := "still so at " + x.Last.UTC().Format(time.DateTime)
	if !x.Ended.IsZero() {
		state = "over at " + x.Ended.UTC().Format(time.DateTime)
	}
	fmt.Fprintf(b, "  %s %s\n    found at %s (UTC), %s\n    %s\n", x.Kind, printable.Value(x.Subject), x.First.UTC().Format(time.DateTime), state, printable.Value(x.Evidence))
	if x.Example != "" {
		fmt.Fprintf(b, "    sekimori explain --id %s\n", printable.Value(x.Example))
	}
	fmt.Fprintf(b, "    A mail to %s:\n\n      Subject: %s\n\n", printable.Value(x.Mail.To), printable.Value(x.Mail.Subject))
	for line := range strings.Lines(x.Mail.Text) {
		b.WriteString(strings.TrimRight("      "+printable.Text(strings.TrimSuffix(line, "\n")), " ") + "\n")
	}
	b.WriteString("\n")
}

func share(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}
