package setup

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// desk is a host in a temporary directory, and a plan that changes a file and makes another.
type desk struct {
	host       Host
	plan       Plan
	main, unit string
	log        string // what the commands were called with
}

// newDesk returns a desk whose commands are scripts, and whose daemon listens at e.
func newDesk(t *testing.T, e Endpoint) desk {
	t.Helper()
	dir := t.TempDir()
	d := desk{host: Host{State: filepath.Join(dir, "state"), Self: filepath.Join(dir, "self")}, main: filepath.Join(dir, "main.cf"),
		unit: filepath.Join(dir, "sekimori.socket.d", "postfix.conf"), log: filepath.Join(dir, "log")}
	script := "#!/bin/sh\necho \"$0 $*\" | sed 's#.*/##' >>" + d.log + "\n[ \"$1\" != fail ]\n"
	write(t, d.host.Self, script, 0o755)
	write(t, filepath.Join(dir, "bin", "systemctl"), script, 0o755)
	write(t, filepath.Join(dir, "bin", "postfix"), script, 0o755)
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	write(t, d.main, "a = b\nc = d\n", 0o640)
	d.plan = Plan{MTA: "postfix", Endpoint: e,
		Daemon: Stage{Changes: []Change{{Path: d.unit, After: []byte("[Socket]\n")}}, Runs: [][]string{{"systemctl", "daemon-reload"}}},
		Mail: Stage{Changes: []Change{{Path: d.main, Before: []byte("a = b\nc = d\n"), After: []byte("a = b\nnew = x\nc = d\n")}},
			Runs: [][]string{{"postfix", "reload"}}},
	}
	return d
}

func (d desk) ran(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(d.log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	_ = os.Remove(d.log)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// want checks the two files; "" stands for no file.
func (d desk) want(t *testing.T, main, unit string) {
	t.Helper()
	for path, want := range map[string]string{d.main: main, d.unit: unit} {
		got, err := os.ReadFile(path)
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", filepath.Base(path), got, err, want)
		}
	}
}

const changed, original = "a = b\nnew = x\nc = d\n", "a = b\nc = d\n"

func TestApplyAndUndo(t *testing.T) {
	d := newDesk(t, running(t))
	ctx := context.Background()
	if err := d.host.Apply(ctx, d.plan, true, io.Discard); err != nil {
		t.Fatal(err)
	}
	d.want(t, changed, "[Socket]\n")
	if got := d.ran(t); !slices.Equal(got, []string{"systemctl daemon-reload", "postfix reload"}) {
		t.Errorf("ran %q", got)
	}
	if info, err := os.Stat(d.main); err != nil || info.Mode() != 0o640 {
		t.Errorf("main.cf has mode %v, %v", info.Mode(), err)
	}
	// Another change of the operator stays.
	write(t, d.main, "# mine\n"+changed, 0o640)
	if err := d.host.Undo(ctx, "postfix", "", true, io.Discard); err != nil {
		t.Fatal(err)
	}
	d.want(t, "# mine\n"+original, "")
	if _, err := os.Stat(filepath.Dir(d.unit)); !os.IsNotExist(err) {
		t.Errorf("the empty directory of the drop-in is still there: %v", err)
	}
	if got := d.ran(t); !slices.Equal(got, []string{"postfix reload", "systemctl daemon-reload"}) {
		t.Errorf("ran %q", got)
	}
	if err := d.host.Undo(ctx, "postfix", "", true, io.Discard); err == nil || !strings.Contains(err.Error(), "nothing to undo") {
		t.Errorf("a second undo: %v", err)
	}
}

// TestUndoTwice: each undo takes one apply back.
func TestUndoTwice(t *testing.T) {
	d := newDesk(t, Endpoint{})
	for _, text := range []string{"1\n", "2\n"} {
		before, err := os.ReadFile(d.main)
		if err != nil {
			t.Fatal(err)
		}
		d.plan.Daemon = Stage{}
		d.plan.Mail.Changes = []Change{{Path: d.main, Before: before, After: append(bytes.Clone(before), text...)}}
		if err := d.host.Apply(context.Background(), d.plan, false, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{original + "1\n", original} {
		if err := d.host.Undo(context.Background(), "postfix", "", false, io.Discard); err != nil {
			t.Fatal(err)
		}
		d.want(t, want, "")
	}
	if got := d.ran(t); !slices.Equal(got, []string{""}) {
		t.Errorf("with --no-run it ran %q", got)
	}
}

// TestApplyFails: whatever fails, every file is as it was, and main.cf was not touched before the
// daemon answered.
func TestApplyFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(d *desk)
		want  string
		runs  []string
	}{
		{"problem", func(d *desk) { d.plan.problem("x") }, "not understood", []string{""}},
		{"no systemd", func(d *desk) { d.plan.Offline = "systemd does not run" }, "systemd does not run; nothing was changed", []string{""}},
		{"first command", func(d *desk) { d.plan.Daemon.Runs = [][]string{{"systemctl", "fail"}} }, "systemctl fail", []string{"systemctl fail", "systemctl fail"}},
		{"last command", func(d *desk) { d.plan.Mail.Runs = [][]string{{"postfix", "fail"}} }, "postfix fail",
			[]string{"systemctl daemon-reload", "postfix fail", "postfix fail", "systemctl daemon-reload"}},
		{"changed meanwhile", func(d *desk) { d.plan.Mail.Changes[0].Before = []byte("a = b\n") }, "changed by another program",
			[]string{"systemctl daemon-reload", "systemctl daemon-reload"}},
		{"made meanwhile", func(d *desk) {
			d.plan.Daemon.Changes = append(d.plan.Daemon.Changes, Change{Path: d.main, After: []byte("x")})
		}, "made by another program", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, running(t))
			tt.spoil(&d)
			err := d.host.Apply(context.Background(), d.plan, true, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if got := d.ran(t); tt.runs != nil && !slices.Equal(got, tt.runs) {
				t.Errorf("ran %q", got)
			}
			if text, err := os.ReadFile(d.main); err != nil || string(text) != original {
				t.Errorf("main.cf is %q, %v", text, err)
			}
		})
	}
}

