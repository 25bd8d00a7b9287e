package setup

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/testkit/mta"
)

// plain replaces the directory of a desk by "DIR".
func (d desk) plain(text string) string {
	return strings.ReplaceAll(text, filepath.Dir(d.main), "DIR")
}

// TestWords: what Apply and Undo say and run, with the commands and without them.
func TestWords(t *testing.T) {
	for _, tt := range []struct {
		name          string
		run, byHand   bool
		apply, undo   string
		applied, back string // the commands
	}{
		{"run", true, false,
			"wrote DIR/sekimori.socket.d/postfix.conf\nran systemctl daemon-reload\nran sekimori reload\nwrote DIR/main.cf\nran postfix reload\n",
			"put back DIR/main.cf\nran      postfix reload\nput back DIR/sekimori.socket.d/postfix.conf\nran      systemctl daemon-reload\nran      sekimori reload\n",
			"systemctl daemon-reload|self reload|postfix reload", "postfix reload|systemctl daemon-reload|self reload"},
		{"no run", false, false,
			"wrote DIR/sekimori.socket.d/postfix.conf\nrun now: systemctl daemon-reload\nrun now: sekimori reload\nwrote DIR/main.cf\nrun now: postfix reload\n",
			"put back DIR/main.cf\nrun now: postfix reload\nput back DIR/sekimori.socket.d/postfix.conf\nrun now: systemctl daemon-reload\nrun now: sekimori reload\n", "", ""},
		{"the MTA by hand", true, true,
			"wrote DIR/sekimori.socket.d/postfix.conf\nran systemctl daemon-reload\nran sekimori reload\nwrote DIR/main.cf\nrun now: postfix reload\n",
			"put back DIR/main.cf\nrun now: postfix reload\nput back DIR/sekimori.socket.d/postfix.conf\nran      systemctl daemon-reload\nran      sekimori reload\n",
			"systemctl daemon-reload|self reload", "systemctl daemon-reload|self reload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Endpoint{Network: "tcp", Address: "127.0.0.1:1"}) // nobody listens: only with run, somebody has to
			if tt.run {
				d = newDesk(t, listen(t))
			}
			d.plan.Listens, d.plan.Mail.ByHand = true, tt.byHand
			d.plan.Daemon.Runs = append(d.plan.Daemon.Runs, []string{"sekimori", "reload"})
			d.plan.Offline = "systemd does not run"
			if tt.run {
				d.plan.Offline = ""
			}
			var out strings.Builder
			if err := d.host.Apply(t.Context(), d.plan, tt.run, &out); err != nil {
				t.Fatal(err)
			}
			end := "The files as they were are in DIR/state/postfix-1; \"sekimori setup postfix --undo\" takes the changes back.\n"
			if got := d.plain(out.String()); got != tt.apply+end {
				t.Errorf("Apply said\n%s", got)
			}
			if got := strings.Join(d.ran(t), "|"); got != tt.applied {
				t.Errorf("Apply ran %s", got)
			}
			d.want(t, changed, "[Socket]\n")
			out.Reset()
			if err := d.host.Undo(t.Context(), "postfix", "", tt.run, &out); err != nil {
				t.Fatal(err)
			}
			if got := d.plain(out.String()); got != tt.undo {
				t.Errorf("Undo said\n%s", got)
			}
			if got := strings.Join(d.ran(t), "|"); got != tt.back {
				t.Errorf("Undo ran %s", got)
			}
			d.want(t, original, "")
			if left, err := os.ReadDir(d.host.State); err != nil || len(left) > 0 {
				t.Errorf("records are left: %v, %v", left, err)
			}
		})
	}
}

// listen starts a program that answers as sekimori does, and returns its address.
func listen(t *testing.T) Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go mta.Answer(ln, "j", "{sekimori}")
	return Endpoint{Network: "tcp", Address: ln.Addr().String()}
}

