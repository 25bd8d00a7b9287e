package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/holdqueue"
)

// heldCommand runs "sekimori held" for the queue of the MTA of m.
func (m *mx) heldCommand(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), run.binary, append([]string{"held", "--config", m.config}, args...)...)
	switch queue := m.mta.(type) {
	case *postfix:
		cmd.Args = append(cmd.Args, "--config-dir", queue.etc)
	case *sendmail: // a script named "sendmail" adds the configuration of this Sendmail
		dir := t.TempDir()
		script := "#!/bin/sh\nexec " + sendmailProgram() + ` "$@" -C` + queue.cf + "\n"
		if err := os.WriteFile(filepath.Join(dir, "sendmail"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, "--mta", "sendmail")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	runIt := func() { _ = cmd.Run() } // no error check: the exit code is returned below
	if queue, ok := m.mta.(*sendmail); ok {
		queue.within(runIt)
	} else {
		runIt()
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// TestHeldCommand: the command lists a message that the daemon held. When the postmaster releases
// the message, it is delivered. When the postmaster drops it, it is deleted.
func TestHeldCommand(t *testing.T) { behindEach(t, plain, settings{}, testHeldCommand) }

func testHeldCommand(t *testing.T, m *mx) {
	hold := func(to string) string {
		id := m.post(t, spoofer, unique("@shop.example"), to, mail{from: "sale@shop.example"}.bytes()).accepted(t)
		m.mta.held(t, id)
		return id
	}
	to := recipient()
	released, dropped := hold(to), hold(recipient())
	for _, args := range [][]string{{"--json"}, {"--json", "--admin", "http://127.0.0.1:9"}} { // with and without a daemon that answers
		code, out := m.heldCommand(t, args...)
		var list holdqueue.List
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("%d, %v: %s", code, err, out)
		}
		seen := 0
		for _, h := range list.Messages {
			if h.QueueID != released && h.QueueID != dropped {
				continue
			}
			if seen++; h.HeldBy != holdqueue.Us || h.Reason != "dmarc_quarantine" || time.Since(h.Arrived).Abs() > time.Hour ||
				!strings.HasSuffix(h.Sender, "@shop.example") || len(h.Recipients) != 1 || h.Size == 0 {
				t.Errorf("%v: %+v", args, h)
			}
			// The daemon cannot be reached from Sendmail's network namespace.
			if _, ok := m.mta.(*postfix); (ok && len(args) == 1) != (h.AuthorDomain == "shop.example") {
				t.Errorf("%v: author domain %q", args, h.AuthorDomain)
			}
		}
		if seen != 2 {
			t.Errorf("%v: %d of 2 messages are listed:\n%s", args, seen, out)
		}
	}
	if code, out := m.heldCommand(t, "--drop", "4dNoSuchMessage01"); code != 1 || !strings.Contains(out, "is not on hold") {
		t.Errorf("a message that is not there: %d, %s", code, out)
	}
	if code, out := m.heldCommand(t, "--release", released); code != 0 || m.mta.holds(released) {
		t.Errorf("release: %d, %s", code, out)
	}
	run.inbox.wait(t, to).label(t).want(t, "spf=fail", "dmarc=fail header.from=shop.example")
	if code, out := m.heldCommand(t, "--drop", dropped); code != 0 || m.mta.holds(dropped) {
		t.Errorf("drop: %d, %s", code, out)
	}
	if code, out := m.heldCommand(t, "--release", dropped); code != 1 || !strings.Contains(out, "is not on hold") {
		t.Errorf("a message that was dropped: %d, %s", code, out)
	}
	if got := m.metric(t, "sekimori_messages_held_total"); got != 2 {
		t.Errorf("the daemon counts %g held messages", got)
	}
}

// TestHeldByOthers: a message that somebody other than the daemon put on hold is listed as held by
// others, and is released only with --force.
func TestHeldByOthers(t *testing.T) {
	s := shared(t)
	t.Parallel()
	sl := s.postfix.take(t, plain)
	serveWitness(t, sl)
	to := recipient()
	id := sl.post(t, bankMX, "a@bank.example", to, mail{from: "a@bank.example", subject: "hold me"}.bytes()).accepted(t)
	s.postfix.held(t, id)
	config, err := settings{}.write(s, sl)
	if err != nil {
		t.Fatal(err)
	}
	m := &mx{slot: sl, config: config}
	if _, out := m.heldCommand(t); !strings.Contains(out, id) || !strings.Contains(out, " other ") || !strings.Contains(out, "Could not look at") {
		t.Errorf("the list: %s", out)
	}
	if code, out := m.heldCommand(t, "--release", id); code != 1 || !strings.Contains(out, "--force") || !s.postfix.holds(id) {
		t.Errorf("without --force: %d, %s", code, out)
	}
	if code, out := m.heldCommand(t, "--release", id, "--force"); code != 0 {
		t.Errorf("with --force: %d, %s", code, out)
	}
	s.inbox.wait(t, to)
}
