package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sekimori/internal/printable"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Path    string // the key, such as dns.servers[0]; "" for the file as a whole
	Message string
	Line    int    // from 1; 0 when it cannot be told
	Column  int    // from 1, in characters
	Excerpt string // the lines in question with a mark under the column
}

// Error is everything that is wrong with a configuration.
type Error struct {
	Name     string // of the file
	Problems []Problem
	Err      error // why the file could not be read, or nil
}

// Error lists every problem with its place and an excerpt.
func (e *Error) Error() string {
	if e.Err != nil {
		return "config: " + e.Err.Error()
	}
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("config: ")
		if e.Name != "" {
			b.WriteString(e.Name + ":")
		}
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		if e.Name != "" || p.Line > 0 {
			b.WriteByte(' ')
		}
		if p.Path != "" {
			b.WriteString(p.Path + ": ")
		}
		b.WriteString(p.Message)
		if p.Excerpt != "" {
			b.WriteString("\n" + p.Excerpt)
		}
	}
	return b.String()
}

// Unwrap returns why the file could not be read.
func (e *Error) Unwrap() error { return e.Err }

// maxProblems bounds the list: a file that is no configuration at all has as
// many as lines.
const maxProblems = 50

// result returns the problems as an error, in the file's order, or nil.
func result(name string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if n := len(problems); n > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], Problem{Message: fmt.Sprintf("and %d more problems", n-maxProblems)})
	}
	return &Error{Name: name, Problems: problems}
}

// excerpt returns the line, the one before it and a mark below the column.
func excerpt(lines []string, line, column int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	var b strings.Builder
	for n := max(1, line-1); n <= line; n++ {
		mark := ' '
		if n == line {
			mark = '>'
		}
		fmt.Fprintf(&b, "  %c %3d | %s\n", mark, n, show(lines[n-1]))
	}
	fmt.Fprintf(&b, "        | %*s", min(max(column, 1), maxExcerpt), "^")
	return b.String()
}

// maxExcerpt is where a line of an excerpt is cut, in characters.
const maxExcerpt = 120

// show makes a line fit to be printed in an excerpt.
func show(line string) string {
	line = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' ' // keeps the mark in its place
		}
		if !printable.IsShown(r) {
			return '?'
		}
		return r
	}, mask(line))
	if r := []rune(line); len(r) > maxExcerpt {
		return string(r[:maxExcerpt]) + "..."
	}
	return line
}

// masked stands for a secret.
const masked = "***"

var (
	userInfo      = regexp.MustCompile(`(://[^/\s:@"']*):[^\s"']*@`)
	passwordParam = regexp.MustCompile(`(?i)\b((?:ssl)?password|passfile|secret|token)(=|:\s*)[^&\s"',}]+`)
)

// mask hides the passwords in s, which may be a URL, a key=value connection
// string, or a line of a file that holds one.
func mask(s string) string {
	s = userInfo.ReplaceAllString(s, "$1:"+masked+"@")
	return passwordParam.ReplaceAllString(s, "$1$2"+masked)
}
