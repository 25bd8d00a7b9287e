package dmarc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weppos/publicsuffix-go/publicsuffix"

	"sekimori/internal/dns"
)

// Bounds on a public suffix list; the real one has 330 KB and 10,000 rules.
const (
	MaxPSLLen     = 16 << 20
	maxPSLLineLen = 4 << 10
)

// Reasons for which LoadPSL refuses a list.
var (
	ErrPSLTooLong = errors.New("dmarc: public suffix list longer than 16 MiB")
	ErrPSLEmpty   = errors.New("dmarc: public suffix list without a rule")
	ErrPSLRule    = errors.New("dmarc: malformed rule in public suffix list")
)

// SuffixList is a public suffix list, private section included. It is safe
// for concurrent use.
type SuffixList struct {
	// One library list for each kind of rule: a list keeps one rule per name,
	// but "foo" and "*.foo" may both be there.
	normal, wildcard, exception *publicsuffix.List
	size                        int
}

// LoadPSL reads a list in the format of publicsuffix.org. An error names the
// line.
func LoadPSL(in io.Reader) (*SuffixList, error) {
	l := &SuffixList{publicsuffix.NewList(), publicsuffix.NewList(), publicsuffix.NewList(), 0}
	limited := &io.LimitedReader{R: in, N: MaxPSLLen + 1}
	sc := bufio.NewScanner(limited)
	sc.Buffer(nil, maxPSLLineLen)
	line := 0
	for sc.Scan() {
		line++
		// "Each line is only read up to the first whitespace."
		fields := strings.Fields(sc.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "//") {
			continue
		}
		if err := l.add(fields[0]); err != nil {
			return nil, fmt.Errorf("%w, line %d: %w", ErrPSLRule, line, err)
		}
	}
	switch {
	case sc.Err() != nil:
		return nil, fmt.Errorf("dmarc: public suffix list, after line %d: %w", line, sc.Err())
	case limited.N == 0:
		return nil, ErrPSLTooLong
	case l.size == 0:
		return nil, ErrPSLEmpty
	}
	return l, nil
}

func (l *SuffixList) add(rule string) error {
	list, prefix := l.normal, ""
	for p, special := range map[string]*publicsuffix.List{"!": l.exception, "*.": l.wildcard} {
		if strings.HasPrefix(rule, p) {
			list, prefix = special, p
		}
	}
	if rule == "*" {
		return nil // the rule for all without one
	}
	name, err := dns.ParseName(rule[len(prefix):])
	if err != nil {
		return err
	}
	if name == "" || strings.ContainsAny(string(name), "*!") {
		return errors.New("neither a name nor one behind \"*.\" or \"!\"")
	}
	r, err := publicsuffix.NewRule(prefix + string(name))
	if err != nil {
		return err
	}
	l.size++
	return list.AddRule(r)
}

// Size returns the number of rules read.
func (l *SuffixList) Size() int { return l.size }

// OrganizationalDomain returns the public suffix of n and one label more, ""
// if n is no longer than its public suffix.
func (l *SuffixList) OrganizationalDomain(n dns.Name) dns.Name {
	options := &publicsuffix.FindOptions{} // no default rule: nil if none matches
	suffix := 1
	for _, list := range []*publicsuffix.List{l.normal, l.wildcard} {
		if r := list.Find(string(n), options); r != nil {
			suffix = max(suffix, r.Length)
		}
	}
	if r := l.exception.Find(string(n), options); r != nil {
		suffix = r.Length - 1
	}
	if n.Labels() <= suffix {
		return ""
	}
	return n.Keep(suffix + 1)
}
