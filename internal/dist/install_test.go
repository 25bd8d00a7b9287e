package dist

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/nameserver"
)

// need skips the test if a program is missing or the test does not run as root.
// In CI it fails the test instead.
func need(t *testing.T, programs ...string) {
	t.Helper()
	missing := ""
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = "no " + p + " here (apt-get install " + p + ")"
		}
	}
	if os.Geteuid() != 0 {
		missing = "a chroot needs root"
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

// run runs a program in the top directory of the repository and returns its output.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// distEnv is the environment variable for a directory with packages that "make dist" made earlier, so
// that a developer does not wait for them at each run.
const distEnv = "SEKIMORI_DIST"

// build builds the amd64 packages and returns the directory with the files.
func build(t *testing.T, version string) string {
	t.Helper()
	if dir := os.Getenv(distEnv); dir != "" {
		return dir
	}
	dir := filepath.Join(t.TempDir(), "dist")
	run(t, "make", "dist", "ARCHES=amd64", "DIST="+dir, "PACKAGE_VERSION="+version)
	return dir
}

func TestPackages(t *testing.T) {
	need(t, "debootstrap", "dpkg", "rpm", "make", "chroot", "setpriv")
	first, again, next := build(t, "1.0"), build(t, "1.0"), build(t, "1.1")
	if a, b := readFile(t, first, "SHA256SUMS"), readFile(t, again, "SHA256SUMS"); a != b || !strings.Contains(a, ".deb") || !strings.Contains(a, ".rpm") {
		t.Errorf("two builds differ:\n%s\n%s", a, b)
	}
	root := debian(t)
	t.Run("deb", func(t *testing.T) { testDeb(t, root, first, next) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, root, first, next) })
}

// debian installs a small Debian into a new directory and returns that directory.
func debian(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	run(t, "debootstrap", "--variant=minbase", "bookworm", root)
	return root
}