// TestApplyStops: each failure ends Apply with its own words. The files are as they were, also those that
// other programs wrote meanwhile, and no record is left.
func TestApplyStops(t *testing.T) {
	done := func(d *desk) { d.plan.Daemon, d.plan.Mail = Stage{}, Stage{} }
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, d *desk)
		want  string
		runs  string
		state bool // there is a directory of records
	}{
		{"nothing to do", func(_ *testing.T, d *desk) { done(d) }, "", "", false},
		{"a problem and nothing to do", func(_ *testing.T, d *desk) { done(d); d.plan.problem("x") },
			"setup: the configuration is not understood, and nothing was changed", "", false},
		{"no place for the copies", func(t *testing.T, d *desk) {
			write(t, filepath.Join(filepath.Dir(d.main), "f"), "", 0o600)
			d.host.State = filepath.Join(filepath.Dir(d.main), "f", "s")
		},
			"setup: mkdir DIR/f: not a directory", "", false},
		{"records that cannot be listed", func(_ *testing.T, d *desk) { d.host.State = filepath.Join(d.host.State, "[") },
			"setup: syntax error in pattern", "", true},
		{"a copy that cannot be made", func(_ *testing.T, d *desk) {
			d.plan.Mail.Changes[0].Path = filepath.Join(filepath.Dir(d.main), strings.Repeat("x", 255))
		},
			": file name too long", "", true},
		{"no directory for the drop-in", func(t *testing.T, d *desk) { write(t, filepath.Dir(d.unit), "", 0o600); d.unit = d.main + ".none" },
			"setup: mkdir DIR/sekimori.socket.d: not a directory; every file is as it was before", "", true},
		{"the file is gone", func(t *testing.T, d *desk) {
			d.plan.Mail.Changes[0].Path = d.main + ".gone"
		}, "setup: open DIR/main.cf.gone: no such file or directory; every file is as it was before", "systemctl daemon-reload|systemctl daemon-reload", true},
		{"no such program", func(_ *testing.T, d *desk) { d.plan.Daemon.Runs = [][]string{{"/no/such/program", "x"}} },
			"setup: /no/such/program x: fork/exec /no/such/program: no such file or directory: ; " +
				"taking the changes back failed as well: setup: every file is as it was, but a command failed; run it when its program runs: " +
				"setup: /no/such/program x: fork/exec /no/such/program: no such file or directory: ", "", true},
		{"words of the program", func(_ *testing.T, d *desk) {
			d.plan.Daemon.Runs = [][]string{{"sh", "-c", "echo ' out'; echo 'err ' >&2; exit 3"}}
		}, "sh -c echo ' out'; echo 'err ' >&2; exit 3: exit status 3: out\nerr; ", "", true},
		{"another program at the socket", func(t *testing.T, d *desk) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			go mta.Answer(ln, "j")
			d.plan.Endpoint.Address = ln.Addr().String()
		}, "another program answers, not sekimori", "systemctl daemon-reload|systemctl daemon-reload", true},
		{"a socket of another group", func(t *testing.T, d *desk) {
			path := filepath.Join(filepath.Dir(d.main), "s")
			ln, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			go mta.Answer(ln, "{sekimori}")
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			d.plan.Endpoint, d.plan.Group = Endpoint{Network: "unix", Address: path}, "daemon"
		}, "setup: group daemon may not open DIR/s (mode 600, group ", "systemctl daemon-reload|systemctl daemon-reload", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, listen(t))
			tt.spoil(t, &d)
			var out strings.Builder
			err := d.host.Apply(t.Context(), d.plan, true, &out)
			text := ""
			if err != nil {
				text = d.plain(err.Error())
			}
			if !strings.Contains(text, tt.want) || (text == "") != (tt.want == "") {
				t.Errorf("error %s\nwant  %s", text, tt.want)
			}
			if strings.Contains(out.String(), "The files as they were are in") {
				t.Errorf("said %s", &out)
			}
			if got := strings.Join(d.ran(t), "|"); got != tt.runs {
				t.Errorf("ran %s", got)
			}
			d.want(t, original, "")
			if left, err := os.ReadDir(d.host.State); (err == nil) != tt.state || tt.name != "no such program" && len(left) > 0 {
				t.Errorf("records: %v, %v", left, err)
			}
		})
	}
}

