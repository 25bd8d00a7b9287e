package dist

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sekimori/internal/config"
	"sekimori/internal/testkit/loopback"
)

const containerFiles = "deploy/container"

// compose is what the test reads of compose.yaml.
type compose struct {
	Services map[string]struct {
		Build       struct{ Context, Dockerfile string }
		NetworkMode string `yaml:"network_mode"`
		Volumes     []string
		StopGrace   string `yaml:"stop_grace_period"`
		Healthcheck struct{ Test []string }
	}
}

// healthCommand is the health check of the image.
var healthCommand = []string{"/usr/bin/sekimori", "probe", "--quick"}

// TestComposeFile checks that compose.yaml names files that exist, that Postfix connects to the
// address on which the configuration listens, and that the stop waits longer than the daemon.
func TestComposeFile(t *testing.T) {
	top := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(top, containerFiles, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	for name, s := range c.Services {
		file := filepath.Join(top, containerFiles, s.Build.Context, s.Build.Dockerfile)
		if _, err := os.Stat(file); err != nil || s.NetworkMode != "host" {
			t.Errorf("%s: network %q, %v", name, s.NetworkMode, err)
		}
	}
	daemon := c.Services["sekimori"]
	if !slices.Equal(daemon.Healthcheck.Test, append([]string{"CMD"}, healthCommand...)) || len(daemon.Volumes) != 1 {
		t.Fatalf("%+v", daemon)
	}
	from, to, _ := strings.Cut(strings.TrimSuffix(daemon.Volumes[0], ":ro"), ":")
	cfg, err := config.Load(filepath.Join(top, containerFiles, from))
	if err != nil || to != "/etc/sekimori/sekimori.yaml" {
		t.Fatalf("the configuration at %s: %v", to, err)
	}
	if grace, err := time.ParseDuration(daemon.StopGrace); err != nil || grace <= time.Duration(cfg.DrainTimeout) {
		t.Errorf("stop after %v, drain_timeout is %v (%v)", grace, cfg.DrainTimeout, err)
	}
	postfix, err := os.ReadFile(filepath.Join(top, containerFiles, c.Services["postfix"].Build.Dockerfile))
	if err != nil || !strings.Contains(string(postfix), " smtpd_milters="+cfg.Listen[0].Address+" milter_default_action=tempfail") {
		t.Errorf("Postfix does not connect to %s: %v", cfg.Listen[0].Address, err)
	}
}

// TestImage builds the image and looks into it: the user, the commands, the health check, and the
// program, which must be static because the image holds nothing else. Then the daemon and the
// health check run in the image's file system.
func TestImage(t *testing.T) {
	need(t, "buildah")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, containerFiles), os.DirFS(filepath.Join("..", "..", containerFiles))); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "dist", "sekimori-amd64")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./cmd/sekimori")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	buildah := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("buildah", append([]string{
			"--root", filepath.Join(dir, "storage"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs",
		}, args...)...)
		cmd.Dir = dir
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("buildah %s: %v\n%s", args[0], err, errs.String())
		}
		return strings.TrimSpace(string(out))
	}
	buildah("bud", "--format", "docker", "--isolation", "chroot", "-f", containerFiles+"/Containerfile", "-t", "sekimori", ".")
	var image struct {
		Docker struct {
			Config struct {
				User            string
				Entrypoint, Cmd []string
				ExposedPorts    map[string]struct{}
				Healthcheck     struct{ Test []string }
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", "--type", "image", "sekimori")), &image); err != nil {
		t.Fatal(err)
	}
	c := image.Docker.Config
	if c.User != "65532:65532" || !slices.Equal(c.Healthcheck.Test, append([]string{"CMD"}, healthCommand...)) || len(c.ExposedPorts) != 2 {
		t.Errorf("%+v", c)
	}
	container := buildah("from", "sekimori")
	root := buildah("mount", container)
	defer buildah("umount", container)
	static(t, filepath.Join(root, "usr/bin/sekimori"))
	t.Log("No container runtime is used, because it needs cgroups that a test may not have. The daemon and the health check run as the " +
		"image's user in a chroot of the image.")
	inImage(t, root, append(c.Entrypoint, c.Cmd...))
}

// static checks that the program needs no dynamic linker.
func static(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program is not static")
		}
	}
}

// inImage runs the daemon and the health check in a file system that has nothing but the image and
// a configuration. The check must pass while the daemon runs, and fail without it.
func inImage(t *testing.T, root string, daemon []string) {
	t.Helper()
	address := loopback.Address(t)
	text := "listen: [\"inet:" + address + "\"]\nauthserv_id: mx.example.jp\ndns: {servers: [\"127.0.0.1:9\"]}\nadmin: {listen: \"\"}\nmode: monitor\n"
	if err := os.MkdirAll(filepath.Join(root, "etc/sekimori"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/sekimori/sekimori.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	start := func(argv []string) (*exec.Cmd, *bytes.Buffer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		t.Cleanup(cancel)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Path, cmd.Err = argv[0], nil // a path in the chroot
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &out
	}
	healthy := func() (bool, string) {
		cmd, out := start(healthCommand)
		return cmd.Wait() == nil, out.String()
	}
	if ok, out := healthy(); ok || !strings.Contains(out, "no program listens there") {
		t.Errorf("healthy without a daemon: %s", out)
	}
	served, log := start(daemon)
	deadline := time.Now().Add(30 * time.Second)
	ok, out := healthy()
	for !ok && time.Now().Before(deadline) {
		ok, out = healthy()
	}
	_ = served.Process.Signal(syscall.SIGTERM)
	if err := served.Wait(); err != nil || !ok {
		t.Errorf("healthy %v: %s\n%v: %s", ok, out, err, log)
	}
}
