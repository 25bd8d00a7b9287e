package client

import (
	"io"
	"net"
	"testing"
)

// TestBuffer checks that a client with Buffer sends nothing until it waits for an answer, or
// until Flush is called.
func TestBuffer(t *testing.T) {
	here, there := net.Pipe() // a write blocks until the other end reads
	defer there.Close()
	c := New(here)
	if err := c.Flush(); err != nil {
		t.Errorf("nothing to flush: %v", err)
	}
	c.Buffer()
	for range 3 {
		if err := c.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() { done <- c.Flush() }()
	got := make([]byte, 64)
	n, err := there.Read(got)
	if want := "\x00\x00\x00\x01A\x00\x00\x00\x01A\x00\x00\x00\x01A"; err != nil || string(got[:n]) != want {
		t.Errorf("%q, %v", got[:n], err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	go func() { done <- c.Quit() }()
	if rest, err := io.ReadAll(there); err != nil || string(rest) != "\x00\x00\x00\x01Q" {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
