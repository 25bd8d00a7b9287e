package deploy

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/configs"
	"sekimori/internal/config"
)

const (
	serviceUnit = "systemd/sekimori.service"
	socketUnit  = "systemd/sekimori.socket"
	// installed is the path of the program in the units.
	installed = "/usr/bin/sekimori"
)

// unitFiles are the units of this directory and the drop-in files for them.
var unitFiles = []string{
	serviceUnit, "systemd/sekimori.service.d/loopback.conf",
	socketUnit, "systemd/sekimori.socket.d/postfix.conf",
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
		"as shipped":    {serviceUnit, socketUnit, "systemd/sekimori-held.service", "systemd/sekimori-held.timer"},
		"with drop-ins": unitFiles,
	} {
		t.Run(name, func(t *testing.T) {
			dir := installUnits(t, files...)
			stdout, stderr := run(t, dir, "systemd-analyze", "verify", "--man=no", "./sekimori.service", "./sekimori.socket",
				"./sekimori-held.service", "./sekimori-held.timer")
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

// TestReadmeNamesTheSockets checks that README names the right sockets: those of the units for the
// package, and that of the example configuration for an installation from source.
func TestReadmeNamesTheSockets(t *testing.T) {
	readme := readFile(t, "../README.md")
	section := func(title string) string {
		_, rest, ok := strings.Cut(readme, "\n## "+title+"\n")
		if !ok {
			t.Fatalf("README has no %q", title)
		}
		text, _, _ := strings.Cut(rest, "\n## ")
		return text
	}
	const queueDirectory, examples = "/var/spool/postfix/", "/usr/share/doc/sekimori/examples/"
	const dropIn = "systemd/sekimori.socket.d/postfix.conf"
	listen := func(text []byte) string {
		c, err := config.Parse("configuration", text)
		if err != nil || len(c.Listen) != 1 {
			t.Fatalf("listen: %v, %v", c, err)
		}
		return c.Listen[0].Address
	}
	socket, source := strings.Join(setting(readFile(t, socketUnit), "ListenStream"), " "), listen(configs.Example)
	inChroot, ok := strings.CutPrefix(strings.Join(setting(readFile(t, dropIn), "ListenStream"), " "), queueDirectory)
	if got, want := listen([]byte(readFile(t, "packages/sekimori.yaml"))),
		"systemd:"+strings.Join(setting(readFile(t, socketUnit), "FileDescriptorName"), " "); got != want || !ok {
		t.Errorf("the package listens on %s, its unit passes %s; Postfix in its chroot sees the drop-in's socket: %v", got, want, ok)
	}

	postfix := section("Postfix in five minutes")
	byPackage, fromSource, ok := strings.Cut(postfix, "From source")
	if !ok || !strings.Contains(byPackage, "install -D -m 644 "+examples+dropIn+" /etc/systemd/system/sekimori.socket.d/postfix.conf\n") {
		t.Error("README does not install the drop-in before it goes on from source")
	}
	if !strings.Contains(readFile(t, "packages/nfpm.yaml"), "src: deploy/"+filepath.Dir(dropIn)+"/, dst: "+examples+filepath.Dir(dropIn)+"/") {
		t.Error("the package has no such drop-in")
	}
	milters := regexp.MustCompile(`smtpd_milters=(\S+)`)
	for text, want := range map[string]string{byPackage: "unix:" + inChroot, fromSource: source} {
		for _, m := range milters.FindAllStringSubmatch(text, -1) {
			if m[1] != want {
				t.Errorf("README has Postfix ask %s, where %s is there", m[1], want)
			}
		}
		if !strings.Contains(text, "postconf -e smtpd_milters="+want+" milter_default_action=tempfail\n") {
			t.Errorf("README does not tell Postfix %s", want)
		}
	}

	host, port, err := net.SplitHostPort(strings.TrimPrefix(source, "inet:"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile("`S=([^,]+),").FindAllStringSubmatch(section("Sendmail in five minutes"), -1) {
		got = append(got, m[1])
	}
	if want := []string{"unix:" + socket, "inet:" + port + "@" + host}; !slices.Equal(got, want) {
		t.Errorf("README has Sendmail ask %s, where %s are there", got, want)
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
