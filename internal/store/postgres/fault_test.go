package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/loopback"
)

// shared returns a batch with rows and jobs that other batches have too. Batches of different writers
// have them in different proportions.
func shared(id string, n int) report.Batch {
	var tallies []report.Tally
	for d := range 5 {
		first := (n*37 + d*11) % 200
		tallies = append(tallies, storetest.Tally(storetest.Policy(fmt.Sprintf("d%d.example", (n+d)%7)), storetest.Day(-(n+d)%2), storetest.Rows(first, first+100)))
	}
	return storetest.Batch(id, tallies...)
}

const perShared = 500 // messages of a batch of shared

func TestConcurrent(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	t.Run("Writers", func(t *testing.T) { testWriters(t, c) })
	t.Run("Senders", func(t *testing.T) { testSenders(t, c) })
	t.Run("Expire", func(t *testing.T) { testExpireDrops(t, c) })
	t.Run("Slow", func(t *testing.T) { testSlow(t, c) })
	t.Run("DiskFull", func(t *testing.T) { testDiskFull(t, c) })
}

// testWriters writes the same rows from four daemons. None may wait for another in a circle.
func testWriters(t *testing.T, c *cluster.Cluster) {
	const writers, batches = 4, 25
	rawURL := c.Database(t)
	var wg sync.WaitGroup
	for w := range writers {
		s := open1(t, rawURL)
		wg.Go(func() {
			for i := range batches {
				if err := s.Add(t.Context(), storetest.Noon(), shared(fmt.Sprint(w, "/", i), w*3+i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := messages(t, open1(t, rawURL)); n != writers*batches*perShared {
		t.Errorf("%d messages, want %d", n, writers*batches*perShared)
	}
	if n := c.SQL(t, "postgres", "SELECT pg_stat_force_next_flush(); SELECT deadlocks FROM pg_stat_database WHERE datname = '"+cluster.Name(rawURL)+"'"); n != "0" {
		t.Errorf("%s deadlocks", n)
	}
}

// testSenders claims and finishes thousands of jobs from four daemons.
func testSenders(t *testing.T, c *cluster.Cluster) {
	const senders, number = 4, 3000
	rawURL := c.Database(t)
	tallies := make([]report.Tally, number)
	for i := range tallies {
		tallies[i] = storetest.Tally(storetest.Policy(fmt.Sprintf("d%d.example", i)), storetest.Day(-1), storetest.Rows(i, i+1))
	}
	s := open1(t, rawURL)
	if err := s.Add(t.Context(), storetest.Noon(), storetest.Batch("a", tallies...)); err != nil {
		t.Fatal(err)
	}
	claimed := make([]atomic.Int32, number+1)
	var wg sync.WaitGroup
	for n := range senders {
		s := open1(t, rawURL)
		wg.Go(func() {
			for {
				j, err := s.Claim(t.Context(), storetest.Noon(), fmt.Sprint("sender ", n), time.Hour)
				if errors.Is(err, report.ErrNone) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				claimed[j.ID].Add(1)
				if err := s.Finish(t.Context(), j, report.Outcome{Word: report.Sent}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	once := 0
	for id := range claimed {
		switch claimed[id].Load() {
		case 0:
		case 1:
			once++
		default:
			t.Errorf("job %d was claimed %d times", id, claimed[id].Load())
		}
	}
	if once != number {
		t.Errorf("%d jobs were claimed, want %d", once, number)
	}
}

// testExpireDrops checks that a day goes as a whole, but not while a job of it is left.
func testExpireDrops(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	name := cluster.Name(rawURL)
	s := open1(t, rawURL)
	ctx := t.Context()
	if err := s.Add(ctx, storetest.Noon(), storetest.Batch("a", storetest.Tally(storetest.Policy("a.example"), storetest.Day(-1), storetest.Rows(0, 40)),
		storetest.Tally(storetest.Policy("b.example"), storetest.Day(-1), storetest.Rows(0, 7)),
		storetest.Tally(storetest.Policy("a.example"), storetest.Day(0), storetest.Rows(0, 3)))); err != nil {
		t.Fatal(err)
	}
	days := func() string {
		t.Helper()
		return c.SQL(t, name, "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid WHERE c.relkind = 'r' AND c.relname ~ '^(detail|tally)_'")
	}
	both := fmt.Sprintf("detail_d%[1]d detail_d%[2]d tally_d%[1]d tally_d%[2]d", dayOf(storetest.Day(-1)), dayOf(storetest.Day(0)))
	later := fmt.Sprintf("detail_d%[1]d tally_d%[1]d", dayOf(storetest.Day(0)))
	if got := days(); got != both {
		t.Fatalf("partitions %s, want %s", got, both)
	}
	finish := func(want int) {
		t.Helper()
		for range want {
			j, err := s.Claim(ctx, storetest.Noon(), "sender", time.Hour)
			if err == nil {
				err = s.Finish(ctx, j, report.Outcome{Word: report.Sent})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	expire := func() {
		t.Helper()
		if err := s.Expire(ctx, storetest.Noon().AddDate(0, 0, 7), 72*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	finish(1)
	expire()
	if got := days(); got != both {
		t.Errorf("partitions %s while a report of the day is not sent, want %s", got, both)
	}
	left, err := s.Jobs(ctx, report.Filter{Window: storetest.Day(-1).Begin})
	if err != nil || len(left) != 1 || left[0].State != report.StateDue {
		t.Fatalf("jobs %+v, %v", left, err)
	}
	if n := c.SQL(t, name, "SELECT sum(n_tup_del) FROM pg_stat_user_tables WHERE relname ~ '^(tally|detail)'"); n != "0" {
		t.Errorf("%s rows were deleted one by one", n)
	}
	finish(1)

	// A reader of the whole table, such as a backup, holds the day. Expire leaves it for the next time.
	held, err := s.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(ctx, "SELECT count(*) FROM tally"); err != nil {
		t.Fatal(err)
	}
	expire()
	if got := days(); got != both {
		t.Errorf("partitions %s while somebody reads, want %s", got, both)
	}
	if err := held.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	other := open1(t, rawURL) // which believes that both days are there
	if err := other.Add(ctx, storetest.Noon(), storetest.Batch("b", storetest.Tally(storetest.Policy("a.example"), storetest.Day(0), storetest.Rows(0, 3)),
		storetest.Tally(storetest.Policy("c.example"), storetest.Day(-1), nil))); err != nil {
		t.Fatal(err)
	}
	c.SQL(t, name, "DELETE FROM sekimori.job WHERE domain = 'c.example'")
	expire()
	if got := days(); got != later {
		t.Errorf("partitions %s, want %s", got, later)
	}
	if err := other.Add(ctx, storetest.Noon(), storetest.Batch("c", storetest.Tally(storetest.Policy("a.example"), storetest.Day(-1), storetest.Rows(0, 5)))); err != nil {
		t.Errorf("a batch for a day that was dropped: %v", err)
	}
	if n := messages(t, other); n != 3+3+5 {
		t.Errorf("%d messages, want 11", n)
	}
}

// testSlow makes every batch wait for longer than its daemon does.
func testSlow(t *testing.T, c *cluster.Cluster) {
	rawURL := c.Database(t)
	s := open1(t, rawURL)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Slow(t, cluster.Name(rawURL), 2*time.Second, "sekimori.batch", "sekimori.counts")
	b := shared("a", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := s.Add(ctx, storetest.Noon(), b)
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	if err := s.Add(t.Context(), storetest.Noon(), b); err != nil {
		t.Errorf("a daemon that waits: %v", err)
	}
	c.Slow(t, cluster.Name(rawURL), 0, "sekimori.batch", "sekimori.counts")
	if n := messages(t, s); n != perShared {
		t.Errorf("%d messages, want %d", n, perShared)
	}

	// A statement that never ends is ended by the server.
	hanging := open1(t, rawURL+"&statement_timeout=300ms")
	if err := hanging.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Slow(t, cluster.Name(rawURL), time.Hour, "sekimori.batch")
	if err := hanging.Add(t.Context(), storetest.Noon(), shared("b", 2)); err == nil || !strings.Contains(err.Error(), "statement timeout") {
		t.Errorf("a statement that hangs: %v", err)
	}
}

// testDiskFull fills the disk of the server. What was refused must go through when there is room.
func testDiskFull(t *testing.T, c *cluster.Cluster) {
	rawURL, dir := c.SmallDatabase(t, 24)
	s := open1(t, rawURL)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	const first = 3
	for i := range first {
		if err := s.Add(t.Context(), storetest.Noon(), shared(fmt.Sprint(i), i)); err != nil {
			t.Fatal(err)
		}
	}
	balloon := filepath.Join(dir, "balloon")
	f, err := os.Create(balloon)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
	refused := 0
	for i := first; i < 40 && refused < 5; i++ { // the first ones may fit into pages that have room
		b := storetest.Batch(fmt.Sprint(i), storetest.Tally(storetest.Policy("new.example"), storetest.Day(0), storetest.Rows(i*1000, i*1000+1000)))
		if err := s.Add(t.Context(), storetest.Noon(), b); err != nil {
			if code(err) != "53100" {
				t.Errorf("error %v, want disk_full (53100)", err)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("the disk is not full")
	}
	if n := messages(t, s); n%perShared != 0 { // reading goes on, and nothing is there by halves
		t.Errorf("%d messages while the disk is full", n)
	}
	if err := os.Remove(balloon); err != nil {
		t.Fatal(err)
	}
	before := messages(t, s)
	b := storetest.Batch("room", storetest.Tally(storetest.Policy("new.example"), storetest.Day(0), storetest.Rows(0, 1000)))
	if err := s.Add(t.Context(), storetest.Noon(), b); err != nil {
		t.Fatalf("with room on the disk: %v", err)
	}
	if n := messages(t, s); n != before+1000 {
		t.Errorf("%d messages, want %d", n, before+1000)
	}
}

// TestServer kills, stops and freezes the server while daemons write.
func TestServer(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	for name, fault := range map[string]func(){
		"Kill":   func() { c.Kill(t); c.Up(t) },
		"Down":   func() { c.Down(t); c.Up(t) },
		"Freeze": func() { c.Freeze(t); time.Sleep(300 * time.Millisecond); c.Thaw(t) },
	} {
		t.Run(name, func(t *testing.T) { testServerFault(t, c, fault) })
	}
	t.Run("Away", testAway)
}

// testServerFault adds batches from three daemons, each until the store says that it has it, and brings
// the fault about in the midst of it.
func testServerFault(t *testing.T, c *cluster.Cluster, fault func()) {
	const writers, batches, faults = 3, 30, 3
	rawURL := c.Database(t)
	var added atomic.Int32
	var failed atomic.Int32
	var wg sync.WaitGroup
	for w := range writers {
		s := open1(t, rawURL)
		wg.Go(func() {
			for i := range batches {
				until(t, "add", func(ctx context.Context) error {
					err := s.Add(ctx, storetest.Noon(), shared(fmt.Sprint(w, "/", i), w+i))
					if err != nil {
						failed.Add(1)
					}
					return err
				})
				added.Add(1)
			}
		})
	}
	for n := range faults {
		for added.Load() < int32(writers*batches*(n+1)/(faults+1)) && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		fault()
	}
	wg.Wait()
	t.Logf("%d calls failed", failed.Load())
	if n := messages(t, open1(t, rawURL)); n != writers*batches*perShared {
		t.Errorf("%d messages, want %d", n, writers*batches*perShared)
	}
}

// testAway opens a store whose server is not there. That must not take time, and the calls must say so.
func testAway(t *testing.T) {
	s, err := Open(t.Context(), "postgres://sekimori@"+loopback.Address(t)+"/x?sslmode=disable", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	if err := s.Add(t.Context(), storetest.Noon(), shared("a", 1)); err == nil || !strings.Contains(err.Error(), "connect") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > connectTimeout {
		t.Errorf("a call to no server took %s", took)
	}
}
