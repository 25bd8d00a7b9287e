// Package sqlite keeps the daemon's memory in a file, by SQLite. It implements report.Store. Only one
// daemon may use the file, while commands may read and write it beside the daemon.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// busy is how long a transaction waits for one of another process.
const busy = 10 * time.Second

// readers is the number of connections that read. Each has a page cache of 4 MiB.
const readers = 4

// Options are what the daemon may say about its database.
type Options struct {
	// Damaged is called when the file was damaged. It was then set aside under the name aside, and a new
	// one was begun. May be nil.
	Damaged func(aside string, cause error)
}

// DB is an open database.
type DB struct {
	path string
	opts Options
	lock *os.File // nil if the database was opened by OpenBeside

	mu sync.RWMutex // held for reading by every call, and for writing while the file is replaced
	// w has one connection, because SQLite has one writer at a time: calls wait in Go, in the order in
	// which they came. Both are nil after the file was set aside and no new one could be begun.
	w, r   *sql.DB
	closed bool
}

// errClosed is returned by every method after Close.
var errClosed = errors.New("sqlite: the database is closed")

// Open opens the database for the daemon, makes it if there is none, and brings its schema up to date.
// If another daemon has it open, the error names that daemon's process.
func Open(ctx context.Context, path string, opts Options) (*DB, error) {
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	d := &DB{path: path, opts: opts, lock: lock}
	err = d.open(ctx)
	if damaged(err) {
		var aside string
		if aside, err = d.setAside(err); err == nil {
			defer opts.tell(aside, errDamaged)
			err = d.open(ctx)
		}
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func (o Options) tell(aside string, cause error) {
	if o.Damaged != nil {
		o.Damaged(aside, cause)
	}
}

// OpenBeside opens the database for a command, while a daemon may be running. The database must exist
// and have the schema of this version.
func OpenBeside(ctx context.Context, path string) (*DB, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sqlite: there is no file %s; the daemon makes it when it starts", path)
	} else if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	d := &DB{path: path}
	if err := d.connect(ctx, func(found int) error {
		if found < len(migrations) {
			return errors.New("it is from an older version of sekimori; the daemon of this version converts it when it starts")
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return d, nil
}

// open connects to the file, checks it, and brings the schema up to date.
func (d *DB) open(ctx context.Context) error {
	// SQLite would give the file the permissions of the umask.
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case err == nil:
		f.Close()
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("sqlite: the database cannot be made: %w", err)
	}
	if info, err := os.Stat(d.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("sqlite: %s is not a file", d.path)
	} else if err == nil && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(d.path, 0o600); err != nil {
			return fmt.Errorf("sqlite: others may read the database: %w", err)
		}
	}
	// SQLite opens a file that it cannot write, and says so only when something is to be written.
	if f, err = os.OpenFile(d.path, os.O_WRONLY, 0); err != nil {
		return fmt.Errorf("sqlite: %s: the file and its directory must belong to the daemon and be writable: %w", d.path, err)
	}
	f.Close()
	if err := d.connect(ctx, func(int) error { return nil }); err != nil {
		return err
	}
	err = d.whole(ctx)
	if err == nil {
		err = migrate(ctx, d.w, migrations)
	}
	if err != nil {
		d.disconnect()
		return explain(d.path, err)
	}
	return nil
}

// connect opens the two pools. In between it looks at the schema: the file of another program, or of
// another version, stays as it is.
func (d *DB) connect(ctx context.Context, suits func(schema int) error) error {
	pool := func(connections int, parameters string) (*sql.DB, error) {
		// mode=rw, because the file exists: it was made with the right permissions. "immediate" makes a
		// transaction wait for other writers at its beginning, where waiting cannot fail.
		dsn := fmt.Sprintf("file:%s?mode=rw&_txlock=immediate&_dqs=0&_pragma=busy_timeout(%d)%s", (&url.URL{Path: d.path}).EscapedPath(), busy.Milliseconds(), parameters)
		connector, err := sqlite.NewConnector(dsn)
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(connector)
		db.SetMaxOpenConns(connections)
		db.SetMaxIdleConns(connections)
		return db, nil
	}
	err := func() (err error) {
		if d.r, err = pool(readers, "&_pragma=cache_size(-4096)&_pragma=query_only(1)"); err != nil {
			return err
		}
		found, err := schemaOf(ctx, d.r)
		if err != nil {
			return err
		}
		if found > len(migrations) {
			return newer(found, len(migrations))
		}
		if err := suits(found); err != nil {
			return err
		}
		// A power failure may take the last transactions with synchronous=NORMAL, but never damages the
		// file. The WAL is copied into the file every 16 MiB, and cut to 64 MiB.
		if d.w, err = pool(1, "&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-16384)&_pragma=wal_autocheckpoint(4000)"+
			"&_pragma=journal_size_limit(67108864)"); err != nil {
			return err
		}
		return d.w.PingContext(ctx)
	}()
	if err != nil {
		d.disconnect()
		return explain(d.path, err)
	}
	return nil
}

// disconnect closes both pools.
func (d *DB) disconnect() {
	for _, db := range []*sql.DB{d.r, d.w} {
		if db != nil {
			_ = db.Close() // what was committed is stored
		}
	}
	d.w, d.r = nil, nil
}

// Close waits for the calls that are under way.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var err error
	if d.w != nil {
		err = errors.Join(d.r.Close(), d.w.Close())
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// write calls f in a transaction, and commits it unless f returns an error.
func (d *DB) write(ctx context.Context, f func(*sql.Tx) error) error {
	return d.use(ctx, func() error {
		tx, err := d.w.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := f(tx); err != nil {
			return errors.Join(err, quiet(tx.Rollback()))
		}
		return tx.Commit()
	})
}

// quiet drops the error of a rollback that the end of the context did already.
func quiet(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// read calls f with the pool of readers.
func (d *DB) read(ctx context.Context, f func(*sql.DB) error) error {
	return d.use(ctx, func() error { return f(d.r) })
}

// use calls f while both pools are open. If f finds that the file is damaged, use begins a new one.
func (d *DB) use(ctx context.Context, f func() error) error {
	d.mu.RLock()
	if d.w == nil && !d.closed && d.lock != nil {
		d.mu.RUnlock()
		if err := d.begin(ctx); err != nil {
			return err
		}
		d.mu.RLock()
	}
	if d.closed || d.w == nil {
		d.mu.RUnlock()
		return errClosed
	}
	used := d.w
	err := f()
	d.mu.RUnlock()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("sqlite: %w", ctx.Err())
	case own(err):
		return err
	case damaged(err) && d.lock != nil:
		return d.replace(ctx, used, err)
	}
	return explain(d.path, err)
}

// begin makes a new file after the damaged one was set aside and no new one could be made at that time.
func (d *DB) begin(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.w != nil || d.closed {
		return nil
	}
	return d.open(ctx)
}

// replace sets the damaged file aside and begins a new one, unless another call has done so since the
// caller used the pool. It returns the error for the caller, whose work was not done.
func (d *DB) replace(ctx context.Context, used *sql.DB, cause error) error {
	d.mu.Lock()
	if d.w != used || d.closed {
		d.mu.Unlock()
		return explain(d.path, cause)
	}
	aside, err := d.setAside(cause)
	if err == nil {
		err = d.open(context.WithoutCancel(ctx))
	}
	d.mu.Unlock()
	if aside != "" {
		d.opts.tell(aside, cause)
	}
	return errors.Join(explain(d.path, cause), err)
}

// dir returns the directory of the database, for messages.
func dir(path string) string { return filepath.Dir(path) }