// TestApplyEnds: if ctx ends, the files are put back, and the commands run for that.
func TestApplyEnds(t *testing.T) {
	d := newDesk(t, listen(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := d.host.Apply(ctx, d.plan, true, io.Discard)
	if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "; every file is as it was before") {
		t.Errorf("error %v", err)
	}
	d.want(t, original, "")
	if got := strings.Join(d.ran(t), "|"); got != "systemctl daemon-reload" {
		t.Errorf("ran %s", got)
	}
}

// TestNotPutBack: if the changes cannot be taken back, the error says both reasons, and the copies stay.
func TestNotPutBack(t *testing.T) {
	d := newDesk(t, listen(t))
	d.plan.Mail.Runs = [][]string{{"sh", "-c", "echo else >" + d.main + "; exit 1"}}
	err := d.host.Apply(t.Context(), d.plan, true, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "exit status 1: ; taking the changes back failed as well: setup: ") ||
		!strings.Contains(err.Error(), "was changed since, and nothing was undone") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(d.host.State, "postfix-1", "1-main.cf")); err != nil || string(text) != original {
		t.Errorf("the copy is %q, %v", text, err)
	}
}

// TestAnswers: Apply waits for the daemon for 20 s and no longer.
func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, "daemon"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go mta.Answer(ln, "{sekimori}")
	path := filepath.Join(dir, "s")
	for _, tt := range []struct {
		name   string
		begins time.Duration // when the daemon can be reached; 0: never
		takes  time.Duration
		want   string
	}{
		{"never", 0, answerTimeout, "setup: the daemon does not answer at unix:" + path + ": "},
		{"late", answerTimeout - answerPause - 1, answerTimeout - answerPause, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			if tt.begins > 0 {
				time.AfterFunc(tt.begins, func() {
					if err := os.Symlink(filepath.Join(dir, "daemon"), path); err != nil {
						t.Error(err)
					}
				})
			}
			err := answers(t.Context(), Endpoint{Network: "unix", Address: path})
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if took := time.Since(begin); took != tt.takes {
				t.Errorf("%s: it took %v, want %v", tt.name, took, tt.takes)
			}
		})
	}
}