// TestApplyAsksFirst: if the daemon should listen already and does not, nothing is written.
func TestApplyAsksFirst(t *testing.T) {
	d := newDesk(t, Endpoint{Network: "unix", Address: filepath.Join(t.TempDir(), "none.sock")})
	d.plan.Listens = true
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the answer is not waited for
	if err := d.host.Apply(ctx, d.plan, true, io.Discard); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("error %v", err)
	}
	d.want(t, original, "")
	if _, err := os.Stat(d.host.State); err == nil {
		t.Error("a record was made")
	}
}

// TestApplyToAnother: if another milter answers in the place of the daemon, nothing is written, and
// the answer is not waited for.
func TestApplyToAnother(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go mta.Answer(ln, "j")
	d := newDesk(t, Endpoint{Network: "tcp", Address: ln.Addr().String()})
	d.plan.Listens = true
	err = d.host.Apply(context.Background(), d.plan, true, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "another program answers, not sekimori") || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("error %v", err)
	}
	d.want(t, original, "")
}

// TestTaken: the plans for both MTAs have one problem and no change if another program has an address
// of the daemon.
func TestTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go mta.Answer(ln, "j")
	file := filepath.Join(t.TempDir(), "sekimori.yaml")
	write(t, file, "listen: [\"inet:"+ln.Addr().String()+"\", \""+running(t).String()+"\"]\nmode: monitor\n", 0o600)
	h := Host{UnitDirs: []string{t.TempDir()}}
	for _, ask := range []bool{true, false} {
		d, err := h.ReadDaemon(context.Background(), file, ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range []Plan{
			PlanPostfix(postfixOf(free, "", "smtpd_milters = inet:"+ln.Addr().String()+"\n"), d),
			PlanSendmail(Sendmail{Path: "sendmail.mc", Text: []byte("MAILER(`smtp')\n")}, d),
		} {
			text := plan.String()
			if got := strings.Contains(text, "at inet:"+ln.Addr().String()+" another program answers"); got != ask {
				t.Errorf("asked %v: %s", ask, text)
			}
			if ask && (len(plan.Problems) != 1 || changes(plan) != "") {
				t.Errorf("%q, changes\n%s", plan.Problems, changes(plan))
			}
		}
	}
}

