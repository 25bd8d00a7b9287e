package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/stats"
)

// slow returns a store that takes a time for each month, and how often it was asked and by how many at once.
func slow(takes time.Duration) (m Memory, asked, most *atomic.Int32) {
	asked, most = new(atomic.Int32), new(atomic.Int32)
	var now atomic.Int32
	m.Month = func(ctx context.Context, month time.Time) (*stats.Month, error) {
		asked.Add(1)
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		select {
		case <-time.After(takes):
			return monthOf(month.Format("2006-01")), nil
		case <-ctx.Done():
			return nil, errors.New("the database was interrupted")
		}
	}
	return m, asked, most
}

// TestAsk: viewers of the same page share one answer, for a minute, and the store is never asked by two at once.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.console.o.Now = time.Now
		time.Sleep(time.Until(start))
		m, asked, most := slow(5 * time.Second)
		b.remembers(m)
		var viewers sync.WaitGroup
		for i := range 6 {
			viewers.Go(func() {
				b.shows(t, fmt.Sprintf("/statistics?month=2026-%02d", 10+i%2), 200, "pass DMARC")
			})
		}
		viewers.Wait()
		if asked.Load() != 2 || most.Load() != 1 {
			t.Errorf("six viewers of two months: %d questions, %d at once", asked.Load(), most.Load())
		}
		b.shows(t, "/statistics.csv?month=2026-10", 200, "2026-10,all,all,messages,")
		time.Sleep(answerLife - 6*time.Second)
		b.shows(t, "/statistics?month=2026-11", 200)
		if asked.Load() != 2 {
			t.Errorf("an answer does not last a minute: %d", asked.Load())
		}
		time.Sleep(6 * time.Second)
		b.shows(t, "/statistics?month=2026-11", 200)
		if asked.Load() != 3 {
			t.Errorf("an answer lasts more than a minute: %d", asked.Load())
		}
	})
}

// TestAskTakesTooLong: no viewer waits longer than the time limit, also behind another, and nothing of that is kept.
func TestAskTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		m, _, most := slow(time.Hour)
		b.remembers(m)
		began := time.Now()
		var viewers sync.WaitGroup
		for range 2 {
			viewers.Go(func() {
				b.shows(t, "/statistics", http.StatusServiceUnavailable, "did not answer in 20 seconds", "!interrupted")
				if took := time.Since(began); took != askTime {
					t.Errorf("a viewer waits %s", took)
				}
			})
		}
		viewers.Wait()
		// The second viewer may get its turn in the moment in which its time ends, and then ask, too.
		if most.Load() != 1 || b.console.desk.waiting != 0 {
			t.Errorf("%d questions at once; %d wait", most.Load(), b.console.desk.waiting)
		}
		quick, _, _ := slow(time.Second)
		b.remembers(quick)
		b.shows(t, "/statistics", 200)
		b.now = b.now.Add(2 * answerLife)
		b.remembers(Memory{Month: func(context.Context, time.Time) (*stats.Month, error) { return nil, errors.New(hostile) }})
		b.shows(t, "/statistics", http.StatusServiceUnavailable, "The store cannot be read", "!<script>alert", "!\x1b")
	})
}

// TestAskIsBounded: few answers are kept, and few viewers wait.
func TestAskIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d desk
		for i := range 3 * maxAnswers {
			if _, err := d.ask(t.Context(), fmt.Sprint(i), time.Now, func(context.Context) (any, error) { return i, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if _, found := d.find(fmt.Sprint(2*maxAnswers), time.Now()); len(d.answers) != maxAnswers || !found {
			t.Errorf("%d answers are kept; the newest is kept: %t", len(d.answers), found)
		}
		b := newBench(t)
		m, asked, _ := slow(time.Second)
		b.remembers(m)
		var viewers sync.WaitGroup
		var refused atomic.Int32
		for range maxWaiting + 3 {
			viewers.Go(func() {
				if w := b.get(t, "/statistics"); w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), "Too many viewers") {
					refused.Add(1)
				}
			})
		}
		viewers.Wait()
		if refused.Load() != 3 || asked.Load() != 1 {
			t.Errorf("%d viewers are refused, %d questions", refused.Load(), asked.Load())
		}
	})
}
