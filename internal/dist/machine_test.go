package dist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// base is a Debian for machines.
type base struct {
	// env is the environment variable for a directory with a Debian that bookworm made earlier, so
	// that a developer does not wait for debootstrap at each run. The tests do not change it.
	env string
	// packages are the packages that the machine has in addition to Debian's smallest system: the
	// MTA, the init system, and the programs that README calls.
	packages string
}

// bookworm returns a directory with a Debian.
func (b base) bookworm(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(b.env); dir != "" {
		return dir
	}
	root := t.TempDir()
	run(t, "debootstrap", "--variant=minbase", "--include="+b.packages, "bookworm", root)
	return root
}

// tryMachine is a script that needs the same features of the kernel as startMachine.
const tryMachine = `set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root" "$1/cgroup"
mount -t overlay -o "lowerdir=/usr,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount -t cgroup2 cgroup2 "$1/cgroup"
mount -t proc proc /proc
ip link add skt0 type veth peer name skt1
`

// needMachine skips the test if the kernel, or the container in which the test runs, does not allow
// a machine. No Debian package can change that, so the test is skipped in CI too.
func needMachine(t *testing.T) {
	t.Helper()
	out, err := exec.Command("unshare", "-mpnuiC", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", tryMachine, "try", t.TempDir()).CombinedOutput()
	if err != nil {
		t.Skipf("this host does not allow a machine in namespaces (overlay, cgroup2, veth): %v %s", err, out)
	}
}

// boot is the script of a machine's first process. It puts a writable layer over the base, and
// becomes systemd. The machine runs in namespaces of its own, so that nothing stays when systemd
// ends.
const boot = `set -e
base=$1 dir=$2
mkdir $dir/work $dir/root
mount -t tmpfs tmpfs $dir/work
mkdir $dir/work/upper $dir/work/work
mount -t overlay -o lowerdir=$base,upperdir=$dir/work/upper,workdir=$dir/work/work overlay $dir/root
cd $dir/root
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
mount -t tmpfs tmpfs dev
for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
ln -s pts/ptmx dev/ptmx
mkdir dev/shm dev/pts
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
shift 2
while [ $# -gt 0 ]; do mkdir -p .$3; mount --bind -o $1 $2 .$3; shift 3; done
ip link set lo up
until ip link show %[1]s >/dev/null 2>&1; do sleep 0.1; done
ip address add %[2]s/30 dev %[1]s
ip link set %[1]s up
printf '%%s' "$PREPARE" >tmp/prepare
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -e /tmp/prepare
mkdir .old
pivot_root . .old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /bin/sh -c \
  'umount -l /.old; exec /lib/systemd/systemd --system --log-target=journal'
`

// machine is a Debian that systemd runs, in namespaces of its own. It is connected to the test by a
// network of two addresses.
type machine struct {
	pid          int    // process id of the machine's systemd
	host, client string // the machine's address, and the test's
}

// startMachine boots a machine. prepare is a script that runs in it before systemd starts. binds
// has groups of three strings: "ro" or "rw", a directory of the host, and the directory in the
// machine at which it is shown.
func startMachine(t *testing.T, base, prepare string, binds ...string) *machine {
	t.Helper()
	n := os.Getpid()%250 + 1
	here, there := fmt.Sprintf("skt%dh", n), fmt.Sprintf("skt%dm", n)
	m := &machine{client: fmt.Sprintf("198.18.%d.1", n), host: fmt.Sprintf("198.18.%d.2", n)}
	var log bytes.Buffer
	cmd := exec.Command("unshare", append([]string{"-mpnuiC", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", fmt.Sprintf(boot, there, m.host), "boot", base, t.TempDir()}, binds...)...)
	cmd.Env = append(os.Environ(), "PREPARE="+prepare)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // --kill-child ends systemd, and with it all that runs in its namespace
		_ = cmd.Wait()
	})
	m.pid = child(t, cmd.Process.Pid)
	run(t, "ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", fmt.Sprint(m.pid))
	t.Cleanup(func() { _ = exec.Command("ip", "link", "delete", here).Run() })
	run(t, "ip", "address", "add", m.client+"/30", "dev", here)
	run(t, "ip", "link", "set", here, "up")
	wait(t, "systemd says that it runs", func() bool {
		out, _ := m.try("systemctl is-system-running")
		state := strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
	return m
}

// child returns the process that unshare started in its namespaces.
func child(t *testing.T, parent int) int {
	t.Helper()
	pid := 0
	wait(t, "unshare starts the machine", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(text), &pid)
		return err == nil
	})
	return pid
}

// wait waits until f reports true.
func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// try runs a shell script as root in the machine and returns its output.
func (m *machine) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "-t", fmt.Sprint(m.pid), "-a", "-r", "-w",
		"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin", "HOME=/root", "LC_ALL=C", "SYSTEMD_PAGER=",
		"GOPROXY=off", "GOFLAGS=-buildvcs=false", "GOMODCACHE=/mnt/mod", "GOCACHE=/mnt/cache", "/bin/sh", "-e", "-c", script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a daemon that the script left in the background holds the output open
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.String(), err
}

// do runs a shell script in the machine, and fails the test if the script fails.
func (m *machine) do(t *testing.T, script string) string {
	t.Helper()
	out, err := m.try(script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// goBinds returns the groups for startMachine that show Go, the modules and the build cache of the
// developer in the machine. With them, "make build" needs no network in the machine.
func goBinds(t *testing.T) []string {
	t.Helper()
	dirs := strings.Fields(run(t, "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE"))
	if len(dirs) != 3 {
		t.Fatalf("go env says %q", dirs)
	}
	return []string{"ro", dirs[0], "/usr/local/go", "ro", dirs[1], "/mnt/mod", "rw", dirs[2], "/mnt/cache"}
}

// top returns the top directory of the repository.
func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
