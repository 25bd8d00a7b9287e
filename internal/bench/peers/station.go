package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/bench/load"
)

const (
	startTimeout = 60 * time.Second // rspamd needs long, because it compiles its patterns
	stopTimeout  = 5 * time.Second
	authServID   = "mx.load.example"
)

// place is the temporary directory in which the programs of a station run, and the addresses that
// they use.
type place struct {
	dir, dns, binary string
	ports            []int // TCP ports of the host of dns: of the milters, then adminPort and smtpPort
	tcp              bool  // the milters are on TCP ports instead of unix sockets
	asInstalled      bool  // see benchCase
}

// The ports of a place. A station has at most two milters, so the ports 0 and 1 are theirs.
const (
	adminPort = 2 + iota
	smtpPort
	portCount
)

// freePorts returns portCount TCP ports of a host at which no program was listening when freePorts
// chose them. The host should be an address that nobody else uses, as 127.0.0.1 is not: another
// program could take one of the ports before ours listens there.
func freePorts(host string) ([]int, error) {
	var ports []int
	for range portCount {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all ports are chosen, so that no port is chosen twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// station is one of the verifiers that are compared, or something to compare them with.
type station struct {
	name    string
	role    role
	needs   []string // programs that must be installed
	version []string // command that prints the version
	start   func(context.Context, place) (*processes, error)
}

// role says what a station is compared as.
type role int

const (
	ours  role = iota // sekimori
	more              // sekimori when it does more than verify
	peer              // another verifier
	floor             // does nothing: no verifier can be faster
)

const (
	storeName    = "sekimori with a store"
	nothingName  = "milter that does nothing"
	noMilterName = "no milter"
)

func stations() []station {
	return []station{
		{"sekimori", ours, nil, nil, startSekimori},
		{storeName, more, nil, nil, startWithStore},
		{"opendkim+opendmarc", peer, []string{"opendkim", "opendmarc", "unshare", "mount"},
			[]string{"dpkg-query", "-W", "opendkim", "opendmarc"}, startOpen},
		{"rspamd", peer, []string{"rspamd"}, []string{"dpkg-query", "-W", "rspamd"}, startRspamd},
		{nothingName, floor, nil, nil, startNothing},
		{noMilterName, floor, nil, nil, startNone},
	}
}

// startNone starts nothing, for a Postfix without milters.
func startNone(context.Context, place) (*processes, error) { return &processes{}, nil }

// installed returns the stations whose programs are installed, and a sentence about each of the
// others.
func installed() (here []station, absent []string) {
next:
	for _, s := range stations() {
		for _, program := range s.needs {
			if _, err := exec.LookPath(program); err != nil {
				absent = append(absent, fmt.Sprintf("%s was not measured: %v.", s.name, err))
				continue next
			}
		}
		if len(s.needs) > 0 && os.Geteuid() != 0 {
			absent = append(absent, s.name+" was not measured: it needs root.")
			continue
		}
		here = append(here, s)
	}
	return here, absent
}

// address returns the n-th milter address of a place in the notations of milterload, libmilter and
// rspamd.
func (p place) address(n int) (ours, libmilter, rspamd string) {
	if p.tcp {
		port := p.ports[n]
		return "inet:" + p.listen(n), fmt.Sprintf("inet:%d@%s", port, p.host()), p.listen(n)
	}
	path := filepath.Join(p.dir, fmt.Sprintf("milter%d.sock", n))
	return "unix:" + path, "local:" + path, path + " mode=0600"
}

// host is the address at which everything of the place listens, as its name server does.
func (p place) host() string {
	host, _, _ := net.SplitHostPort(p.dns)
	return host
}

// listen returns the host and one of the ports.
func (p place) listen(port int) string { return fmt.Sprintf("%s:%d", p.host(), p.ports[port]) }

func (p place) write(name, text string) (string, error) {
	path := filepath.Join(p.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// startSekimori starts sekimori. Its log level is warn unless the place asks for a log of each
// message.
func startSekimori(ctx context.Context, p place) (*processes, error) {
	return startConfigured(ctx, p, "")
}

// startWithStore starts sekimori with a SQLite file. It keeps what it keeps by default: the rows of
// reports, the ledger and the history.
func startWithStore(ctx context.Context, p place) (*processes, error) {
	return startConfigured(ctx, p, fmt.Sprintf("store: {url: %q}\n", "sqlite:"+filepath.Join(p.dir, "store.db")))
}

// startConfigured starts sekimori with more lines of configuration.
func startConfigured(ctx context.Context, p place, more string) (*processes, error) {
	ours, _, _ := p.address(0)
	admin, level := "", "warn"
	if p.asInstalled {
		admin, level = p.listen(adminPort), "info"
	}
	const configuration = "mode: enforce\nlisten: [%q]\nauthserv_id: %s\ndns: {servers: [%q]}\nadmin: {listen: %q}\nlog: {level: %s}\n"
	path, err := p.write("sekimori.yaml", fmt.Sprintf(configuration, ours, authServID, p.dns, admin, level)+more)
	if err != nil {
		return nil, err
	}
	return start(ctx, p, []string{ours}, []string{p.binary, "serve", "--config", path})
}

// suffixes is a public suffix list for the other verifiers. All domains of the corpus are below
// "example".
const suffixes = "com\nexample\norg\n"

func startOpen(ctx context.Context, p place) (*processes, error) {
	host, port, err := net.SplitHostPort(p.dns)
	if err != nil || port != "53" {
		return nil, fmt.Errorf("opendmarc finds a name server only at port 53, not at %s", p.dns)
	}
	first, dkimSocket, _ := p.address(0)
	second, dmarcSocket, _ := p.address(1)
	files := map[string]string{
		"suffixes": suffixes, "resolv.conf": "nameserver " + host + "\n",
		"opendkim.conf": fmt.Sprintf("Mode v\nSocket %s\nSyslog no\nUserID root\nAuthservID %s\nAlwaysAddARHeader yes\nNameservers %s\n",
			dkimSocket, authServID, host),
		"opendmarc.conf": fmt.Sprintf("Socket %s\nSyslog false\nUserID root\nAuthservID %[2]s\nTrustedAuthservIDs %[2]s\n"+
			"SPFIgnoreResults true\nSPFSelfValidate true\nRejectFailures false\nPublicSuffixList %s\n",
			dmarcSocket, authServID, filepath.Join(p.dir, "suffixes")),
	}
	for name, text := range files {
		if _, err := p.write(name, text); err != nil {
			return nil, err
		}
	}
	in := func(name string) string { return filepath.Join(p.dir, name) }
	return start(ctx, p, []string{first, second},
		[]string{"opendkim", "-f", "-x", in("opendkim.conf")},
		[]string{"unshare", "-m", "sh", "-c", `mount --bind "$1" /etc/resolv.conf && exec opendmarc -f -c "$2"`, "sh", in("resolv.conf"),
			in("opendmarc.conf")})
}

// rspamdConf configures rspamd with three modules, the Authentication-Results field and two worker
// processes. %[1]s is the directory, %[2]s the socket, %[3]s the address of the name server, %[4]s
// its port, %[5]s the authserv-id and %[6]s the log level.
const rspamdConf = `
options {
  filters = ["dkim"]; url_tld = "%[1]s/suffixes"; pidfile = "%[1]s/pid"; tempdir = "%[1]s"; history_rows = 1;
  dns { nameserver = ["%[3]s:%[4]s:1"]; timeout = 5s; retransmits = 3; sockets = 16; }
  local_addrs = ["127.0.0.0/8"];
}
logging { type = "file"; filename = "%[1]s/log"; level = "%[6]s"; }
modules { path = "/usr/share/rspamd/plugins"; }
dkim { } spf { } dmarc { }
milter_headers {
  use = ["authentication-results"]; skip_local = false;
  routines { authentication-results { hostname = "%[5]s"; add_smtp_user = false; } }
}
actions { reject = 1000; add_header = 900; greylist = 800; }
worker "rspamd_proxy" {
  bind_socket = "%[2]s"; milter = true; timeout = 60s; count = 2;
  upstream "local" { default = true; self_scan = true; }
}
`

func startRspamd(ctx context.Context, p place) (*processes, error) {
	host, port, err := net.SplitHostPort(p.dns)
	if err != nil {
		return nil, err
	}
	ours, _, socket := p.address(0)
	if _, err := p.write("suffixes", suffixes); err != nil {
		return nil, err
	}
	level := "error"
	if p.asInstalled {
		level = "info"
	}
	path, err := p.write("rspamd.conf", fmt.Sprintf(rspamdConf, p.dir, socket, host, port, authServID, level))
	if err != nil {
		return nil, err
	}
	return start(ctx, p, []string{ours}, []string{"rspamd", "-f", "-i", "-u", "root", "-g", "root", "-c", path})
}

// processes are the running programs of a station.
type processes struct {
	addresses []string
	commands  []*exec.Cmd
}

// start starts the programs and waits until a milter answers at each address.
func start(ctx context.Context, p place, addresses []string, programs ...[]string) (*processes, error) {
	ps := &processes{addresses: addresses}
	for i, argv := range programs {
		log, err := os.Create(filepath.Join(p.dir, fmt.Sprintf("output%d", i)))
		if err != nil {
			ps.stop()
			return nil, err
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		err = cmd.Start()
		_ = log.Close()
		if err != nil {
			ps.stop()
			return nil, err
		}
		ps.commands = append(ps.commands, cmd)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, a := range addresses {
		if err := ready(ctx, a); err != nil {
			ps.stop()
			output, _ := os.ReadFile(filepath.Join(p.dir, "output0"))
			return nil, fmt.Errorf("%s does not answer: %w\n%s", a, err, output)
		}
	}
	return ps, nil
}

// ready waits until the milter at address answers a negotiation.
func ready(ctx context.Context, address string) error {
	t, err := load.ParseTarget(ctx, address, false)
	if err != nil {
		return err
	}
	for {
		err := load.Probe(t, startTimeout)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (ps *processes) pids() []int {
	var out []int
	for _, c := range ps.commands {
		out = append(out, c.Process.Pid)
	}
	return out
}

// stop ends the programs and waits until they have ended.
func (ps *processes) stop() {
	for _, c := range ps.commands {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range ps.commands {
		t := time.AfterFunc(stopTimeout, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		t.Stop()
	}
}

// command runs a program. If the program fails, the error contains its output.
func command(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
	}
	return nil
}
