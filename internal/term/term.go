// Package term writes for people: what a stranger wrote never steers their
// terminal, and progress shows only where somebody watches.
package term

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Safe returns s as it is if it is printable ASCII, else quoted, so that
// control octets and look-alikes show.
func Safe(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

// IsTerminal reports whether out is a terminal.
func IsTerminal(out io.Writer) bool {
	file, ok := Unwrap(out).(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// Bar is a progress bar on one line.
type Bar struct {
	out   io.Writer
	now   func() time.Time
	drawn time.Time
}

// Pace and width of a bar.
const (
	barInterval = 200 * time.Millisecond
	barWidth    = 30
)

// NewBar returns a bar on out, or nil if that is no terminal; a nil Bar does
// nothing.
func NewBar(out io.Writer) *Bar {
	if !IsTerminal(out) {
		return nil
	}
	return &Bar{out: Unwrap(out), now: time.Now} // it steers the terminal itself
}

// Update draws how much is done, at most five times a second.
func (b *Bar) Update(done, total int64, note string) {
	if b == nil || b.now().Sub(b.drawn) < barInterval {
		return
	}
	b.drawn = b.now()
	share := 0.0
	if total > 0 {
		share = min(1, max(0, float64(done)/float64(total)))
	}
	filled := int(share * barWidth)
	// Nothing can be done about a terminal that takes nothing.
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %3.0f %% %s", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), 100*share, Safe(note))
}

// Clear takes the bar away.
func (b *Bar) Clear() {
	if b != nil && !b.drawn.IsZero() {
		_, _ = io.WriteString(b.out, "\r\x1b[K")
	}
}
