package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sekimori/configs"
	"sekimori/internal/policy"
)

// TestSetMode checks that only the line with the mode changes, and that this
// line is added at the end if there is none. A file in which this is not
// possible is refused.
func TestSetMode(t *testing.T) {
	for _, tt := range []struct{ why, in, want string }{
		{"empty", "", "mode: monitor\n"},
		{"comments", "# mine\n", "# mine\nmode: monitor\n"},
		{"no mode", "authserv_id: mx.here.example\n", "authserv_id: mx.here.example\nmode: monitor\n"},
		{"no line end", "authserv_id: mx.here.example", "authserv_id: mx.here.example\nmode: monitor\n"},
		{"the other", "mode: enforce\nauthserv_id: mx.here.example\n", "mode: monitor\nauthserv_id: mx.here.example\n"},
		{"the same", "mode:   monitor # as agreed\n", "mode: monitor # as agreed\n"},
		{"comment", "mode: enforce # mode: enforce\n", "mode: monitor # mode: enforce\n"},
		{"quotes", "mode : \"enforce\"\n", "mode : monitor\n"},
		{"null", "mode:\nauthserv_id: mx.here.example\n", "mode: monitor\nauthserv_id: mx.here.example\n"},
		{"tilde, no line end", "mode: ~", "mode: monitor"},
		{"a section has one, too", "listen: [{address: 'unix:/x', mode: 0600}]\n", "listen: [{address: 'unix:/x', mode: 0600}]\nmode: monitor\n"},
		{"deeper", "listen:\n- address: unix:/x\n  mode: 0600\nmode: enforce\n", "listen:\n- address: unix:/x\n  mode: 0600\nmode: monitor\n"},
		{"a section at the end", "log:\n  level: warn\n", "log:\n  level: warn\nmode: monitor\n"},
		{"CRLF", "log: {level: warn}\r\nmode: enforce\r\n", "log: {level: warn}\r\nmode: monitor\r\n"},
		{"CRLF, none", "log: {level: warn}\r\n", "log: {level: warn}\r\nmode: monitor\r\n"},
		{"document mark", "---\nmode: enforce\n", "---\nmode: monitor\n"},
	} {
		got, err := SetMode("x", []byte(tt.in), "monitor")
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.why, got, err, tt.want)
		}
	}
	room := append(make([]byte, 0, 99), "# mine\n"...) // the caller may use the octets behind
	if got, err := SetMode("x", room, "monitor"); err != nil || len(got) == 0 || room[:cap(room)][len(room)] != 0 {
		t.Errorf("behind the text is %q, %v", room[:cap(room)][len(room):], err)
	}
	for _, text := range [][]byte{configs.Example, configs.Reference} {
		got, err := SetMode("x", text, "enforce")
		inMonitor := func(text []byte) string {
			return strings.ReplaceAll(string(text), "\nmode: enforce\n", "\nmode: monitor\n")
		}
		if err != nil || inMonitor(got) != inMonitor(text) {
			t.Errorf("an example of ours: %v", err)
		}
	}
	for why, in := range map[string]string{
		"flow": "{mode: enforce}\n", "flow without": "{authserv_id: mx.here.example}\n", "over two lines": "mode:\n  enforce\n",
		"an end mark": "log: {level: warn}\n...\n",
		"wrong":       "log: {level: x}\n", "quoted key": "\"mode\": enforce\n",
	} {
		got, err := SetMode("x", []byte(in), "monitor")
		if err == nil {
			t.Errorf("%s: %q", why, got)
			continue
		}
		if byHand := strings.HasPrefix(in, "{mode") || strings.HasPrefix(in, "\"mode"); byHand && !strings.HasPrefix(err.Error(), "config: x:1:1: mode: ") {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := SetMode("x", nil, "sleep"); err == nil {
		t.Error("a mode that there is not")
	}
}

// TestWriteMode checks that the file keeps its permissions and that a link
// stays a link. After an error the file must be unchanged, and no temporary
// file may remain.
func TestWriteMode(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(path, []byte("mode: enforce\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteMode(link, "monitor"); err != nil {
		t.Fatal(err)
	}
	if err := WriteMode(link, "sleep"); err == nil {
		t.Error("a mode that there is not was written")
	}
	if err := WriteMode(filepath.Join(dir, "none"), "monitor"); err == nil {
		t.Error("a file that is not there")
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if c, err := Load(link); err != nil || c.Mode != policy.Monitor {
		t.Errorf("%v, %v", c, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestReplaceOnlyFiles: a device or a pipe must not become a file. /dev/null may be read as a configuration.
func TestReplaceOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink(pipe, link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, link, dir} {
		if err := ReplaceFile(path, []byte("mode: monitor\n")); !errors.Is(err, errIrregular) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("the pipe is %v, %v", info.Mode(), err)
	}
}
