package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/configs"
	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
	"sekimori/internal/setup"
)

const (
	serviceUnit = "systemd/sekimori.service"
	socketUnit  = "systemd/sekimori.socket"
	bounceUnit  = "systemd/sekimori-bounces.socket"
	// installed is the path of the program in the units.
	installed = "/usr/bin/sekimori"
)

// unitFiles are the units of this directory and the drop-in files for them.
var unitFiles = []string{
	serviceUnit, "systemd/sekimori.service.d/loopback.conf", "systemd/sekimori.service.d/postgresql.conf",
	socketUnit, "systemd/sekimori.socket.d/postfix.conf",
	bounceUnit, "systemd/sekimori-bounces.socket.d/postfix.conf",
	"systemd/sekimori-held.service", "systemd/sekimori-held.timer",
}

// installUnits copies units into a new directory. It replaces the path of the program with that of
// a program that exists on every system.
func installUnits(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		unit := strings.ReplaceAll(readFile(t, name), installed, "/bin/true")
		rel, err := filepath.Rel("systemd", name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, rel), unit, 0o644)
	}
	return dir
}

// TestSystemdKnowsEveryKey checks the keys in the units. systemd only warns about an unknown key,
// so a misspelt protection would be missing.
func TestSystemdKnowsEveryKey(t *testing.T) {
	need(t, "systemd-analyze", "systemd")
	for name, files := range map[string][]string{
		"as shipped":    {serviceUnit, socketUnit, bounceUnit, "systemd/sekimori-held.service", "systemd/sekimori-held.timer"},
		"with drop-ins": unitFiles,
	} {
		t.Run(name, func(t *testing.T) {
			dir := installUnits(t, files...)
			stdout, stderr := run(t, dir, "systemd-analyze", "verify", "--man=no", "./sekimori.service", "./sekimori.socket",
				"./sekimori-bounces.socket", "./sekimori-held.service", "./sekimori-held.timer")
			for _, line := range strings.Split(stdout+stderr, "\n") {
				if strings.Contains(line, "sekimori") { // other lines are about units of this machine
					t.Error(line)
				}
			}
		})
	}
}

func TestUnitIsHardened(t *testing.T) {
	need(t, "systemd-analyze", "systemd")
	const worst = "15" // the highest exposure level that the unit may have: 15 tenths, or 1.5
	dir := installUnits(t, serviceUnit)
	stdout, _ := run(t, dir, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+worst, "./sekimori.service")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "exposure level for sekimori.service") {
		t.Errorf("no exposure level in %q", last)
	}
}

func TestUnitAgreesWithDaemon(t *testing.T) {
	service, socket := readFile(t, serviceUnit), readFile(t, socketUnit)
	defaults := config.Default()

	stop, err := strconv.Atoi(strings.Join(setting(service, "TimeoutStopSec"), ""))
	if err != nil {
		t.Fatal(err)
	}
	if drain := time.Duration(defaults.DrainTimeout); time.Duration(stop)*time.Second <= drain {
		t.Errorf("systemd kills after %d s what may drain for %v", stop, drain)
	}
	// Each of these two keys would remove the socket while the MTA uses it; the comments in the
	// unit explain why.
	if got := setting(service, "RuntimeDirectory"); len(got) > 0 {
		t.Errorf("RuntimeDirectory=%s removes the socket of sekimori.socket", got)
	}
	if got := setting(service, "StartLimitIntervalSec"); !slices.Equal(got, []string{"0"}) {
		t.Errorf("StartLimitIntervalSec=%s: a daemon given up takes its socket down", got)
	}
	if got := setting(socket, "FileDescriptorName"); !slices.Equal(got, []string{"milter"}) {
		t.Errorf("FileDescriptorName=%s, the documented listen key is systemd:milter", got)
	}
	for _, text := range []string{socket, readFile(t, "postfix/main.cf")} {
		if !strings.Contains(text, `listen: ["systemd:milter"]`) {
			t.Error("the configuration that goes with the socket unit is not told")
		}
	}
}

