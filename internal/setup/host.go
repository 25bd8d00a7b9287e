package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/mtaconf"
)

// dialTimeout is the longest time for an answer of a milter on this host.
const dialTimeout = time.Second

// Host is the host that is set up. Its fields are the places where a host keeps its files;
// [ThisHost] returns those of Linux.
type Host struct {
	UnitDirs []string // where systemd looks for units, the most important first
	Booted   string   // this file exists if systemd runs the host
	State    string   // a directory of the administrator, for the backups
	Self     string   // this program
}

// ThisHost returns the host on which the program runs.
func ThisHost() Host {
	self, _ := os.Executable() // "" in a chroot without /proc; the program is then found in PATH
	return Host{
		UnitDirs: []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
			"/usr/lib/systemd/system", "/lib/systemd/system"},
		Booted: "/run/systemd/system",
		State:  "/etc/sekimori/setup",
		Self:   cmp.Or(self, "sekimori"),
	}
}

// ReadDaemon reads the daemon's configuration and the units of its socket. If ask is true, it also
// asks which program listens at the daemon's addresses.
func (h Host) ReadDaemon(ctx context.Context, path string, ask bool) (Daemon, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return Daemon{}, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Daemon{}, fmt.Errorf("setup: %w", err)
	}
	d := Daemon{Path: path, Text: text, Config: cfg, DropIns: filepath.Join(h.UnitDirs[0], "sekimori.socket.d")}
	if _, err := os.Stat(h.Booted); err == nil {
		d.Systemd = true
	}
	if d.Units, err = h.units(); err != nil {
		return d, err
	}
	if ask {
		d.Taken = d.taken(ctx)
	}
	return d, nil
}

// taken returns those addresses at which the daemon should listen, but another program answers. While
// it does, the daemon cannot start.
func (d Daemon) taken(ctx context.Context) []Endpoint {
	all, _ := d.listeners()
	return slices.DeleteFunc(all, func(e Endpoint) bool {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return !errors.Is(client.Ask(ctx, e.Network, e.Address), client.ErrAnother)
	})
}

// units reads sekimori.socket and its drop-ins. In each list, a file of a more important directory
// hides files of the same name.
func (h Host) units() ([]Unit, error) {
	var all []Unit
	for _, dir := range h.UnitDirs {
		text, err := os.ReadFile(filepath.Join(dir, "sekimori.socket"))
		if err == nil {
			all = append(all, Unit{Path: filepath.Join(dir, "sekimori.socket"), Text: text})
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("setup: %w", err)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	names := map[string]string{} // the file of each drop-in
	for _, dir := range slices.Backward(h.UnitDirs) {
		found, err := filepath.Glob(filepath.Join(dir, "sekimori.socket.d", "*.conf"))
		if err != nil {
			return nil, fmt.Errorf("setup: %w", err)
		}
		for _, file := range found {
			names[filepath.Base(file)] = file
		}
	}
	order := make([]string, 0, len(names))
	for name := range names {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		text, err := os.ReadFile(names[name])
		if err != nil {
			return nil, fmt.Errorf("setup: %w", err)
		}
		all = append(all, Unit{Path: names[name], Text: text})
	}
	return all, nil
}

// ReadPostfix asks postconf about an instance of Postfix. dir is the directory of its main.cf, or ""
// for the default instance.
func (h Host) ReadPostfix(ctx context.Context, dir string) (Postfix, error) {
	conf, err := mtaconf.ReadPostfix(ctx, dir)
	if err != nil {
		return Postfix{}, err
	}
	p := Postfix{Default: dir == "", Conf: conf}
	p.ConfigDir = conf.Params["config_directory"]
	if p.Main, err = os.ReadFile(filepath.Join(p.ConfigDir, "main.cf")); err != nil {
		return p, fmt.Errorf("setup: %w", err)
	}
	if p.Group, err = groupOf(conf.Params["mail_owner"]); err != nil {
		return p, err
	}
	p.Running = mtaconf.Runs(conf.Params["queue_directory"])
	p.Silent = silent(ctx, conf.Params["smtpd_milters"])
	return p, nil
}

// groupOf returns the name of a user's own group. smtpd drops every other group of the user.
func groupOf(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", fmt.Errorf("setup: mail_owner: %w", err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", fmt.Errorf("setup: the group of %s: %w", name, err)
	}
	return g.Name, nil
}

// silent returns the TCP addresses in a list of milters that belong to this host, but at which no
// program listens.
func silent(ctx context.Context, value string) []string {
	milters, err := mtaconf.Milters(value)
	if err != nil {
		return nil // the plan reports it
	}
	var out []string
	for _, m := range milters {
		e, _ := parseEndpoint(m.Written) // without a network if it is no address
		if e.Network != "tcp" || !strings.HasPrefix(e.Address, "127.") && !strings.HasPrefix(e.Address, "[::1]:") {
			continue
		}
		c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", e.Address)
		if err != nil {
			out = append(out, m.Written)
			continue
		}
		c.Close()
	}
	return out
}

// ReadSendmail reads the file from which sendmail.cf is built.
func (h Host) ReadSendmail(path string) (Sendmail, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Sendmail{}, fmt.Errorf("setup: %w; is Sendmail this host's MTA? (Postfix: sekimori setup postfix); if it is, name the file from which sendmail.cf is built with --mc", err)
	}
	return Sendmail{Path: path, Text: text}, nil
}
