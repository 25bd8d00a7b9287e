package field

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	// The tests build and run the program. Because of these imports, the go command does not use
	// cached test results after the program has changed.
	_ "sekimori/internal/explain"
	_ "sekimori/internal/forwarders"
	_ "sekimori/internal/replay"
)

const (
	own    = "../../testdata/field"
	shared = "../../../shared/field"
)

// program is the path of the program that the tests have built.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sekimori-field-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "sekimori")
	if out, err := exec.Command("go", "build", "-o", program, "sekimori/cmd/sekimori").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// TestField runs the command of every case and compares the output with the case.
func TestField(t *testing.T) {
	for _, c := range append(load(t, own), loadShared(t)...) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if c.ByHand() {
				t.Skipf("played by a test elsewhere (%s): %s", c.Run, strings.Join(c.Steps, " "))
			}
			for _, w := range c.Judge(c.play(t)) {
				t.Errorf("%s\nwhy: %s", w, c.Why)
			}
		})
	}
}

func load(t *testing.T, dir string) []Case {
	t.Helper()
	cases, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func loadShared(t *testing.T) []Case {
	t.Helper()
	if _, err := os.Stat(shared); errors.Is(err, os.ErrNotExist) {
		t.Log("there is no ../shared/field beside the repository: only its own cases run")
		return nil
	}
	cases := load(t, shared)
	if len(cases) == 0 {
		t.Error("../shared/field has no case")
	}
	return cases
}

// play runs the command of the case without --json and with it, and returns both outputs.
func (c *Case) play(t *testing.T) (text string, raw []byte) {
	t.Helper()
	configuration := filepath.Join(c.Dir, c.Config)
	if c.Config == "" {
		configuration = filepath.Join(t.TempDir(), "sekimori.yaml")
		if err := os.WriteFile(configuration, []byte("mode: enforce\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	switch c.Run {
	case "":
		args = []string{"explain", "message.eml", "--zone", "zone.txt", "--helo", c.Session.HELO, "--from", c.Session.MailFrom, "--config", configuration}
		if c.Session.IP != "" {
			args = append(args, "--ip", c.Session.IP)
		}
		if c.Session.Rcpt != "" {
			args = append(args, "--rcpt", c.Session.Rcpt)
		}
	case "replay":
		args = []string{"replay", "--config", configuration}
	case "config":
		text, _ := c.command(t, append([]string{"config", "check", "--config", configuration}, c.Args...))
		return text, nil
	default:
		t.Fatalf("run: %q is not known", c.Run)
	}
	args = append(args, c.Args...)
	text, _ = c.command(t, args)
	_, raw = c.command(t, append(args, "--json"))
	return text, raw
}

// command runs the program in the folder of the case. It ignores the exit code: in many cases the
// command must find a fault, and then its exit code is not 0.
func (c *Case) command(t *testing.T, args []string) (text string, stdout []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.Dir
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if out.Len() == 0 && exit != nil && c.Run != "config" {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, all.String())
	}
	return out.String() + all.String(), out.Bytes()
}
