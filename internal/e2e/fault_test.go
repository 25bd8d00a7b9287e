package e2e

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// silentDNS starts a DNS server that never answers. It returns the server's address, and a function
// that lists the questions received so far, each as "name TYPE".
func silentDNS(t *testing.T) (addr string, asked func() []string) {
	t.Helper()
	z := nameserver.Zone(t, "! *. * timeout")
	s := nameserver.ServeZone(t, z, nameserver.Options{Addr: net.JoinHostPort(run.host, "0")})
	return s.Addr(), z.Queries
}

// TestSilentDNS: if no DNS query is answered, the daemon decides within the budget (with a margin),
// the results are temperror, and the message is accepted.
func TestSilentDNS(t *testing.T) { eachMTA(t, testSilentDNS) }

func testSilentDNS(t *testing.T, from slots) {
	const budget = time.Second
	dns, _ := silentDNS(t)
	m := newMXAt(t, from.take(t, plain), settings{
		"dns": fmt.Sprintf("{servers: [%q], timeout: 300ms, message_budget: %s}", dns, budget),
	})
	message := signed(t, mail{from: "info@bank.example"}.bytes(), "bank.example", "s1")
	to := recipient()
	begin := time.Now()
	id := m.post(t, spoofer, unique("@bank.example"), to, message).accepted(t)
	took := time.Since(begin)
	run.inbox.wait(t, to).label(t).want(t, "spf=temperror", "dkim=temperror", "dmarc=temperror header.from=bank.example", "iprev=temperror")

	r := m.evaluated(t, "queue_id", id)
	r.want(t, "verdict", "tag", "reason", "temperror", "not_decided", "policy timeout")
	// A busy machine may need longer than the budget that the daemon keeps.
	const margin = 4 * time.Second
	if seconds, ok := r["duration_seconds"].(float64); !ok || seconds > (budget+margin).Seconds() {
		t.Errorf("end of message took %v s, the budget is %v", r["duration_seconds"], budget)
	}
	if took > budget+margin {
		t.Errorf("the client waited %v, the budget is %v", took, budget)
	}
}

// TestKilledInSession: the daemon is killed between RCPT and DATA. The MTA defers the message and
// delivers nothing without a label. When the daemon runs again, the sender's next attempt succeeds.
func TestKilledInSession(t *testing.T) { behindEach(t, plain, settings{}, testKilledInSession) }

func testKilledInSession(t *testing.T, m *mx) {
	from, to := unique("@bank.example"), recipient()
	message := mail{from: "info@bank.example"}.bytes()

	c := m.open(t, bankMX)
	for _, cmd := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"} {
		if r, err := c.cmd("%s", cmd); err != nil || r.code != 250 {
			t.Fatalf("%s: %v, %v", cmd, r, err)
		}
	}
	m.kill()
	// The MTA notices that the daemon is gone either at DATA or at the end of the message. This
	// depends on which events the milter asked for.
	r, err := c.cmd("DATA")
	if err == nil && r.code == 354 {
		r, err = c.content(message)
	}
	if err != nil || r.code != 451 {
		t.Fatalf("the message after the daemon's death got %v, %v, want 451", r, err)
	}
	if r = m.attempt(bankMX, from, to, message); r.code/100 != 4 {
		t.Fatalf("a new session without the daemon got %s, want a temporary refusal", r)
	}

	m.start(t)
	id := m.post(t, bankMX, from, to, message).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
	m.evaluated(t, "queue_id", id)
}

// TestKilledInMessage: the daemon is killed while it evaluates a message. The client gets a
// temporary refusal and nothing is delivered. When the daemon runs again, the sender's next attempt
// succeeds.
func TestKilledInMessage(t *testing.T) { eachMTA(t, testKilledInMessage) }

