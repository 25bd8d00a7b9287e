package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// journalFile returns a file that isJournal accepts as the stream of the journal.
func journalFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var st syscall.Stat_t
	if err := syscall.Stat(f.Name(), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	return f
}

// TestJournalPriorities checks that each record in the journal begins with the prefix of
// its level, and that records in another file have no prefix.
func TestJournalPriorities(t *testing.T) {
	journal := journalFile(t)
	elsewhere, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, format := range []string{"json", "text"} {
		for _, file := range []*os.File{journal, elsewhere} {
			w := NewLogWriter(file)
			log, err := NewLogger(w, format, "debug")
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("d")
			log.With("with", 1).Info("i")
			log.WithGroup("g").Warn("w", "key", 1)
			log.Error("e")
			log.Log(t.Context(), slog.LevelError+4, "worse")
			Records{Log: log}.Decided(&judge.Decision{Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
			Records{Log: log}.Decided(&judge.Decision{Envelope: msgauth.Envelope{QueueID: "\"odd\x01"}, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = file.Seek(0, io.SeekStart)
			_ = file.Truncate(0)
			got := ""
			for line := range strings.Lines(string(text)) {
				got += line[:strings.IndexAny(line, "{t")] + " "
			}
			want := strings.Repeat(" ", 7)
			if file == journal {
				want = "<7> <6> <4> <3> <3> <6> <6> "
			}
			if got != want {
				t.Errorf("%s, journal %v: priorities %q, want %q:\n%s", format, file == journal, got, want, text)
			}
		}
	}
	w := NewLogWriter(journal)
	defer w.Close()
	if log, _ := NewLogger(w, "json", "warn"); log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the journal's log has no level")
	}
}

// TestSay checks that each line that Say writes to the journal begins with the prefix of
// its level.
func TestSay(t *testing.T) {
	journal := journalFile(t)
	Say(journal, slog.LevelError, "one\ntwo\n")
	Say(journal, slog.LevelWarn, "three")
	if text, err := os.ReadFile(journal.Name()); err != nil || string(text) != "<3>one\n<3>two\n<4>three\n" {
		t.Errorf("%q, %v", text, err)
	}
	var b strings.Builder
	Say(&b, slog.LevelError, "one\ntwo")
	if b.String() != "one\ntwo\n" {
		t.Errorf("%q", b.String())
	}
}

// failing is an output that accepts n octets and then fails.
type failing struct{ n int }

func (f failing) Write([]byte) (int, error) { return f.n, errors.New("broken pipe") }

// TestLogWriterCountsFailures checks that records that the output did not accept are
// counted as dropped, and that records that it accepted are not.
func TestLogWriterCountsFailures(t *testing.T) {
	w := NewLogWriter(failing{len("one\n")})
	_, _ = w.Write([]byte("one\ntwo\nthree\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Dropped() != 2 {
		t.Errorf("%d records were counted, want 2", w.Dropped())
	}
}

type named struct{ A, B string }

// writer has a text of its own, unless it is bad.
type writer string

func (w writer) MarshalText() ([]byte, error) {
	if w == "bad" {
		return nil, errors.New("no text")
	}
	return []byte("text of " + w), nil
}

func (n named) String() string { return n.A + "/" + n.B }

// TestTextIsReadable checks that values in the text log are written in words and not as Go
// values. Text that a sender chose must not look like a separate value.
func TestTextIsReadable(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{[]string{"dns.servers", "mode"}, "dns.servers, mode"},
		{[]string{}, "none"},
		{[]signature{{Result: "pass", Domain: "example.com", KeyBits: 2048}, {Result: "fail", Selector: "a; result=pass"}},
			`result=pass d=example.com bits=2048; result=fail s="a; result=pass"`},
		{map[int]bool{9: true, 1: true, 5: true, 3: true, 7: true, 2: true, 8: true, 4: true}, "1=true 2=true 3=true 4=true 5=true 7=true 8=true 9=true"},
		{&named{"x", "y"}, "x/y"},
		{[]*named{{"x", "y"}, nil}, "x/y, none"},
		{errors.New("broken {pipe}"), "broken {pipe}"},
		{struct {
			Name string
			When []time.Duration
		}{"a b", []time.Duration{time.Second}}, `name="a b" when=1s`},
		{(*named)(nil), "none"},
		{nil, "none"},
		{[]any{1, true, "x", ""}, `1, true, x, ""`},
		{1.5, "1.5"},
		{struct {
			Name   string
			hidden int
			Empty  string
		}{"x", 1, ""}, "name=x"},
		{[]writer{"a", "bad"}, "text of a, bad"},
		{writer("a b"), "text of a b"},
		{[]map[string]int{{"a": 1}, {"b": 2}}, "a=1; b=2"},
		{[2]int{1, 2}, "1, 2"},
	} {
		var b strings.Builder
		log, err := NewLogger(&b, "text", "info")
		if err != nil {
			t.Fatal(err)
		}
		log.Info("m", "key", tt.value)
		_, got, _ := strings.Cut(strings.TrimSpace(b.String()), "key=")
		if want := strings.ReplaceAll(tt.want, "text of a,", `"text of a",`); got != want && got != fmt.Sprintf("%q", want) {
			t.Errorf("%#v: %s, want %s", tt.value, got, want)
		}
	}
}

// TestWord checks which texts within another value are quoted.
func TestWord(t *testing.T) {
	for s, quoted := range map[string]bool{
		"": true, "a": false, "!": false, "~": false, " ": true, "\x1f": true, "\x7f": true, "é": true, "a=b": true, "a,b": true, "a;b": true, `a"b`: true, `a\b`: true,
	} {
		if got := word(s, false); got != s && !quoted || got != strconv.Quote(s) && quoted {
			t.Errorf("%q is written as %s", s, got)
		}
		if got := word(s, true); got != s {
			t.Errorf("%q alone is written as %s", s, got)
		}
	}
}