// TestUndoRefuses: if the lines that were written are no longer there, nothing is changed.
func TestUndoRefuses(t *testing.T) {
	d := newDesk(t, Endpoint{})
	if err := d.host.Apply(context.Background(), d.plan, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	write(t, d.main, "else\n", 0o640)
	err := d.host.Undo(context.Background(), "postfix", "", false, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "was changed since") || !strings.Contains(err.Error(), "1-main.cf") {
		t.Errorf("error %v", err)
	}
	d.want(t, "else\n", "[Socket]\n")
}

// TestUndoInstance: an undo takes back what was done for that instance of Postfix, and the error names
// the other instances.
func TestUndoInstance(t *testing.T) {
	d := newDesk(t, Endpoint{})
	d.plan.Instance, d.plan.Daemon = "/etc/postfix-in", Stage{}
	if err := d.host.Apply(context.Background(), d.plan, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	err := d.host.Undo(context.Background(), "postfix", "", false, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "sekimori setup postfix --undo --config-dir /etc/postfix-in") {
		t.Errorf("error %v", err)
	}
	d.want(t, changed, "")
	if err := d.host.Undo(context.Background(), "postfix", "/etc/postfix-in", false, io.Discard); err != nil {
		t.Error(err)
	}
	d.want(t, original, "")
}

// TestUndoByHand: commands that are left to the operator are printed by an undo too.
func TestUndoByHand(t *testing.T) {
	d := newDesk(t, Endpoint{})
	d.plan.Daemon, d.plan.Mail.ByHand = Stage{}, true
	if err := d.host.Apply(context.Background(), d.plan, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := d.host.Undo(context.Background(), "postfix", "", true, &out); err != nil || !strings.Contains(out.String(), "run now: postfix reload\n") {
		t.Errorf("%v: %s", err, out.String())
	}
	if got := d.ran(t); !slices.Equal(got, []string{""}) {
		t.Errorf("ran %q", got)
	}
}

// TestUndoWithoutTheDaemon: if a command fails, because the daemon does not run for example, the files
// are put back all the same, the other commands run, and the error says so.
func TestUndoWithoutTheDaemon(t *testing.T) {
	d := newDesk(t, Endpoint{})
	d.plan.Mail.Runs = [][]string{{"postfix", "fail"}}
	if err := d.host.Apply(context.Background(), d.plan, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	err := d.host.Undo(context.Background(), "postfix", "", true, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "every file is as it was, but a command failed") {
		t.Errorf("error %v", err)
	}
	d.want(t, original, "")
	if got := d.ran(t); !slices.Equal(got, []string{"postfix fail", "systemctl daemon-reload"}) {
		t.Errorf("ran %q", got)
	}
}

func TestMayConnect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e := Endpoint{Network: "unix", Address: path}
	for _, tt := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o666, true}, {0o600, false}, {0o606, true}} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := mayConnect(e, "daemon"); (err == nil) != tt.ok {
			t.Errorf("mode %o: %v", tt.mode, err)
		}
	}
}

// running starts a daemon and returns its address.
func running(t *testing.T) Endpoint {
	t.Helper()
	server := nameserver.Serve(t, "", nameserver.Options{})
	return Endpoint{Network: "tcp", Address: daemon.Start(t, daemon.Config(server.Addr())).Addr}
}
