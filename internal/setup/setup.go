// Package setup works out what Postfix or Sendmail on this host needs so that it asks the daemon
// about every message, and writes it. [PlanPostfix] and [PlanSendmail] are pure: they take what was
// read from the host and return a [Plan]. [Host] reads the host, and writes a plan with a backup.
package setup

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
)

// Plan is what has to change on a host.
type Plan struct {
	MTA string // "postfix" or "sendmail"
	// Instance is the configuration directory of one of several instances of Postfix, or "" for the
	// default one.
	Instance string
	Facts    []string // what was found
	// Daemon comes first: the changes of the daemon's files, and the commands that bring them into
	// effect. The MTA is changed only after the daemon answers at Endpoint.
	Daemon, Mail Stage
	Endpoint     Endpoint
	Listens      bool   // the daemon listens at Endpoint before anything is changed
	Group        string // the group in which the MTA opens the socket; "" if it opens it as root
	// Problems says what the configuration has that this package does not understand, or that
	// keeps the daemon from seeing mail. A plan with a problem is not written.
	Problems []string
	Notes    []string // what the operator should know
	// Offline says why the daemon cannot answer on this host now, and what to do; "" if it can. Such a
	// plan can be written only without running its commands.
	Offline string
}

// Stage is a part of a plan.
type Stage struct {
	Changes []Change
	Runs    [][]string // commands to run after the changes
	// ByHand says that the commands are left to the operator.
	ByHand bool
}

// Change is a new content for a file.
type Change struct {
	Path   string
	Before []byte // nil if there is no file
	After  []byte
	Why    string
}

// Done reports whether the host has everything already.
func (p Plan) Done() bool {
	return len(p.Problems) == 0 && len(p.Daemon.Changes) == 0 && len(p.Mail.Changes) == 0
}

func (p *Plan) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

func (p *Plan) fact(format string, args ...any) {
	p.Facts = append(p.Facts, fmt.Sprintf(format, args...))
}

// Daemon is what was read about sekimori on this host.
type Daemon struct {
	Path   string // of the configuration
	Text   []byte
	Config *config.Config
	Units  []Unit // sekimori.socket and its drop-ins, in the order in which systemd reads them
	// DropIns is the directory for the administrator's drop-ins of sekimori.socket.
	DropIns string
	Systemd bool // systemd runs this host
	// Taken has those addresses of listen at which another program answers.
	Taken []Endpoint
	// KeepTrusted says that trusted.networks is to stay as it is.
	KeepTrusted bool
}

// Endpoint is an address at which the daemon listens.
type Endpoint struct {
	Network string // "unix" or "tcp"; "" if there is none
	Address string // a path, or HOST:PORT
}

func (e Endpoint) String() string {
	if e.Network == "unix" {
		return "unix:" + e.Address
	}
	return "inet:" + e.Address
}

// parseEndpoint reads an address in the syntax of Postfix, Sendmail and the configuration.
func parseEndpoint(s string) (Endpoint, bool) {
	network, address, ok := mtaconf.ParseAddress(s)
	switch {
	case !ok:
		return Endpoint{}, false
	case network == "unix":
		return Endpoint{Network: "unix", Address: path.Clean(address)}, true
	}
	return Endpoint{Network: "tcp", Address: reachable(address)}, true
}

// reachable returns the address at which a program on this host connects to a listener on
// hostPort. Different names of the loopback address become the same one.
func reachable(hostPort string) string {
	at := strings.LastIndexByte(hostPort, ':')
	if at < 0 {
		return "127.0.0.1:" + hostPort // systemd's ListenStream= may be a port alone
	}
	host, port := strings.Trim(hostPort[:at], "[]"), hostPort[at+1:]
	addr, _ := netip.ParseAddr(host) // a name has the zero Addr, for which all questions below are answered by no
	switch {
	case host == "", host == "*", strings.EqualFold(host, "localhost"), addr.Is4() && addr.IsUnspecified():
		return "127.0.0.1:" + port
	case addr.IsUnspecified():
		return "[::1]:" + port
	case addr.Is6():
		return "[" + addr.String() + "]:" + port
	}
	return strings.ToLower(host) + ":" + port
}

// listeners returns the addresses at which the daemon listens now, and whether its configuration
// takes them from systemd.
func (d Daemon) listeners() (all []Endpoint, systemd bool) {
	for _, l := range d.Config.Listen {
		if strings.HasPrefix(l.Address, "systemd:") {
			systemd = true
			for _, stream := range readUnits(d.Units).streams {
				all = append(all, streamEndpoint(stream))
			}
			continue
		}
		if e, ok := parseEndpoint(l.Address); ok {
			all = append(all, e)
		}
	}
	return all, systemd
}

// offline says that the daemon's socket comes from systemd, which does not run here.
func (p *Plan) offline(d Daemon) {
	p.Offline = "the daemon gets its socket from systemd, which does not run here; in an image give --no-run; on a host " +
		"without systemd write listen: [\"inet:127.0.0.1:8891\"] into " + d.Path + " and start \"sekimori serve\" first (install.md, \"Without systemd\")"
	p.note("%s", p.Offline)
}

// taken adds a problem if another program has an address of the daemon. Then every other finding
// would be about that program.
func (p *Plan) taken(d Daemon) bool {
	for _, e := range d.Taken {
		p.problem("%s: %s", d.Path, taken(e))
	}
	return len(d.Taken) > 0
}

// within reports whether a path lies below a directory.
func within(dir, file string) bool {
	return strings.HasPrefix(path.Clean(file), strings.TrimSuffix(path.Clean(dir), "/")+"/")
}

// pick returns the first listener for which f reports true.
func pick(all []Endpoint, f func(Endpoint) bool) (Endpoint, bool) {
	at := slices.IndexFunc(all, f)
	if at < 0 {
		return Endpoint{}, false
	}
	return all[at], true
}