// TestBounceSocket checks that the daemon gets the socket for bounces under the name that the
// documentation gives, and that Postfix finds it where the drop-in's comment says.
func TestBounceSocket(t *testing.T) {
	socket, dropIn := readFile(t, bounceUnit), readFile(t, "systemd/sekimori-bounces.socket.d/postfix.conf")
	for key, want := range map[string]string{"FileDescriptorName": "bounces", "Service": "sekimori.service", "SocketMode": "0660"} {
		if got := setting(socket, key); !slices.Equal(got, []string{want}) {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	path, ok := strings.CutPrefix(strings.Join(setting(dropIn, "ListenStream"), ""), "/var/spool/postfix/")
	if transport := "lmtp:unix:" + path; !ok || !strings.Contains(dropIn, transport) {
		t.Errorf("the line of transport_maps does not name %s", transport)
	}
	if !strings.Contains(socket, `bounces: "systemd:bounces"`) {
		t.Error("the configuration that goes with the unit is not told")
	}
	service := readFile(t, serviceUnit)
	if !slices.Contains(setting(service, "After"), "sekimori-bounces.socket") {
		t.Error("the daemon may start before its socket")
	}
	if got := setting(service, "Requires"); !slices.Equal(got, []string{"sekimori.socket"}) {
		t.Errorf("Requires=%s would start the socket for bounces on every host", got)
	}
}

func TestSocketIsWhereTheMTALooks(t *testing.T) {
	const queueDirectory = "/var/spool/postfix/"
	dropIn := readFile(t, "systemd/sekimori.socket.d/postfix.conf")
	path := strings.TrimPrefix(strings.Join(setting(dropIn, "ListenStream"), ""), queueDirectory)
	if milter := "smtpd_milters = unix:" + path; !strings.Contains(readFile(t, "postfix/main.cf"), "\n"+milter+"\n") {
		t.Errorf("main.cf lacks %q", milter)
	}
	path = strings.Join(setting(readFile(t, socketUnit), "ListenStream"), "")
	if !strings.Contains(readFile(t, "sendmail/sekimori.mc"), "`S=unix:"+path+",") {
		t.Errorf("sekimori.mc does not name %s", path)
	}
}

// TestSetupNamesTheSockets checks that "sekimori setup" leads Postfix and Sendmail to the sockets that
// the package and the example configuration open, and that it writes what the files of this
// directory say. TestRoad of internal/dist shows that README's lines lead to a label.
func TestSetupNamesTheSockets(t *testing.T) {
	daemon := func(yaml []byte, units ...setup.Unit) setup.Daemon {
		c, err := config.Parse("configuration", yaml)
		if err != nil {
			t.Fatal(err)
		}
		return setup.Daemon{Path: "sekimori.yaml", Text: yaml, Config: c, Units: units, DropIns: "/etc/systemd/system/sekimori.socket.d"}
	}
	unit := setup.Unit{Path: "/usr/lib/systemd/system/sekimori.socket", Text: []byte(readFile(t, socketUnit))}
	dropIn := setup.Unit{Path: "/etc/systemd/system/sekimori.socket.d/postfix.conf", Text: []byte(readFile(t, "systemd/sekimori.socket.d/postfix.conf"))}
	packaged, source := []byte(readFile(t, "packages/sekimori.yaml")), configs.Example
	_, milters, _ := strings.Cut(readFile(t, "postfix/main.cf"), "\nsmtpd_milters = ")
	milters, _, _ = strings.Cut(milters, "\n")
	for _, tt := range []struct {
		name, postfix, sendmail string
		daemon                  setup.Daemon
		daemonChanges           int
	}{
		{"package", milters, "unix:/run/sekimori/milter.sock", daemon(packaged, unit), 2},
		{"package with the drop-in", milters, "unix:/run/sekimori/milter.sock", daemon(packaged, unit, dropIn), 1},
		{"source", "inet:127.0.0.1:8891", "inet:8891@127.0.0.1", daemon(source), 1},
	} {
		conf := mtaconf.ParsePostfix("mail_version = 3.7.11\nqueue_directory = /var/spool/postfix\nmyhostname = mx.example.jp\n", "",
			"smtp inet n - y - - smtpd\n", "")
		postfix := setup.Postfix{ConfigDir: "/etc/postfix", Default: true, Conf: conf, Group: "postfix"}
		plan := setup.PlanPostfix(postfix, tt.daemon)
		if len(plan.Problems) > 0 || len(plan.Daemon.Changes) != tt.daemonChanges || len(plan.Mail.Changes) != 1 ||
			!strings.HasPrefix(string(plan.Mail.Changes[0].After), "smtpd_milters = { "+tt.postfix+", ") {
			t.Errorf("%s: Postfix is not led to %s:\n%s", tt.name, tt.postfix, plan)
		}
		line := "INPUT_MAIL_FILTER(`sekimori', `S=" + tt.sendmail + ", F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\n"
		plan = setup.PlanSendmail(setup.Sendmail{Path: "sendmail.mc", Text: []byte("MAILER(`smtp')dnl\n")}, tt.daemon)
		if len(plan.Mail.Changes) != 1 || string(plan.Mail.Changes[0].After) != line+"MAILER(`smtp')dnl\n" {
			t.Errorf("%s: Sendmail is not led to %s:\n%s", tt.name, tt.sendmail, plan)
		}
		if strings.HasPrefix(tt.sendmail, "unix:") && !strings.Contains(readFile(t, "sendmail/sekimori.mc"), "\n"+line) {
			t.Errorf("sekimori.mc lacks %q", line)
		}
	}
}

func TestUserIsMade(t *testing.T) {
	need(t, "systemd-sysusers", "systemd")
	service := readFile(t, serviceUnit)
	root := t.TempDir()
	file := filepath.Join(root, "sysusers.conf")
	writeFile(t, file, readFile(t, "systemd/sysusers.conf"), 0o644)
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, root, "systemd-sysusers", "--root="+root, file)
	for db, key := range map[string]string{"passwd": "User", "group": "Group"} {
		name := strings.Join(setting(service, key), "")
		if got := "\n" + readFile(t, filepath.Join(root, "etc", db)); !strings.Contains(got, "\n"+name+":") {
			t.Errorf("%s=%s is not made: %q", key, name, got)
		}
	}
}
