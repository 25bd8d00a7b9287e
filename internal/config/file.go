package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// errIrregular is what is said of a pipe, a device or a directory.
var errIrregular = errors.New("it is not a regular file")

// Regular refuses what must not be opened as a file that the configuration
// names: a named pipe would keep a reload waiting for ever, and a device may
// never end. What the shell passes below /dev (/dev/stdin, /dev/fd) is fine,
// and so is a file that is missing: opening it tells that better.
func Regular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/") {
		return &fs.PathError{Op: "read", Path: path, Err: errIrregular}
	}
	return nil
}

// readFile reads at most one octet more than limit; the caller refuses the one
// too many.
func readFile(path string, limit int64) ([]byte, error) {
	if err := Regular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
