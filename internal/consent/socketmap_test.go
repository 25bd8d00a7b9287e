package consent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/policy"
)

func TestSocketmap(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		s := serve(t, network,
			table(map[string]string{"in@example.jp": "OK in", "out@example.jp": "OK Out ", "file@example.jp": "OK in", "we ird@example.jp": "OK out"}))
		d, seen := open(t, Options{Socketmap: s.target(), File: write(t, "", "file@example.jp"), CacheTTL: time.Hour})
		for range 2 { // the second round is answered from the cache
			for typed, want := range map[string]policy.Class{
				"<IN@Example.jp>": policy.In, "<out@example.jp>": policy.Out, "<nobody@example.jp>": policy.In,
				"<file@example.jp>": policy.Out, `<"we ird"@example.jp>`: policy.Out,
			} {
				if got := d.Lookup(t.Context(), typed, ""); got != want {
					t.Errorf("%s: %s, want %s", typed, got, want)
				}
			}
		}
		want := map[string]int{"socketmap in": 1, "socketmap out": 2, "default in": 1, "cache in": 2, "cache out": 2, "file out": 2}
		if !maps.Equal(seen.counts, want) {
			t.Errorf("counted %v, want %v", seen.counts, want)
		}
		if q := s.asked(); len(q) != 4 || !strings.HasPrefix(q[0], "consent ") {
			t.Errorf("asked %q", q)
		}
		if n := s.connections(); n > maxConnections {
			t.Errorf("%d connections", n)
		}
		if _, ok := d.Known("<new@example.jp>", ""); ok {
			t.Error("known without having been asked for")
		}
	}
}

// TestSocketmapFails checks that a recipient counts as opted out if the
// server's answer is a failure or cannot be parsed, and that the next lookup
// asks the server again.
func TestSocketmapFails(t *testing.T) {
	for _, tt := range []struct{ reason, answer string }{
		{"TEMP", netstring("TEMP database is away")},
		{"TIMEOUT", netstring("TIMEOUT ")},
		{"PERM", netstring("PERM no such map")},
		{"a word that is none", netstring("OK maybe")},
		{"no word", netstring("OK ")},
		{"an unknown status", netstring("YES in")},
		{"nothing", netstring("")},
		{"no netstring", "OK in\n"},
		{"a length without an end", "999999999999999999999:"},
		{"a long length", "99999:x"},
		{"over the limit", netstring("OK " + strings.Repeat("in", maxReply/2))},
		{"a negative length", "-1:,"},
		{"a leading zero", "05:OK in,"},
		{"no comma", "5:OK in;"},
		{"two answers", netstring("OK in") + netstring("OK in")},
		{"an octet more", netstring("OK in") + "1"},
		{"a hang-up", ""},
	} {
		s := serve(t, "tcp", func(string) string { return tt.answer })
		d, seen := open(t, Options{Socketmap: s.target(), CacheTTL: time.Hour})
		for n := range 2 {
			if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out || seen.counts["socketmap failed"] != n+1 {
				t.Errorf("%s: %s, counted %v", tt.reason, got, seen.counts)
			}
		}
		if seen.panics != 0 {
			t.Errorf("%s: %d panics", tt.reason, seen.panics)
		}
	}
}

func TestSocketmapSilent(t *testing.T) {
	block := make(chan struct{})
	s := serve(t, "tcp", func(string) string { <-block; return "" })
	t.Cleanup(func() { close(block) }) // cleanups run in reverse order, so the server is released before its own cleanup waits for it
	d, seen := open(t, Options{Socketmap: s.target(), Timeout: 20 * time.Millisecond})
	for range maxSilent + 1 {
		if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out {
			t.Errorf("got %s", got)
		}
	}
	if seen.counts["socketmap failed"] != maxSilent+1 || len(s.asked()) > maxSilent {
		t.Errorf("asked %d times, counted %v: a server that is not there is left alone", len(s.asked()), seen.counts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := d.Lookup(ctx, "<a@b.example>", ""); got != policy.Out {
		t.Errorf("an abandoned message: %s", got)
	}
}

// TestPause checks that a pause ends after its time, and that one further
// lookup without an answer does not begin another pause.
func TestPause(t *testing.T) {
	m := newSocketmap(Target{}, time.Second, slog.New(slog.DiscardHandler))
	for range maxSilent {
		m.note(false, errNetstring)
	}
	if m.admit() == nil {
		t.Error("no pause")
	}
	m.paused = time.Now().Add(-time.Nanosecond)
	if err := m.admit(); err != nil {
		t.Error(err)
	}
	m.note(true, nil)
	m.note(false, errNetstring)
	if err := m.admit(); err != nil {
		t.Errorf("one lookup without an answer: %v", err)
	}
}

// TestWarningsAreBounded checks that lookups that alternately fail and succeed
// do not fill the log, and that a lasting failure is logged again when sayAfter
// has passed.
func TestWarningsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := newSocketmap(Target{}, time.Second, slog.New(slog.NewTextHandler(&log, nil)))
		told := func(what string) int { return strings.Count(log.String(), what) }
		for range 1000 {
			m.note(true, errNetstring)
			m.note(true, nil)
		}
		if w, i := told("level=WARN"), told("level=INFO"); w != 1 || i != 1 {
			t.Errorf("%d warnings, %d that it is over", w, i)
		}
		m.note(true, errNetstring)
		time.Sleep(sayAfter)
		for range 3 {
			m.note(true, errNetstring)
		}
		if w, i := told("level=WARN"), told("level=INFO"); w != 2 || i != 1 {
			t.Errorf("a minute later: %d warnings, %d that it is over", w, i)
		}
	})
}

