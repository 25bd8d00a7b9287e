package e2e

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTenRestarts: the daemon is restarted ten times while mail comes in. The test keeps the
// daemon's listening socket open during the restarts, as systemd does. No client gets a temporary
// refusal, and every message is delivered exactly once, with its label.
func TestTenRestarts(t *testing.T) {
	s := shared(t)
	t.Parallel()
	m := &mx{slot: s.postfix.take(t, plain), log: &daemonLog{}}
	ln, err := net.Listen("tcp", strings.TrimPrefix(m.milter, "inet:"))
	if err != nil {
		t.Fatal(err)
	}
	m.held, err = ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.held.Close() })
	_ = ln.Close() // the file in m.held is a duplicate and keeps the socket open
	if m.config, err = (settings{"listen": `["systemd:milter"]`}).write(s, m.slot); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.finish(); err != nil {
			t.Error(err)
		}
		m.show(t)
	})
	m.start(t)

	const restarts, workers, perSession, between = 10, 4, 5, 15
	load := &load{m: m, rcpts: make(chan string)}
	var all []string
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(load.rcpts)
		for {
			to := recipient()
			select {
			case load.rcpts <- to:
				all = append(all, to)
			case <-stop:
				return
			}
		}
	})
	for range workers {
		wg.Go(func() { load.work(perSession) })
	}
	var down time.Duration
	for i := range restarts {
		enough := load.sent() + between
		eventually(t, "more messages sent", func() bool { return load.sent() >= enough })
		begin := time.Now()
		if err := m.terminate(); err != nil {
			t.Errorf("end %d of the daemon: %v", i+1, err)
		}
		m.start(t)
		down += time.Since(begin)
	}
	close(stop)
	wg.Wait()

	for _, trouble := range load.troubles {
		t.Error(trouble)
	}
	if load.deferred > 0 {
		t.Errorf("%d messages were put off", load.deferred)
	}
	for _, to := range all {
		run.inbox.wait(t, to).label(t).want(t, "dkim=pass", "dmarc=pass header.from=news.example")
	}
	if got := len(m.log.records("evaluated")); got != len(all) {
		t.Errorf("%d log records for %d messages", got, len(all))
	}
	if got := len(m.log.records("serving")); got != restarts+1 {
		t.Errorf("the daemon began to serve %d times", got)
	}
	t.Logf("%d messages over %d restarts, %d put off, delivered exactly once and labelled: all; from SIGTERM to ready %v on average",
		len(all), restarts, load.deferred, (down / restarts).Round(time.Millisecond))
}
