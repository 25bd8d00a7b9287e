package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// slurp reads the rest of a message and returns it.
func slurp(t testing.TB, l lines) string {
	t.Helper()
	var b strings.Builder
	for {
		c, err := l.next()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(c.data)
	}
}

// content returns the text of a message, also if it is in a file of its own.
func content(t testing.TB, m *Message) (string, error) {
	t.Helper()
	if m.lines != nil {
		return slurp(t, m.lines), nil
	}
	file, err := openMessage(m, bufio.NewReaderSize(nil, lineBuffer))
	if err != nil {
		return "", err
	}
	defer file.Close()
	return slurp(t, file.lines), nil
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// all reads all messages of a source. It returns the sender, the offset and the text of each.
func all(t testing.TB, path string) (senders []string, offsets []int64, texts []string) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := 1; ; n++ {
		m, err := s.Next()
		if errors.Is(err, io.EOF) {
			if done, total := s.Progress(); done != total {
				t.Errorf("%d of %d were read", done, total)
			}
			return senders, offsets, texts
		}
		if err != nil || m.Number != n {
			t.Fatalf("message %d: number %d, %v", n, m.Number, err)
		}
		text, err := content(t, m)
		if err != nil {
			t.Fatal(err)
		}
		senders, offsets, texts = append(senders, m.Sender), append(offsets, m.Offset), append(texts, text)
	}
}

func TestMbox(t *testing.T) {
	long := strings.Repeat("x", 3*lineBuffer)
	for _, tt := range []struct {
		name, text string
		senders    string
		want       []string
	}{
		{"two messages; the empty line before a separator is the format's",
			"From a@x.example Mon Jan  1 00:00:00 2024\nA: 1\n\nbody\n\nFrom MAILER-DAEMON Mon Jan  1 00:00:00 2024\nB: 2\n\nbody 2\n\n",
			"a@x.example MAILER-DAEMON", []string{"A: 1\n\nbody\n", "B: 2\n\nbody 2\n"}},
		{"empty lines of the body stay, but for the last", "From a 1\nA: 1\n\n\n\nb\n\n\nFrom b 2\nB: 2\n\nb\n", "a b", []string{"A: 1\n\n\n\nb\n\n", "B: 2\n\nb\n"}},
		{"quoted lines lose one >", "From a 1\nA: 1\n\n>From me\n>>From you\n>from\nx >From\n> From\n",
			"a", []string{"A: 1\n\nFrom me\n>From you\n>from\nx >From\n> From\n"}},
		{"From within a paragraph is text", "From a 1\nA: 1\n\nFar\nFrom home\n", "a", []string{"A: 1\n\nFar\nFrom home\n"}},
		{"in the header too", "From a 1\nFrom b 2\nA: 1\n\nb\n", "a", []string{"From b 2\nA: 1\n\nb\n"}},
		{"CRLF", "From a 1\r\nA: 1\r\n\r\nb\r\n\r\nFrom b 2\r\nB: 2\r\n\r\n", "a b", []string{"A: 1\r\n\r\nb\r\n", "B: 2\r\n"}},
		{"long lines are no separators in the middle", "From a 1\nA: 1\n\n" + long + "\n" + long[:lineBuffer-1] + "From b 2\n\nFrom c 3\nC: 3\n",
			"a c", []string{"A: 1\n\n" + long + "\n" + long[:lineBuffer-1] + "From b 2\n", "C: 3\n"}},
		{"a separator that is long itself", "From a " + long + "\nA: 1\n\nFrom b" + long + "\nB: 2\n", "a b" + long[:lineBuffer-6], []string{"A: 1\n", "B: 2\n"}},
		{"a separator and nothing", "From a 1\n\nFrom b 2", "a b", []string{"", ""}},
		{"no line end at the end", "From a 1\nA: 1\n\nb", "a", []string{"A: 1\n\nb"}},
		{"empty lines before the first", "\n\n\n\n\n\nFrom a 1\nA: 1\n", "a", []string{"A: 1\n"}},
		{"nothing", "", "", nil},
		{"nothing but lines", "\n\n\n\n\n\n\n\n", "", nil},
	} {
		senders, offsets, texts := all(t, write(t, "box", tt.text))
		if strings.Join(senders, " ") != tt.senders || len(texts) != len(tt.want) {
			t.Fatalf("%s: %d messages of %.80q: %.200q", tt.name, len(texts), senders, texts)
		}
		for i, text := range texts {
			if text != tt.want[i] {
				t.Errorf("%s: message %d is %.200q, want %.200q", tt.name, i+1, text, tt.want[i])
			}
			if !strings.HasPrefix(tt.text[offsets[i]:], "From "+senders[i][:1]) {
				t.Errorf("%s: message %d is not at octet %d", tt.name, i+1, offsets[i])
			}
		}
	}
}

