package sqlite

import (
	"path/filepath"
	"testing"

	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
)

// open opens a new database, with a name that SQLite's URIs could misread.
func open(t testing.TB) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "a?mode=memory#b%41 é&_pragma=x.db"))
}

func openAt(t testing.TB, path string) *DB {
	t.Helper()
	d, err := Open(t.Context(), path, Options{Damaged: func(aside string, cause error) { t.Errorf("set aside as %s: %v", aside, cause) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) report.Store { return open(t) })
}

func TestLedger(t *testing.T) {
	storetest.RunLedger(t, func(t testing.TB) storetest.LedgerStore { return open(t) })
}

func BenchmarkLedger(b *testing.B) {
	storetest.BenchmarkLedger(b, func(t testing.TB) storetest.LedgerStore { return open(t) })
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(t testing.TB) report.Store { return open(t) })
}

func TestHistory(t *testing.T) {
	storetest.RunHistory(t, func(t testing.TB) history.Store { return open(t) })
}

func TestFarm(t *testing.T) {
	storetest.RunFarm(t, func(t testing.TB) farm.Store { return open(t) })
}
