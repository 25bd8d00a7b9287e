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

// OpenFile opens a file that the configuration names. A named pipe would keep
// a reload waiting for ever, and a device may never end, so both are refused;
// what the shell passes below /dev (/dev/stdin, /dev/fd) is not.
func OpenFile(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/") {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errIrregular}
	}
	return os.Open(path)
}

// ReadFile reads at most one octet more than limit of a file that the
// configuration names: the caller refuses the one too many.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
