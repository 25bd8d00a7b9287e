package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// TestMain makes the test program the command if the variable says so.
func TestMain(m *testing.M) {
	if os.Getenv("SEKIMORI_TEST_SBOM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestCommand runs the command: what it prints, and with which exit code it ends.
func TestCommand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	const usage = "usage: sbom PROGRAM VERSION\n"
	for _, tt := range []struct {
		args   []string
		code   int
		stdout string // the beginning
		stderr string // the beginning, or all of it if it ends with a line
	}{
		{nil, 2, "", usage},
		{[]string{self}, 2, "", usage},
		{[]string{self, "1.0", "more"}, 2, "", usage},
		{[]string{text, "1.0"}, 1, "", "sbom: read build information: "},
		{[]string{self, "1.0"}, 0, "{\n  \"bomFormat\": \"CycloneDX\",\n", ""},
	} {
		cmd := exec.Command(self, tt.args...)
		cmd.Env = append(os.Environ(), "SEKIMORI_TEST_SBOM=1")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if cmd.ProcessState.ExitCode() != tt.code || !strings.HasPrefix(stdout.String(), tt.stdout) || (stdout.Len() > 0) != (tt.code == 0) {
			t.Errorf("%q: exit code %d, output %q", tt.args, cmd.ProcessState.ExitCode(), &stdout)
		}
		if whole := tt.stderr == "" || strings.HasSuffix(tt.stderr, "\n"); !strings.HasPrefix(stderr.String(), tt.stderr) || whole && stderr.String() != tt.stderr {
			t.Errorf("%q: stderr %q, want %q", tt.args, &stderr, tt.stderr)
		}
	}
}

// TestOwn makes the bill of materials of the test program twice. Both must be identical, and the
// first component must be the standard library.
func TestOwn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, again bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &again} {
		if err := run(self, "1.0", out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Error("two runs differ")
	}
	var b bom
	if err := json.Unmarshal(first.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Version != "1.0" || b.Components[0].Name != "std" {
		t.Errorf("%+v", b)
	}
	if err := run(self, "1.0", full{}); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
}

var errFull = errors.New("no space left")

// full is an output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// wanted is the document of TestDescribe. A replaced module is listed as what replaces it.
const wanted = `{
  "bomFormat": "CycloneDX",
  "specVersion": "1.5",
  "version": 1,
  "metadata": {
    "component": {
      "type": "application",
      "name": "sekimori",
      "version": "1"
    }
  },
  "components": [
    {
      "type": "library",
      "name": "std",
      "version": "go1.26.8",
      "purl": "pkg:golang/std@1.26.8"
    },
    {
      "type": "library",
      "name": "a.example/m",
      "version": "v1.2.3",
      "purl": "pkg:golang/a.example/m@v1.2.3",
      "hashes": [
        {
          "alg": "SHA-256",
          "content": "0110ff"
        }
      ]
    },
    {
      "type": "library",
      "name": "c.example/m",
      "version": "v2",
      "purl": "pkg:golang/c.example/m@v2"
    }
  ]
}`

func TestDescribe(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "sekimori"}, Deps: []*debug.Module{
		{Path: "a.example/m", Version: "v1.2.3", Sum: "h1:ARD/"},
		{Path: "b.example/m", Version: "v1", Sum: "h1:AAAA", Replace: &debug.Module{Path: "c.example/m", Version: "v2"}},
	}}
	b, err := describe(info, "1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := json.MarshalIndent(b, "", "  "); err != nil || string(got) != wanted {
		t.Errorf("%v: %s", err, got)
	}
	info.Deps[0].Sum = "h1:?"
	var out bytes.Buffer
	if err := write(info, "1", &out); err == nil || out.Len() > 0 || !strings.HasPrefix(err.Error(), "checksum of a.example/m: ") {
		t.Errorf("a checksum that is none was taken: %v", err)
	}
}
