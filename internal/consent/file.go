package consent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
	"sekimori/internal/printable"
)

// Bounds on the file of exceptions. A script may write it from a database.
const (
	maxListFile = 64 << 20 // octets: some two million addresses; a larger list belongs into a socketmap
	maxListLine = 1024     // octets: an address has at most 320, the rest is for a comment
)

// list is a set of addresses and domains. The zero value is empty.
type list struct{ entries map[string]struct{} }

func (l *list) has(r recipient) bool {
	if l == nil {
		return false
	}
	if _, ok := l.entries[r.key]; ok {
		return true
	}
	_, ok := l.entries[r.domain]
	return ok && r.domain != ""
}

func loadFile(path string) (*list, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	defer func() { _ = f.Close() }()
	l, err := parseList(path, f)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// parseList reads one address or @domain in each line. A # at the beginning of
// a line, or after white space, begins a comment. Any other line is an error
// that names the file and the line: half a list would act on mail for
// recipients who stand in the other half.
func parseList(name string, r io.Reader) (*list, error) {
	l := &list{entries: map[string]struct{}{}}
	in := &io.LimitedReader{R: r, N: maxListFile + 1}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, maxListLine+2), maxListLine+2)
	n := 0
	for lines.Scan() {
		n++
		entry, err := parseEntry(lines.Text(), n == 1)
		if err != nil {
			return nil, fmt.Errorf("consent: %s:%d: %w", name, n, err)
		}
		if entry != "" {
			l.entries[entry] = struct{}{}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("consent: %s:%d: the line is longer than %d octets", name, n+1, maxListLine)
	case err != nil:
		return nil, fmt.Errorf("consent: %s: %w", name, err)
	case in.N == 0:
		return nil, fmt.Errorf("consent: %s:%d: the file is larger than %d MiB; use policy.recipients.socketmap for so many",
			name, n, maxListFile>>20)
	}
	return l, nil
}

var errEntry = errors.New("is neither an address, such as user@example.jp, nor a domain, such as @example.jp")

// parseEntry returns the entry in the form in which recipients are compared, or
// "" if the line has none.
func parseEntry(line string, first bool) (string, error) {
	if !utf8.ValidString(line) {
		return "", errors.New("the line is not UTF-8 text")
	}
	if first {
		line = strings.TrimPrefix(line, "\ufeff")
	}
	text := strings.TrimSpace(withoutComment(line))
	if text == "" {
		return "", nil
	}
	address, isDomain := text, strings.HasPrefix(text, "@")
	if isDomain {
		address = "x" + text // the parser wants a local part; it is dropped below
	}
	p, err := mailaddr.ParsePath(address)
	r, ok := parseAddress(address)
	if err != nil || !ok || p.Local == "" || p.Domain == "" || text[0] == '<' {
		return "", fmt.Errorf("%q %w", printable.Clip(text, quotedLen), errEntry)
	}
	if isDomain {
		return r.domain, nil
	}
	return r.key, nil
}

// withoutComment cuts off a comment. A # within an address does not begin one.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

// quotedLen is how many octets of foreign text an error repeats.
const quotedLen = 80
