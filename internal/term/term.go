// Package term knows whether an output is a terminal, and draws a progress bar on
// one.
package term

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"sekimori/internal/printable"
)

// IsTerminal reports whether out is a terminal.
func IsTerminal(out io.Writer) bool {
	file, ok := printable.Unwrap(out).(*os.File)
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

// How often a bar is drawn, and its width in characters.
const (
	barInterval = 200 * time.Millisecond
	barWidth    = 30
)

// NewBar returns a bar on out, or nil if out is not a terminal. The methods of a nil
// Bar do nothing.
func NewBar(out io.Writer) *Bar {
	if !IsTerminal(out) {
		return nil
	}
	return &Bar{out: printable.Unwrap(out), now: time.Now} // a bar needs the escape sequences that a Writer replaces
}

// Update draws that done of total is finished, with a note behind the bar. It draws at
// most five times a second.
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
	bar := strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled)
	// There is nothing to do about an error of the terminal.
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K[%s] %3.0f %% %s", bar, 100*share, printable.Value(note))
}

// Clear removes the bar from the terminal.
func (b *Bar) Clear() {
	if b != nil && !b.drawn.IsZero() {
		_, _ = io.WriteString(b.out, "\r\x1b[K")
	}
}