// TestRecords: the records are counted by number, so the tenth comes after the ninth.
func TestRecords(t *testing.T) {
	h := Host{State: t.TempDir()}
	if dir, err := h.newDir("postfix"); err != nil || filepath.Base(dir) != "postfix-1" {
		t.Errorf("the first record is %s, %v", dir, err)
	}
	for _, name := range []string{"postfix-9", "postfix-10", "postfix-2", "postfix-x", "sendmail-77"} {
		if err := os.Mkdir(filepath.Join(h.State, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	found, err := h.records("postfix")
	var names []string
	for _, dir := range found {
		names = append(names, filepath.Base(dir))
	}
	if want := []string{"postfix-x", "postfix-1", "postfix-2", "postfix-9", "postfix-10"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v", names, err)
	}
	if dir, err := h.newDir("postfix"); err != nil || filepath.Base(dir) != "postfix-11" {
		t.Errorf("the next record is %s, %v", dir, err)
	}
	bad := Host{State: filepath.Join(t.TempDir(), "[")}
	if _, err := bad.records("postfix"); err == nil {
		t.Error("a State that is no pattern, and no error")
	}
	if dir, err := bad.newDir("postfix"); err == nil {
		t.Errorf("a State that is no pattern: %s", dir)
	}
	if err := bad.Undo(t.Context(), "postfix", "", false, io.Discard); err == nil || strings.Contains(err.Error(), "nothing to undo") {
		t.Errorf("a State that is no pattern: %v", err)
	}
	if _, err := (Host{State: filepath.Join(h.State, "none")}).newDir("postfix"); err == nil {
		t.Error("no State, and no error")
	}
}

// TestCopies: every file that is changed has its copy, also if several files have the same name.
func TestCopies(t *testing.T) {
	d := newDesk(t, Endpoint{})
	other := filepath.Join(filepath.Dir(d.main), "other", "main.cf")
	write(t, other, "x\n", 0o600)
	d.plan.Instance = "/etc/postfix-in"
	d.plan.Mail.ByHand = true
	d.plan.Mail.Changes = append(d.plan.Mail.Changes, Change{Path: other, Before: []byte("x\n"), After: []byte("y\n")})
	if err := d.host.Apply(t.Context(), d.plan, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"1-main.cf": original, "2-main.cf": "x\n", recordName: `{
  "mta": "postfix",
  "instance": "/etc/postfix-in",
  "stages": [
    {
      "files": [
        {
          "path": "DIR/sekimori.socket.d/postfix.conf",
          "copy": "",
          "hunk": {
            "before": "",
            "old": "",
            "new": "[Socket]\n"
          }
        }
      ],
      "runs": [
        [
          "systemctl",
          "daemon-reload"
        ]
      ]
    },
    {
      "files": [
        {
          "path": "DIR/main.cf",
          "copy": "1-main.cf",
          "hunk": {
            "before": "a = b\n",
            "old": "",
            "new": "new = x\n"
          }
        },
        {
          "path": "DIR/other/main.cf",
          "copy": "2-main.cf",
          "hunk": {
            "before": "",
            "old": "x\n",
            "new": "y\n"
          }
        }
      ],
      "runs": [
        [
          "postfix",
          "reload"
        ]
      ],
      "by_hand": true
    }
  ]
}
`} {
		text, err := os.ReadFile(filepath.Join(d.host.State, "postfix-1", name))
		if err != nil || d.plain(string(text)) != want {
			t.Errorf("%s: %v, %s", name, err, text)
		}
	}
}

// TestBrokenRecord: an undo changes nothing if its record cannot be read, or does not fit the files.
func TestBrokenRecord(t *testing.T) {
	record := func(d desk, name string) string { return filepath.Join(d.host.State, "postfix-1", name) }
	for _, tt := range []struct {
		name, mta string
		spoil     func(t *testing.T, d desk)
		want      string
		main      string
		unit      string
	}{
		{"none", "sendmail", func(*testing.T, desk) {}, "setup: DIR/state has no record of a change for sendmail, so there is nothing to undo", changed, "[Socket]\n"},
		{"gone", "postfix", func(t *testing.T, d desk) { remove(t, record(d, recordName)) },
			"setup: open DIR/state/postfix-1/record.json: no such file or directory", changed, "[Socket]\n"},
		{"no JSON", "postfix", func(t *testing.T, d desk) { write(t, record(d, recordName), "x", 0o600) },
			"setup: DIR/state/postfix-1/record.json: invalid character 'x' looking for beginning of value", changed, "[Socket]\n"},
		{"of another MTA", "postfix", func(t *testing.T, d desk) { write(t, record(d, recordName), `{"mta":"sendmail"}`, 0o600) },
			"setup: DIR/state/postfix-1 is not about postfix", changed, "[Socket]\n"},
		{"without the copy", "postfix", func(t *testing.T, d desk) { remove(t, record(d, "1-main.cf")) },
			"setup: open DIR/state/postfix-1/1-main.cf: no such file or directory", changed, "[Socket]\n"},
		{"a new file was changed", "postfix", func(t *testing.T, d desk) { write(t, d.unit, "[Socket]\nx\n", 0o600) },
			"setup: DIR/sekimori.socket.d/postfix.conf was changed since; remove it by hand", changed, "[Socket]\nx\n"},
		{"the file is gone", "postfix", func(t *testing.T, d desk) { remove(t, d.main) }, "setup: open DIR/main.cf: no such file or directory", "", "[Socket]\n"},
		{"the file was changed", "postfix", func(t *testing.T, d desk) { write(t, d.main, "x\n", 0o600) },
			"setup: DIR/main.cf was changed since, and nothing was undone; if that was another \"sekimori setup --apply\", undo that one first; " +
				"the file as it was before is DIR/state/postfix-1/1-main.cf", "x\n", "[Socket]\n"},
		{"the new file is gone already", "postfix", func(t *testing.T, d desk) { remove(t, d.unit) }, "", original, ""},
		{"the file was put back already", "postfix", func(t *testing.T, d desk) { write(t, d.main, original, 0o600) }, "", original, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, Endpoint{})
			if err := d.host.Apply(t.Context(), d.plan, false, io.Discard); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, d)
			text := ""
			if err := d.host.Undo(t.Context(), tt.mta, "", true, io.Discard); err != nil {
				text = d.plain(err.Error())
			}
			if text != tt.want {
				t.Errorf("error %s\nwant  %s", text, tt.want)
			}
			d.want(t, tt.main, tt.unit)
			want := "postfix reload|systemctl daemon-reload"
			switch {
			case tt.want != "":
				want = ""
			case tt.name == "the new file is gone already":
				want = "postfix reload"
			case tt.name == "the file was put back already":
				want = "systemctl daemon-reload"
			}
			if got := strings.Join(d.ran(t), "|"); got != want {
				t.Errorf("ran %s, want %s", got, want)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
