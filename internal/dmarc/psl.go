package dmarc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"sekimori/internal/dns"
)

// Bounds on a public suffix list. The list of publicsuffix.org has 330 KB and
// 10,000 rules.
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

// SuffixList is a public suffix list that was read from a file, with its private
// section. It is safe for concurrent use.
type SuffixList struct {
	rules map[dns.Name]rules
	size  int
}

// rules is the set of rules that the list has for one name.
type rules uint8

const (
	isSuffix     rules = 1 << iota // the rule "name": the name is a suffix
	belowSuffix                    // the rule "*.name": each name right below is a suffix
	exceptSuffix                   // the rule "!name": the name is not a suffix, although a wildcard rule covers it
)

// LoadPSL reads a list in the format of publicsuffix.org. If a rule is
// malformed, the error has the number of its line.
func LoadPSL(in io.Reader) (*SuffixList, error) {
	l := &SuffixList{rules: map[dns.Name]rules{}}
	limited := &io.LimitedReader{R: in, N: MaxPSLLen + 1}
	sc := bufio.NewScanner(limited)
	sc.Buffer(nil, maxPSLLineLen)
	line := 0
	for sc.Scan() {
		line++
		// The format says: "Each line is only read up to the first whitespace."
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

// add adds one rule to the list.
func (l *SuffixList) add(rule string) error {
	if rule == "*" {
		return nil // the default rule, which OrganizationalDomain always applies
	}
	kind := isSuffix
	if after, ok := strings.CutPrefix(rule, "*."); ok {
		kind, rule = belowSuffix, after
	} else if after, ok := strings.CutPrefix(rule, "!"); ok {
		kind, rule = exceptSuffix, after
	}
	name, err := dns.ParseName(rule)
	if err != nil {
		return err
	}
	if name == "" || strings.ContainsAny(string(name), "*!") {
		return errors.New("neither a name nor one behind \"*.\" or \"!\"")
	}
	l.size++
	l.rules[name] |= kind
	return nil
}

// Size returns the number of rules read.
func (l *SuffixList) Size() int { return l.size }

// OrganizationalDomain returns the public suffix of n with one more label in
// front. It returns "" if n is a public suffix itself.
func (l *SuffixList) OrganizationalDomain(n dns.Name) dns.Name {
	labels := n.Labels()
	suffix := 1 // the default rule: the top-level domain
	for i := 1; i <= labels; i++ {
		switch r := l.rules[n.Keep(i)]; {
		case r&exceptSuffix != 0: // an exception prevails over every other rule
			return n.Keep(i)
		case r&belowSuffix != 0 && i < labels:
			suffix = i + 1
		case r&isSuffix != 0:
			suffix = i
		}
	}
	if labels <= suffix {
		return ""
	}
	return n.Keep(suffix + 1)
}
