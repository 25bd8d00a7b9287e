package setup

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sekimori/internal/milter/sockets"
	"sekimori/internal/mtaconf"
)

// Postfix is what was read about an instance of Postfix.
type Postfix struct {
	ConfigDir string           // the directory of main.cf
	Default   bool             // the instance that Postfix's commands use without -c
	Main      []byte           // main.cf
	Conf      *mtaconf.Postfix // what postconf says
	Group     string           // the only group of a running smtpd
	Running   bool
	Silent    []string // addresses of other milters on this host at which no program listens
}

// public reports whether the service takes mail from the Internet: on port 25, or from postscreen.
func public(s *mtaconf.Service) bool {
	name := s.Name[strings.LastIndexByte(s.Name, ':')+1:]
	return s.Type == "pass" || s.Type == "inet" && (name == "smtp" || name == "25") && !local(s)
}

// local reports whether the service listens on a loopback address. The service that takes mail back
// from a content filter does so.
func local(s *mtaconf.Service) bool {
	host := strings.Trim(s.Name[:max(strings.LastIndexByte(s.Name, ':'), 0)], "[]")
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

var setsNetworks = regexp.MustCompile(`(?m)^mynetworks[ \t]*=`)

// version is the version of Postfix, or a compatibility level.
type version struct{ major, minor int }

func parseVersion(s string) version {
	major, rest, _ := strings.Cut(s, ".")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "-") // 3.12-20260801
	var v version
	v.major, _ = strconv.Atoi(major) // what is not a number counts as 0, the oldest
	v.minor, _ = strconv.Atoi(minor)
	return v
}

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// PlanPostfix returns what has to change so that the instance p of Postfix asks the daemon d.
func PlanPostfix(p Postfix, d Daemon) Plan {
	plan := Plan{MTA: "postfix", Group: p.Group}
	if !p.Default {
		plan.Instance = p.ConfigDir
	}
	chroot := slices.ContainsFunc(p.Conf.SMTPD(), p.Conf.Chrooted)
	release := p.Conf.Params["mail_version"]
	plan.fact("Postfix %s in %s; its smtpd connects in group %s%s", release, p.ConfigDir, p.Group, chrootFact(chroot, p.queue()))
	if !parseVersion(release).atLeast(3, 0) {
		plan.problem("Postfix %s is older than 3.0, which first has settings for one milter; "+
			"write smtpd_milters and milter_default_action by hand", release)
	}
	if plan.taken(d) {
		return plan
	}
	plan.checkServices(p)
	plan.choose(p, d, chroot)
	plan.configure(p, d)
	if plan.Endpoint.Network != "" {
		plan.milters(p, d)
	}
	plan.runs(p, d)
	return plan
}

func chrootFact(chroot bool, queue string) string {
	if !chroot {
		return " and is not chrooted"
	}
	return " and is chrooted to " + queue
}

func (p Postfix) queue() string { return path.Clean(p.Conf.Params["queue_directory"]) }

// checkServices looks for services that would not show their mail to a milter of main.cf.
func (plan *Plan) checkServices(p Postfix) {
	found := 0
	for _, s := range p.Conf.SMTPD() {
		if !public(s) {
			continue
		}
		found++
		where := fmt.Sprintf("%s/%s in %s", s.Name, s.Type, path.Join(p.ConfigDir, "master.cf"))
		if own, ok := s.Options["smtpd_milters"]; ok {
			plan.problem("%s has its own smtpd_milters (%q), so the line in main.cf does not reach it; "+
				"remove that -o, or add the milter there by hand", where, own)
		}
		if filter := p.Conf.Value(s, "smtpd_proxy_filter"); filter != "" {
			plan.problem("%s uses smtpd_proxy_filter=%s, and then Postfix shows a milter no message; "+
				"use a content_filter, which runs after the milters", where, filter)
		}
		if strings.Contains(p.Conf.Value(s, "receive_override_options"), "no_milters") {
			plan.problem("%s has receive_override_options with no_milters, which turns the milters off; remove that word", where)
		}
	}
	if found == 0 {
		plan.problem("%s has no smtpd on port 25 and none behind postscreen, so no service takes mail from the Internet",
			path.Join(p.ConfigDir, "master.cf"))
	}
}

