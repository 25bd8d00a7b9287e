package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sekimori runs the binary with args, waits until it has ended, and returns its exit code and
// output.
func sekimori(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	shared(t)
	if run.buildErr != nil {
		t.Fatal(run.buildErr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, run.binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("sekimori %v did not end; it said:\n%s%s", args, &out, &errs)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestBadConfiguration: with a mistake in the configuration the daemon does not start, and its
// error message says where the mistake is.
func TestBadConfiguration(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "mode: enforce\npolicy:\n  rejct: always\n", `:3:3\b`},
		{"unknown top key", "mode: enforce\nmoed: monitor\n", `:2:1\b`},
		{"unknown value", "mode: sleep\n", `:1:7\b`},
		{"wrong type", "mode: enforce\ndns:\n  timeout: soon\n", `:3:12\b`},
		{"not YAML", "mode: [enforce\n", `:1:\d+\b`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"serve", "--config", path}, {"config", "check", "--config", path}} {
				code, stdout, stderr := sekimori(t, args...)
				said := stdout + stderr
				if code != 2 || !regexp.MustCompile(regexp.QuoteMeta(path)+c.want).MatchString(said) {
					t.Errorf("%s: exit code %d, want 2 and the place %s, got:\n%s", args[0], code, c.want, said)
				}
			}
		})
	}
}

// TestCannotStart: a daemon that cannot start says why in one line.
func TestCannotStart(t *testing.T) {
	shared(t)
	taken, err := net.Listen("tcp", net.JoinHostPort(run.host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := []struct {
		name, path string
		code       int
		want       string
	}{
		{"no such file", "/nonexistent/sekimori.yaml", 2, "/nonexistent/sekimori.yaml: no such file"},
		{"milter address taken", write("a.yaml", "mode: enforce\nlisten: [\"inet:"+taken.Addr().String()+"\"]\nadmin: {listen: \"\"}\n"),
			1, "address already in use"},
		{"admin address taken",
			write("b.yaml", "mode: enforce\nlisten: [\"inet:"+net.JoinHostPort(run.host, "19999")+"\"]\n"+
				"admin: {listen: \""+taken.Addr().String()+"\"}\n"), 1, "address already in use"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := sekimori(t, "serve", "--config", c.path)
			said := strings.TrimSpace(stdout + stderr)
			if code != c.code || !strings.Contains(said, c.want) || strings.Contains(said, "\n") {
				t.Errorf("exit code %d, want %d and one line with %q, got:\n%s", code, c.code, c.want, said)
			}
		})
	}
}
