package strict

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sekimori/internal/printable"
)

// Problem is one mistake in a configuration.
type Problem struct {
	Path    string // the key, such as dns.servers[0]; "" for the file as a whole
	Message string
	Line    int    // from 1; 0 if the place is not known
	Column  int    // from 1, in characters
	Excerpt string // the line, the line before it, and a mark under the column
}

// Error lists all mistakes in a configuration, or says that the file could not
// be read.
type Error struct {
	Name     string // the name of the file
	Problems []Problem
	Err      error // the cause if the file could not be read, otherwise nil
}

// Error returns the text of all problems, each with its place and an excerpt of
// the file.
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

// OrNil returns e, or nil if it lists no problem and has no cause.
func (e *Error) OrNil() error {
	if len(e.Problems) == 0 && e.Err == nil {
		return nil
	}
	return e
}

// Unwrap returns the cause if the file could not be read, otherwise nil.
func (e *Error) Unwrap() error { return e.Err }

// MaxProblems is the largest number of problems that an Error lists. A file
// that is not a configuration at all has a problem in almost every line.
const MaxProblems = 50

// result returns the problems as an [*Error], or nil if there are none.
func result(name string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	if n := len(problems); n > MaxProblems {
		problems = append(problems[:MaxProblems:MaxProblems], Problem{Message: fmt.Sprintf("and %d more problems", n-MaxProblems)})
	}
	return &Error{Name: name, Problems: problems}
}

// sortByPlace sorts problems by line and column.
func sortByPlace(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
}

// excerpt returns the line before the given line, the line itself, and a mark
// under the column.
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

// maxExcerpt is the number of characters after which a line of an excerpt is
// cut off.
const maxExcerpt = 120

// show makes a line of the file fit for an excerpt: it masks secrets, replaces
// characters that cannot be printed, and cuts off a long line.
func show(line string) string {
	line = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' ' // keeps a tab one column wide, so that the mark stands under the right character
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

// masked is written in the place of a secret.
const masked = "***"

var (
	userInfo      = regexp.MustCompile(`(://[^/\s:@"']*):[^\s"']*@`)
	passwordParam = regexp.MustCompile(`(?i)\b((?:ssl)?password|passfile|secret|token)(=|:\s*)[^&\s"',}]+`)
)

// Mask replaces the passwords in s by "***". s may be a URL, a connection
// string of key=value pairs, or a line of a file that contains one of these.
func Mask(s string) string {
	s = userInfo.ReplaceAllString(s, "$1:"+masked+"@")
	return passwordParam.ReplaceAllString(s, "$1$2"+masked)
}

// OneOf returns the words as an enumeration, such as "a, b or c".
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