// TestBusy checks that lookups that fail because all connections are busy do
// not lead to a pause.
func TestBusy(t *testing.T) {
	m := newSocketmap(Target{Network: "unix", Address: "/nowhere"}, time.Millisecond, slog.New(slog.DiscardHandler))
	for range maxConnections {
		<-m.slots
	}
	for range 2 * maxSilent {
		if _, _, err := m.lookup(t.Context(), "a@b.example"); !errors.Is(err, errBusy) {
			t.Fatal(err)
		}
	}
	if err := m.admit(); err != nil {
		t.Errorf("a full queue: %v", err)
	}
}

// TestReconnect checks that no lookup fails because the server closed the idle
// connections.
func TestReconnect(t *testing.T) {
	s := serve(t, "tcp", says("OK in"))
	d, seen := open(t, Options{Socketmap: s.target(), Default: policy.Out})
	for range 3 * maxConnections {
		if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.In {
			t.Fatalf("got %s, counted %v", got, seen.counts)
		}
		s.hangUp()
	}
}

// TestNoSecondQuestion checks that a server which answers something else than a netstring is not asked the
// same again.
func TestNoSecondQuestion(t *testing.T) {
	var broken atomic.Bool
	s := serve(t, "tcp", func(string) string {
		if broken.Load() {
			return "OK in\n"
		}
		return netstring("OK in")
	})
	d, _ := open(t, Options{Socketmap: s.target()})
	for range maxConnections { // from now on connections are used again
		d.Lookup(t.Context(), "<a@b.example>", "")
	}
	broken.Store(true)
	if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out || len(s.asked()) != maxConnections+1 {
		t.Errorf("%s after %d questions", got, len(s.asked()))
	}
}

// TestCloseDuringLookup checks that a lookup which is under way at close leaves no connection open, whether it
// succeeds or fails.
func TestCloseDuringLookup(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   policy.Class
	}{{netstring("OK in"), policy.In}, {"", policy.Out}} {
		asked, goOn := make(chan struct{}), make(chan struct{})
		s := serve(t, "tcp", func(string) string {
			close(asked)
			<-goOn
			return tt.answer
		})
		d, seen := open(t, Options{Socketmap: s.target()})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != tt.want {
				t.Errorf("%q: %s", tt.answer, got)
			}
		})
		<-asked
		d.Close()
		close(goOn)
		wg.Wait()
		for range maxConnections {
			if c := <-d.ask.slots; c != nil {
				t.Errorf("%q: a connection stays open", tt.answer)
			}
		}
		for range maxConnections { // for the second Close, at the end of the test
			d.ask.slots <- nil
		}
		if seen.panics != 0 {
			t.Errorf("%q: %d panics", tt.answer, seen.panics)
		}
	}
}

// TestConcurrent checks that each of many concurrent lookups gets the answer to
// its own question, and that there are at most maxConnections connections.
func TestConcurrent(t *testing.T) {
	s := serve(t, "unix", func(q string) string {
		if strings.Contains(q, "out") {
			return netstring("OK out")
		}
		return netstring("OK in")
	})
	d, _ := open(t, Options{Socketmap: s.target()})
	var wg sync.WaitGroup
	for i := range 64 {
		typed, want := "<in@b.example>", policy.In
		if i%2 == 0 {
			typed, want = "<out@b.example>", policy.Out
		}
		wg.Go(func() {
			for range 20 {
				if got := d.Lookup(t.Context(), typed, ""); got != want {
					t.Errorf("%s: %s", typed, got)
				}
			}
		})
	}
	wg.Wait()
	if n := s.connections(); n > maxConnections {
		t.Errorf("%d connections at a time", n)
	}
}

// TestLogNamesNobody checks that the log does not show the address that a
// server repeats in its answer.
func TestLogNamesNobody(t *testing.T) {
	for _, answer := range []string{"PERM no user <Taro@example.jp> here", "OK taro@example.jp"} {
		var log strings.Builder
		s := serve(t, "tcp", says(answer))
		d, _ := open(t, Options{Socketmap: s.target(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		d.Lookup(t.Context(), "<taro@example.jp>", "")
		if got := strings.ToLower(log.String()); !strings.Contains(got, "***") || strings.Contains(got, "taro") {
			t.Errorf("logged %s", got)
		}
	}
}

// TestNoInjection checks that an address with the characters of a netstring is
// sent as part of one question.
func TestNoInjection(t *testing.T) {
	s := serve(t, "tcp", says("NOTFOUND "))
	d, _ := open(t, Options{Socketmap: s.target(), Default: policy.Out})
	d.Lookup(t.Context(), `<"x,7:a b@c.d,"@b.example>`, "")
	if q := s.asked(); len(q) != 1 || q[0] != "consent x,7:a b@c.d,@b.example" {
		t.Errorf("asked %q", q)
	}
}

func TestParseSocketmap(t *testing.T) {
	for in, want := range map[string]Target{
		"unix:/run/map.sock:consent": {"unix", "/run/map.sock", "consent"},
		"unix:/run/a:b:consent":      {"unix", "/run/a:b", "consent"},
		"unix:/:x":                   {"unix", "/", "x"},
		"inet:localhost:9999:x":      {"tcp", "localhost:9999", "x"},
		"inet:[::1]:9999:x":          {"tcp", "[::1]:9999", "x"},
	} {
		if got, err := ParseSocketmap(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "unix:", "unix:/x", "unix:/x:", "unix:x:y", "inet:x:y", "inet::9:y", "inet:h::y", "hash:/x:y", "unix:/x:a b", "unix::x"} {
		if got, err := ParseSocketmap(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
