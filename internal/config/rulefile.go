package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// source is a file that was read, for complaints that come up later. nil is
// what was not read from a file.
type source struct {
	name  string
	lines []string
	at    map[string]*token.Token
}

// locate gives a problem the place of its key, or of the nearest key around it
// that is in the file.
func (s *source) locate(p *Problem) {
	if s == nil {
		return
	}
	for path := p.Path; path != ""; path = parent(path) {
		if tk := s.at[path]; tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
			return
		}
	}
}

// err returns the problems with their places, or nil.
func (s *source) err(problems []Problem) error {
	if s == nil {
		return result("", problems)
	}
	for i := range problems {
		s.locate(&problems[i])
		problems[i].Excerpt = excerpt(s.lines, problems[i].Line, problems[i].Column)
	}
	return result(s.name, problems)
}

// LoadRules reads a file of rules: a list of what policy.overrides holds, but
// no further files. The error is an [*Error]; whether the rules are sound is
// for [Config.Rules] to say, which knows the rest of the policy.
func LoadRules(path string) ([]Override, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, &Error{Name: path, Err: err}
	}
	return parseRules(path, data)
}

func parseRules(name string, data []byte) ([]Override, error) {
	d := &decoder{at: map[string]*token.Token{}}
	data = normal(data)
	var out []Override
	body, tk, err := parse(data)
	switch {
	case err != nil:
		d.problem(tk, "", "%v", err)
	case body != nil:
		d.value(body, reflect.ValueOf(&out).Elem(), "")
	}
	from := d.source(name, data)
	for i := range out {
		out[i].from, out[i].path = from, fmt.Sprintf("[%d]", i)
		if out[i].File != "" {
			p := Problem{Path: out[i].path + ".file", Message: "a file of rules names no further file"}
			from.locate(&p)
			d.problems = append(d.problems, p)
		}
	}
	if len(d.problems) > 0 {
		return nil, d.err(from)
	}
	return out, nil
}

// normal brings the octets of a file into the form that is parsed.
func normal(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// The YAML parser counts some lines that end in CRLF twice.
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
}

func (d *decoder) source(name string, data []byte) *source {
	return &source{name: name, lines: strings.Split(string(data[:min(len(data), maxFile)]), "\n"), at: d.at}
}

// err returns the problems found, which have their places, with excerpts.
func (d *decoder) err(from *source) error {
	for i, p := range d.problems[:min(len(d.problems), maxProblems)] {
		d.problems[i].Excerpt = excerpt(from.lines, p.Line, p.Column)
	}
	return result(from.name, d.problems)
}
