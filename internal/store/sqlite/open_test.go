package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
)

func fill(t testing.TB, d *DB, id string, rows int) {
	t.Helper()
	if err := d.Add(t.Context(), storetest.Noon(), batch(id, rows)); err != nil {
		t.Fatal(err)
	}
}

func batch(id string, rows int) report.Batch {
	b := storetest.Batch(id, storetest.Tally(storetest.Policy("shop.example"), storetest.Day(0), storetest.Rows(0, rows)))
	b.Ledger = storetest.Delta("g", 0, ledger.DayOf(storetest.Noon()), storetest.Entry("shop.example", "shop.example", "192.0.2.1"))
	return b
}

// inLedger returns how many messages the ledger counts in its rows, its totals, and its author domains.
func inLedger(t testing.TB, d *DB) (rows, totals, authors int64) {
	t.Helper()
	day := ledger.DayOf(storetest.Noon())
	f := ledger.Filter{From: day, To: day}
	for r, err := range d.Ledger().Rows(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		rows += r.Messages
	}
	for x, err := range d.Ledger().Totals(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		totals += x.Messages
	}
	days, err := d.Ledger().Authors(t.Context(), "shop.example", day)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range days {
		authors += a.Pass
	}
	return rows, totals, authors
}

// messages returns how many messages the store counts, in its jobs and in its rows.
func messages(t testing.TB, d report.Store) (n int64) {
	t.Helper()
	jobs, err := d.Jobs(t.Context(), report.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		rows := int64(0)
		for r, err := range d.Rows(t.Context(), j.ID) {
			if err != nil {
				t.Fatal(err)
			}
			rows += r.Count
		}
		if rows != j.Messages {
			t.Errorf("job %d says %d messages and has %d", j.ID, j.Messages, rows)
		}
		n += j.Messages
	}
	return n
}

