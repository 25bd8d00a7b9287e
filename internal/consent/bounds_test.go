package consent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/policy"
)

// TestFileBounds checks the limits of a list at their edges.
func TestFileBounds(t *testing.T) {
	const address = "a@b.example"
	padded := func(octets int) string { return address + strings.Repeat(" ", octets-len(address)) }
	file := func(octets int64) io.Reader { return io.LimitReader(&endless{}, octets) }
	for _, tt := range []struct {
		why  string
		list io.Reader
		want string // part of the error, "" for none
	}{
		{"the longest line", strings.NewReader(padded(maxListLine) + "\r\n"), ""},
		{"the longest line at the end", strings.NewReader(padded(maxListLine)), ""},
		{"a longer line", strings.NewReader(padded(maxListLine+2) + "\n"), ":1: the line is longer than 1024 octets"},
		{"a longer line later", strings.NewReader("\n\n" + padded(maxListLine+2) + "\n"), ":3: the line is longer than 1024 octets"},
		{"the largest file", file(maxListFile), ""},
		{"a larger file", file(maxListFile + 1), "the file is larger than 64 MiB"},
		{"a file that cannot be read to its end", io.MultiReader(strings.NewReader(address+"\n"), broken{}), "broken off"},
	} {
		got, err := parseList("x", tt.list)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.why, err)
		}
		if (got != nil) != (err == nil) {
			t.Errorf("%s: a list and an error", tt.why)
		}
	}
}

// TestJoinedFiles checks that an address is found although a file that begins with a byte order mark was
// appended to another: the recipient would otherwise have opted out in vain.
func TestJoinedFiles(t *testing.T) {
	l, err := parseList("x", strings.NewReader("\ufeffa@b.example\n\ufeffc@b.example\r\n\ufeff# comment\n\ufeff\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{"<a@b.example>", "<c@b.example>"} {
		if r, ok := parse(typed, ""); !ok || !l.has(r) || len(l.entries) != 2 {
			t.Errorf("%s: not among %v", typed, l.entries)
		}
	}
}

// broken is a reader that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

var errBroken = errString("broken off")

type errString string

func (e errString) Error() string { return string(e) }

// TestNetstringBounds checks which answers are read: every length up to the
// limit, written in its only form.
func TestNetstringBounds(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int // the length of the text, -1 for an error
	}{
		{netstring(""), 0},
		{netstring("x"), 1},
		{netstring(strings.Repeat("x", 9)), 9},
		{netstring(strings.Repeat("x", 10)), 10},
		{netstring(strings.Repeat("x", maxReply-1)), maxReply - 1},
		{netstring(strings.Repeat("x", maxReply)), maxReply},
		{netstring(strings.Repeat("x", maxReply+1)), -1},
		{netstring(strings.Repeat("x", 9999)), -1},
		{netstring(strings.Repeat("x", 10000)), -1},
		{"00:,", -1},
		{"01:x,", -1},
		{":,", -1},
		{"/:,", -1}, // the octet before 0
		{"::,", -1}, // the octet after 9
		{"1;x,", -1},
		{"18446744073709551621:OK in,", -1}, // 5, if the length overflows
		{"1:xx", -1},
	} {
		got, err := readNetstring(bufio.NewReader(strings.NewReader(tt.in)))
		if (err != nil) != (tt.want < 0) || err == nil && len(got) != tt.want {
			t.Errorf("%.12q (%d octets): %d octets, %v", tt.in, len(tt.in), len(got), err)
		}
	}
	whole := netstring("OK in")
	for n := range whole {
		if got, err := readNetstring(bufio.NewReader(strings.NewReader(whole[:n]))); err == nil {
			t.Errorf("%q was read of %q", got, whole[:n])
		}
	}
}