func testDeb(t *testing.T, root, first, next string) {
	dpkg := func(args ...string) { run(t, append([]string{"chroot", root, "dpkg"}, args...)...) }
	calls := fakeSystemctl(t, root)
	dpkg("-i", put(t, root, filepath.Join(first, "sekimori_1.0-1_amd64.deb")))
	// In an image, where systemd does not run, the units must start when the image is booted.
	if got := calls(); got != "enable sekimori.socket sekimori.service\n" {
		t.Errorf("installed in an image, systemctl got %q", got)
	}
	if got := run(t, "chroot", root, "getent", "passwd", "sekimori"); !strings.Contains(got, "/nologin") {
		t.Errorf("the daemon's user: %q", got)
	}
	labelled(t, root, "1.0")

	// The upgrade must keep the operator's changes to the configuration.
	config := filepath.Join(root, "etc/sekimori/sekimori.yaml")
	const mine = "listen: [\"systemd:milter\"]\nauthserv_id: mine.example\nmode: monitor\n"
	if err := os.WriteFile(config, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg("-i", put(t, root, filepath.Join(next, "sekimori_1.1-1_amd64.deb")))
	if got, _ := os.ReadFile(config); string(got) != mine {
		t.Errorf("the upgrade left the configuration as\n%s", got)
	}
	labelled(t, root, "1.1")

	// If the next version does not accept the configuration file, the upgrade must not restart the
	// daemon.
	install := func() string {
		return run(t, "chroot", root, "dpkg", "-i", put(t, root, filepath.Join(next, "sekimori_1.1-1_amd64.deb")))
	}
	upgrades(t, root, install)
	if err := os.WriteFile(config, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}

	// Go back to the older version.
	dpkg("-i", put(t, root, filepath.Join(first, "sekimori_1.0-1_amd64.deb")))
	if got, _ := os.ReadFile(config); string(got) != mine {
		t.Errorf("the downgrade left the configuration as\n%s", got)
	}
	labelled(t, root, "1.0")

	calls = fakeSystemctl(t, root)
	postconf := filepath.Join(root, "usr/bin/postconf")
	asksPort(t, root, postconf, config)
	if err := os.WriteFile(postconf, []byte("#!/bin/sh\necho '{ unix:/run/sekimori/milter.sock, default_action = tempfail }'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	said := run(t, "chroot", root, "dpkg", "--remove", "sekimori")
	_ = os.Remove(postconf)
	if !strings.Contains(said, "smtpd_milters") || !strings.Contains(said, "451") {
		t.Errorf("removed while Postfix asks sekimori:\n%s", said)
	}
	if got := calls(); !strings.Contains(got, "disable sekimori.service") || strings.Contains(got, "--now") {
		t.Errorf("removed in an image, systemctl got %q", got)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/sekimori")); !os.IsNotExist(err) {
		t.Errorf("removed, the program is still there: %v", err)
	}
	if _, err := os.Stat(config); err != nil {
		t.Errorf("removed, the configuration is gone: %v", err)
	}
	dpkg("--purge", "sekimori")
	if left := leftovers(t, root); left != "" {
		t.Errorf("purged, there is still:\n%s", left)
	}
}

// asksPort checks that a removal says that Postfix still asks sekimori where it names a TCP port, and
// that it says nothing of another milter.
func asksPort(t *testing.T, root, postconf, config string) {
	t.Helper()
	kept, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for milter, asks := range map[string]bool{"inet:127.0.0.1:8891": true, "inet:127.0.0.1:8893": false} {
		for path, text := range map[string]string{postconf: "#!/bin/sh\necho '" + milter + "'\n", config: "listen: [\"inet:127.0.0.1:8891\"]\nmode: monitor\n"} {
			if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if said := run(t, "chroot", root, "sh", "/var/lib/dpkg/info/sekimori.prerm", "remove"); strings.Contains(said, "smtpd_milters") != asks {
			t.Errorf("removed while Postfix asks %s:\n%s", milter, said)
		}
	}
	if err := os.WriteFile(config, kept, 0o644); err != nil {
		t.Fatal(err)
	}
}

func testRPM(t *testing.T, root, first, next string) {
	// The Debian in root has no rpm database, so rpm would not find the dependencies of the
	// package. With --nodeps it still runs the package's scripts.
	rpm := func(args ...string) { run(t, append([]string{"rpm", "--root", root, "--nodeps"}, args...)...) }
	rpm("-i", filepath.Join(first, "sekimori-1.0-1.x86_64.rpm"))
	labelled(t, root, "1.0")
	rpm("-U", filepath.Join(next, "sekimori-1.1-1.x86_64.rpm"))
	labelled(t, root, "1.1")
	upgrades(t, root, func() string {
		return run(t, "rpm", "--root", root, "--nodeps", "-U", "--replacepkgs", filepath.Join(next, "sekimori-1.1-1.x86_64.rpm"))
	})
	rpm("-U", "--oldpackage", filepath.Join(first, "sekimori-1.0-1.x86_64.rpm"))
	labelled(t, root, "1.0")
	rpm("-e", "sekimori")
	if left := leftovers(t, root); left != "" {
		t.Errorf("erased, there is still:\n%s", left)
	}
}

// upgrades installs the package three times. With a configuration that states no mode (which an old
// version allowed) or is empty, the daemon must not be restarted, and the output must say what to
// do. With a valid configuration the daemon must be restarted.
func upgrades(t *testing.T, root string, install func() string) {
	t.Helper()
	config := filepath.Join(root, "etc/sekimori/sekimori.yaml")
	kept, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	// If run/systemd/system exists, the scripts of the package assume that systemd is running, and
	// call systemctl.
	for _, dir := range []string{"run/systemd/system", "usr/local/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	calls := fakeSystemctl(t, root)
	defer func() {
		_ = os.RemoveAll(filepath.Join(root, "run/systemd"))
		_ = os.WriteFile(config, kept, 0o644)
	}()
	const old = "listen: [\"systemd:milter\"]\nauthserv_id: mine.example\n"
	for _, tt := range []struct {
		text      string
		restarted bool
	}{{old, false}, {"", false}, {old + "mode: enforce\n", true}} {
		_ = calls()
		if err := os.WriteFile(config, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		said := install()
		asked := calls()
		if got := strings.Contains(asked, "restart sekimori.service"); got != tt.restarted || strings.Contains(asked, "stop") {
			t.Errorf("with the file %q: restarted %v, want %v:\n%s\n%s", tt.text, got, tt.restarted, asked, said)
		}
		for _, want := range []string{"/etc/sekimori/sekimori.yaml:", `add the line "mode: monitor"`, `"mode: enforce"`,
			"NOT restarted", "systemctl restart sekimori"} {
			if strings.Contains(said, want) == tt.restarted {
				t.Errorf("with the file %q: %q is said: %v\n%s", tt.text, want, !tt.restarted, said)
			}
		}
	}
}

// fakeSystemctl puts a program into the chroot that writes down how it is called. The function that
// it returns gives the calls since it was called the last time. The program is gone when the test ends.
func fakeSystemctl(t *testing.T, root string) func() string {
	t.Helper()
	asked, fake := filepath.Join(root, "tmp/systemctl.log"), filepath.Join(root, "usr/bin/systemctl")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho \"$*\" >>/tmp/systemctl.log\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(fake) })
	_ = os.Remove(asked)
	return func() string {
		text, _ := os.ReadFile(asked)
		_ = os.Remove(asked)
		return string(text)
	}
}

// leftovers lists those files of the package that still exist.
func leftovers(t *testing.T, root string) string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"usr/bin/sekimori*", "etc/sekimori/sekimori.yaml", "usr/lib/systemd/system/sekimori*", "usr/lib/sysusers.d/sekimori*",
		"usr/share/man/man?/sekimori*", "usr/share/doc/sekimori/*", "usr/share/*/completions/sekimori", "var/lib/sekimori"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return strings.Join(out, "\n")
}

// put copies a file into the chroot's /tmp and returns its path there.
func put(t *testing.T, root, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join("/tmp", filepath.Base(path))
	if err := os.WriteFile(filepath.Join(root, inside), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return inside
}

// labelled starts the installed daemon as user sekimori. Its configuration is the installed one
// with two changes: it uses the test's name server and has no admin address. The daemon gets its
// milter socket from the test. labelled then sends a message and checks the label.
func labelled(t *testing.T, root, version string) {
	t.Helper()
	if got := run(t, "chroot", root, "/usr/bin/sekimori", "version"); !strings.Contains(got, version) {
		t.Errorf("version %q, want %s", got, version)
	}
	server := nameserver.Serve(t, `
author.example TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.author.example TXT "v=DMARC1; p=reject"
`, nameserver.Options{})
	config, err := os.ReadFile(filepath.Join(root, "etc/sekimori/sekimori.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Add the test's name server to the installed configuration, and turn off the admin address.
	text := string(config) + fmt.Sprintf("\ndns: {servers: [%q]}\nadmin: {listen: \"\"}\n", server.Addr())
	if err := os.WriteFile(filepath.Join(root, "tmp/test.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "milter.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	stop := serve(t, root, socket)
	defer stop()

	c, err := client.Dial("unix", socket.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fields := converse(t, c)
	if !strings.Contains(fields, "spf=pass") || !strings.Contains(fields, "dmarc=pass") {
		t.Errorf("the message came back with\n%s", fields)
	}
}

// serve starts the installed daemon in the same way as the systemd unit. It returns a function that
// stops the daemon.
func serve(t *testing.T, root string, socket *net.UnixListener) func() {
	t.Helper()
	fd, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	var log bytes.Buffer
	cmd := exec.Command("chroot", root, "/usr/bin/setpriv", "--reuid=sekimori", "--regid=sekimori", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
		"/bin/sh", "-c", `LISTEN_PID=$$ exec /usr/bin/sekimori serve --config /tmp/test.yaml`)
	cmd.Env = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=milter", "PATH=/usr/bin:/bin"}
	cmd.ExtraFiles = []*os.File{fd}
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon: %v\n%s", err, log.String())
		}
	}
}

// converse sends one message and returns the header fields that the daemon added.
func converse(t *testing.T, c *client.Client) string {
	t.Helper()
	ok := func(_ client.Action, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	ok(c.Connect("mail.author.example", netip.MustParseAddrPort("192.0.2.1:25")))
	ok(c.Helo("mail.author.example"))
	result, err := c.SendMessage(client.Envelope{From: "<a@author.example>", To: []string{"<b@reader.example>"}, QueueID: "4TEST"},
		[]byte("From: A <a@author.example>\r\nSubject: hello\r\n\r\nHello.\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, m := range result.Modifications {
		fmt.Fprintf(&out, "%s: %s\n", m.Name, m.Value)
	}
	return out.String()
}

func readFile(t *testing.T, elements ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
