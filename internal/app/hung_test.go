package app

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/testkit/web"
)

// TestReloadOfHungFile checks that a reload is given up if a file cannot be read in time, and
// that the next reload, the admin address and Stop do not wait for it.
func TestReloadOfHungFile(t *testing.T) {
	cfg := testConfig(t)
	a, _, stop := running(t, cfg)
	a.readTimeout = 20 * time.Millisecond
	release := make(chan struct{})
	hangs := func() (*config.Config, error) { <-release; return cfg, nil }
	for range maxHung {
		asked := make(chan Running, 1)
		go func() { asked <- a.Running() }()
		if err := a.Reload(hangs); err == nil || !strings.Contains(err.Error(), "the configuration cannot be read within 20ms") {
			t.Fatalf("reload of a hung file: %v", err)
		}
		<-asked
	}
	if err := a.Reload(hangs); err == nil || !strings.Contains(err.Error(), "16 earlier reloads still wait") {
		t.Fatalf("reload after many: %v", err)
	}
	a.hung.Add(-1) // as if one of the reloads had ended
	if err := a.Reload(with(cfg, monitor)); err != nil {
		t.Fatalf("the next reload: %v", err)
	}
	a.hung.Add(1)
	close(release)
	for deadline := time.Now().Add(10 * time.Second); a.hung.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d reloads still hang", a.hung.Load())
		}
	}
	if r := a.Running(); !strings.Contains(r.Config, "mode: monitor") || !r.Reload.Successful {
		t.Errorf("a reload that was given up is in effect: %+v", r)
	}
	if metrics := web.Get(t, "http://"+a.AdminAddr()+"/metrics"); !strings.Contains(metrics, `sekimori_dns_upstream_up{server="0"} 1`) {
		t.Error("the metrics do not show the resolver that is in use")
	}

	a.readTimeout = time.Hour
	forever := make(chan struct{})
	ended := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		ended <- a.Reload(func() (*config.Config, error) { close(begun); <-forever; return cfg, nil })
	}()
	<-begun
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, errStopping) {
		t.Errorf("a reload that hangs at the end: %v", err)
	}
}

// TestReloadOfPipes checks that a reload is refused at once if a file of the configuration is a
// named pipe, and that the error names the file.
func TestReloadOfPipes(t *testing.T) {
	dir := t.TempDir()
	pipe, list := filepath.Join(dir, "pipe"), filepath.Join(dir, "list")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pipe, list); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	a, _, stop := running(t, cfg)
	a.readTimeout = time.Hour
	for key, load := range map[string]func() (*config.Config, error){
		"configuration":          func() (*config.Config, error) { return config.Load(pipe) },
		"shadow":                 with(cfg, func(c *config.Config) { c.Shadow = pipe }),
		"dmarc.psl_file":         with(cfg, func(c *config.Config) { c.DMARC = config.DMARC{OrganizationalDomain: dmarc.PSL, PSLFile: list} }),
		"policy.recipients.file": with(cfg, func(c *config.Config) { c.Policy.Recipients.File = list }),
		"admin.web_config":       with(cfg, func(c *config.Config) { c.Admin = config.Admin{Listen: "127.0.0.1:0", WebConfig: "/proc/self/fd"} }),
		"policy.overrides":       with(cfg, func(c *config.Config) { c.Policy.Overrides = []config.Override{{File: pipe}} }),
	} {
		err := a.Reload(load)
		if key == "admin.web_config" && err != nil && strings.Contains(err.Error(), key) {
			continue // this change needs a restart, which is an error too
		}
		if err == nil || !strings.Contains(err.Error(), "it is not a regular file") || strings.Contains(key, ".") && !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestLostSocket first removes the file of a unix socket, and readyz must report that. A reload
// must make the socket again, and closing the old socket must not remove the new file. Then the
// socket of another process takes the place of the file. readyz and the log must report that, a
// reload must fail, and the daemon must not remove the file of the other process.
func TestLostSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	cfg := testConfig(t)
	cfg.Listen = []config.Listener{{Address: "unix:" + path}}
	a, log, stop := running(t, cfg)
	ready := func() string { return web.Get(t, "http://"+a.AdminAddr()+"/readyz") }
	if got := ready(); got != "ready\n" {
		t.Fatalf("readyz: %q", got)
	}
	if lost := a.logLost(nil); lost != nil {
		t.Errorf("lost: %v", lost)
	}
	for range 2 {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := ready(); !strings.Contains(got, path+" is gone") {
			t.Errorf("readyz without the file: %q", got)
		}
		if err := a.Reload(with(cfg)); err != nil {
			t.Fatal(err)
		}
		if got := ready(); got != "ready\n" {
			t.Errorf("readyz after the reload: %q", got)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if got := ready(); !strings.Contains(got, "no longer the socket that this daemon made") {
		t.Errorf("readyz with the socket of another process: %q", got)
	}
	told := a.logLost(a.logLost(nil))
	if records := waitFor(t, log, "socket lost", 1).Records(t, "socket lost"); len(told) != 1 || len(records) != 1 || records[0]["listen"] != "unix:"+path {
		t.Errorf("records %v of %v", records, told)
	}
	if err := a.Reload(with(cfg)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("reload over the socket of another process: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of another process is gone: %v", err)
	}
	_ = other.Close()
}
