package main

import (
	"fmt"
	"syscall"
	"testing"
)

// TestOpenFiles checks that openFiles returns the limit of the process.
func TestOpenFiles(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || fmt.Sprint(openFiles()) != fmt.Sprint(limit.Cur) || limit.Cur == 0 {
		t.Errorf("%d, want %d (%v)", openFiles(), limit.Cur, err)
	}
}