// TestMboxSkips checks that the next message is found even if the message before it was not read to
// its end.
func TestMboxSkips(t *testing.T) {
	s, err := Open(write(t, "box", "From a 1\nA: 1\n\nb\n\nb\n\nFrom b 2\nB: 2\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []string{"a", "b"} {
		m, err := s.Next()
		if err != nil || m.Sender != want {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestMboxBreaks checks that an mbox that cannot be read to its end is an error at whatever octet it breaks,
// whether its messages are read or skipped.
func TestMboxBreaks(t *testing.T) {
	broken := errors.New("broken")
	text := "\n\nFrom a 1\nA: 1\n\nb\n\n\n>From x\n\nFrom b 2\nB: 2\n"
	long := "From a " + strings.Repeat("x", lineBuffer)
	texts := []string{long[:lineBuffer], long, long + "\nA: 1\n\n" + long}
	for i := range len(text) + 1 {
		texts = append(texts, text[:i])
	}
	for _, text := range texts {
		for _, skip := range []bool{false, true} {
			in := io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))
			box, err := openMbox(&stored{name: "box", lines: newLineReader(in)}, 0)
			for n := 0; err == nil; n++ {
				var m *Message
				if m, err = box.Next(); err == nil && !skip {
					err = drain(m.lines)
				}
				if n > 2 {
					t.Fatalf("%.40q has too many messages", text)
				}
			}
			if !errors.Is(err, broken) || strings.Count(err.Error(), "replay: ") != 1 {
				t.Errorf("%.40q, skipped %t: %v", text, skip, err)
			}
		}
	}
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("box/cur/1700000002.b:2,S", "B: 2\n")
	put("box/new/1700000001.a", "A: 1\n")
	put("box/new/.hidden", "X: 1\n")
	put("box/tmp/1700000003.c", "C: 3\n")
	put("eml/sub/two.EML", "B: 2\n")
	put("eml/one.eml", "From a 1\nA: 1\n")
	put("eml/readme.txt", "no mail")
	put("eml/dir.eml/three.eml", "")
	put("odd/new/1.a", "A: 1\n")
	put("odd/cur", "no directory")
	put("none/readme.txt", "no mail")
	put("packed/one.eml.gz", gzipped(t, "\xef\xbb\xbfFrom a 1\nA: 1\n"))
	put("packed/two.eml", ">From b 1\nB: 2\n")
	put("dovecot/cur/1.a:2,S", gzipped(t, "A: 1\n"))
	put("box.gz", gzipped(t, "From a 1\nA: 1\n\nFrom b 2\nB: 2\n"))
	for _, tt := range []struct {
		name string
		path string
		want string
	}{
		{"Maildir: new and cur by time", "box", "A: 1\nB: 2\n"},
		{"messages below a directory", "eml", "A: 1\nB: 2\n"},
		{"one message", "eml/sub/two.EML", "B: 2\n"},
		{"compressed messages", "packed", "A: 1\nB: 2\n"},
		{"a Maildir that Dovecot compressed", "dovecot", "A: 1\n"},
		{"a compressed mbox", "box.gz", "A: 1\nB: 2\n"},
	} {
		if _, _, texts := all(t, filepath.Join(dir, tt.path)); strings.Join(texts, "") != tt.want {
			t.Errorf("%s: %q", tt.name, texts)
		}
	}
	for _, tt := range []struct{ path, want string }{
		{"none", "replay: %s has neither cur nor new, as a Maildir has, and no .eml or .eml.gz files"}, {"absent", "replay: stat %s: no such file or directory"},
		{"/dev/null", "replay: %s is neither a file nor a directory"}, {"odd", "replay: open %s/cur: not a directory"},
		{write(t, "cut.gz", gzipped(t, "From a 1\nA: 1\n")[:12]), "replay: %s: unexpected EOF"},
		{write(t, "odd", "\n\n\n\n\n\nSubject: x\n"), "replay: %s is neither a message nor an mbox: it begins with empty lines"},
	} {
		path := tt.path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		want := strings.Replace(tt.want, "%s", path, 1)
		if s, err := Open(path); s != nil || err == nil || strings.Replace(err.Error(), "readdirent", "open", 1) != want {
			t.Errorf("%s: %v", tt.path, err)
		}
	}
	if _, err := openStored(dir, bufio.NewReaderSize(nil, lineBuffer)); err == nil || err.Error() != dir+": read "+dir+": is a directory" {
		t.Errorf("a directory as a file: %v", err)
	}
}

// TestCutShort checks that a compressed file that breaks off is an error at whatever octet that is. It must
// not be taken for a shorter message.
func TestCutShort(t *testing.T) {
	for name, text := range map[string]string{
		"an mbox":                      "\n\nFrom a 1\nA: 1\n\nb\n\nFrom b 2\nB: 2\n",
		"a file":                       "Subject: x\n\nbody\n",
		"a file with a separator":      ">From b 1\nB: 2\n",
		"a file with a byte mark":      "\xef\xbb\xbfB: 2\n",
		"a file with a long separator": ">From " + strings.Repeat("x", 2*lineBuffer) + "\nA: 1\n",
	} {
		whole, path := stretched(t, text), write(t, "cut", "")
		for n := 2; n < len(whole); n++ {
			if n > 100 && (n < len(whole)-30 && n%lineBuffer > 30 || n%3 > 0) {
				continue
			}
			if err := os.WriteFile(path, []byte(whole[:n]), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := read(path); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut at %d of %d: %v", name, n, len(whole), err)
			}
		}
	}
}

// stretched returns a gzip file that is not compressed, so that each octet can be read before the next.
func stretched(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// read reads all messages of a source.
func read(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		m, err := s.Next()
		if err != nil {
			return err
		}
		in := m.lines
		if in == nil {
			file, err := openMessage(m, bufio.NewReaderSize(nil, lineBuffer))
			if err != nil {
				return err
			}
			defer file.Close()
			in = file.lines
		}
		if err := drain(in); err != nil {
			return err
		}
	}
}

// TestSendersOfFiles: a file with a single message may begin with a separator, as an mbox does. The
// sender in the separator is the envelope sender.
func TestSendersOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.eml": "From a@b.example Thu Apr 29\nA: 1\n", "2.eml": "A: 1\n",
		"3.eml": "From " + strings.Repeat("x", 2*lineBuffer) + " z\nA: 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	senders, _, texts := all(t, dir)
	if len(texts) != 3 || senders[0] != "a@b.example" || senders[1] != "" || len(senders[2]) < 100 || texts[0] != "A: 1\n" || texts[2] != "A: 1\n" {
		t.Errorf("%.60q %.60q", senders, texts)
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestNotRegular checks that a file that is not a regular file, is gone or is damaged is a bad message, and
// that the other files are read.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "a.eml")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"b.eml": "B: 2\n", "c.eml": "", "d.eml": "D: 4\n", "e.eml.gz": "\x1f\x8b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Remove(filepath.Join(dir, "c.eml")); err != nil { // after it was listed
		t.Fatal(err)
	}
	for _, want := range []string{"", "B: 2\n", "", "D: 4\n", ""} {
		m, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if text, err := content(t, m); text != want || (err == nil) != (want != "") {
			t.Errorf("%+v: %q, %v", m, text, err)
		}
	}
}

func TestWire(t *testing.T) {
	long := strings.Repeat("x", lineBuffer-1)
	for _, tt := range []struct{ name, in, want string }{
		{"Unix", "A: 1\n\nb\n", "A: 1\r\n\r\nb\r\n"},
		{"as it was sent", "A: 1\r\n\r\nb\r\nc\rd\r\n", "A: 1\r\n\r\nb\r\nc\rd\r\n"},
		{"bare LF among CRLF", "A: 1\r\n\r\nb\nc\r\n", "A: 1\r\n\r\nb\r\nc\r\n"},
		{"CRLF among bare LF", "A: 1\n\nb\r\nc\n", "A: 1\r\n\r\nb\r\nc\r\n"},
		{"CR at the end of a buffer", long + "\r\n" + long + "\r\n", long + "\r\n" + long + "\r\n"},
		{"a line of exactly a buffer", "A: 1\n" + long + "y\nz\n", "A: 1\r\n" + long + "y\r\nz\r\n"},
		{"no end", "A: 1", "A: 1"},
	} {
		if got := slurp(t, &wire{in: newLineReader(strings.NewReader(tt.in))}); got != tt.want {
			t.Errorf("%s: line by line %.100q", tt.name, got)
		}
		var rest strings.Builder
		err := (&wire{in: newLineReader(iotest.HalfReader(strings.NewReader(tt.in)))}).rest(func(part []byte) { rest.Write(part) })
		if got := rest.String(); got != tt.want || err != nil {
			t.Errorf("%s: as a whole %.100q, %v", tt.name, got, err)
		}
	}
}

// FuzzMbox checks that no octet is lost or invented. The text of each message must be equal to its
// part of the file, with these changes: the separator line is missing, one ">" is removed from each
// line that unquote changes, and an empty line at the end may be missing.
func FuzzMbox(f *testing.F) {
	f.Add([]byte("From a 1\nA: 1\n\n>From b\n\nFrom b 2\n\n\n\nFrom c\n"))
	f.Add([]byte("From a 1\r\nA: 1\r\n\r\n\r\nFrom "))
	f.Add([]byte("From \n\n\nFrom \n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !bytes.HasPrefix(raw, separator) {
			return
		}
		senders, offsets, texts := all(t, write(t, "box", string(raw)))
		for i, at := range offsets {
			end := len(raw)
			if i+1 < len(offsets) {
				end = int(offsets[i+1])
			}
			block := raw[at:end]
			_, body, _ := bytes.Cut(block, []byte("\n"))
			var want bytes.Buffer
			begin := true
			for line := range bytes.Lines(body) {
				if begin {
					line = unquote(line)
				}
				want.Write(line)
				begin = true
			}
			got := texts[i]
			rest, ok := strings.CutPrefix(want.String(), got)
			if !ok || rest != "" && rest != "\n" && rest != "\r\n" {
				t.Fatalf("message %d of %q (%q): %q is not %q", i+1, raw, senders[i], got, want.String())
			}
		}
	})
}
