package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sekimori/internal/report"
)

// keptAside is how many damaged files stay beside the database. A disk that keeps damaging files must
// not be filled with them.
const keptAside = 3

// errDamaged is for damage that SQLite does not notice.
var errDamaged = errors.New("the file is damaged")

// code returns the primary result code of SQLite, or 0.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// damaged reports whether the error means that the file is not a whole database. A full disk, a file
// that cannot be written and an error of the disk are not damage.
func damaged(err error) bool {
	return errors.Is(err, errDamaged) || code(err) == sqlite3.SQLITE_CORRUPT || code(err) == sqlite3.SQLITE_NOTADB
}

// own reports whether the error is one that the interface defines.
func own(err error) bool {
	return errors.Is(err, report.ErrNone) || errors.Is(err, report.ErrLost) || errors.Is(err, report.ErrUnknown)
}

// explain says what an error of SQLite means for the operator.
func explain(path string, err error) error {
	hint := ""
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		hint = "the disk is full: "
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = "the file and its directory must belong to the daemon and be writable: "
	case sqlite3.SQLITE_BUSY:
		hint = "another process holds the database: "
	}
	if damaged(err) {
		hint = "the file is damaged: "
	}
	return fmt.Errorf("sqlite: %s: %s%w", path, hint, err)
}

// whole notices a file that was cut. SQLite notices other damage when it reads the page in question: to
// read all pages now would make the start of the daemon wait for the disk.
func (d *DB) whole(ctx context.Context) error {
	var busy, inLog, copied int64
	// First all pages must be in the file itself. A reader beside us can prevent that, and a full disk.
	if err := d.w.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &copied); damaged(err) || ctx.Err() != nil {
		return err
	} else if err != nil || busy != 0 {
		return nil
	}
	var pages, size int64
	if err := d.w.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	if err := d.w.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size); err != nil {
		return err
	}
	info, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	if info.Size() < pages*size {
		return fmt.Errorf("%w: it has %d octets instead of %d", errDamaged, info.Size(), pages*size)
	}
	return nil
}

// setAside closes the database and renames its files. It returns the new name of the file.
func (d *DB) setAside(cause error) (string, error) {
	d.disconnect()
	aside := d.path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(d.path, aside); err != nil {
		return "", fmt.Errorf("sqlite: %s is damaged (%w), and cannot be set aside: %w", d.path, cause, err)
	}
	// The log belongs to the damaged file, and would damage the new one. The other file is only an index.
	if err := os.Rename(d.path+"-wal", aside+"-wal"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("sqlite: the log of the damaged file cannot be set aside: %w", err)
	}
	os.Remove(d.path + "-shm")
	old, err := filepath.Glob(escapeGlob(d.path) + ".damaged-*Z")
	if err == nil && len(old) > keptAside {
		slices.Sort(old)
		for _, name := range old[:len(old)-keptAside] {
			os.Remove(name)
			os.Remove(name + "-wal")
		}
	}
	return aside, nil
}

// escapeGlob makes filepath.Glob take a path as it is.
func escapeGlob(path string) string {
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if slices.Contains([]byte(`*?[\`), path[i]) {
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}
