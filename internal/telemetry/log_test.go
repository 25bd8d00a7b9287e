package telemetry

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an output that blocks until the channel open is closed.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

func TestLogWriterNeverBlocks(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	w := NewLogWriter(out)
	record := []byte(strings.Repeat("x", 1<<20) + "\n")
	// While the output blocks, the LogWriter holds a full queue and one batch that is being
	// written. The other records must be dropped, and Write must not block.
	const records = 2*maxQueuedLog>>20 + 4
	for range records {
		if n, err := w.Write(record); n != len(record) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	if w.Dropped() == 0 {
		t.Error("nothing was dropped although nothing could be written")
	}
	dropped := w.Dropped()
	close(out.open)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(out.got.Bytes(), []byte("\n")); got != records-dropped {
		t.Errorf("%d records were written, %d dropped, of %d", got, dropped, records)
	}
	if _, err := w.Write(record); err != nil || w.Dropped() != dropped+1 {
		t.Error("a record after Close must be dropped and counted")
	}
}

// TestLogWriterCloseEnds checks that Close returns even if the output never stops blocking.
func TestLogWriterCloseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &gate{open: make(chan struct{})}
		w := NewLogWriter(out)
		if _, err := w.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := w.Close(); err == nil || time.Since(begin) != closeTimeout {
			t.Errorf("Close: %v after %v", err, time.Since(begin))
		}
		close(out.open)
	})
}

// TestLogWriterBounds checks when a record is dropped, and when a pause ends early. The output blocks first.
func TestLogWriterBounds(t *testing.T) {
	for _, tt := range []struct {
		queued, prefix, record int
		dropped                int
		at                     time.Duration // when the queue is written
	}{
		{0, 0, maxQueuedLog, 0, 0},
		{0, 0, maxQueuedLog + 1, 1, 0},
		{10, 3, maxQueuedLog - 13, 0, 0},
		{10, 3, maxQueuedLog - 12, 1, pause},
		{0, 0, maxQueuedLog / 2, 0, pause},
		{0, 0, maxQueuedLog/2 + 1, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := &gate{open: make(chan struct{})}
			w := NewLogWriter(out)
			write := func(prefix, n int) {
				p := make([]byte, n)
				if got, err := w.write(strings.Repeat("<", prefix), p); got != n || err != nil {
					t.Errorf("%d, %v", got, err)
				}
			}
			write(0, 1) // is being written
			synctest.Wait()
			write(0, tt.queued)
			write(tt.prefix, tt.record)
			if w.Dropped() != tt.dropped {
				t.Errorf("%+v: %d were dropped", tt, w.Dropped())
			}
			close(out.open)
			synctest.Wait()
			want := 1
			if tt.at == 0 && tt.dropped == 0 {
				want += tt.queued + tt.prefix + tt.record
			}
			if got := out.got.Len(); got != want {
				t.Errorf("%+v: %d octets were written at once, want %d", tt, got, want)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if n, err := (visible{failing{0}}).Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("%d, %v of an output that fails", n, err)
	}
}

// batches is an output that stores the text and the time of each write.
type batches struct {
	begin time.Time
	got   []string
}

func (b *batches) Write(p []byte) (int, error) {
	b.got = append(b.got, time.Since(b.begin).String()+" "+string(p))
	return len(p), nil
}

// TestLogWriterGathers checks that a single record is written at once, and that the records
// of the following pause are written together.
func TestLogWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &batches{begin: time.Now()}
		w := NewLogWriter(out)
		synctest.Wait()
		for range 5 {
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Millisecond) // the records come at 0, 15, 30, 45 and 60 ms
		}
		time.Sleep(time.Second)
		if _, err := w.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(out.got, ", "), "0s x, 50ms xxx, 100ms x, 1.075s y"; got != want {
			t.Errorf("written: %s, want %s", got, want)
		}
	})
}

func TestLogWriterKeepsOrder(t *testing.T) {
	var out bytes.Buffer
	w := NewLogWriter(&out)
	var want strings.Builder
	for i := range 1000 {
		line := strings.Repeat("a", i%7) + "\n"
		want.WriteString(line)
		if _, err := w.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Error("the records are not what was written, in order")
	}
}

func TestNewLogger(t *testing.T) {
	for _, tt := range []struct {
		format, level string
		ok            bool
	}{
		{"json", "info", true}, {"text", "debug", true}, {"json", "warn", true}, {"json", "error", true},
		{"xml", "info", false}, {"json", "loud", false}, {"", "info", false},
	} {
		if _, err := NewLogger(io.Discard, tt.format, tt.level); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.format, tt.level, err)
		}
	}
}
