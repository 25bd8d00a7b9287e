package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
)

// TestNoDescriptors opens connections until the daemon has no file descriptor left. The admin
// address must still answer. When connections are closed, the daemon must accept the waiting
// connections and serve them.
func TestNoDescriptors(t *testing.T) {
	const files, peers = 64, 150
	d := startWith(t, settings{files: files})
	conns := make([]net.Conn, peers)
	for i := range conns {
		nc, err := net.Dial("tcp", d.milter)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conns[i] = nc
	}
	const rejected = `sekimori_sessions_rejected_total{reason="accept_failed"}`
	d.eventually("out of descriptors", func() bool { return d.metric(rejected) > 0 })
	for i := range 20 { // several requests, because the daemon must give back the reserved descriptor after each of them
		if got := d.get("/readyz"); got != "ready\n" {
			t.Fatalf("request %d: the admin address says %q", i, got)
		}
	}
	if open := d.descriptors(); open < files-8 {
		t.Errorf("only %d of %d descriptors are open", open, files)
	}
	// When the other connections are closed, the last one must be served.
	for _, nc := range conns[:peers-1] {
		nc.Close()
	}
	last := client.New(conns[peers-1])
	if err := mta.Greet(last, bank); err != nil {
		t.Fatal(err)
	}
	if err := good(last, ""); err != nil {
		t.Error(err)
	}
	d.serves()
	if n := strings.Count(d.log.String(), "cannot accept connections for now"); n == 0 || n > peers {
		t.Errorf("the log says %d times that accepting failed", n)
	}
}

// descriptors returns the number of the daemon's open file descriptors.
func (d *daemon) descriptors() int {
	d.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(entries)
}

// bigFields is the number of header fields of 60,000 octets in a big header. Together they are
// larger than the socket buffers. So when the client has sent them, the daemon has read most of
// them.
const bigFields = 5

// together sends a message with a big header. It waits until all other connections have sent their
// headers too, and then sends the rest of the message.
func together(c *client.Client, value string, sent *sync.WaitGroup) error {
	steps := []func() (client.Action, error){
		func() (client.Action, error) { return c.Mail("<a@bank.example>") },
		func() (client.Action, error) { return c.Rcpt("<r@here.example>") },
		c.Data,
		func() (client.Action, error) { return c.Header("From", " A <a@bank.example>") },
	}
	for range bigFields {
		steps = append(steps, func() (client.Action, error) { return c.Header("X-Filler", " "+value) })
	}
	var failed error
	for _, step := range steps {
		if _, err := step(); err != nil {
			failed = err
			break
		}
	}
	sent.Done()
	if sent.Wait(); failed != nil {
		return failed
	}
	if _, err := c.EndOfHeader(); err != nil {
		return err
	}
	action, mods, err := c.EndOfMessage()
	switch {
	case err != nil:
		return err
	case !action.Delivers():
		err = fmt.Errorf("refused: %+v", action)
	case len(mods) != 1 || !strings.Contains(mods[0].Value, "dmarc=pass"):
		err = fmt.Errorf("a good message got %+v", mods)
	}
	return errors.Join(err, c.Abort())
}

