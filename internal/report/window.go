package report

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

const (
	// maxAhead is how far ahead a stamp may be. If it is further ahead, or further behind than MaxLate,
	// a clock was wrong, or nobody drained the spool for days.
	maxAhead = 10 * time.Minute
)

// WindowAt returns the window that t belongs to. interval must divide 24 hours into whole seconds. So
// every window is in one UTC day.
func WindowAt(t time.Time, interval time.Duration) Window {
	length := int64(interval / time.Second)
	begin := floor(t.Unix(), length) * length
	return Window{begin, begin + length - 1}
}

// WindowFor returns the window to which an observation of the time "stamp" is added. That is the
// window of the stamp. If the stamp is too far from now, it is the current window, and late is true.
// Whether the window of the stamp is still open is up to the store.
func WindowFor(stamp, now time.Time, interval time.Duration) (w Window, late bool) {
	if stamp.Sub(now) > maxAhead || now.Sub(stamp) > MaxLate {
		return WindowAt(now, interval), true
	}
	return WindowAt(stamp, interval), false
}

// Within returns the window of another length, in seconds, into which rows of the window w go: the one
// that has the time now, or what of w is nearest to it.
func (w Window) Within(length int64, now time.Time) Window {
	at := min(max(now.Unix(), w.Begin), w.End)
	begin := floor(at, length) * length
	return Window{begin, begin + length - 1}
}

// Length returns the length of the window in seconds.
func (w Window) Length() int64 { return w.End - w.Begin + 1 }

// Day returns the UTC day of the window.
func (w Window) Day() Day { return DayOf(time.Unix(w.Begin, 0)) }

// Closes returns the time from which the window takes no more rows.
func (w Window) Closes() time.Time { return time.Unix(w.End+1, 0).UTC().Add(Grace) }

// SendAt returns when the report on a window may be sent: when the window closes, and up to spread
// later. How much later depends on the domain and the organization, so that the reports of all
// organizations to a domain do not come at the same moment. It is the same on all hosts of a farm.
func SendAt(w Window, domain dns.Name, organization string, spread time.Duration) time.Time {
	at := w.Closes()
	if spread <= 0 {
		return at
	}
	sum := sha256.Sum256(appendStrings(nil, string(domain), organization))
	jitter := binary.BigEndian.Uint64(sum[:]) % uint64(spread)
	return at.Add(time.Duration(jitter)).Truncate(time.Second)
}

// DayOf returns the UTC day of t.
func DayOf(t time.Time) Day { return ledger.DayOf(t) }

// floor divides and rounds down, also below 0.
func floor(a, by int64) int64 {
	q := a / by
	if a%by < 0 {
		q--
	}
	return q
}
