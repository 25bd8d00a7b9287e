package milter

import (
	"io"
	"testing"

	"sekimori/internal/milter/wire"
)

// TestGoMilterIsShownWholeFrames checks what go-milter reads from the shim: the length of a
// frame, and then exactly that many octets.
func TestGoMilterIsShownWholeFrames(t *testing.T) {
	s := &shim{event: wire.CmdEndOfBody}
	var frame [5]byte
	if _, err := io.ReadFull(s, frame[:4]); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(frame[4:]); n != 1 || err != nil || string(frame[:]) != "\x00\x00\x00\x01E" {
		t.Errorf("%q, %d, %v", frame, n, err)
	}
}
