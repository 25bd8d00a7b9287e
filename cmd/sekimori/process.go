package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// becomeOwner makes this process run as the user to whom a file or a directory belongs, if it runs as root. Otherwise
// root would leave files beside it (such as a write-ahead log) that this user cannot write to. It does
// nothing if path is "" or there is no such file.
//
// Who owns the directory decides what the file is, for example a link to a file of somebody else. So the
// owner of the directory counts, and that of the file only in a directory of root.
func becomeOwner(path string) error {
	if path == "" || os.Geteuid() != 0 {
		return nil
	}
	owner, err := ownerOf(path)
	if owner == nil {
		return err
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

// ownerOf returns the owner of the directory that path is in, or of path itself if that directory is root's. It returns nil
// if both are root's, or path does not exist.
func ownerOf(path string) (*syscall.Stat_t, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is no owner
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fmt.Errorf("%s is neither a file nor a directory", path)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, of := range []fs.FileInfo{dir, info} {
		if owner, ok := of.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return owner, nil
		}
	}
	return nil, nil //nolint:nilnil // there is no other owner
}
