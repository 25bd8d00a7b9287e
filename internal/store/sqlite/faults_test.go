package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"modernc.org/sqlite"

	"sekimori/internal/store/storetest"
)

var errPlanted = errors.New("planted")

// faults implements [storetest.Faults] by a driver around that of SQLite.
type faults struct {
	mu   sync.Mutex
	left int // steps up to the one that fails; 0 if none does
	met  bool
}

func (f *faults) Plant(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.met = n, false
}

func (f *faults) Met() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met
}

// Is implements [storetest.Faults]. The second text is what a value says that cannot be read.
func (f *faults) Is(err error) bool {
	return errors.Is(err, errPlanted) || err != nil && strings.Contains(err.Error(), "driver.Value type struct {}")
}

// step returns an error if this is the step that fails.
func (f *faults) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return nil
	}
	if f.left--; f.left > 0 {
		return nil
	}
	f.met = true
	return errPlanted
}

// pool opens a file with faults.
func (f *faults) pool(t *testing.T, path string, connections int) *sql.DB {
	t.Helper()
	c, err := sqlite.NewConnector("file:" + path + "?_txlock=immediate&_dqs=0&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(faultyConnector{c, f})
	db.SetMaxOpenConns(connections)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

type faultyConnector struct {
	driver.Connector
	f *faults
}

func (c faultyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return faultyConn{conn.(connection), c.f}, nil
}

// connection is what a connection of SQLite can do.
type connection interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnBeginTx
	driver.SessionResetter
	driver.Validator
}

type faultyConn struct {
	connection
	f *faults
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.f.step(); err != nil {
		return nil, err
	}
	r, err := c.connection.ExecContext(ctx, query, args)
	return faultyResult{r, c.f}, err
}

func (c faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.f.step(); err != nil {
		return nil, err
	}
	r, err := c.connection.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &faultyRows{Rows: r, f: c.f}, nil
}

func (c faultyConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := c.f.step(); err != nil {
		return nil, err
	}
	tx, err := c.connection.BeginTx(ctx, o)
	return faultyTx{tx, c.f}, err
}

type faultyTx struct {
	driver.Tx
	f *faults
}

func (t faultyTx) Commit() error {
	if err := t.f.step(); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return t.Tx.Commit()
}

type faultyResult struct {
	driver.Result
	f *faults
}

func (r faultyResult) RowsAffected() (int64, error) {
	if err := r.f.step(); err != nil {
		return 0, err
	}
	return r.Result.RowsAffected()
}

type faultyRows struct {
	driver.Rows
	f     *faults
	begun bool
}

// Next fails at the first row, or gives values there that cannot be read.
func (r *faultyRows) Next(dest []driver.Value) error {
	first := !r.begun
	r.begun = true
	if first {
		if err := r.f.step(); err != nil {
			return err
		}
	}
	if err := r.Rows.Next(dest); err != nil {
		return err
	}
	if first && r.f.step() != nil {
		for i := range dest {
			dest[i] = struct{}{}
		}
	}
	return nil
}

func TestFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d, f := openAt(t, path), &faults{}
	r, w := d.r, d.w
	d.r, d.w = f.pool(t, path, readers), f.pool(t, path, 1)
	storetest.RunFaults(t, d, f)
	for n, met := 1, true; met; n++ {
		f.Plant(n)
		err := d.whole(t.Context())
		// A checkpoint that fails says nothing about the file: its disk may be full.
		if met = f.Met(); (err != nil) != (met && n > 3) {
			t.Errorf("whole, step %d: %v", n, err)
		}
	}
	d.disconnect()
	d.r, d.w = r, w
}

// TestFaultsOfMigrations makes a schema, and fails at each step.
func TestFaultsOfMigrations(t *testing.T) {
	f := &faults{}
	db := f.pool(t, filepath.Join(t.TempDir(), "x.db"), 1)
	storetest.Fail(t, f, "migrate", func() error { return migrate(t.Context(), db, migrations) }, func() any {
		n, err := schemaOf(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		return n
	})
	if n, err := schemaOf(t.Context(), db); err != nil || n != len(migrations) {
		t.Errorf("schema %d, %v", n, err)
	}
}
