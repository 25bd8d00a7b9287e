package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// In this file, commands read and change settings of the process. Package app must not
// do that, because a daemon may also run within another program.

// openFiles returns how many files the process may have open, or 0 if the system does not tell.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // on FreeBSD it is an int64
}

// becomeOwner makes this process run as the owner of a file, if it runs as root and the file is
// another's. Otherwise root would leave files beside it (such as a write-ahead log) that the owner
// cannot write to. It does nothing if path is "" or there is no such file.
func becomeOwner(path string) error {
	if path == "" || os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	// The group comes first, because only root may change it.
	for _, change := range []func() error{
		func() error { return syscall.Setgroups([]int{int(owner.Gid)}) },
		func() error { return syscall.Setgid(int(owner.Gid)) },
		func() error { return syscall.Setuid(int(owner.Uid)) },
	} {
		if err := change(); err != nil {
			return fmt.Errorf("become the owner of %s: %w", path, err)
		}
	}
	return nil
}
