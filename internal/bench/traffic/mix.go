package traffic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// maxSize is the largest size of a message. Postfix's default limit is 10 MB.
const maxSize = 64 << 20

// Mix is a list of kinds with weights. In text form it is "rsa=70,none=30", or just "rsa" for a
// single kind. It implements pflag.Value.
type Mix []Share

// Share is one kind and its weight.
type Share struct {
	Kind   string
	Weight int
}

// Set sets the Mix from its text form.
func (m *Mix) Set(text string) error {
	var out Mix
	total := 0
	for part := range strings.SplitSeq(text, ",") {
		kind, weight, weighted := strings.Cut(strings.TrimSpace(part), "=")
		s := Share{Kind: kind, Weight: 1}
		if weighted {
			n, err := strconv.Atoi(weight)
			if err != nil || n < 0 || n > 1_000_000 {
				return fmt.Errorf("%q is not a weight; write kind=number", part)
			}
			s.Weight = n
		}
		if s.Kind == "" {
			return fmt.Errorf("%q names no kind", part)
		}
		total += s.Weight
		out = append(out, s)
	}
	if total == 0 {
		return errors.New("no kind has a weight")
	}
	*m = out
	return nil
}

// String returns the text form, which Set can read.
func (m *Mix) String() string {
	parts := make([]string, len(*m))
	for i, s := range *m {
		parts[i] = s.Kind + "=" + strconv.Itoa(s.Weight)
	}
	return strings.Join(parts, ",")
}

// Type returns the word that stands for the value in the help text of a flag.
func (m *Mix) Type() string { return "mix" }

// pick chooses a kind at random. The probability of a kind is proportional to its weight.
func (m Mix) pick(rng *rand.Rand) string {
	total := 0
	for _, s := range m {
		total += s.Weight
	}
	n := rng.IntN(total)
	for _, s := range m {
		if n -= s.Weight; n < 0 {
			return s.Kind
		}
	}
	return "" // not reached, because n < total
}

// check returns an error if the mix is empty or if the function "valid" returns an error for one of
// its kinds.
func (m Mix) check(what string, valid func(string) error) error {
	if len(m) == 0 {
		return fmt.Errorf("traffic: %s: empty", what)
	}
	for _, s := range m {
		if err := valid(s.Kind); err != nil {
			return fmt.Errorf("traffic: %s: %w", what, err)
		}
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
	}
}

// parseSize parses a size in decimal units: 2KB is 2,000 octets.
func parseSize(s string) (int, error) {
	number, unit := s, 1
	if n, ok := strings.CutSuffix(s, "MB"); ok {
		number, unit = n, 1_000_000
	} else if n, ok := strings.CutSuffix(s, "KB"); ok {
		number, unit = n, 1_000
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxSize/unit {
		return 0, fmt.Errorf("%q is not a size up to 64MB; write 2KB, 5MB", s)
	}
	return n * unit, nil
}

// severalTerms is the value of an SPF mix for records that need lookups for several kinds of terms:
// a, mx and include.
const severalTerms = "terms"

// validSPF returns an error if s is neither severalTerms nor a number of lookups that parseLookups
// accepts.
func validSPF(s string) error {
	if s == severalTerms {
		return nil
	}
	_, err := parseLookups(s)
	return err
}

// parseLookups parses the number of DNS lookups that an SPF record needs.
func parseLookups(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 10 { // RFC 7208 §4.6.4 allows 10
		return 0, fmt.Errorf("%q is neither a number of lookups from 0 to 10 nor terms", s)
	}
	return n, nil
}
