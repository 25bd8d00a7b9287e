package status

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sekimori/internal/farm"
	"sekimori/internal/printable"
)

// Hosts is the answer of /api/hosts and of "sekimori status --all --json": the daemons that share the
// store.
type Hosts struct {
	farm.View
	Read time.Time `json:"read"` // when the store was read; the ages are as of then
	// Error says why the store cannot be read now. What is shown is then what was read last.
	Error string `json:"error,omitempty"`
}

// Text writes the hosts as a table for a person to read.
func (h *Hosts) Text(out io.Writer) error {
	var b strings.Builder
	width := len("HOST")
	for _, one := range h.Hosts {
		width = max(width, len(printable.Value(one.Name)))
	}
	line := func(name, mode, version, config, up, beat, messages, dns, remarks string) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %-8s %-10s %-16s %-9s %-9s %-9s %-8s %s", width, name, mode, version, config, up, beat, messages, dns, remarks), " "))
		b.WriteByte('\n')
	}
	line("HOST", "MODE", "VERSION", "CONFIGURATION", "UP", "HEARTBEAT", "MESSAGES", "DNS", "REMARKS")
	for _, one := range h.Hosts {
		line(printable.Value(one.Name), printable.Value(one.Mode), printable.Value(one.Version), printable.Value(one.Config), short(one.Uptime),
			short(one.Age), fmt.Sprintf("%d/min", Sum(one.Messages)), fmt.Sprintf("%d/%d", one.DNS.Up, one.DNS.Servers), strings.Join(Remarks(one), "; "))
	}
	if len(h.Hosts) == 0 {
		b.WriteString("no host has sent a heartbeat yet\n")
	}
	if h.Configurations > 1 {
		fmt.Fprintf(&b, "%d different configurations are in effect\n", h.Configurations)
	}
	if h.Error != "" {
		fmt.Fprintf(&b, "as of %s, because the store cannot be read: %s\n", h.Read.Format(time.RFC3339), printable.Value(h.Error))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// Remarks says what is remarkable about a host, each in a few words.
func Remarks(h farm.Shown) (all []string) {
	if h.Self {
		all = append(all, "asked")
	}
	if h.Stale {
		all = append(all, "STALE: no heartbeat")
	}
	if h.NotReady != "" && !h.Stale {
		all = append(all, "not ready: "+printable.Value(h.NotReady))
	}
	if h.Twin {
		all = append(all, "another daemon has the same host name")
	}
	if h.OtherConfig {
		all = append(all, "another configuration than most")
	}
	if h.OtherVersion {
		all = append(all, "another version than most")
	}
	if h.DNS.Servers > 0 && h.DNS.Up == 0 && !h.Stale {
		all = append(all, "no DNS server answers")
	}
	return all
}

// Sum adds up counts.
func Sum(counts map[string]int64) (n int64) {
	for _, one := range counts {
		n += one
	}
	return n
}

// short formats a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dmin", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}
