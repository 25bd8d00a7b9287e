package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// spoof returns an unauthenticated message whose From is a domain with p=reject.
func spoof() []byte { return mail{from: "Your bank <info@bank.example>"}.bytes() }

// optedOut is the comment on the dmarc result in our label when a message made by spoof goes to a
// recipient who opted out.
const optedOut = "opted out, would reject: dmarc_reject, spoofing: author_spf_fail"

// list writes a file for policy.recipients with the given addresses, and returns its path.
func list(t *testing.T, entries ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "opted-out")
	if err := os.WriteFile(path, []byte("# for the test\n"+strings.Join(entries, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hand sends one message to several recipients. It fails the test if there is no reply.
func (c *session) hand(t *testing.T, from string, to []string, message []byte) reply {
	t.Helper()
	r, err := c.send(from, to, message)
	if err != nil {
		t.Fatalf("SMTP: %v", err)
	}
	return r
}

// comment returns the comment of the label's dmarc result.
func (l label) comment(t *testing.T) string {
	t.Helper()
	r := l.of("dmarc")
	if len(r) != 1 {
		t.Fatalf("%d dmarc results", len(r))
	}
	return strings.Join(r[0].comments, "|")
}

// TestConsentLenient: if some recipients of a message agreed and some opted out, all get the milder
// verdict, and the label says what each of the two groups would have got on its own.
func TestConsentLenient(t *testing.T) {
	shared(t)
	t.Parallel()
	in, out, out2, bang := recipient(), recipient(), recipient(), recipient()
	m := newMX(t, plain, settings{"policy": fmt.Sprintf("{recipients: {file: %q}}", list(t, strings.ToUpper(out), out2, bang))})

	r := m.open(t, spoofer).hand(t, unique("@bank.example"), []string{in, out}, spoof())
	id := r.accepted(t)
	const want = "mixed recipients: reject where consented, tag where opted out, tag for all: dmarc_reject, spoofing: author_spf_fail"
	for _, to := range []string{in, out} {
		l := run.inbox.wait(t, to).label(t)
		l.want(t, "dmarc=fail header.from=bank.example policy.dmarc=reject")
		if got := l.comment(t); got != want {
			t.Errorf("%s: label says %q, want %q", to, got, want)
		}
	}
	m.evaluated(t, "queue_id", id).want(t, "verdict", "tag", "applied", "tag", "would", "reject", "reason", "dmarc_reject",
		"disposition", "none", "override", "local_policy", "consent_in", "1", "consent_out", "1")

	c := m.open(t, spoofer)
	if r := c.hand(t, unique("@bank.example"), []string{in}, spoof()); r.code != 550 {
		t.Errorf("those who agreed: %s", r)
	}
	// The next message of the connection is not affected by the message before it.
	c.hand(t, unique("@bank.example"), []string{out2}, spoof()).accepted(t)
	if got := run.inbox.wait(t, out2).label(t).comment(t); got != optedOut {
		t.Errorf("opted out: %q", got)
	}
	// Postfix rewrites the address domain!user to user@domain, and tells the milter the rewritten
	// address too.
	user, domain, _ := strings.Cut(bang, "@")
	c.hand(t, unique("@bank.example"), []string{domain + "!" + user}, spoof()).accepted(t)
	eventually(t, "a delivery to "+bang, func() bool { return len(run.inbox.to(t, domain+"!"+user))+len(run.inbox.to(t, bang)) > 0 })
	for series, want := range map[string]float64{
		`sekimori_consent_mixed_total`: 1, `sekimori_consent_lookups_total{result="out",source="file"}`: 3,
		`sekimori_consent_lookups_total{result="in",source="default"}`: 2, `sekimori_stage_duration_seconds_count{stage="consent"}`: 4,
		`sekimori_map_last_reload_successful{map="recipients"}`: 1,
	} {
		if got := m.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// TestConsentSplit: the daemon separates recipients who agreed from recipients who opted out by
// replying 452 to RCPT. The client sends the message again to the recipients that got 452. Each
// group gets its own verdict.
func TestConsentSplit(t *testing.T) {
	shared(t)
	t.Parallel()
	in, out, out2 := recipient(), recipient(), recipient()
	m := newMX(t, plain, settings{"policy": fmt.Sprintf("{recipients: {file: %q, mixed: split}}", list(t, out, out2))})
	c := m.open(t, bankMX)
	rcpt := func(to string) reply {
		t.Helper()
		r, err := c.cmd("RCPT TO:<%s>", to)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// deliver sends one message to all addresses in to. It returns the recipients that got 452, to
	// which an MTA would send the message again later, and the reply after the message.
	deliver := func(message []byte, to ...string) (refused []string, last reply) {
		t.Helper()
		if r, err := c.cmd("MAIL FROM:<%s>", unique("@bank.example")); err != nil || r.code != 250 {
			t.Fatal(r, err)
		}
		for _, a := range to {
			if r := rcpt(a); r.code == 452 && strings.HasPrefix(r.text, "4.5.3 ") {
				refused = append(refused, a)
			} else if r.code != 250 {
				t.Fatalf("%s: %s", a, r)
			}
		}
		if r, err := c.cmd("DATA"); err != nil || r.code != 354 {
			t.Fatal(r, err)
		}
		last, err := c.content(message)
		if err != nil {
			t.Fatal(err)
		}
		return refused, last
	}
	again, r := deliver(mail{from: "info@bank.example"}.bytes(), out, in, out2)
	r.accepted(t)
	if len(again) != 1 || again[0] != in {
		t.Fatalf("to be sent again: %v, want %s", again, in)
	}
	if again, r = deliver(mail{from: "info@bank.example"}.bytes(), again...); len(again) != 0 {
		t.Fatalf("still to be sent again: %v", again)
	}
	r.accepted(t)
	for _, to := range []string{in, out, out2} {
		run.inbox.wait(t, to).label(t).want(t, "dmarc=pass")
	}

	// The recipients who agreed and those who opted out get different verdicts.
	again, r = deliver(mail{from: "letter@news.example"}.bytes(), in, out)
	if r.code != 550 || len(again) != 1 || again[0] != out {
		t.Errorf("those who agreed: %s, to be sent again %v", r, again)
	}
	_, r = deliver(mail{from: "letter@news.example"}.bytes(), again...)
	r.accepted(t)

	// After RSET the first recipient of the next message may belong to the other group.
	for _, cmd := range []string{"MAIL FROM:<a@bank.example>", "RCPT TO:<" + out + ">", "RSET", "MAIL FROM:<a@bank.example>", "RCPT TO:<" + in + ">", "RSET"} {
		if r, err := c.cmd("%s", cmd); err != nil || r.code != 250 {
			t.Fatalf("%s: %s, %v", cmd, r, err)
		}
	}
	// The daemon never replies 452 to clients of a trusted network.
	inner := m.open(t, inside)
	inner.hand(t, unique("@bank.example"), []string{out2, in}, spoof()).accepted(t)
	if got := m.metric(t, `sekimori_consent_mixed_total`); got != 0 {
		t.Errorf("%v mixed messages", got)
	}
}

// socketmap is a server for Postfix's socketmap protocol (socketmap_table(5)). It takes its answers
// from a Go map and notes every question.
type socketmap struct {
	ln net.Listener
	wg sync.WaitGroup

	mu        sync.Mutex
	answers   map[string]string
	conns     []net.Conn
	questions []string
}

func serveSocketmap(t *testing.T, answers map[string]string) *socketmap {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "map"))
	if err != nil {
		t.Fatal(err)
	}
	s := &socketmap{ln: ln, answers: answers}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.talk(c) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *socketmap) stop() {
	_ = s.ln.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *socketmap) talk(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "%d:", &n); err != nil {
			return
		}
		text := make([]byte, n+1)
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		s.mu.Lock()
		question := string(text[:n])
		s.questions = append(s.questions, question)
		answer, ok := s.answers[strings.TrimPrefix(question, "consent ")]
		s.mu.Unlock()
		if !ok {
			answer = "NOTFOUND "
		}
		if _, err := fmt.Fprintf(c, "%d:%s,", len(answer), answer); err != nil {
			return
		}
	}
}

// TestConsentSocketmap: the answer of the socketmap decides whether a recipient agreed. The
// question contains the address as Postfix writes it, in lower case. If the map answers TEMP or
// does not answer, the recipient counts as opted out (default: out).
func TestConsentSocketmap(t *testing.T) {
	shared(t)
	t.Parallel()
	in, out, odd, late := recipient(), recipient(), recipient(), recipient()
	sm := serveSocketmap(t, map[string]string{in: "OK in", out: "OK out", odd: "TEMP the database is away", late: "OK in"})
	m := newMX(t, plain, settings{"policy": fmt.Sprintf("{recipients: {default: out, socketmap: %q}}", "unix:"+sm.ln.Addr().String()+":consent")})

	typed := strings.ToUpper(in) // in capitals; the daemon asks the socketmap in lower case
	if r := m.open(t, spoofer).hand(t, unique("@bank.example"), []string{typed}, spoof()); r.code != 550 {
		t.Errorf("who agreed: %s", r)
	}
	for to, want := range map[string]string{out: optedOut, odd: optedOut, recipient(): optedOut} {
		m.open(t, spoofer).hand(t, unique("@bank.example"), []string{to}, spoof()).accepted(t)
		if got := run.inbox.wait(t, to).label(t).comment(t); got != want {
			t.Errorf("%s: %q", to, got)
		}
	}
	sm.mu.Lock()
	if len(sm.questions) != 4 || sm.questions[0] != "consent "+in {
		t.Errorf("the map was asked %q", sm.questions)
	}
	sm.mu.Unlock()

	sm.stop()
	m.open(t, spoofer).hand(t, unique("@bank.example"), []string{late}, spoof()).accepted(t)
	if got := run.inbox.wait(t, late).label(t).comment(t); got != optedOut {
		t.Errorf("without the map: %q", got)
	}
	// The answer of the map for this recipient is still in the daemon's cache.
	if r := m.open(t, spoofer).hand(t, unique("@bank.example"), []string{in}, spoof()); r.code != 550 {
		t.Errorf("who agreed a moment ago: %s", r)
	}
	for series, want := range map[string]float64{
		`sekimori_consent_lookups_total{result="failed",source="socketmap"}`: 2,
		`sekimori_consent_lookups_total{result="in",source="cache"}`:         1,
		`sekimori_consent_lookups_total{result="out",source="default"}`:      1,
	} {
		if got := m.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}

// TestConsentReload: after SIGHUP the daemon reads the list again. If the new list has a mistake,
// the daemon logs the line of the mistake and keeps using the old list.
func TestConsentReload(t *testing.T) {
	shared(t)
	t.Parallel()
	early, late := recipient(), recipient()
	path := list(t, early)
	m := newMX(t, plain, settings{"policy": fmt.Sprintf("{recipients: {file: %q}}", path)})
	change := func(text string, want float64) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m.current().signal(syscall.SIGHUP)
		eventually(t, "the list is read again", func() bool {
			return m.metric(t, `sekimori_map_last_reload_successful{map="recipients"}`) == want
		})
	}
	change(late+"\nnobody\n", 0)
	eventually(t, "the log names the line", func() bool { return m.log.contains(path + `:2: \"nobody\" is neither an address`) })
	if r := m.open(t, spoofer).hand(t, unique("@bank.example"), []string{late}, spoof()); r.code != 550 {
		t.Errorf("who is on the broken list: %s", r)
	}
	m.open(t, spoofer).hand(t, unique("@bank.example"), []string{early}, spoof()).accepted(t)
	change(late+"\n", 1)
	eventually(t, "the new list is in use", func() bool {
		return m.open(t, spoofer).hand(t, unique("@bank.example"), []string{early}, spoof()).code == 550
	})
	m.open(t, spoofer).hand(t, unique("@bank.example"), []string{late}, spoof()).accepted(t)
}

// TestConsentSpelling: a recipient who agreed is recognised in every spelling of the address that
// Postfix accepts.
func TestConsentSpelling(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{"policy": fmt.Sprintf("{recipients: {file: %q}}", list(t, recipient()))})
	user, domain, _ := strings.Cut(recipient(), "@")
	c := m.open(t, spoofer)
	for _, spelling := range []string{"%s+\x01@%s", `"%s+` + "\x7f" + `"@%s`, "%s+(x)@%s", `"%s+,"@%s`, `"%s+\""@%s`, "%s+ @%s", `""@%[2]s`, "@%[2]s"} {
		to := fmt.Sprintf(spelling, user, domain)
		if r := c.hand(t, unique("@bank.example"), []string{to}, spoof()); r.code != 550 || !strings.Contains(r.text, "DMARC") {
			t.Errorf("%q: %s, want 550", to, r)
		}
	}
}
