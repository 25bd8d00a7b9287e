package status

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/printable"
)

// Text writes the status as lines for a person to read.
func (s *Status) Text(out io.Writer) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{label}, args...)...)
	}
	ready := "taking messages"
	if s.NotReady != "" {
		ready = s.NotReady
	}
	line("sekimori", "%s, mode %s, %s, up %s",
		printable.Value(s.Version), printable.Value(s.Mode), printable.Value(ready), s.Uptime.Round(time.Second))
	reload := ""
	if !s.Config.LastReloadOK {
		reload = "; THE NEWEST FILE WAS REFUSED, this one stays"
	}
	line("configuration", "%s, loaded %s%s", printable.Value(s.Config.Hash), s.Config.Loaded.Format(time.RFC3339), reload)
	line("sessions", "%d of %d; ended %s; turned away %s",
		s.Sessions.InFlight, s.Limits.MaxSessions, counts(s.Sessions.Ended), counts(s.Sessions.Rejected))
	line("messages", "%s", counts(s.Messages))
	line("MTAs waited", "%s on average at end of message, p50 %s, p99 %s, %d messages",
		seconds(s.Wait.Mean), seconds(s.Wait.P50), seconds(s.Wait.P99), s.Wait.Count)
	line("memory", "%.1f MiB", float64(s.Memory)/(1<<20))
	line("deviations", "%s", counts(s.Deviations))
	for _, m := range []struct {
		label   string
		results map[string]int64
	}{
		{"SPF", s.Results.SPFMailFrom}, {"SPF of HELO", s.Results.SPFHELO}, {"DKIM", s.Results.DKIM}, {"DMARC", s.Results.DMARC},
		{"published", s.Results.Published}, {"ARC", s.Results.ARC}, {"iprev", s.Results.IPRev},
	} {
		line(m.label, "%s", counts(m.results))
	}
	line("set-up", "%s", setUp(s))
	line("MTAs lack", "%s", counts(s.MTALacks))
	line("DNS servers", "%s", servers(s.DNS.Servers))
	line("DNS queries", "%s; %s on average; over budget: %s", counts(s.DNS.Queries), seconds(s.DNS.Time.Mean), counts(s.DNS.BudgetExceeded))
	c := s.DNS.Cache
	line("DNS cache", "%s hits, %d stale, %d evicted; %d entries in %d octets",
		percent(c.Hits, c.Hits+c.Misses), c.Stale, c.Evictions, c.Entries, c.Bytes)
	s.Reports.lines(line)
	s.Marks.lines(line)
	for _, list := range []struct {
		label  string
		series []Series
	}{{"trouble", s.Trouble}, {"rules", s.Rules}, {"shadow differs", s.differing()}} {
		if len(list.series) == 0 {
			line(list.label, "none")
		}
		for i, one := range list.series {
			label := list.label
			if i > 0 {
				label = ""
			}
			line(label, "%s", one)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// differing returns the series of s.Shadow whose count is not zero and whose two
// verdicts differ.
func (s *Status) differing() []Series {
	return slices.DeleteFunc(slices.Clone(s.Shadow), func(one Series) bool {
		return one.Value == 0 || one.Labels["live"] == one.Labels["shadow"]
	})
}

// String returns the series in the form "name label=value ...: count".
func (s Series) String() string {
	text := printable.Value(s.Name)
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		text += " " + printable.Value(k) + "=" + printable.Value(s.Labels[k])
	}
	return text + ": " + strconv.FormatInt(s.Value, 10)
}

// setUp returns the problems of the set-up around the daemon as one text.
func setUp(s *Status) string {
	var list []string
	if len(s.Topology) > 0 {
		list = append(list, printable.Value(strings.Join(s.Topology, ", ")))
	}
	if len(s.DNS.Servers) > 0 && !slices.ContainsFunc(s.DNS.Servers, func(one Server) bool { return one.Up }) {
		list = append(list, "no DNS server answers")
	}
	if len(list) == 0 {
		return "no problem"
	}
	return strings.Join(list, "; ")
}

// counts returns a text with the counters that are not zero, the largest first.
func counts(m map[string]int64) string {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(k string) bool { return m[k] == 0 })
	slices.SortStableFunc(keys, func(a, b string) int { return int(max(-1, min(1, m[b]-m[a]))) })
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", m[k], printable.Value(k))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func servers(list []Server) string {
	parts := make([]string, len(list))
	for i, one := range list {
		state := "silent"
		if one.Up {
			state = "up, " + seconds(one.RTT)
		}
		parts[i] = printable.Value(one.Name()) + " " + state
	}
	if len(parts) == 0 {
		return "none was asked"
	}
	return strings.Join(parts, "; ")
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond).String()
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "no"
	}
	return fmt.Sprintf("%d %% (%d of %d)", 100*part/whole, part, whole)
}
