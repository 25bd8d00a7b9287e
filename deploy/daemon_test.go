package deploy

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	// The tests build and run this program. Because of this import, the go command does not use
	// cached test results after the program has changed.
	_ "sekimori/internal/app"
)

// daemon is a running sekimori, started as systemd would start it from the units in this directory:
// with their command line, socket, notifications and watchdog.
type daemon struct {
	cmd    *exec.Cmd
	binary string
	file   string // path of the configuration file
	socket string // path of the milter socket
	admin  string
	notify chan string
	log    chan record
	ended  chan struct{} // closed when the log of the daemon has ended
}

// record is one line of the log.
type record map[string]any

// daemonTime is the longest time that a test of one daemon may take. It makes a test fail if the
// daemon hangs.
const daemonTime = 90 * time.Second

// watchdogInterval is used instead of the unit's interval, with which the test would take half a
// minute.
const watchdogInterval = 200 * time.Millisecond

// queued is the capacity of the channels. It is larger than the number of records that a daemon
// logs in a test.
const queued = 1000

func build(t *testing.T) string {
	t.Helper()
	sources, err := filepath.Glob("../cmd/sekimori/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no cmd/sekimori", err)
	}
	for _, name := range sources {
		readFile(t, name) // the go command then knows that the test results depend on this file
	}
	binary := filepath.Join(t.TempDir(), "sekimori")
	run(t, "..", "go", "build", "-o", binary, "./cmd/sekimori")
	return binary
}

// startMX starts a daemon that trusts no network and whose configuration also has the text "more".
// Its name server publishes the public key that belongs to the returned private key.
func startMX(t *testing.T, ctx context.Context, binary, more string) (*daemon, ed25519.PrivateKey) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return startDaemon(t, ctx, binary, fmt.Sprintf(`
listen: ["systemd:milter"]
authserv_id: mx.rcpt.example
mode: enforce
trusted: {networks: []}
dns: {servers: [%q]}
admin: {listen: "127.0.0.1:0"}
`, nameServer(t, public))+more), key
}

// startDaemon starts a daemon and waits until it has sent READY=1.
func startDaemon(t *testing.T, ctx context.Context, binary, configuration string) *daemon {
	t.Helper()
	dir := t.TempDir()
	d := &daemon{
		binary: binary, file: filepath.Join(dir, "sekimori.yaml"), socket: filepath.Join(dir, "milter.sock"),
		notify: make(chan string, queued), log: make(chan record, queued), ended: make(chan struct{}),
	}
	writeFile(t, d.file, configuration, 0o644)

	line := strings.Join(setting(readFile(t, serviceUnit), "ExecStart"), "")
	line = strings.NewReplacer(installed, binary, "/etc/sekimori/sekimori.yaml", d.file).Replace(line)
	// LISTEN_PID must be the daemon's own process id, which is known only after fork. systemd sets
	// the variable between fork and exec; here a shell does.
	d.cmd = exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, strings.Fields(line)...)...)
	d.cmd.Env = append(os.Environ(),
		"LISTEN_FDS=1", "LISTEN_FDNAMES="+strings.Join(setting(readFile(t, socketUnit), "FileDescriptorName"), ""),
		"NOTIFY_SOCKET="+d.notifications(t, dir),
		fmt.Sprint("WATCHDOG_USEC=", watchdogInterval.Microseconds()))
	d.cmd.ExtraFiles = []*os.File{d.listen(t)}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // in most tests the daemon has already ended
		_ = d.cmd.Wait()
	})
	go d.readLog(stderr)
	d.expectNotify(t, ctx, "READY=1")
	d.admin, _ = d.expectLog(t, ctx, "serving")["admin"].(string)
	return d
}

// listen opens the milter socket and returns it as a file for the daemon, as systemd does.
func (d *daemon) listen(t *testing.T) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// notifications opens the socket to which the daemon sends its notifications (sd_notify(3)), and
// returns its path.
func (d *daemon) notifications(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				close(d.notify)
				return
			}
			d.notify <- string(buf[:n])
		}
	}()
	return path
}

func (d *daemon) readLog(r io.Reader) {
	defer close(d.log)
	defer close(d.ended)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		rec := record{}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			rec["msg"] = lines.Text() // a line that is not JSON is an error message of a failed start
		}
		d.log <- rec
	}
}

func (d *daemon) expectNotify(t *testing.T, ctx context.Context, state string) {
	t.Helper()
	ended := d.ended
	var late <-chan time.Time
	for {
		select {
		case s := <-d.notify:
			if s == state {
				return
			}
		case <-ended: // the log records may not have been read from the channel yet
			ended, late = nil, time.After(time.Second)
		case <-late:
			for rec := range d.log {
				t.Log(rec)
			}
			t.Fatalf("the daemon ended without %s", state)
		case <-ctx.Done():
			t.Fatalf("no %s: %v", state, ctx.Err())
		}
	}
}

func (d *daemon) expectLog(t *testing.T, ctx context.Context, msg string) record {
	t.Helper()
	for {
		select {
		case rec, ok := <-d.log:
			if !ok {
				t.Fatalf("the daemon ended before it logged %q", msg)
			}
			if rec["msg"] == msg {
				return rec
			}
		case <-ctx.Done():
			t.Fatalf("no %q in the log: %v", msg, ctx.Err())
		}
	}
}

// series has the labels of all samples of one scrape, by the name of the metric.
type series map[string][]map[string]string

// scrape reads /metrics as Prometheus does. It adds what Prometheus itself adds: the metric up, and
// the labels job and instance.
func (d *daemon) scrape(t *testing.T, ctx context.Context) series {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	s := series{}
	s.add("up", nil, "", "")
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetType() != dto.MetricType_HISTOGRAM {
				s.add(name, m, "", "")
				continue
			}
			s.add(name+"_sum", m, "", "")
			s.add(name+"_count", m, "", "")
			for _, b := range m.GetHistogram().GetBucket() {
				s.add(name+"_bucket", m, "le", fmt.Sprint(b.GetUpperBound()))
			}
		}
	}
	return s
}

func (s series) add(name string, m *dto.Metric, label, value string) {
	labels := map[string]string{"job": job, "instance": "mx"}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	if label != "" {
		labels[label] = value
	}
	s[name] = append(s[name], labels)
}

// check returns a complaint for each metric, label or label value in a PromQL expression that no
// series has.
func (s series) check(where, expr string) (problems []string) {
	e := parseExpression(expr)
	if len(e.selectors) == 0 {
		problems = append(problems, fmt.Sprintf("%s: no metric in %s", where, expr))
	}
	known := map[string]bool{}
	for _, sel := range e.selectors {
		if len(s[sel.name]) == 0 {
			problems = append(problems, fmt.Sprintf("%s: there is no metric %s", where, sel.name))
			continue
		}
		found := false
		for _, labels := range s[sel.name] {
			found = found || sel.matches(labels)
			for l := range labels {
				known[l] = true
			}
		}
		if !found {
			problems = append(problems, fmt.Sprintf("%s: %s has no series for %v", where, sel.name, sel.matchers))
		}
		for _, m := range sel.matchers {
			if !known[m.label] {
				problems = append(problems, fmt.Sprintf("%s: %s has no label %s", where, sel.name, m.label))
			}
		}
	}
	for _, l := range e.labels {
		if !known[l] {
			problems = append(problems, fmt.Sprintf("%s: no metric has the label %s", where, l))
		}
	}
	return problems
}
