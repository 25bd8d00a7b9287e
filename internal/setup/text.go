package setup

import (
	"fmt"
	"strings"
)

// String returns the plan as text for the operator: what was found, what has to change and why.
func (p Plan) String() string {
	var b strings.Builder
	for _, f := range p.Facts {
		fmt.Fprintf(&b, "%s.\n", f)
	}
	if p.Endpoint.Network != "" {
		fmt.Fprintf(&b, "The daemon listens for it on %s.\n", p.Endpoint)
	}
	for _, s := range []Stage{p.Daemon, p.Mail} {
		for _, c := range s.Changes {
			c.write(&b)
		}
		if len(s.Runs) > 0 {
			b.WriteString("\nthen run:\n")
		}
		for _, argv := range s.Runs {
			fmt.Fprintf(&b, "    %s\n", strings.Join(argv, " "))
		}
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n)
	}
	for _, n := range p.Problems {
		fmt.Fprintf(&b, "\nProblem: %s.\n", n)
	}
	return b.String()
}

func (c Change) write(b *strings.Builder) {
	kind := ""
	if c.Before == nil {
		kind = " (a new file)"
	}
	fmt.Fprintf(b, "\n%s%s: %s.\n", c.Path, kind, c.Why)
	h := diff(string(c.Before), string(c.After))
	for line := range strings.Lines(h.Old) {
		fmt.Fprintf(b, "  - %s\n", strings.TrimRight(line, "\r\n"))
	}
	for line := range strings.Lines(h.New) {
		fmt.Fprintf(b, "  + %s\n", strings.TrimRight(line, "\r\n"))
	}
}