// TestMemoryPressure checks limits.memory. When three quarters of it are reserved for connections,
// new connections must be refused. Messages that need more than what is left must be deferred.
func TestMemoryPressure(t *testing.T) {
	const budget = 16 << 20
	d := start(t, "limits: {memory: 16MiB}")
	conns := d.open(budget / 4 * 3 / (64 << 10))
	if _, err := d.hello(); err == nil || !strings.Contains(err.Error(), "tempfail") {
		t.Errorf("one too many: %v", err)
	}
	if got := d.metric(`sekimori_sessions_rejected_total{reason="memory"}`); got != 1 {
		t.Errorf("%v connections refused for memory", got)
	}
	warm(t, conns[0])
	// All connections send a header of 300 KiB before any of them ends its message. Together the
	// headers need far more memory than limits.memory allows.
	value := strings.Repeat("x", 60_000)
	var sent sync.WaitGroup
	sent.Add(len(conns))
	outcome := make(chan error, len(conns))
	for _, c := range conns {
		go func() { outcome <- together(c, value, &sent) }()
	}
	taken, off := 0, 0
	for range conns {
		switch err := <-outcome; {
		case err == nil:
			taken++
		case strings.Contains(err.Error(), "4.3.1"):
			off++
		default:
			t.Error(err)
		}
	}
	// Each message that is deferred frees its memory, so some messages can be accepted.
	if taken == 0 || off == 0 || float64(off) != d.metric(`sekimori_oversize_total{what="memory"}`) {
		t.Errorf("%d messages taken, %d put off, the metric says %v", taken, off, d.metric(`sekimori_oversize_total{what="memory"}`))
	}
	// The memory of all messages is free again. So messages that are sent one after the other must
	// all be accepted.
	for _, c := range conns[:3] {
		if err := good(c, strings.Repeat("X-Filler: "+value+"\r\n", bigFields)); err != nil {
			t.Error(err)
		}
	}
	// The daemon may not have read the last ABORT yet: the client cannot wait for that, because
	// ABORT has no answer.
	d.eventually("only what idle connections take is reserved", func() bool {
		return d.metric("sekimori_memory_reserved_bytes") == float64(len(conns)*64<<10)
	})
	t.Logf("%d connections, %d messages taken, %d put off, %d MiB resident", len(conns), taken, off, d.memory()>>20)
}

// vanish closes a connection in such a way that the peer gets no packet, as if the host had lost
// power. It uses the repair mode of TCP: a socket that is closed in this mode sends nothing
// (tcp(7)).
func vanish(t *testing.T, nc net.Conn) {
	t.Helper()
	const tcpRepair = 19
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRepair, 1) }); err != nil {
		t.Fatal(err)
	}
	if errors.Is(failed, syscall.EPERM) && os.Getenv("CI") != "true" {
		t.Skip("a peer cannot be made to vanish without CAP_NET_ADMIN")
	}
	if failed != nil {
		t.Fatal(failed)
	}
	nc.Close()
}

// TestHalfOpenPeers checks that the sessions of vanished hosts end. Keepalive probes must run on
// every connection. The kernel ends some of the sessions because of a probe; limits.idle_timeout
// ends the others.
func TestHalfOpenPeers(t *testing.T) {
	const n = 50
	d := start(t, "limits: {idle_timeout: 8s}")
	conns := make([]net.Conn, n)
	for i := range conns {
		nc, err := net.Dial("tcp", d.milter)
		if err != nil {
			t.Fatal(err)
		}
		if err := mta.Greet(client.New(nc), bank); err != nil {
			t.Fatal(err)
		}
		conns[i] = nc
	}
	// The kernel starts the keepalive timer only after the last reply has been acknowledged.
	d.eventually("keepalive probes on every connection", func() bool { return d.keptAlive() == n })
	for _, nc := range conns {
		vanish(t, nc)
	}
	if got := d.metric("sekimori_sessions_inflight"); got != n {
		t.Errorf("%v sessions: the peers did not vanish silently", got)
	}
	d.eventually("the sessions ended", func() bool { return d.metric("sekimori_sessions_inflight") == 0 })
	// A session ends early if the test host answers a probe or a retransmission with RST. The other
	// sessions end by the idle timeout.
	timeouts, resets := d.metric(`sekimori_sessions_total{end="timeout"}`), d.metric(`sekimori_sessions_total{end="eof"}`)
	if timeouts == 0 || timeouts+resets != n {
		t.Errorf("%v sessions ended by a timeout, %v by the kernel, of %d", timeouts, resets, n)
	}
	d.serves()
}

// keptAlive counts the daemon's milter connections on which the kernel's keepalive timer is
// running. In /proc/net/tcp such a connection has the timer 02 (see
// Documentation/networking/proc_net_tcp of the kernel).
func (d *daemon) keptAlive() int {
	d.t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		d.t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.t.Fatal(err)
	}
	ours := map[string]bool{} // inodes of the daemon's sockets, because other processes may use the same port
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			ours[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	_, port, _ := net.SplitHostPort(d.milter)
	number, _ := strconv.Atoi(port)
	n := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		const established = "01"
		if len(f) > 9 && ours[f[9]] && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && f[3] == established && strings.HasPrefix(f[5], "02:") {
			n++
		}
	}
	return n
}
