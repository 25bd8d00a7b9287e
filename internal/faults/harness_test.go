package faults

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/loopback"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"

	// The tests build and run the program. Because of this import, the go command does not use
	// cached test results after the program has changed.
	_ "sekimori/internal/app"
)

const zoneText = `
bank.example              TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
mail.bank.example         A   192.0.2.1
1.2.0.192.in-addr.arpa    PTR mail.bank.example.
`

// patience is the longest time that a test waits for something. It makes a test fail if the daemon
// hangs.
const patience = 60 * time.Second

var (
	once     sync.Once
	binary   string
	buildErr error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if binary != "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// build builds the program on the first call, and returns its path.
func build(t *testing.T) string {
	t.Helper()
	once.Do(func() {
		dir, err := os.MkdirTemp("", "faults")
		if err != nil {
			buildErr = err
			return
		}
		binary = filepath.Join(dir, "sekimori")
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/sekimori")
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return binary
}

// daemon is a running sekimori process.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *logs.Buffer
	milter string
	admin  string
	ended  bool // stop or kill was called
}

// settings are the parameters of a test daemon.
type settings struct {
	zone   *zone.Zone // zone of the name server; nil stands for zoneText
	keys   string     // further lines of the configuration
	level  string     // the least level of the log; "" is warn
	host   string     // host name of the daemon, which only root can give it; "" is that of the test
	files  int        // limit of open file descriptors; 0 stands for the hard limit of the test process
	stderr *os.File   // receives the log; nil: the log is kept in daemon.log
}

// start runs the daemon with keys as further lines of the configuration.
func start(t *testing.T, keys string) *daemon {
	t.Helper()
	return startWith(t, settings{keys: keys})
}

func startWith(t *testing.T, s settings) *daemon {
	t.Helper()
	if s.zone == nil {
		s.zone = nameserver.Zone(t, zoneText)
	}
	if s.level == "" {
		s.level = "warn"
	}
	server := nameserver.ServeZone(t, s.zone, nameserver.Options{})
	d := &daemon{t: t, log: &logs.Buffer{}, milter: loopback.Address(t), admin: loopback.Address(t)}
	config := filepath.Join(t.TempDir(), "sekimori.yaml")
	text := fmt.Sprintf("mode: enforce\nlisten: [%q]\nadmin: {listen: %q}\ndns: {servers: [%q]}\nauthserv_id: mx.here.example\n"+
		"drain_timeout: 1s\nlog: {level: %s}\n%s\n",
		"inet:"+d.milter, d.admin, server.Addr(), s.level, s.keys)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	limit := `ulimit -n "$(ulimit -Hn)"`
	if s.files > 0 {
		limit = "ulimit -n " + strconv.Itoa(s.files)
	}
	command := []string{"/bin/sh", "-c", limit + ` && exec "$@"`, "sh", build(t), "serve", "--config", config}
	if s.host != "" {
		command = append([]string{"unshare", "--uts", "/bin/sh", "-c", `hostname "$0" && exec "$@"`, s.host}, command...)
	}
	d.cmd = exec.Command(command[0], command[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if s.stderr != nil {
		d.cmd.Stderr = s.stderr
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	d.eventually("ready", func() bool { return d.get("/readyz") == "ready\n" })
	return d
}

// kill ends the daemon by SIGKILL.
func (d *daemon) kill() {
	d.ended = true
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait() // it was killed
}

// stop stops the daemon and checks that it exited with 0 and did not panic. Calling it again does
// nothing.
func (d *daemon) stop() {
	if d.ended {
		return
	}
	d.ended = true
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	err := d.cmd.Wait()
	late.Stop()
	if err != nil || strings.Contains(d.log.String(), "panic") {
		d.t.Errorf("the daemon's end: %v\n%s", err, d.log)
	}
}

func (d *daemon) eventually(what string, ok func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("never %s; the daemon's log:\n%s", what, d.log)
		}
	}
}

var web = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns the body of a page at the admin address, or "" if there is no answer.
func (d *daemon) get(path string) string {
	resp, err := web.Get("http://" + d.admin + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// metric returns the value of a series, which is written with its labels as in /metrics.
func (d *daemon) metric(series string) float64 {
	d.t.Helper()
	for line := range strings.Lines(d.get("/metrics")) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				d.t.Fatal(err)
			}
			return v
		}
	}
	d.t.Fatalf("no series %s", series)
	return 0
}

// memory returns the resident memory of the daemon in octets.
func (d *daemon) memory() int64 {
	d.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// bank is the SMTP client of most sessions.
var bank = mta.Peer{Name: "mail.bank.example", Addr: netip.MustParseAddrPort("192.0.2.1:25"), HELO: "mail.bank.example"}

// hello opens a milter connection and sends the events up to HELO.
func (d *daemon) hello() (*client.Client, error) { return mta.Dial("tcp", d.milter, bank) }

// good sends a message that must be delivered with dmarc=pass, and returns an error if it is not.
func good(c *client.Client, filler string) error {
	res, err := c.SendMessage(client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}},
		[]byte("From: A <a@bank.example>\r\nSubject: s\r\n"+filler+"\r\nbody\r\n"))
	if err != nil {
		return err
	}
	if !res.Action.Delivers() || len(res.Modifications) != 1 || !strings.Contains(res.Modifications[0].Value, "dmarc=pass") {
		return fmt.Errorf("a good message got %+v", res)
	}
	return nil
}

// warm sends a good message and a spoof, so that all DNS answers are in the daemon's cache. Some
// tests keep all processors busy. Without the cache, their results would depend on the speed of the
// DNS server, which runs on the same machine.
func warm(t *testing.T, c *client.Client) {
	t.Helper()
	for _, send := range []func() error{func() error { return good(c, "") }, func() error { return spoof(c) }} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
}

// spoof sends a forged message. It returns an error if the daemon accepts the message without
// labelling it as a fail.
func spoof(c *client.Client) error {
	res, err := c.SendMessage(client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}},
		[]byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"))
	if err != nil {
		return err
	}
	if res.Action.Delivers() && !strings.Contains(fmt.Sprint(res.Modifications), "dmarc=fail") {
		return fmt.Errorf("a spoofed message got %+v", res)
	}
	return nil
}

// serves checks that the daemon accepts a new connection and evaluates its messages correctly.
func (d *daemon) serves() {
	d.t.Helper()
	c, err := d.hello()
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	warm(d.t, c)
	if err := c.Quit(); err != nil {
		d.t.Error(err)
	}
}
