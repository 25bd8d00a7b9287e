// Package doctor finds out what is wrong around the daemon: with the DNS servers, with the
// configuration of the MTA, and with what the running daemon has seen. The functions that judge get
// values, so they need neither an MTA nor a network. Run gathers these values.
package doctor

import (
	"fmt"
	"io"
	"strings"
)

// The values of Finding.Area.
const (
	AreaDNS    = "dns"
	AreaMTA    = "mta"
	AreaDaemon = "daemon"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Area is the part of the set-up: dns, mta or daemon.
	Area string `json:"area"`
	// Kind is a word for the finding. It does not change between versions.
	Kind string `json:"kind"`
	// What says what was found.
	What string `json:"what"`
	// Why says why it matters.
	Why string `json:"why"`
	// Fix says which line to change, and how.
	Fix string `json:"fix"`
}

// Report is the result of Run.
type Report struct {
	// Findings are what is wrong. The list is empty if nothing was found.
	Findings []Finding `json:"findings"`
	// Looked names what was looked at.
	Looked []string `json:"looked_at"`
	// NotLooked says what could not be looked at, and why.
	NotLooked []string `json:"not_looked_at"`
}

func (r *Report) found(list ...Finding) { r.Findings = append(r.Findings, list...) }

func (r *Report) looked(format string, args ...any) {
	r.Looked = append(r.Looked, fmt.Sprintf(format, args...))
}

func (r *Report) skipped(format string, args ...any) {
	r.NotLooked = append(r.NotLooked, fmt.Sprintf(format, args...))
}

// Text writes the report for a person.
func (r *Report) Text(out io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s\n  why  %s\n  fix  %s\n\n", f.Area, f.Kind, f.What, f.Why, strings.ReplaceAll(f.Fix, "\n", "\n       "))
	}
	for _, text := range r.Looked {
		fmt.Fprintf(&b, "looked at      %s\n", text)
	}
	for _, text := range r.NotLooked {
		fmt.Fprintf(&b, "not looked at  %s\n", text)
	}
	switch n := len(r.Findings); {
	case n > 0:
		fmt.Fprintf(&b, "%d finding(s)\n", n)
	case len(r.NotLooked) > 0:
		b.WriteString("nothing is wrong with what could be looked at\n")
	default:
		b.WriteString("nothing is wrong\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