// TestPauseBounds checks after how many lookups without an answer the pause
// begins, and when it ends.
func TestPauseBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSocketmap(Target{}, time.Second, slog.New(slog.DiscardHandler))
		for n := 1; n <= maxSilent; n++ {
			if err := m.admit(); err != nil {
				t.Errorf("after %d without an answer: %v", n-1, err)
			}
			m.note(false, errNetstring)
		}
		for _, step := range []struct {
			wait time.Duration
			want error
		}{{0, errPaused}, {pauseAfter - 1, errPaused}, {1, nil}} {
			time.Sleep(step.wait)
			if err := m.admit(); !errors.Is(err, step.want) {
				t.Errorf("%v later: %v, want %v", step.wait, err, step.want)
			}
		}
		m.note(false, errNetstring) // still no answer, so the next pause begins at once
		if err := m.admit(); !errors.Is(err, errPaused) {
			t.Errorf("after the pause: %v", err)
		}
		m.close()
		if err := m.admit(); !errors.Is(err, errClosed) {
			t.Errorf("closed during a pause: %v", err)
		}
	})
}

// TestCacheEnds checks that an answer is used until its time is over, and that
// nothing is kept without a time.
func TestCacheEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ttl, want := range map[time.Duration][]bool{time.Minute: {true, true, false}, 0: {false, false, false}, -1: {false, false, false}} {
			c, err := newCache(ttl)
			if err != nil {
				t.Fatal(err)
			}
			c.put("a", policy.In)
			for i, wait := range []time.Duration{0, time.Minute - 1, 1} {
				time.Sleep(wait)
				if class, ok := c.get("a"); ok != want[i] || ok && class != policy.In {
					t.Errorf("ttl %v, step %d: %q, %t", ttl, i, class, ok)
				}
			}
		}
	})
}

