package deploy

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// reload reloads the configuration in two ways: with the ExecReload commands of the unit, and with
// "sekimori reload".
func (d *daemon) reload(t *testing.T, ctx context.Context) {
	pid := strconv.Itoa(d.cmd.Process.Pid)
	unit := func() (string, error) { // "systemctl reload": the first command that fails ends it
		for _, line := range setting(readFile(t, serviceUnit), "ExecReload") {
			line = strings.NewReplacer(installed, d.binary, "/etc/sekimori/sekimori.yaml", d.file, "$MAINPID", pid).Replace(line)
			args := strings.Fields(line)
			if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
				return string(out), err
			}
		}
		return "", nil
	}
	sekimori := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, d.binary, args...).CombinedOutput()
		return string(out), err
	}
	admin := []string{"--config", d.file, "--admin", "http://" + d.admin}
	good := readFile(t, d.file)
	monitor := strings.Replace(good, "mode: enforce", "mode: monitor", 1)

	writeFile(t, d.file, monitor, 0o644)
	check := append([]string{"config", "check", "--against-running"}, admin...)
	if out, err := sekimori(check...); err != nil || !strings.Contains(out, "mode: enforce -> monitor\na reload brings all") {
		t.Errorf("check before the reload: %v\n%s", err, out)
	}
	if out, err := unit(); err != nil {
		t.Fatalf("ExecReload: %v\n%s", err, out)
	}
	if r := d.expectLog(t, ctx, "configuration reloaded"); r["mode"] != "monitor" {
		t.Errorf("reloaded: %v", r)
	}
	d.expectNotify(t, ctx, "READY=1")
	if out, err := sekimori(check...); err != nil || !strings.Contains(out, "runs it") {
		t.Errorf("check after the reload: %v\n%s", err, out)
	}

	writeFile(t, d.file, strings.Replace(good, "mode: enforce", "mode: off", 1), 0o644)
	if out, err := unit(); err == nil || !strings.Contains(out, "mode: \"off\" is not known") {
		t.Errorf("ExecReload with a bad file: %v\n%s", err, out)
	}
	if out, err := sekimori(append([]string{"reload"}, admin...)...); err == nil || !strings.Contains(out, "mode: \"off\" is not known") {
		t.Errorf("reload with a bad file: %v\n%s", err, out)
	}
	writeFile(t, d.file, "", 0o644) // an empty file, as after a write to a full disk
	if out, err := unit(); err == nil || !strings.Contains(out, d.file+":1:1: mode: not stated; add the line") {
		t.Errorf("ExecReload with an empty file: %v\n%s", err, out)
	}

	writeFile(t, d.file, good, 0o644)
	if out, err := sekimori(append([]string{"reload"}, admin...)...); err != nil || !strings.Contains(out, "process "+pid+" runs the configuration ") {
		t.Errorf("reload: %v\n%s", err, out)
	}
	if r := d.expectLog(t, ctx, "configuration reloaded"); r["mode"] != "enforce" {
		t.Errorf("reloaded: %v", r)
	}
	if out, err := sekimori("reload", "--config", d.file, "--pid", pid); err != nil || !strings.Contains(out, "its log says") {
		t.Errorf("reload --pid: %v\n%s", err, out)
	}
	d.expectLog(t, ctx, "configuration reloaded")

	writeFile(t, d.file, strings.Replace(good, "systemd:milter", `systemd:milter", "systemd:other`, 1), 0o644)
	if out, err := sekimori(check...); err == nil || !strings.Contains(out, "a restart is needed for:\n  listen systemd:other") {
		t.Errorf("check of what needs a restart: %v\n%s", err, out)
	}
	if out, err := sekimori(append([]string{"reload"}, admin...)...); err == nil || !strings.Contains(out, "these changes need a restart") {
		t.Errorf("reload of what needs a restart: %v\n%s", err, out)
	}
	writeFile(t, d.file, good, 0o644)

	for _, other := range []string{"1", strconv.Itoa(1 << 30)} {
		if out, err := sekimori("reload", "--config", d.file, "--pid", other); err == nil {
			t.Errorf("process %s was signalled: %s", other, out)
		}
	}
}