func testKilledInMessage(t *testing.T, listeners slots) {
	// The DNS server does not answer, so the daemon is still waiting at the end of the message when
	// it is killed.
	dns, asked := silentDNS(t)
	m := newMXAt(t, listeners.take(t, plain), settings{
		"dns": fmt.Sprintf("{servers: [%q], timeout: 20s, message_budget: 30s}", dns),
	})
	from, to := unique("@bank.example"), recipient()
	message := signed(t, mail{from: "info@bank.example"}.bytes(), "bank.example", "s1")
	c := m.open(t, bankMX)
	var r reply
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { r, err = c.send(from, []string{to}, message) })
	eventually(t, "the daemon has the message and asks for its key", func() bool {
		return slices.ContainsFunc(asked(), func(q string) bool { return strings.Contains(q, "._domainkey.") })
	})
	m.kill()
	wg.Wait()
	if err != nil || r.code/100 != 4 {
		t.Fatalf("the message got %v, %v, want a temporary refusal", r, err)
	}
	if mail := run.inbox.to(t, to); len(mail) != 0 {
		t.Fatalf("it was delivered all the same:\n%s", mail[0].header())
	}
	// The daemon starts again, this time with a DNS server that answers, and the sender tries
	// again.
	if m.config, err = (settings{}).write(&run, m.slot); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	id := m.post(t, bankMX, from, to, message).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
	m.evaluated(t, "queue_id", id)
}

// TestSigtermUnderLoad: the daemon is stopped by SIGTERM while eight connections deliver mail, and
// then started again. Every message is delivered exactly once, with its label.
func TestSigtermUnderLoad(t *testing.T) { behindEach(t, plain, settings{}, testSigtermUnderLoad) }

func testSigtermUnderLoad(t *testing.T, m *mx) {
	const workers, each, perSession = 8, 13, 4
	load := &load{m: m, rcpts: make(chan string, workers*each)}
	var all []string
	for range workers * each {
		all = append(all, recipient())
		load.rcpts <- all[len(all)-1]
	}
	close(load.rcpts)

	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { load.work(perSession) })
	}
	eventually(t, "a third of the messages sent", func() bool { return load.sent() >= len(all)/3 })
	if err := m.terminate(); err != nil {
		t.Errorf("the daemon's end: %v", err)
	}
	before := load.sent()
	m.start(t)
	wg.Wait()
	for _, trouble := range load.troubles {
		t.Error(trouble)
	}
	if before == len(all) {
		t.Error("the daemon stopped only after all was sent")
	}

	eventually(t, "everything delivered", func() bool {
		for _, to := range all {
			if len(run.inbox.to(t, to)) == 0 {
				return false
			}
		}
		return true
	})
	for _, to := range all {
		run.inbox.wait(t, to).label(t).want(t, "dkim=pass", "dmarc=pass header.from=news.example")
	}
	if got := len(m.log.records("evaluated")); got < len(all) {
		t.Errorf("%d log records for %d messages", got, len(all))
	}
}

// load sends messages like MTAs: it sends a message again after a temporary refusal.
type load struct {
	m     *mx
	rcpts chan string

	mu       sync.Mutex
	done     int
	deferred int // number of 4xx replies so far
	troubles []string
}

func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

func (l *load) putOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deferred++
}

func (l *load) note(r reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.code == 250 {
		l.done++
	} else {
		l.troubles = append(l.troubles, r.String())
	}
}

// work sends one message to each recipient from l.rcpts until that channel is closed. It sends at
// most perSession messages in one connection.
func (l *load) work(perSession int) {
	var c *session
	left := 0
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for to := range l.rcpts {
		message, err := run.keys.sign(mail{from: "letter@news.example"}.bytes(), "news.example", "s1")
		if err != nil {
			l.note(failed(err))
			continue
		}
		var r reply
		within(patience, func() bool {
			if left == 0 || c == nil {
				if c != nil {
					c.close()
				}
				if c, err = l.m.dial(newsMX); err != nil {
					c, r = nil, failed(err)
					return r.code/100 == 5
				}
				left = perSession
			}
			left--
			if r, err = c.send("letter@news.example", []string{to}, message); err != nil {
				r = failed(err)
			}
			if r.code/100 == 4 {
				l.putOff()
				left = 0 // try again on a new connection, as an MTA does
			}
			return r.code/100 != 4
		})
		l.note(r)
	}
}

// TestLargeMessage: while a message of 25 MB goes through the daemon, its memory grows by at most
// 15 MB. So the daemon does not hold the whole body in memory.
func TestLargeMessage(t *testing.T) {
	eachMTA(t, func(t *testing.T, from slots) {
		// A low GOGC makes the garbage collector run often, so that the measurement counts little
		// memory that is no longer in use.
		testLargeMessage(t, newMXAt(t, from.take(t, plain), settings{}, "GOGC=20"))
	})
}

