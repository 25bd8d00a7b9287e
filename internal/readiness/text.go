package readiness

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sekimori/internal/printable"
)

// textDomains is how many domains the text shows.
const textDomains = 20

// Text writes the report for a terminal.
func (r *Report) Text(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", capital(r.Reason.Text))
	fmt.Fprintf(&b, "%s to %s (%d of %d days), mode: %s, policy.learned: %s\n", r.From, r.To, r.Seen, r.Days, r.Mode, r.Learned)
	fmt.Fprintf(&b, "%s, of which %d fail DMARC: %d under p=reject and %d under p=quarantine.\n", printable.Counted(r.Messages, "message"), r.Fail, r.Reject, r.Quarantine)
	if r.Hits() > 0 {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, p := range r.ByLooks {
			fmt.Fprintf(w, "%d\t%s\t %s\n", p.Messages, percent(p.Messages, r.ByDomain-r.MoreMessages), explanations[p.Looks])
		}
		_ = w.Flush() // a Builder does not fail
	}
	fmt.Fprintf(&b, "The present rules and trusted sealers let %d of these through. With policy.learned: use, %s would be treated more harshly and %d more mildly.\n",
		r.Excepted, printable.Counted(r.Harsher, "message"), r.Milder)
	if len(r.Proposed) > 0 {
		fmt.Fprintf(&b, "\nRules for policy.overrides. Look at each: is this a host that you know? They help %d of %s.\n\n", r.Harmed-r.Left, printable.Counted(r.Harmed, "honest message"))
		b.WriteString(r.YAML())
	}
	for i := range r.Domains[:min(len(r.Domains), textDomains)] {
		r.Domains[i].text(&b)
	}
	if n := len(r.Domains) - textDomains; n > 0 {
		fmt.Fprintf(&b, "\n%s; --json lists them.\n", printable.Counted(int64(n), "further domain"))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n.Text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// explanations says what looks mean.
var explanations = map[Looks]string{
	Author: "author's own mail", Forwarded: "through a list or a forwarder", Spoof: "spoofs", Unclear: "unclear",
}

// YAML returns the proposed rules as they stand under policy.overrides, or in a file of rules.
func (r *Report) YAML() string {
	var b strings.Builder
	for i := range r.Proposed {
		p := &r.Proposed[i]
		fmt.Fprintf(&b, "# %s of %s: %s\n%s", printable.Counted(p.Messages, "message"), printable.Counted(int64(p.Authors), "author"), explanations[p.Looks], p.Rule.YAML(""))
	}
	return b.String()
}

func (d *Domain) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s: %d of %s hit (p=%s); %d pass", printable.Value(string(d.Domain)), d.Hits(), printable.Counted(d.Messages, "message"), d.policies(), d.Pass)
	switch {
	case d.Signs && d.Networks > 0:
		fmt.Fprintf(b, "; it signs all of its mail and sends from %s", printable.Counted(int64(d.Networks), "network"))
	case d.Signs:
		b.WriteString("; it signs all of its mail")
	case d.Networks > 0:
		fmt.Fprintf(b, "; it sends from %s", printable.Counted(int64(d.Networks), "network"))
	}
	b.WriteString("\n")
	for _, x := range d.Broken {
		fmt.Fprintf(b, "  broken since %s: %s %s: %s\n", x.First.UTC().Format("2006-01-02"), x.Kind, printable.Value(x.Subject), printable.Value(x.Evidence))
	}
	for _, s := range d.Streams {
		fmt.Fprintf(b, "  %6d %-9s  %s\n", s.Messages, s.Looks, printable.Value(s.Reason.Text))
		if s.Excepted > 0 {
			fmt.Fprintf(b, "%20s%d are let through by the present rules\n", "", s.Excepted)
		}
		if len(s.Hosts) > 0 {
			fmt.Fprintf(b, "%20s%s\n", "", s.hosts())
		}
		if s.Example != "" {
			fmt.Fprintf(b, "%20ssekimori explain --id %s\n", "", printable.Value(s.Example))
		}
	}
}

// policies returns the policies under which messages were hit.
func (d *Domain) policies() string {
	switch {
	case d.Quarantine == 0:
		return "reject"
	case d.Reject == 0:
		return "quarantine"
	}
	return "reject, quarantine"
}

// hosts names the hosts of a stream.
func (s *Stream) hosts() string {
	parts := make([]string, len(s.Hosts))
	for i, h := range s.Hosts {
		parts[i] = fmt.Sprintf("%s %s", h.Kind, printable.Value(h.Value))
	}
	text := strings.Join(parts, ", ")
	if s.Networks > len(s.Hosts) {
		text += fmt.Sprintf(" (%s)", printable.Counted(int64(s.Networks), "network"))
	}
	return text
}

func percent(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// capital writes the first letter in upper case, and a full stop behind the last.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