// TestSecondDaemon opens a database twice as a daemon, and beside it as a command.
func TestSecondDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := openAt(t, path)
	fill(t, d, "a", 5)
	_, err := Open(t.Context(), path, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Fatalf("got %v", err)
	}
	beside, err := OpenBeside(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if n := messages(t, beside); n != 5 {
		t.Errorf("%d messages are seen beside the daemon", n)
	}
	if err := beside.Suppress(t.Context(), report.Suppression{Target: "@shop.example", By: "operator"}); err != nil {
		t.Error(err)
	}
	fill(t, d, "b", 5)
	if all, err := d.Suppressions(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("the daemon sees %v, %v", all, err)
	}
	if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("after a command, the lock is gone: %v", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.Add(t.Context(), storetest.Noon(), batch("c", 1)); !errors.Is(err, errClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if n := messages(t, openAt(t, path)); n != 10 {
		t.Errorf("%d messages afterwards", n)
	}
}

// TestModes checks that nobody else may read the files, whatever the umask says and the file was.
func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // an empty file is an empty database
		t.Fatal(err)
	}
	d := openAt(t, path)
	fill(t, d, "a", 5)
	fill(t, open(t), "a", 5)
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 4 {
		t.Fatalf("got %q, %v", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

// TestOpenRefuses opens what is not for us. Nothing of it may change.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	makeDB := func(name string, statements ...string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		q, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		for _, s := range statements {
			if _, err := q.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	newer := filepath.Join(dir, "newer.db")
	openAt(t, newer).Close()
	newer = makeDB("newer.db", "UPDATE meta SET value = 99 WHERE name = 'schema'")
	foreign := makeDB("foreign.db", "CREATE TABLE mail (x)")
	older := makeDB("older.db", fmt.Sprintf("PRAGMA application_id = %d", application), "CREATE TABLE meta (name, value)", "INSERT INTO meta VALUES ('schema', 0)")
	missing := filepath.Join(dir, "missing.db")
	for _, c := range []struct {
		path        string
		beside      bool
		wants, what string
	}{
		{newer, false, "schema 99", "a newer schema"},
		{newer, true, "schema 99", "a newer schema"},
		{foreign, false, "another program", "the database of another program"},
		{foreign, true, "another program", "the database of another program"},
		{older, true, "older version", "an older schema"},
		{missing, true, "no file", "no file"},
		{filepath.Join(dir, "no", "such.db"), false, "must exist", "no directory"},
		{dir, false, "not a file", "a directory"},
	} {
		before, _ := os.ReadFile(c.path)
		var err error
		if c.beside {
			_, err = OpenBeside(t.Context(), c.path)
		} else {
			_, err = Open(t.Context(), c.path, Options{Damaged: func(string, error) { t.Errorf("%s is set aside", c.what) }})
		}
		if err == nil || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s (beside %v): %v", c.what, c.beside, err)
		}
		if after, _ := os.ReadFile(c.path); !bytes.Equal(before, after) {
			t.Errorf("%s was changed", c.what)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a command made a database")
	}
}

// TestMigrate goes forward by several schemas at once, and back to the old one if one of them fails.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := openAt(t, path)
	fill(t, d, "a", 3)
	secret, err := d.Secret(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := len(migrations)
	more := append(slices.Clone(migrations), "CREATE TABLE later (x)", "INSERT INTO later VALUES (7)")
	if err := migrate(t.Context(), d.w, append(slices.Clone(more), "CREATE TABLE last (x); nonsense")); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprint("schema ", known+3)) {
		t.Errorf("got %v", err)
	}
	if n, err := schemaOf(t.Context(), d.w); n != known || err != nil {
		t.Errorf("schema %d, %v after a migration that failed", n, err)
	}
	for range 2 {
		if err := migrate(t.Context(), d.w, more); err != nil {
			t.Fatal(err)
		}
	}
	var x int
	if err := d.w.QueryRowContext(t.Context(), "SELECT x FROM later").Scan(&x); err != nil || x != 7 {
		t.Errorf("got %d, %v", x, err)
	}
	if n, err := schemaOf(t.Context(), d.w); n != known+2 || err != nil {
		t.Errorf("schema %d, %v", n, err)
	}
	if again, err := d.Secret(t.Context()); err != nil || !bytes.Equal(again, secret) || messages(t, d) != 3 {
		t.Errorf("the content changed: %v", err)
	}
}

// TestDamage damages a file in several ways. The file must be set aside with its content, at the start
// or when it is used, and after that the same batch must come in.
func TestDamage(t *testing.T) {
	garbage := bytes.Repeat([]byte("\xde\xad\xbe\xef garbage "), 1000)
	for name, damage := range map[string]func([]byte) []byte{
		"not a database": func(b []byte) []byte { return append([]byte("#!/bin/sh\n"), b[10:]...) },
		"garbage":        func(b []byte) []byte { return garbage },
		"half":           func(b []byte) []byte { return b[:len(b)/2] },
		"no last page":   func(b []byte) []byte { return b[:len(b)-4096] },
		"within a page":  func(b []byte) []byte { return b[:len(b)-100] },
		"garbage pages":  func(b []byte) []byte { return append(b[:4096], bytes.Repeat([]byte("\x99"), len(b)-4096)...) },
		"zero pages":     func(b []byte) []byte { return append(b[:4096], make([]byte, len(b)-4096)...) },
		"zeroes":         func(b []byte) []byte { return make([]byte, len(b)) },
		"row garbage": func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("\x01\x01\x04\xc0"), []byte("\x09\x01\x04\xc0"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x [1]*.db")
			d := openAt(t, path)
			fill(t, d, "a", 500)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if beside, err := OpenBeside(t.Context(), path); err == nil {
				beside.Close()
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
				t.Errorf("a command changed the damaged file: %v", err)
			}
			told := 0
			d, err = Open(t.Context(), path, Options{Damaged: func(aside string, cause error) {
				told++
				kept, err := os.ReadFile(aside)
				if err != nil || !bytes.Equal(kept, b) || cause == nil || filepath.Dir(aside) != filepath.Dir(path) {
					t.Errorf("set aside as %s (%d octets, %v) because of %v", aside, len(kept), err, cause)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if cut := name == "half" || name == "no last page" || name == "within a page"; cut && told == 0 {
				t.Error("a file that was cut is not noticed at the start")
			}
			for tries := 0; told == 0 && tries < 3; tries++ { // use it until it is noticed
				if err := use(t.Context(), d); err != nil {
					t.Log("noticed in use: ", err)
				}
			}
			if told != 1 {
				t.Fatalf("damage was told %d times", told)
			}
			fill(t, d, "a", 500)
			if n := messages(t, d); n != 500 {
				t.Errorf("%d messages in the new file", n)
			}
		})
	}
}

// use reads and writes everything.
func use(ctx context.Context, d *DB) error {
	jobs, err := d.Jobs(ctx, report.Filter{})
	for _, j := range jobs {
		for _, rowErr := range d.Rows(ctx, j.ID) {
			err = errors.Join(err, rowErr)
		}
	}
	if err == nil {
		err = d.Add(ctx, storetest.Noon(), batch("use", 500))
	}
	return err
}

// TestDamageAgain damages file after file: only the newest stay.
func TestDamageAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for range keptAside + 2 {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+"-wal", []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		fill(t, d, "a", 1)
		d.Close()
	}
	files, err := filepath.Glob(path + ".damaged-*Z")
	if err != nil || len(files) != keptAside {
		t.Errorf("got %q, %v", files, err)
	}
	if logs, _ := filepath.Glob(path + ".damaged-*-wal"); len(logs) > keptAside {
		t.Errorf("got %q", logs)
	}
}

// TestSetAside renames a damaged file with its log, which would damage the next file. Of the damaged files the newest stay,
// and no other file goes.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x[1]*.db")
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(filepath.Base(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, year := range []string{"2023", "2024", "2022", "2025"} {
		write(path + ".damaged-" + year + "Z")
		write(path + ".damaged-" + year + "Z-wal")
	}
	others := []string{filepath.Join(dir, "x1.db.damaged-2021Z"), path + ".damaged-2021", path + ".lock"}
	for _, name := range append(slices.Clone(others), path, path+"-wal", path+"-shm") {
		write(name)
	}
	aside, err := (&DB{path: path}).setAside(errDamaged)
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(others), aside, aside+"-wal")
	for _, year := range []string{"2024", "2025"} {
		want = append(want, path+".damaged-"+year+"Z", path+".damaged-"+year+"Z-wal")
	}
	var got []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		got = append(got, filepath.Join(dir, e.Name()))
	}
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	for name, text := range map[string]string{aside: "x[1]*.db", aside + "-wal": "x[1]*.db-wal"} {
		if b, err := os.ReadFile(name); err != nil || string(b) != text {
			t.Errorf("%s has %q, %v", name, b, err)
		}
	}

	// Without a file there is nothing to set aside. A log that cannot be moved must not stay beside a new file.
	if aside, err := (&DB{path: path}).setAside(errDamaged); err == nil || aside != "" || !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "cannot be set aside") {
		t.Errorf("no file: %q, %v", aside, err)
	}
	blocked := filepath.Join(dir, strings.Repeat("x", 223)) // with "-wal", its new name is longer than a name can be
	write(blocked)
	write(blocked + "-wal")
	if aside, err := (&DB{path: blocked}).setAside(errDamaged); err == nil || aside != "" || !strings.Contains(err.Error(), "the log of the damaged file cannot be set aside") {
		t.Errorf("a log that cannot be moved: %q, %v", aside, err)
	}
}

// TestNewFile is about what happens after a damaged file was set aside, or while another call does that.
func TestNewFile(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "x.db")
	told := 0
	d, err := Open(ctx, path, Options{Damaged: func(string, error) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, d, "a", 3)
	used := d.w
	if err := d.begin(ctx); err != nil || d.w != used {
		t.Errorf("begin with a file that another call has made: %v", err)
	}
	if err := d.replace(ctx, nil, errDamaged); !errors.Is(err, errDamaged) || d.w != used || told != 0 {
		t.Errorf("replace after another call has done it: %v, told %d times", err, told)
	}
	d.disconnect() // as if no new file could be made
	if n := messages(t, d); n != 3 {
		t.Errorf("%d messages with the file that was opened again", n)
	}
	beside, err := OpenBeside(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := beside.use(ctx, func() error { return errDamaged }); !errors.Is(err, errDamaged) || told != 0 {
		t.Errorf("damage that a command finds: %v, told %d times", err, told)
	}
	beside.disconnect()
	if _, err := beside.Jobs(ctx, report.Filter{}); !errors.Is(err, errClosed) || beside.w != nil {
		t.Errorf("a command without a file: %v", err)
	}
	if err := d.use(ctx, func() error { return report.ErrNone }); err != report.ErrNone { //nolint:errorlint // as it is
		t.Errorf("an error of the interface: %v", err)
	}
	if err := d.use(ctx, func() error { return errDamaged }); !errors.Is(err, errDamaged) || told != 1 {
		t.Errorf("damage: %v, told %d times", err, told)
	}
	if n := messages(t, d); n != 0 {
		t.Errorf("%d messages in the new file", n)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := d.use(ended, func() error { return errDamaged }); !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("an error after the end of the context: %v, told %d times", err, told)
	}
	used = d.w
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.replace(ctx, used, errDamaged); !errors.Is(err, errDamaged) || told != 1 {
		t.Errorf("replace after Close: %v, told %d times", err, told)
	}
	d.disconnect()
	if err := d.begin(ctx); err != nil || d.w != nil {
		t.Errorf("begin after Close: %v", err)
	}
}
