package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/admin"
	"sekimori/internal/app"
	"sekimori/internal/recent"
	"sekimori/internal/status"
)

// answering answers at the admin address as a daemon does that has the given answers by path.
func answering(t *testing.T, answers map[string]func() any) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, answer := range answers {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			a := answer()
			if a == nil {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(a)
		})
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// sekimoriProcess starts a process of the name sekimori that ignores SIGHUP.
func sekimoriProcess(t *testing.T) int {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	program, err := os.ReadFile(sleep)
	path := filepath.Join(t.TempDir(), "sekimori")
	if err == nil {
		err = os.WriteFile(path, program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", "-c", `trap '' HUP; echo; exec "$0" 60`, path)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Process.Kill(), c.Wait() })
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for name := []byte(nil); !bytes.Equal(bytes.TrimSpace(name), []byte("sekimori")); { // until the shell has become it
		if name, err = os.ReadFile("/proc/" + strings.TrimSpace(strconv.Itoa(c.Process.Pid)) + "/comm"); err != nil {
			t.Fatal(err)
		}
	}
	return c.Process.Pid
}

// TestReloadOutcome asks a daemon for the outcome of a reload.
func TestReloadOutcome(t *testing.T) {
	pid := sekimoriProcess(t)
	since := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(tries int, good bool) any {
		return app.Running{PID: pid, Hash: "abc", Since: since, Reload: app.Reloading{Tries: tries, Successful: good, Error: map[bool]string{true: "", false: "c.yaml:1:1: wrong"}[good]}}
	}
	for name, tt := range map[string]struct {
		answers   []any // the last one again and again
		out, fail string
	}{
		"at once":             {[]any{at(1, true), at(2, true)}, "process PID runs the configuration abc since 2026-11-28T12:00:00Z\n", ""},
		"after a while":       {[]any{at(1, false), at(1, false), nil, at(2, true)}, "process PID runs the configuration abc since 2026-11-28T12:00:00Z\n", ""},
		"refused":             {[]any{at(1, true), at(2, false)}, "", "c.yaml:1:1: wrong"},
		"no outcome":          {[]any{at(1, true)}, "", "process PID does not say whether the reload succeeded; see its log"},
		"no daemon":           {[]any{nil}, "", "503"},
		"another program":     {[]any{app.Running{PID: os.Getpid()}}, "", "which is not sekimori"},
		"a process that ends": {[]any{app.Running{PID: 1 << 30}}, "", "no process 1073741824"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			client, err := admin.NewClient(answering(t, map[string]func() any{app.ConfigPath: func() any {
				return tt.answers[min(int(asked.Add(1)), len(tt.answers))-1]
			}}))
			if err != nil {
				t.Fatal(err)
			}
			limit := 30 * time.Second
			if name == "no outcome" {
				limit = 3 * reloadPoll
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var out bytes.Buffer
			err = reload(ctx, &out, client)
			says := func(text string) string { return strings.ReplaceAll(text, "PID", strconv.Itoa(pid)) }
			asked.Store(0)
			if lost := reload(ctx, &full{}, client); tt.out != "" && (lost == nil || lost.Error() != "no space left on device") {
				t.Errorf("with a full disk: %v", lost)
			}
			if out.String() != says(tt.out) || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), says(tt.fail)) {
				t.Errorf("%q, %v", out.String(), err)
			}
		})
	}
	client, err := admin.NewClient("http://192.0.2.1:8892")
	if err != nil {
		t.Fatal(err)
	}
	if err := reload(t.Context(), io.Discard, client); err == nil || !strings.Contains(err.Error(), "not on this host") {
		t.Errorf("another host: %v", err)
	}
}

// TestDaemonAnswers calls the commands that ask a daemon, also with a full disk for their output.
func TestDaemonAnswers(t *testing.T) {
	conf := file(t, "c.yaml", "authserv_id: mx.here.example\nmode: monitor\n")
	var hosts status.Hosts
	const same = "authserv_id: mx.here.example\nmode: monitor\n"
	running := app.Running{PID: 7, Version: "1.0", Hash: "abc", Config: same}
	url := answering(t, map[string]func() any{
		app.StatusPath: func() any { return status.Status{} }, app.HostsPath: func() any { return hosts },
		app.DecisionsPath: func() any { return recent.Answer{} }, app.ConfigPath: func() any { return running },
	})
	check := func(line string, code int, want string) {
		t.Helper()
		args := strings.Fields(line + " --admin " + url)
		got, stdout, stderr := command(t, args...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", line, got, code, want, stdout, stderr)
		}
		if stdout != "" {
			fillDisk(t, 4, args)
		}
	}
	check("status", 0, "sekimori")
	check("status --json", 0, `"mode"`)
	check("status --all", 0, "")
	check("status --all --json", 0, "{")
	check("decisions", 0, "No decision")
	check("decisions --json", 0, "{")
	check("config check --against-running "+conf, 0, "process 7 runs it (version 1.0, hash abc)")
	running.Config = "authserv_id: mx.there.example\nmode: monitor\n"
	check("config check --against-running "+conf, 0, "authserv_id: mx.there.example -> mx.here.example")
	check("config check --against-running "+conf, 0, "a reload brings all of it into effect")
	running.Config = same + "store: {url: 'sqlite:/nonexistent/db'}\n"
	check("config check --against-running "+conf, 1, "differs in 1 key(s):\n  store.url: sqlite:/nonexistent/db -> ")
	check("config check --against-running "+conf, 1, "a restart is needed for:\n  store: what was counted")
	running.Config = "lissten: []\n"
	check("config check --against-running "+conf, 1, "does not understand its configuration")
	hosts.Stale = 1
	check("status --all", 1, "")
	check("status --all --json", 1, "{")
	hosts.Stale, hosts.Twins = 0, 1
	check("status --all", 1, "")
}
