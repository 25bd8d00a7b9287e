package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// errIrregular is the error for a pipe, device or directory.
var errIrregular = errors.New("it is not a regular file")

// Regular returns an error if path is not a regular file. Opening a named pipe
// could block a reload forever, and a device may have no end. Paths below /dev
// are allowed, because shells pass files as /dev/stdin and /dev/fd. A missing
// file is not an error here, because the attempt to open it gives a better
// error.
func Regular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !strings.HasPrefix(path, "/dev/") {
		return &fs.PathError{Op: "read", Path: path, Err: errIrregular}
	}
	return nil
}

// ReadFile reads a regular file of at most limit octets.
func ReadFile(path string, limit int64) ([]byte, error) {
	data, err := readFile(path, limit)
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d octets", limit)}
	}
	return data, err
}

// readFile reads at most limit+1 octets of the file. The caller must refuse a
// result of more than limit octets.
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
