package report

import (
	"strings"
	"time"
)

// How long a destination gets no mail after failures. A mailbox that does not exist is believed at
// once. Other failures may pass, so they count only if they came in two windows. Then the time doubles
// with each further window.
const (
	SuppressGone  = 30 * 24 * time.Hour
	SuppressFirst = 7 * 24 * time.Hour
	SuppressMost  = 90 * 24 * time.Hour
	// strikesNeeded is the number of windows with a failure before a destination is suppressed.
	strikesNeeded = 2
	// ClearAfter is how long a report must have stayed without a bounce until the failures before it
	// are forgotten. MTAs try for up to five days (RFC 5321 §4.5.4.1).
	ClearAfter = 5 * 24 * time.Hour
)

// The values of Suppression.By.
const (
	ByBounce   = "bounce"   // a delivery status notification came
	ByRefusal  = "refusal"  // our MTA refused the recipient, or there is no mail server
	ByOperator = "operator" // nothing but the operator changes the entry
)

// Failure is a permanent failure to deliver one report.
type Failure struct {
	Status string // enhanced status code, such as "5.1.1"; "" if there was none (RFC 3463)
	Reason string // a sentence for the operator
	By     string // ByBounce or ByRefusal
	Window int64  // begin of the report's window
}

// Target returns the target of suppressions for an address: the address in lower case.
func Target(address string) string { return strings.ToLower(address) }

// DomainTarget returns the target of suppressions for all addresses of the address's domain, such as
// "@shop.example".
func DomainTarget(address string) string {
	return strings.ToLower(address[max(strings.LastIndexByte(address, '@'), 0):])
}

// Suppressed reports whether the destination gets no mail now.
func (s Suppression) Suppressed(now time.Time) bool { return now.Before(s.Until) }

// Strike returns the entry of a destination after a failure. The receiver is the entry before it, or
// the zero value with the Target set. A second failure in the same window does not count again. An
// entry of the operator does not change while it is in force.
func (s Suppression) Strike(f Failure, now time.Time) Suppression {
	if s.By == ByOperator && s.Suppressed(now) {
		return s
	}
	again := s.Strikes > 0 && s.Window == f.Window
	if !again {
		s.Strikes++
	}
	s.Window, s.Reason, s.By, s.Sent = f.Window, f.Reason, f.By, time.Time{}
	until := s.Until
	switch {
	case f.Status == "5.1.1" || f.Status == "5.1.2" || f.Status == "5.1.10":
		until = now.Add(SuppressGone)
	case s.Strikes >= strikesNeeded && !again:
		length := SuppressFirst
		for n := strikesNeeded; n < s.Strikes && length < SuppressMost; n++ {
			length *= 2
		}
		until = now.Add(min(length, SuppressMost))
	}
	if until.After(s.Until) {
		if !s.Suppressed(now) {
			s.Since = now
		}
		s.Until = until
	}
	if s.Since.IsZero() {
		s.Since = now
	}
	return s
}

// Forgotten reports whether the failures of a destination are forgotten, because a later report to it
// was taken long enough ago and did not come back.
func (s Suppression) Forgotten(now time.Time) bool {
	return s.By != ByOperator && !s.Suppressed(now) && !s.Sent.IsZero() && now.Sub(s.Sent) >= ClearAfter
}
