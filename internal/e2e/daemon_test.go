package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sekimori/internal/testkit/logs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mx is one listener of an MTA together with the daemon that is its milter.
type mx struct {
	env []string // environment variables that the daemon gets in addition to those of the test process
	slot
	config string // path of the configuration file
	log    *daemonLog
	held   *os.File // the listening milter socket if the test passes it to the daemon as systemd would; otherwise nil

	mu     sync.Mutex
	daemon *daemon // the daemon process that was started last
}

// settings are top-level keys of the configuration with their YAML values.
type settings map[string]string

// write writes a configuration file with the settings that every test needs and the settings in c,
// which take precedence. It returns the path of the file.
func (c settings) write(s *suite, sl slot) (string, error) {
	all := settings{
		"listen":      fmt.Sprintf("[%q]", sl.milter),
		"authserv_id": authServID,
		"dns":         fmt.Sprintf("{servers: [%q]}", s.dns.Addr()),
		"admin":       fmt.Sprintf("{listen: %q}", sl.admin),
		"mode":        "enforce",
		"log":         "{format: json, level: info}",
	}
	if sl.kind == socket { // Postfix's processes must be able to connect to the milter socket
		all["listen"] = fmt.Sprintf("[{address: %q, mode: 0660, group: postfix}]", sl.milter)
	}
	maps.Copy(all, c)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s: %s\n", key, all[key])
	}
	path := filepath.Join(s.dir, sl.name+".yaml")
	return path, os.WriteFile(path, []byte(b.String()), 0o644)
}

// newMX starts a daemon with its own configuration behind a Postfix listener that no other test
// uses. When the test ends, the daemon is stopped, and the test fails if the daemon misbehaved (see
// finish).
func newMX(t *testing.T, k kind, c settings) *mx {
	t.Helper()
	s := shared(t)
	return newMXAt(t, s.postfix.take(t, k), c)
}

// newMXAt is like newMX, but uses the given listener and adds the variables in env to the daemon's
// environment.
func newMXAt(t *testing.T, sl slot, c settings, env ...string) *mx {
	t.Helper()
	s := shared(t)
	m := &mx{slot: sl, log: &daemonLog{}, env: env}
	var err error
	if m.config, err = c.write(s, m.slot); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.finish(); err != nil {
			t.Error(err)
		}
		m.show(t)
	})
	m.start(t)
	return m
}

// defaultMX returns the mx of Postfix whose daemon has the default policy. It is shared by all
// tests that ask for it. TestMain stops this daemon at the end and checks how it ended.
func defaultMX(t *testing.T) *mx {
	t.Helper()
	return sharedMX(t, shared(t).postfix.slots)
}

func sharedMX(t *testing.T, from slots) *mx {
	t.Helper()
	s := shared(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.common[from[plain]]; m != nil {
		t.Cleanup(func() { m.show(t) })
		return m
	}
	m := &mx{slot: <-from[plain], log: &daemonLog{}}
	t.Cleanup(func() { m.show(t) })
	var err error
	if m.config, err = (settings{}).write(s, m.slot); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	s.common[from[plain]] = m
	return m
}

// show prints the logs of the daemon and of the MTA if the test failed.
func (m *mx) show(t *testing.T) {
	if t.Failed() {
		t.Logf("the daemon's log:\n%s", m.log.tail())
		t.Logf("the MTA's log:\n%s", m.mta.said(m.slot))
	}
}

// start runs the daemon and waits until it is ready.
func (m *mx) start(t *testing.T) {
	t.Helper()
	d, err := m.launch()
	if err != nil {
		t.Fatal(err)
	}
	up := within(patience, func() bool { return d.gone() || m.status("/readyz") == http.StatusOK })
	if !up || d.gone() {
		d.signal(syscall.SIGKILL)
		t.Fatalf("the daemon did not become ready; it said:\n%s", m.log.tail())
	}
}

func (m *mx) launch() (*daemon, error) {
	if run.buildErr != nil {
		return nil, run.buildErr
	}
	d := &daemon{cmd: exec.Command(run.binary, "serve", "--config", m.config), exited: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), m.env...)
	if m.held != nil {
		// LISTEN_PID must be the daemon's own process id, which is known only after fork. systemd
		// sets the variable between fork and exec; here a shell does.
		d.cmd = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, d.cmd.Args...)...)
		d.cmd.Env = append(os.Environ(), append(m.env, "LISTEN_FDS=1", "LISTEN_FDNAMES=milter")...)
		d.cmd.ExtraFiles = []*os.File{m.held}
	}
	d.cmd.Stdout, d.cmd.Stderr = m.log, m.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.start(d.cmd); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	m.mu.Lock()
	m.daemon = d
	m.mu.Unlock()
	return d, nil
}