// TestServerAway checks that a server that is not there makes every recipient
// opt out, and is told of once.
func TestServerAway(t *testing.T) {
	var log strings.Builder
	d, seen := open(t, Options{Socketmap: "unix:" + t.TempDir() + "/nobody:consent", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 * maxSilent {
		if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out {
			t.Errorf("got %s", got)
		}
	}
	if seen.panics != 0 || seen.counts["socketmap failed"] != 2*maxSilent {
		t.Errorf("%d panics, counted %v", seen.panics, seen.counts)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "socketmap=consent") {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
	if err := d.ask.admit(); !errors.Is(err, errPaused) || !strings.Contains(log.String(), "no such file") {
		t.Errorf("%v, logged %s", err, log.String())
	}
	if len(d.ask.slots) != maxConnections {
		t.Errorf("%d connections are free", len(d.ask.slots))
	}
}

// TestAbortedMessages checks that messages that end while the server is being
// asked count neither as its silence nor as a failure of the lookup.
func TestAbortedMessages(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s := serve(t, "unix", func(string) string {
		asked <- struct{}{}
		<-answer
		return netstring("OK in")
	})
	var log strings.Builder
	d, _ := open(t, Options{Socketmap: s.target(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 * maxSilent {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		if got := d.Lookup(ctx, "<a@b.example>", ""); got != policy.Out {
			t.Errorf("an aborted message: %s", got)
		}
	}
	close(answer)
	go func() { <-asked }()
	if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.In || log.Len() != 0 {
		t.Errorf("the next message: %s, logged %q", got, log.String())
	}
}

// TestParse checks the key and the domain of recipients of every form.
func TestParse(t *testing.T) {
	for typed, want := range map[string]recipient{
		"<Taro@Example.JP>":    {"taro@example.jp", "@example.jp"},
		"<Postmaster>":         {"postmaster", ""},
		"<taro@[192.0.2.1]>":   {"taro@[192.0.2.1]", "@[192.0.2.1]"},
		"<taro@[IPv6:::1]>":    {"taro@[ipv6:::1]", "@[ipv6:::1]"},
		"<@example.jp>":        {"@example.jp", "@example.jp"},
		"<taro@x.example.jp.>": {"taro@x.example.jp", "@x.example.jp"},
	} {
		if got, ok := parse(typed, ""); !ok || got != want {
			t.Errorf("%s: %+v, %t, want %+v", typed, got, ok, want)
		}
	}
	for _, typed := range []string{"", "<>", `""`, `<"">`, "<@>", `<""@[192.0.2.1]>`, "<a@b", "<a@b.example>x"} {
		if got, ok := parse(typed, ""); ok {
			t.Errorf("%s is taken for %+v", typed, got)
		}
	}
}

// TestComments checks where a comment begins in a list.
func TestComments(t *testing.T) {
	for line, want := range map[string]string{
		"#": "", "# x": "", " #": "", "\t#": "", "a@b.example #": "a@b.example", "a@b.example\t#": "a@b.example", "a@b.example\t# x # y": "a@b.example",
		"a#b@c.example": "a#b@c.example", "a#b@c.example #": "a#b@c.example", "@b.example\t#x": "@b.example",
	} {
		if got, err := parseEntry(line); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"a@b.example#", "a#\tb@c.example", "a# b@c.example"} {
		if got, err := parseEntry(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// wired is a connection of which a test plays both ends.
type wired struct {
	net.Conn
	write    error
	answer   string
	reads    func()
	deadline chan time.Time
}

func (w *wired) Write(p []byte) (int, error) { return len(p), w.write }

func (w *wired) Read(p []byte) (int, error) {
	w.reads()
	return copy(p, w.answer), nil
}

func (w *wired) SetDeadline(t time.Time) error {
	w.deadline <- t
	return nil
}

// TestRoundTripFails checks that an answer does not count if its question could not be sent, and not if the
// message ended while it came: the connection cannot be used again then.
func TestRoundTripFails(t *testing.T) {
	for _, tt := range []struct {
		why    string
		write  error
		cancel bool
		want   error
	}{
		{"an answer", nil, false, nil},
		{"the question was not sent", errBroken, false, errBroken},
		{"the message ended", nil, true, context.Canceled},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		w := &wired{write: tt.write, answer: netstring("OK in"), deadline: make(chan time.Time, 2)}
		w.reads = func() {
			if tt.cancel {
				<-w.deadline
				cancel()
				<-w.deadline // set in another goroutine
			}
		}
		reply, err := (&conn{w, bufio.NewReader(w)}).roundTrip(ctx, "consent a@b.example")
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || err == nil && reply != "OK in" {
			t.Errorf("%s: %q, %v", tt.why, reply, err)
		}
		cancel()
	}
}

// TestNewRefuses checks that a socketmap that cannot be one is an error at once.
func TestNewRefuses(t *testing.T) {
	if d, err := New(Options{Socketmap: "hash:/etc/map"}); err == nil {
		t.Errorf("%+v", d)
	}
}

// TestNobodyListens checks that a Directory works without the functions that may be nil, also if a lookup panics.
func TestNobodyListens(t *testing.T) {
	s := serve(t, "tcp", says("OK out"))
	d, err := New(Options{Default: policy.In, File: write(t, "", "listed@b.example\n"), Socketmap: s.target(), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	for typed, want := range map[string]policy.Class{"<listed@b.example>": policy.Out, "<a@b.example>": policy.Out, "<>": policy.Out} {
		if got := d.Lookup(t.Context(), typed, ""); got != want {
			t.Errorf("%s: %s", typed, got)
		}
	}
	if got := (&Directory{ask: &socketmap{}}).Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out { // it has no cache
		t.Errorf("a panic: %s", got)
	}
}

// TestOther checks the class of the recipients that the file lists.
func TestOther(t *testing.T) {
	for class, want := range map[policy.Class]policy.Class{policy.In: policy.Out, policy.Out: policy.In} {
		if got := other(class); got != want {
			t.Errorf("%s: %s", class, got)
		}
	}
}

// TestReplies checks what each answer of a server means.
func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		reply string
		class policy.Class
		found bool
		says  string // part of the error
	}{
		{"OK in", policy.In, true, ""},
		{"OK  OUT ", policy.Out, true, ""},
		{"NOTFOUND ", "", false, ""},
		{"NOTFOUND", "", false, ""},
		{"notfound ", "", false, `answers "notfound"`},
		{"OK", "", false, `answers "OK"; write "OK in" or "OK out"`},
		{"OK inn", "", false, `answers "OK inn"; write`},
		{"ok in", "", false, `answers "ok in"`},
		{"TEMP a@b.example is away", "", false, `answers "TEMP *** is away"`},
		{"PERM " + strings.Repeat("x", 2*quotedLen), "", false, `answers "PERM ` + strings.Repeat("x", quotedLen-len("PERM ")) + "..."},
	} {
		class, found, err := parseReply(tt.reply)
		if class != tt.class || found != tt.found || (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %s, %t, %v", tt.reply, class, found, err)
		}
	}
}
