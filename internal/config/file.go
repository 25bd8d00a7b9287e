package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// errIrregular is the error for a pipe, a device or a directory.
var errIrregular = errors.New("it is not a regular file")

// Regular returns an error for a file that must not be opened: a named pipe
// would keep a reload waiting for ever, and a device may never end. Files that
// the shell passes below /dev (/dev/stdin, /dev/fd) may be opened. A missing
// file is not an error here, because the attempt to open it gives a better one.
func Regular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/") {
		return &fs.PathError{Op: "read", Path: path, Err: errIrregular}
	}
	return nil
}

// readFile reads at most limit+1 octets. The caller refuses a file that has
// more than limit.
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
