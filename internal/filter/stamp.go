package filter

import (
	"errors"
	"mime"
	"slices"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// VerdictField holds one of the Words, for mail clients and Sieve. One that
// comes from outside is deleted, whether we write it or not.
const VerdictField = "X-Sekimori-Verdict"

// The words of VerdictField. They are stable: filters of users compare them.
const (
	WordPass            = "pass"               // DMARC pass
	WordForwarder       = "pass-forwarder"     // fails, but a trusted forwarder vouches for it
	WordFailAccepted    = "fail-accepted"      // fails, but a rule of the operator is milder than its domain asks
	WordFailRamp        = "fail-ramp"          // fails, and would be quarantined but for the ramp
	WordFailNone        = "fail-none"          // fails, and its domain asks for nothing (p=none, t=y)
	WordFailQuarantine  = "fail-quarantine"    // fails, and is quarantined: held, or by this field
	WordFailMonitor     = "fail-monitor"       // fails, and would be quarantined or refused but for monitor mode
	WordFailOptedOut    = "fail-opted-out"     // fails, and would be but for a recipient who opted out
	WordNoPolicy        = "no-policy"          // no DMARC record, and nothing passes
	WordNoPolicyPass    = "no-policy-pass"     // no DMARC record; SPF or DKIM passes
	WordNoPolicySPFFail = "no-policy-spf-fail" // no DMARC record, and SPF says fail
	WordTempError       = "temperror"          // a needed answer is missing: it is not decided, which is no pass
	WordInvalidFrom     = "invalid-from"       // no single author can be named
	WordQuarantine      = "local-quarantine"   // quarantined by the operator's policy, without a DMARC fail
)

// Words lists every word.
var Words = []string{
	WordPass, WordForwarder, WordFailAccepted, WordFailRamp, WordFailNone, WordFailQuarantine, WordFailMonitor, WordFailOptedOut,
	WordNoPolicy, WordNoPolicyPass, WordNoPolicySPFFail, WordTempError, WordInvalidFrom, WordQuarantine,
}

// Word returns the word for a message that lives on.
func Word(e *msgauth.Evaluation, v policy.Verdict) string {
	fails := e.DMARC.Result == dmarc.ResultFail && e.FromError == nil
	severe := func(a policy.Action) bool {
		// A fail is one also where only a rule is open, and the message is put off.
		return a == policy.Quarantine || a == policy.Reject || a == policy.TempFail && v.Reason == policy.ReasonUndecided
	}
	harsh := severe(v.Action)
	switch {
	case fails && severe(v.Would):
		return WordFailOptedOut
	case fails && harsh && v.Enforced:
		return WordFailQuarantine
	case fails && harsh:
		return WordFailMonitor
	case harsh && v.Enforced:
		return WordQuarantine
	case e.FromError != nil || e.From.AuthorDomain == "":
		return WordInvalidFrom
	case v.Reason == policy.ReasonTempError || e.DMARC.Result == dmarc.ResultTempError:
		return WordTempError
	case e.DMARC.Result == dmarc.ResultPass:
		return WordPass
	case fails:
		return mildFail(e, v)
	}
	return noPolicy(v)
}

// mildFail: it fails, and nothing is done nor would be.
func mildFail(e *msgauth.Evaluation, v policy.Verdict) string {
	switch {
	case v.Reason == policy.ReasonForwarder:
		return WordForwarder
	case v.Relaxed:
		return WordFailRamp
	case v.Action == policy.Accept || e.DMARC.Disposition != dmarc.PolicyNone:
		return WordFailAccepted
	}
	return WordFailNone
}

func noPolicy(v policy.Verdict) string {
	switch v.Reason {
	case policy.ReasonPassNoPolicy:
		return WordNoPolicyPass
	case policy.ReasonSPFFail:
		return WordNoPolicySPFFail
	}
	return WordNoPolicy
}

// stamped are the words that get the Subject stamp. A stamp is something done
// to the message: not in monitor mode, nor where somebody opted out.
var stamped = []string{WordFailNone, WordFailRamp, WordFailQuarantine, WordQuarantine, WordInvalidFrom}

// getsStamp: a message that is not decided gets the stamp that it would get if
// it failed, where a policy of the author is known. Where none is, it would get
// none, and the stamp would stand on all mail while DNS is down.
func getsStamp(word string, e *msgauth.Evaluation, v policy.Verdict) bool {
	return slices.Contains(stamped, word) || word == WordTempError && v.Action == policy.Tag && (e.DMARC.Enforcing != "" || e.DMARC.Disposition != "")
}

// stamp adds the optional marks.
func (s *session) stamp(t *transaction, e *msgauth.Evaluation, v policy.Verdict, m *milter.Modifier) error {
	word := Word(e, v)
	if s.o.Subject != "" && v.Enforced && v.Consent.Out == 0 && getsStamp(word, e, v) {
		err := stampSubject(t.header, s.o.Subject, m)
		if err != nil && !errors.Is(err, milter.ErrNotNegotiated) { // without leave to change fields the verdict still stands
			return err
		}
	}
	if s.o.Verdict {
		return m.InsertHeader(0, VerdictField, word)
	}
	return nil
}

// maxSubject bounds a stamped subject, in octets: Postfix cuts fields at
// 60,000.
const maxSubject = 50_000

// stampSubject puts the stamp before every Subject there is, since readers
// differ in which of several they show, and before none twice.
func stampSubject(h message.Header, stamp string, m *milter.Modifier) error {
	values := h.Values("Subject")
	if len(values) == 0 {
		return m.InsertHeader(0, "Subject", encodeStamp(stamp))
	}
	for i, value := range values {
		if hasStamp(value, stamp) {
			continue
		}
		if err := m.ChangeHeader("Subject", i+1, withStamp(value, stamp)); err != nil {
			return err
		}
	}
	return nil
}

// encodeStamp writes the stamp as a Subject may hold it (RFC 2047).
func encodeStamp(stamp string) string {
	return mime.BEncoding.Encode("utf-8", strings.TrimSpace(stamp))
}

// withStamp leaves the value's words and folds as they are. What no field may
// hold (NUL, a lone CR, blank lines within) goes: otherwise a sender could keep
// the stamp off by writing it.
func withStamp(value, stamp string) string {
	value = strings.TrimLeft(foldable(value), " \t")
	const room = 900 // octets of a line (RFC 5322 §2.1.1)
	first, _, _ := strings.Cut(value, "\r\n")
	separator := " "
	switch mark := encodeStamp(stamp); {
	case len(first) > room && value != "":
		separator = "\r\n "
	case mark != strings.TrimSpace(stamp) && strings.HasPrefix(value, "=?"):
		// White space between two encoded words is not shown.
		stamp += " "
		return " " + mime.BEncoding.Encode("utf-8", stamp) + separator + value
	}
	return " " + encodeStamp(stamp) + separator + value
}

func foldable(value string) string {
	value = value[:min(len(value), maxSubject)]
	lines := strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	kept := lines[:1]
	for _, line := range lines[1:] {
		if strings.Trim(line, " \t\r\x00") == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			line = " " + line
		}
		kept = append(kept, line)
	}
	return strings.NewReplacer("\r", " ", "\x00", " ", "\n", "\r\n").Replace(strings.Join(kept, "\n"))
}

// hasStamp looks at the beginning, as written and as shown.
func hasStamp(value, stamp string) bool {
	const enough = 1000 // octets: a stamp has 40 characters
	stamp = strings.TrimSpace(stamp)
	value = strings.TrimSpace(strings.ReplaceAll(value[:min(len(value), enough)], "\r\n", ""))
	if strings.HasPrefix(value, stamp) || strings.HasPrefix(value, encodeStamp(stamp)) {
		return true
	}
	shown, err := new(mime.WordDecoder).DecodeHeader(value)
	return err == nil && strings.HasPrefix(strings.TrimSpace(shown), stamp)
}