// choose finds the address at which the smtpd services reach the daemon. It adds a drop-in for
// sekimori.socket where they reach none.
func (plan *Plan) choose(p Postfix, d Daemon, chroot bool) {
	listeners, systemd := d.listeners()
	isUnix := func(e Endpoint) bool { return e.Network == "unix" }
	visible := func(e Endpoint) bool { return isUnix(e) && (!chroot || within(p.queue(), e.Address)) }
	unix, found := pick(listeners, visible)
	tcp, overTCP := pick(listeners, func(e Endpoint) bool { return !isUnix(e) })
	switch {
	case systemd && len(d.Units) == 0:
		plan.problem("%s listens on a socket of systemd, and no sekimori.socket is installed", d.Path)
	case systemd && (found || !overTCP):
		plan.systemdSocket(p, d, unix, found)
	case found:
		plan.Endpoint, plan.Listens = unix, true
		plan.checkGroup(p, d, unix)
	case overTCP:
		plan.Endpoint, plan.Listens = tcp, true
	default:
		plan.problem("smtpd is chrooted to %s and sees no socket of the daemon; "+
			"write listen: [\"inet:127.0.0.1:8891\"] into %s and restart the daemon", p.queue(), d.Path)
	}
}

// systemdSocket uses a socket of sekimori.socket. If found is true, smtpd sees the socket at the
// address "seen". Otherwise systemdSocket adds a socket in the queue directory.
func (plan *Plan) systemdSocket(p Postfix, d Daemon, seen Endpoint, found bool) {
	s := readUnits(d.Units)
	plan.Endpoint, plan.Listens = seen, found
	added, group := "", ""
	if !found {
		added = path.Join(p.queue(), "sekimori", "milter.sock")
		plan.Endpoint = Endpoint{Network: "unix", Address: added}
	}
	if added != "" && !s.open("") {
		group = p.Group // also if the drop-in of another instance has it, which may be removed first
	}
	if !s.open(p.Group) {
		group, plan.Listens = p.Group, false
		if s.group != p.Group && within(d.DropIns, s.groupFrom) {
			plan.problem("%s gives the sockets to group %s, and smtpd is in group %s alone; one of them has to go", s.groupFrom, s.group, p.Group)
		}
		if s.group = p.Group; !s.open(p.Group) {
			plan.problem("SocketMode=%s of sekimori.socket keeps group %s, in which smtpd is, from the sockets; write SocketMode=0660", s.mode, p.Group)
		}
	}
	if added == "" && group == "" {
		return
	}
	file := path.Join(d.DropIns, p.instance()+".conf")
	if slices.ContainsFunc(d.Units, func(u Unit) bool { return u.Path == file }) {
		plan.problem("%s exists and does not do what smtpd needs; add to it, or move it away:\n%s", file, dropIn(added, group))
		return
	}
	c := Change{Path: file, After: dropIn(added, group), Why: "a socket that smtpd sees and may open"}
	plan.Daemon.Changes = append(plan.Daemon.Changes, c)
}

// instance returns a name for the drop-in of this instance.
func (p Postfix) instance() string {
	switch {
	case p.Default:
		return "postfix"
	case p.Conf.Params["multi_instance_name"] != "":
		return p.Conf.Params["multi_instance_name"]
	}
	return path.Base(p.ConfigDir)
}

// checkGroup looks whether smtpd may open a socket that the daemon makes itself.
func (plan *Plan) checkGroup(p Postfix, d Daemon, e Endpoint) {
	for _, l := range d.Config.Listen {
		if at, _ := parseEndpoint(l.Address); at != e {
			continue
		}
		if !opens(cmp.Or(fs.FileMode(l.Mode), sockets.DefaultMode), string(l.Group) == p.Group) {
			plan.problem("group %s, in which smtpd is, may not open the socket %s; "+
				"write listen: [{address: %q, group: %s}] into %s and restart the daemon", p.Group, e.Address, l.Address, p.Group, d.Path)
		}
	}
}

