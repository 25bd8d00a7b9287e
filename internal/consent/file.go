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

// Limits on the file of exceptions. Such a file may be large, because a script
// may write it from a database.
const (
	maxListFile = 64 << 20 // octets; about two million addresses. For more of them a socketmap should be used
	maxListLine = 1024     // octets; an address has at most 320, so the line has space for a comment
)

// list is a set of addresses and domains. The zero value is an empty list.
type list struct{ entries map[string]struct{} }

func (l *list) has(r recipient) bool {
	if l == nil {
		return false
	}
	if _, ok := l.entries[r.key]; ok {
		return true
	}
	_, ok := l.entries[r.domain]
	return ok
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

// parseList reads a list with one address or @domain in each line. A # at the
// beginning of a line or after white space begins a comment. If a line is not
// valid, parseList returns no list but an error that names the file and the
// line. A partial list would treat the recipients in the missing part as if
// they were not listed.
func parseList(name string, r io.Reader) (*list, error) {
	l := &list{entries: map[string]struct{}{}}
	in := &io.LimitedReader{R: r, N: maxListFile + 1}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, maxListLine+2), maxListLine+2)
	n := 0
	for lines.Scan() {
		n++
		entry, err := parseEntry(lines.Text())
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

// parseEntry returns the address or domain in the line, in the normal form in
// which recipients are compared. It returns "" for an empty line or a comment.
// The line may begin with a byte order mark: the first line of a file has one if
// some editors wrote it, and so has a later line if files were joined.
func parseEntry(line string) (string, error) {
	if !utf8.ValidString(line) {
		return "", errors.New("the line is not UTF-8 text")
	}
	text := strings.TrimSpace(withoutComment(strings.TrimPrefix(line, "\ufeff")))
	if text == "" {
		return "", nil
	}
	address, isDomain := text, strings.HasPrefix(text, "@")
	if isDomain {
		address = "x" + text // the parser needs a local part; the result leaves it out
	}
	p, _ := mailaddr.ParsePath(address) // empty if it fails
	r, ok := parseAddress(address)
	if !ok || p.Local == "" || p.Domain == "" || text[0] == '<' {
		return "", fmt.Errorf("%q %w", printable.Clip(text, quotedLen), errEntry)
	}
	if isDomain {
		return r.domain, nil
	}
	return r.key, nil
}

// withoutComment removes a comment from the line. A # within an address does
// not begin a comment.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

// quotedLen is the maximum length, in octets, of a quotation in an error. Errors
// quote a line of a file or a server's answer.
const quotedLen = 80
