package strict

import (
	"cmp"
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
	Line    int    // from 1; 0 if it is not known
	Column  int    // from 1, in characters
	Excerpt string // the line and the one before it, with a mark under the column
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

// MaxProblems bounds the list. A file that is not a configuration at all has a
// problem in every line.
const MaxProblems = 50

// result returns the problems as an error, or nil.
func result(name string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	if n := len(problems); n > MaxProblems {
		problems = append(problems[:MaxProblems:MaxProblems], Problem{Message: fmt.Sprintf("and %d more problems", n-MaxProblems)})
	}
	return &Error{Name: name, Problems: problems}
}

// sortByPlace brings problems into the order of the file.
func sortByPlace(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
}

// excerpt returns the line, the one before it, and a mark below the column.
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

// show replaces what cannot be printed in a line, masks secrets and cuts a long
// line.
func show(line string) string {
	line = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' ' // one column wide, as the mark expects
		}
		if !printable.IsShown(r) {
			return '?'
		}
		return r
	}, Mask(line))
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

// Mask hides the passwords in s, which may be a URL, a key=value connection
// string, or a line of a file that holds one.
func Mask(s string) string {
	s = userInfo.ReplaceAllString(s, "$1:"+masked+"@")
	return passwordParam.ReplaceAllString(s, "$1$2"+masked)
}

// OneOf lists words as a sentence does: "a, b or c".
func OneOf[T ~string](words []T) string {
	out := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			out += " or "
		default:
			out += ", "
		}
		out += string(w)
	}
	return out
}
