package arc

import (
	"fmt"
	"strconv"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dkim/syntax"
)

// maxSets is the largest number of sets in a chain (RFC 8617 §5.2 step 1).
const maxSets = 50

// The names of the three fields of a set, in lower case.
const (
	resultsField = "arc-authentication-results"
	messageField = "arc-message-signature"
	sealField    = "arc-seal"
)

// signature is one of a set's two signature fields.
type signature struct {
	dkim.Pending
	err *dkim.Error // an error that the field shows without the body and the key; nil if there is none
}

// set is one ARC set and where its fields are in the header.
type set struct {
	results       int    // index of ARC-Authentication-Results in the header
	payload       string // ARC-Authentication-Results after "i=N;"
	message, seal signature
	fields        [3]bool // which of the three fields were found: results, message, seal
}

// failure is why the chain fails or is not evaluated.
type failure struct {
	reason    Reason
	instance  int
	signature dkim.Reason
	detail    string
}

// collect gathers the sets in the order of their instances, from 1, and checks the
// structure of the chain (RFC 8617 §5.2 steps 1 to 3). If there is no chain, there are no sets and no
// failure.
func collect(m *dkim.Message) ([]set, *failure) {
	results, messages, seals := m.Named(resultsField), m.Named(messageField), m.Named(sealField)
	n := max(len(results), len(messages), len(seals))
	if n > maxSets {
		return nil, &failure{reason: ReasonTooManySets, detail: "more than 50 fields of a kind"}
	}
	sets := make([]set, n)
	for kind, fields := range [][]int{results, messages, seals} {
		for _, at := range fields {
			if f := place(m, sets, kind, at); f != nil {
				return nil, f
			}
		}
	}
	for i := range sets {
		if sets[i].fields != [3]bool{true, true, true} {
			return nil, &failure{reason: ReasonIncomplete, instance: i + 1, detail: "a field of the set is missing"}
		}
	}
	return sets, nil
}

// place reads one field and puts it into the set that its i= names. at is the
// index of the field in the header. kind is 0 for results, 1 for a message
// signature and 2 for a seal.
func place(m *dkim.Message, sets []set, kind, at int) *failure {
	var s signature
	var instance int
	var payload string
	switch kind {
	case 0:
		instance, payload = resultsInstance(m.Header()[at].Value)
	case 1:
		s = parseMessage(m, at)
		instance = tagInstance(&s)
	default:
		s = parseSeal(m, at)
		instance = tagInstance(&s)
	}
	if instance == 0 {
		return &failure{reason: ReasonInstance, detail: "an ARC field has no valid i="}
	}
	// In a complete chain every set has one field of each kind, so no instance is
	// higher than the number of fields of a kind. A higher instance means that
	// lower ones are missing.
	if instance > len(sets) {
		return &failure{reason: ReasonIncomplete, instance: instance, detail: "instances are missing"}
	}
	to := &sets[instance-1]
	if to.fields[kind] {
		return &failure{reason: ReasonDuplicate, instance: instance, detail: "two ARC fields of a kind have the same i="}
	}
	to.fields[kind] = true
	switch kind {
	case 0:
		to.results, to.payload = at, payload
	case 1:
		to.message = s
	default:
		to.seal = s
	}
	return nil
}

// tagInstance returns i= of a signature field, or 0 if it is not from 1 to 50.
func tagInstance(s *signature) int {
	v, _ := s.Tags.Get("i")
	return parseInstance(v)
}

// parseInstance reads an instance, 1*2DIGIT from 1 to 50 (RFC 8617 §4.2.1). It
// returns 0 for anything else.
func parseInstance(s string) int {
	if len(s) == 0 || len(s) > 2 || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, _ := strconv.Atoi(s) // one or two digits are always a number
	if n > maxSets {
		return 0
	}
	return n
}

// resultsInstance reads "i=N;" at the beginning of ARC-Authentication-Results
// (RFC 8617 §4.1.1). It returns N, or 0 if there is no valid instance, and the
// text after the semicolon.
func resultsInstance(value string) (int, string) {
	s := skipCFWS(value)
	s, ok := strings.CutPrefix(s, "i")
	if !ok {
		return 0, ""
	}
	if s, ok = strings.CutPrefix(skipCFWS(s), "="); !ok {
		return 0, ""
	}
	s = skipCFWS(s)
	end := 0
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	payload, ok := strings.CutPrefix(skipCFWS(s[end:]), ";")
	if !ok {
		return 0, ""
	}
	return parseInstance(s[:end]), payload
}

// skipCFWS skips white space, folds and comments (RFC 5322 §3.2.2).
func skipCFWS(s string) string {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return s[i:]
		}
	}
	return ""
}

func parseMessage(m *dkim.Message, at int) signature {
	p, err := m.Read(at, syntax.FormMessage)
	if err == nil {
		for _, name := range p.Headers {
			switch strings.ToLower(name) {
			case messageField, sealField:
				// RFC 8617 §4.1.2 forbids h= to name any ARC field. But older sealers and
				// the ValiMail suite do sign ARC-Authentication-Results. That is accepted,
				// because a signature that covers more than it should does no harm.
				err = &dkim.Error{Result: dkim.PermError, Reason: dkim.ReasonSyntax, Detail: "h= covers a field it must not"}
			}
		}
	}
	return signature{p, err}
}

func parseSeal(m *dkim.Message, at int) signature {
	p, err := m.Read(at, syntax.FormSeal)
	for _, name := range []string{"h", "bh"} {
		if _, ok := p.Tags.Get(name); ok && err == nil { // RFC 8617 §4.1.3: a seal with this tag must fail
			err = &dkim.Error{Result: dkim.PermError, Reason: dkim.ReasonSyntax, Detail: "a seal must not have " + name + "="}
		}
	}
	return signature{p, err}
}

// checkChain checks the syntax of the seals, and that cv= is none in the first
// set and pass in the others (RFC 8617 §5.2 steps 2 and 3).
func checkChain(sets []set) *failure {
	newest := len(sets)
	if cv, _ := sets[newest-1].seal.Tags.Get("cv"); cv == "fail" {
		return &failure{reason: ReasonChainFailed, instance: newest, detail: "the newest sealer found the chain broken"}
	}
	for i := range sets {
		s := &sets[i].seal
		if s.err != nil {
			return &failure{reason: ReasonSealSyntax, instance: i + 1, signature: s.err.Reason, detail: s.err.Detail}
		}
		want := "pass"
		if i == 0 {
			want = "none"
		}
		if cv, _ := s.Tags.Get("cv"); cv != want {
			return &failure{reason: ReasonChainValue, instance: i + 1, detail: fmt.Sprintf("cv= of set %d is not %s", i+1, want)}
		}
	}
	return nil
}
