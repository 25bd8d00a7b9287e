// Package term finds out whether an output is a terminal, and draws a progress bar on a terminal.
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
	tty, ok := file(printable.Unwrap(out))
	if !ok {
		return false
	}
	info, err := tty.Stat()
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

// barInterval is the shortest time between two drawings of a bar. barWidth is its width in
// characters.
const (
	barInterval = 200 * time.Millisecond
	barWidth    = 30
)

// NewBar returns a bar that writes to out, or nil if out is not a terminal. The methods of a nil
// Bar do nothing.
func NewBar(out io.Writer) *Bar {
	if !IsTerminal(out) {
		return nil
	}
	// A printable.Writer would replace the escape sequences of the bar, so the bar writes to the
	// output behind such a Writer.
	return &Bar{out: printable.Unwrap(out), now: time.Now}
}

// Update draws a bar for done of total units, with a note behind it. If the bar was drawn less than
// barInterval ago, Update does nothing.
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
	// An error of the terminal is ignored: nothing could be done about it.
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K[%s] %3.0f %% %s", bar, 100*share, printable.Value(note))
}

// Clear removes the bar from the terminal.
func (b *Bar) Clear() {
	if b != nil && !b.drawn.IsZero() {
		_, _ = io.WriteString(b.out, "\r\x1b[K")
	}
}
