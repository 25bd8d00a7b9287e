package wire

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestLongField checks a header field that is longer than a frame may be: its beginning is
// returned, and the rest of it is discarded. The frames after it are read as usual.
func TestLongField(t *testing.T) {
	for _, size := range []int{1<<20 + 1, 5 << 20, 20 << 20} {
		ours, mta := net.Pipe()
		limits := Limits{MaxFrame: 1 << 20, FrameTimeout: time.Minute, WriteTimeout: time.Minute}
		tr := NewTransport(ours, &limits, &Buffers{})
		text := "LName\x00 " + strings.Repeat("x", size-8) + "\x00"
		sent := append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text+"\x00\x00\x00\x02By"...)
		go func() { _, _ = mta.Write(sent) }()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cmd, data, err := tr.ReadFrame(time.Minute, false)
		runtime.ReadMemStats(&after)
		if cmd != CmdHeader || len(data) != maxBeginning || !strings.HasPrefix(string(data), "Name\x00 xxx") || err != nil || !tr.Cut() {
			t.Fatalf("%d octets: %c, %d octets, cut %v, %v", size, cmd, len(data), tr.Cut(), err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
			t.Errorf("%d octets took %d", size, got)
		}
		cmd, data, err = tr.ReadFrame(time.Minute, false)
		if cmd != CmdBody || string(data) != "y" || err != nil || tr.Cut() {
			t.Errorf("%d octets, then %c %q, cut %v, %v", size, cmd, data, tr.Cut(), err)
		}
		tr.Close()
		_ = mta.Close()
	}
}

// TestParseHeaderStart checks that name and value are cut at the limit, and that a payload which
// is not a field is an error.
func TestParseHeaderStart(t *testing.T) {
	for _, tc := range []struct {
		data, name, start string
		ok                bool
	}{
		{"Name\x00 value\x00", "Name", " val", true},
		{"Name\x00 v\x00", "Name", " v", true},
		{"A-long-name\x00v\x00", "A-lo", "v", true},
		{"Name\x00 v\x00x\x00", "", "", false},
		{"Name\x00 value", "", "", false},
		{"\x00 v\x00", "", "", false},
	} {
		name, start, err := ParseHeaderStart([]byte(tc.data), true, 4)
		var m Malformed
		if name != tc.name || start != tc.start || (err == nil) != tc.ok || err != nil && !errors.As(err, &m) {
			t.Errorf("%q: %q, %q, %v", tc.data, name, start, err)
		}
	}
}