func (m *mx) current() *daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.daemon
}

// kill ends the daemon by SIGKILL.
func (m *mx) kill() {
	d := m.current()
	d.killed = true
	d.signal(syscall.SIGKILL)
	<-d.exited
}

// terminate sends SIGTERM and returns how the daemon exited.
func (m *mx) terminate() error {
	d := m.current()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.exited:
		return d.err
	case <-time.After(patience):
		d.signal(syscall.SIGKILL)
		return fmt.Errorf("the daemon did not stop within %v of SIGTERM", patience)
	}
}

// finish stops the daemon if it is running. It returns an error if the daemon reported a data race,
// panicked or exited with a failure.
func (m *mx) finish() error {
	d := m.current()
	if d == nil {
		return nil
	}
	var err error
	if !d.killed {
		if err = m.terminate(); err != nil {
			err = fmt.Errorf("the daemon's end: %w", err)
		}
	}
	for _, sign := range []string{"WARNING: DATA RACE", "panic:", `"msg":"panic"`, "fatal error:"} {
		if m.log.contains(sign) {
			err = errors.Join(err, fmt.Errorf("the daemon's log says %q:\n%s", sign, m.log.tail()))
		}
	}
	return err
}

// daemon is one running process.
type daemon struct {
	cmd    *exec.Cmd
	killed bool // the test itself killed the process, or has already checked its end
	err    error
	exited chan struct{} // closed once err is set
}

func (d *daemon) gone() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

func (d *daemon) signal(sig syscall.Signal) { _ = d.cmd.Process.Signal(sig) }

// memory returns the value of one line of /proc/PID/status, such as VmRSS, in octets.
func (m *mx) memory(t *testing.T, line string) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.current().cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kB << 10
		}
	}
	t.Fatalf("no %s in the process's status", line)
	return 0
}

// forgetPeak resets VmHWM, the peak memory use of the daemon, to its present memory use (proc(5),
// clear_refs).
func (m *mx) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.current().cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

var web = http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

// status returns the HTTP status of the page at path on the daemon's admin address, or 0 if there
// is no answer.
func (m *mx) status(path string) int {
	resp, err := web.Get("http://" + m.admin + path)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}

// metric returns the value of a series from /metrics. The series is written as in the exposition
// format: name{label="value"}.
func (m *mx) metric(t *testing.T, series string) float64 {
	t.Helper()
	resp, err := web.Get("http://" + m.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no series %s in /metrics", series)
	return 0
}

// daemonLog collects everything that the daemon writes to standard output and standard error,
// including the reports of the race detector.
type daemonLog struct{ logs.Buffer }

func (l *daemonLog) contains(s string) bool { return strings.Contains(l.String(), s) }

func (l *daemonLog) tail() string {
	const enough = 6 << 10
	s := l.String()
	return s[max(0, len(s)-enough):]
}

// record is one JSON log line.
type record map[string]any

// records returns the log lines whose msg has the given value.
func (l *daemonLog) records(msg string) (out []record) {
	for line := range strings.Lines(l.String()) {
		var r record
		if json.Unmarshal([]byte(line), &r) == nil && r["msg"] == msg {
			out = append(out, r)
		}
	}
	return out
}

// logged returns the records with the given msg in which the given key has the given value.
func (m *mx) logged(msg, key, value string) (found []record) {
	for _, r := range m.log.records(msg) {
		if r[key] == value {
			found = append(found, r)
		}
	}
	return found
}

// record waits for a log record with the given msg, key and value, and returns it. It fails the
// test if there is more than one such record.
func (m *mx) record(t *testing.T, msg, key, value string) record {
	t.Helper()
	var found []record
	eventually(t, fmt.Sprintf("a log record %s with %s=%s", msg, key, value), func() bool {
		found = m.logged(msg, key, value)
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Fatalf("%d log records %s with %s=%s", len(found), msg, key, value)
	}
	return found[0]
}

// evaluated waits for the record "evaluated" in which the given key has the given value. The daemon
// writes one such record for each message that it evaluates.
func (m *mx) evaluated(t *testing.T, key, value string) record {
	t.Helper()
	return m.record(t, "evaluated", key, value)
}

// want takes pairs of a key and a value. Each key of the record must have the value that follows
// it, compared as text.
func (r record) want(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := fmt.Sprint(r[pairs[i]]); got != pairs[i+1] {
			t.Errorf("log record: %s is %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}