func testLargeMessage(t *testing.T, m *mx) {
	line := strings.Repeat("0123456789abcdef", 4) + "\n"
	const size = 25 << 20
	big := signed(t, mail{from: "letter@news.example", body: strings.Repeat(line, size/len(line))}.bytes(), "news.example", "s1")
	if len(big) < size {
		t.Fatalf("the message has only %d octets", len(big))
	}

	// Send a small message first, so that memory that is allocated once does not count.
	to := recipient()
	m.post(t, newsMX, unique("@news.example"), to, signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s1")).accepted(t)
	run.inbox.wait(t, to)

	before := m.memory(t, "VmRSS")
	m.forgetPeak(t)
	to = recipient()
	id := m.post(t, newsMX, unique("@news.example"), to, big).accepted(t)
	peak := m.memory(t, "VmHWM")

	run.inbox.wait(t, to).label(t).want(t, "dkim=pass", "dmarc=pass")
	if got, ok := m.evaluated(t, "queue_id", id)["bytes"].(float64); !ok || got < size {
		t.Errorf("the log says %v bytes, want at least %d", got, size)
	}
	const limit = 15 << 20
	t.Logf("resident size before %d KiB, at most %d KiB during the message", before>>10, peak>>10)
	if peak-before > limit {
		t.Errorf("memory grew from %d to %d octets, more than %d", before, peak, limit)
	}
}

// TestSigtermIdle: a daemon without sessions stops at once, with exit code 0.
func TestSigtermIdle(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{})
	to := recipient()
	m.post(t, bankMX, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to)
	if m.status("/healthz") != 200 {
		t.Error("/healthz does not answer")
	}
	if err := m.terminate(); err != nil {
		t.Errorf("the daemon's end: %v", err)
	}
	if m.status("/healthz") != 0 {
		t.Error("somebody still answers")
	}
}

// TestDrainDeadline: a client keeps its session open, but the daemon still stops after
// drain_timeout. The next message in this session gets a temporary refusal from the MTA.
func TestDrainDeadline(t *testing.T) {
	behindEach(t, plain, settings{"drain_timeout": "500ms"}, testDrainDeadline)
}

func testDrainDeadline(t *testing.T, m *mx) {
	c := m.open(t, bankMX)
	if r, err := c.cmd("MAIL FROM:<%s>", unique("@bank.example")); err != nil || r.code != 250 {
		t.Fatalf("MAIL: %v, %v", r, err)
	}
	d := m.current()
	_ = m.terminate() // the exit code is not 0, because a session was cut off
	if !d.gone() {
		t.Fatal("the daemon is still there")
	}
	if _, err := c.cmd("RSET"); err != nil {
		t.Fatal(err)
	}
	if r := c.offer(t, unique("@bank.example"), recipient(), mail{from: "info@bank.example"}.bytes()); r.code/100 != 4 {
		t.Errorf("a message without the daemon got %s", r)
	}
	d.killed = true // finish must not stop the daemon again or check its exit code
}

// TestDeadNameServer: no DNS server listens at the first address in dns.servers. The daemon starts
// and uses the second server.
func TestDeadNameServer(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{
		"dns": fmt.Sprintf("{servers: [%q, %q], timeout: 500ms}", net.JoinHostPort(run.host, "9"), run.dns.Addr()),
	})
	to := recipient()
	m.post(t, bankMX, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
}

// TestHugeHeader: a header longer than the limit is refused, because a second From could hide in
// the part that the daemon does not read. The next message of the session is evaluated normally.
func TestHugeHeader(t *testing.T) {
	m := defaultMX(t)
	t.Parallel()
	c := m.open(t, bankMX)
	fields := bytes.Repeat([]byte("X-Filler: "+strings.Repeat("y", 60)+"\r\n"), 50_000)
	from, to := unique("@bank.example"), recipient()
	r := c.offer(t, from, to, append(fields, mail{from: "info@bank.example"}.bytes()...))
	if r.code/100 != 5 {
		t.Errorf("the huge header got %s, want a refusal", r)
	}
	huge := m.record(t, "not evaluated", "mail_from", "<"+from+">")
	huge.want(t, "verdict", "reject", "reason", "oversize")
	if huge["queue_id"] == "" {
		t.Error("the record of the refusal does not name the message")
	}
	to = recipient()
	c.offer(t, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
}
