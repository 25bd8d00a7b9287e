package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLogReaderGone closes the reader's end of the log, as "| head" and a restarted
// journald do. The daemon goes on judging mail, and counts the records that it
// could not write.
func TestLogReaderGone(t *testing.T) {
	d := start(t, "", 0) // only its name server is needed
	milter, admin := freeAddress(t), freeAddress(t)
	config := filepath.Join(t.TempDir(), "sekimori.yaml")
	text := fmt.Sprintf("mode: enforce\nlisten: [%q]\nadmin: {listen: %q}\nauthserv_id: mx.here.example\ndns: {servers: [%q]}\n", "inet:"+milter, admin, d.dns)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(build(t), "serve", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon's end: %v", err)
		}
	})
	for records := bufio.NewReader(stderr); ; {
		record, err := records.ReadString('\n')
		if err != nil {
			t.Fatalf("the daemon does not serve: %q, %v", record, err)
		}
		if strings.Contains(record, `"msg":"serving"`) {
			break
		}
	}
	_ = stderr.Close()
	other := &daemon{t: t, cmd: cmd, log: d.log, milter: milter, admin: admin}
	for range 3 {
		c, err := other.hello()
		if err != nil {
			t.Fatal(err)
		}
		if err := good(c, ""); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	other.eventually("counted what was not logged", func() bool { return other.metric("sekimori_log_records_dropped_total") >= 3 })
}
