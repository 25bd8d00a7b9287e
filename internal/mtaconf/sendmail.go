package mtaconf

import (
	"strings"
	"time"
)

// Sendmail is the configuration of an instance of Sendmail, read from its sendmail.cf.
type Sendmail struct {
	File    string
	Filters []Filter // the X lines, in their order
	// Input has the names of the filters in InputMailFilters, in the order in which Sendmail asks
	// them.
	Input   []string
	Daemons []Daemon // the DaemonPortOptions lines
	// Options has every option (an O line) by its name. If an option occurs several times, the last
	// line counts.
	Options map[string]string
	Macros  map[string]string // the D lines; the key has no braces
}

// Filter is a milter that Sendmail knows.
type Filter struct {
	Name    string
	Network string // "unix" or "inet"; "" if the address was not understood
	Address string
	Spec    string // S= as it was written
	// Fail is what F= says about a filter that does not answer: "T" (temporary failure), "R"
	// (refuse), "4" (end the connection with 421) or "" (go on without the filter).
	Fail string
	// Timeouts: C to connect, S to send, R to wait for a reply, E to wait for the reply at the end of
	// the message.
	Timeouts map[byte]time.Duration
}

// Daemon is one listener of Sendmail.
type Daemon struct {
	Name string
	// Options has the settings of the DaemonPortOptions line, such as Port and Family.
	Options map[string]string
	// Input has the names of the filters of this listener. If OwnInput is false, those in
	// Sendmail.Input are asked.
	Input    []string
	OwnInput bool
}

// Asked returns the names of the filters that the listener asks.
func (s *Sendmail) Asked(d *Daemon) []string {
	if d.OwnInput {
		return d.Input
	}
	return s.Input
}

// ParseSendmail reads the text of a sendmail.cf. It ignores all lines except X, D and O
// lines.
func ParseSendmail(text string) *Sendmail {
	s := &Sendmail{Options: map[string]string{}, Macros: map[string]string{}}
	for _, line := range logicalLines(text) {
		switch line[0] {
		case 'X':
			s.Filters = append(s.Filters, parseFilter(line[1:]))
		case 'D':
			s.macro(line[1:])
		case 'O':
			s.option(line[1:])
		}
	}
	return s
}

// logicalLines returns the lines of a sendmail.cf without comments and empty lines. A line that
// begins with white space continues the line before.
func logicalLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] != ' ' && line[0] != '\t':
			out = append(out, line)
		case len(out) > 0:
			out[len(out)-1] += line
		}
	}
	return out
}

func (s *Sendmail) macro(def string) {
	if name, value, ok := strings.Cut(strings.TrimPrefix(def, "{"), "}"); ok && strings.HasPrefix(def, "{") {
		s.Macros[name] = value
		return
	}
	if def != "" {
		s.Macros[def[:1]] = def[1:]
	}
}

// option reads an option in its long form, "O Name=value". It ignores the short form of one letter:
// that form is older than milters, so no option about milters has it.
func (s *Sendmail) option(def string) {
	name, value, ok := strings.Cut(def, "=")
	if !ok || !strings.HasPrefix(def, " ") {
		return
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch s.Options[name] = value; name {
	case "InputMailFilters":
		s.Input = names(value)
	case "DaemonPortOptions":
		s.Daemons = append(s.Daemons, parseDaemon(value))
	}
}

// names reads a list of filter names, which are separated by commas or, within DaemonPortOptions, by
// semicolons.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; \t", r) })
}

func parseDaemon(value string) Daemon {
	d := Daemon{Options: map[string]string{}}
	for field := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch d.Options[name] = v; {
		case strings.EqualFold(name, "InputMailFilters") || name == "I":
			d.Input, d.OwnInput = names(v), true
		case strings.EqualFold(name, "Name") || name == "N":
			d.Name = v
		}
	}
	return d
}

// defaultTimeouts are the timeouts of Sendmail for a filter without T=.
func defaultTimeouts() map[byte]time.Duration {
	return map[byte]time.Duration{'C': 5 * time.Minute, 'S': 10 * time.Second, 'R': 10 * time.Second, 'E': 5 * time.Minute}
}

func parseFilter(def string) Filter {
	fields := strings.Split(def, ",")
	f := Filter{Name: strings.TrimSpace(fields[0]), Timeouts: defaultTimeouts()}
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "S":
			f.Spec = value
			f.Network, f.Address, _ = ParseAddress(value)
		case "F":
			f.Fail = value
		case "T":
			f.times(value)
		}
	}
	return f
}

func (f *Filter) times(list string) {
	for one := range strings.SplitSeq(list, ";") {
		letter, value, _ := strings.Cut(strings.TrimSpace(one), ":")
		if d, err := Duration(value, time.Second); len(letter) == 1 && err == nil {
			f.Timeouts[letter[0]] = d
		}
	}
}
