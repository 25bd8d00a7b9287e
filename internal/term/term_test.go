package term

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// TestNoTerminal checks that files, buffers and /dev/null are not terminals.
func TestNoTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	closed, err := os.Create(t.TempDir() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	if IsTerminal(closed) {
		t.Error("a file is a terminal")
	}
	closed.Close()
	if IsTerminal(null) || IsTerminal(&bytes.Buffer{}) || IsTerminal(closed) {
		t.Error("an output that is not a terminal counts as one")
	}
	b := NewBar(&bytes.Buffer{})
	if b != nil {
		t.Error("a bar in a buffer")
	}
	b.Update(1, 2, "x") // the methods of a nil Bar do nothing
	b.Clear()
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(100, 0)
	b := &Bar{out: &out, now: func() time.Time { return now }}
	b.Clear()
	if out.Len() > 0 {
		t.Errorf("cleared before it was drawn: %q", out.String())
	}
	for _, tt := range []struct {
		after       time.Duration
		done, total int64
		want        string
	}{
		{0, 1, 4, "[#######.......................]  25 % n"},
		{100 * time.Millisecond, 2, 4, ""}, // less than barInterval after the last bar, so nothing is drawn
		{100 * time.Millisecond, 9, 4, "[##############################] 100 % n"},
		{time.Second, 0, 0, "[..............................]   0 % n"},
		{time.Second, -1, 4, "[..............................]   0 % n"},
	} {
		now = now.Add(tt.after)
		out.Reset()
		b.Update(tt.done, tt.total, "n")
		if got := strings.TrimPrefix(out.String(), "\r\x1b[K"); got != tt.want {
			t.Errorf("%d of %d: %q, want %q", tt.done, tt.total, got, tt.want)
		}
	}
	out.Reset()
	if b.Clear(); out.String() != "\r\x1b[K" {
		t.Errorf("cleared by %q", out.String())
	}
}
