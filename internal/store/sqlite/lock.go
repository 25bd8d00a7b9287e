package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// takeLock takes the lock of a daemon. It is a file beside the database, because whoever closes the
// database's own file would take SQLite's locks from it. The lock ends with the process, however that
// ends. The file stays, because a file that is removed may be locked by two.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: the database cannot be opened; the directory %s must exist and belong to the daemon: %w", dir(path), err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("sqlite: %s cannot be locked: %w", f.Name(), err)
		}
		pid, err := io.ReadAll(io.LimitReader(f, 32))
		who := "another process"
		if n, bad := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil && bad == nil {
			who = fmt.Sprintf("process %d", n)
		}
		return nil, fmt.Errorf("sqlite: %w: %s uses %s; stop it, or give this daemon a store.url of its own", ErrInUse, who, path)
	}
	// Without its content the file locks as well, so a full disk does no harm here.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// ErrInUse means that another daemon uses the database.
var ErrInUse = errors.New("the database is in use")