// configure adds the name and the networks of the MTA to the daemon's configuration.
func (plan *Plan) configure(p Postfix, d Daemon) {
	id, name := "", p.Conf.Params["myhostname"]
	switch {
	case !strings.Contains(name, "."), strings.HasSuffix(name, ".localdomain"):
		plan.note("myhostname is %q, which is not a full name; set it in main.cf to the name of the MX record, such as mx.example.jp", name)
	case d.Config.AuthservID == "":
		id = name
	case !strings.EqualFold(d.Config.AuthservID, name) && !slices.Contains(d.Config.AuthservIDAlso, name):
		plan.note("authserv_id is %s and myhostname is %s; that is right if several hosts share the name", d.Config.AuthservID, name)
	}
	networks, strange := networksOf(p.Conf.Params["mynetworks"])
	add := missing(networks, d.Config.Trusted.Networks)
	if d.KeepTrusted {
		add, strange = nil, nil
	}
	if len(strange) > 0 {
		plan.problem("mynetworks has %s, which trusted.networks cannot say; write the networks whose mail is not to be evaluated "+
			"into %s by hand, and give --keep-trusted", strings.Join(strange, " "), d.Path)
	}
	if len(add) > 0 && !setsNetworks.Match(p.Main) {
		plan.note("main.cf does not set mynetworks, so Postfix takes the networks from the interfaces; look whether all of them are yours")
	}
	if id == "" && len(add) == 0 {
		return
	}
	after, err := configure(d, id, add)
	if err != nil {
		plan.problem("%s %v; write by hand:%s", d.Path, err, configLines(id, add))
		return
	}
	plan.Daemon.Changes = append(plan.Daemon.Changes, Change{Path: d.Path, Before: d.Text, After: after,
		Why: "the results carry the MTA's name (myhostname); mail of mynetworks is not evaluated"})
}

// milters puts the daemon first in smtpd_milters.
func (plan *Plan) milters(p Postfix, d Daemon) {
	file, queue := path.Join(p.ConfigDir, "main.cf"), p.queue()
	ours, _ := d.listeners()
	ours = append(ours, plan.Endpoint) // which may be new
	value, v := p.Conf.Set["smtpd_milters"], parseVersion(p.Conf.Params["mail_version"])
	merged, others, err := mergeMilters(value, plan.Endpoint.postfix(queue), queue, ours, v)
	if err != nil {
		plan.problem("smtpd_milters in %s is not understood: %v", file, err)
		return
	}
	plan.others(p, ours)
	if merged == value {
		return
	}
	after, err := setParameter(p.Main, "smtpd_milters", merged)
	if err != nil {
		plan.problem("%s is not understood: %v", file, err)
		return
	}
	why := "smtpd shows every message to the daemon, and says \"try again later\" if it does not answer"
	if len(others) > 0 {
		names := make([]string, 0, len(others))
		for _, m := range others {
			names = append(names, m.Written)
		}
		why += before(names)
	}
	plan.Mail.Changes = append(plan.Mail.Changes, Change{Path: file, Before: p.Main, After: after, Why: why})
}

// others notes what the operator should know about the milters that stay.
func (plan *Plan) others(p Postfix, ours []Endpoint) {
	if countOurs(p.Conf.Params["smtpd_milters"], p.queue(), ours) > countOurs(p.Conf.Set["smtpd_milters"], p.queue(), ours) {
		plan.problem("smtpd_milters (%q) names the daemon by way of another parameter; take it out of that parameter, or set the line by hand",
			p.Conf.Set["smtpd_milters"])
	}
	for _, silent := range p.Silent {
		if e, ok := parseEndpoint(silent); ok && !slices.Contains(ours, e) {
			plan.note("smtpd_milters names %s, and no program listens there; unless that milter has default_action=accept, "+
				"every client is told to try again later", silent)
		}
	}
}

// before says why the daemon comes before the other milters.
func before(others []string) string {
	return ".\n  The daemon comes before " + strings.Join(others, ", ") + ", because a milter before it that changes a message\n" +
		"  breaks the signatures"
}

// postfix returns the address as smtpd_milters names it. A path in the queue directory is relative
// to it, which is right with and without the chroot.
func (e Endpoint) postfix(queue string) string {
	e.Address = strings.TrimPrefix(e.Address, queue+"/")
	return e.String()
}

// runs says which commands bring the changes into effect.
func (plan *Plan) runs(p Postfix, d Daemon) {
	_, socket := d.listeners()
	switch {
	case socket && !d.Systemd:
		plan.offline(d)
	case len(plan.Daemon.Changes) == 0:
	case slices.ContainsFunc(plan.Daemon.Changes, func(c Change) bool { return within(d.DropIns, c.Path) }):
		plan.Daemon.Runs = [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "restart", "sekimori.socket", "sekimori.service"}}
	case socket:
		plan.Daemon.Runs = [][]string{{"systemctl", "reload", "sekimori.service"}}
	default:
		plan.Daemon.Runs = [][]string{{"sekimori", "reload", "--config", d.Path}}
	}
	if len(plan.Mail.Changes) == 0 {
		return
	}
	reload := []string{"postfix", "reload"}
	if !p.Default {
		reload = []string{"postfix", "-c", p.ConfigDir, "reload"}
	}
	if p.Running {
		plan.Mail.Runs = [][]string{reload}
	} else {
		plan.note("Postfix does not run; start it with \"postfix start\" or by its unit")
	}
}
