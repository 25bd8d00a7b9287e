package main

import "syscall"

// In this file, the command "serve" reads and changes settings of the process. Package app must not
// do that, because a daemon may also run within another program.

// openFiles returns how many files the process may have open, or 0 if the system does not tell.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // on FreeBSD it is an int64
}
