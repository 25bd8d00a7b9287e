package postgres

import (
	"testing"

	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
)

// opener returns a function that opens stores on new databases of a cluster.
func opener(c *cluster.Cluster) storetest.Open {
	return func(t testing.TB) report.Store { return open1(t, c.Database(t)) }
}

func open1(t testing.TB, rawURL string) *Store {
	t.Helper()
	s, err := Open(t.Context(), rawURL, cluster.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, opener(cluster.Start(t, cluster.Options{})))
}

func TestLedger(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	storetest.RunLedger(t, func(t testing.TB) storetest.LedgerStore { return open1(t, c.Database(t)) })
}

func BenchmarkLedger(b *testing.B) {
	c := cluster.Start(b, cluster.Options{})
	storetest.BenchmarkLedger(b, func(t testing.TB) storetest.LedgerStore { return open1(t, c.Database(t)) })
}

func TestHistory(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	storetest.RunHistory(t, func(t testing.TB) history.Store { return open1(t, c.Database(t)) })
}

func TestFarm(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	storetest.RunFarm(t, func(t testing.TB) farm.Store { return open1(t, c.Database(t)) })
}
