package submit

import (
	"bytes"
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

	"sekimori/internal/printable"
)

// fakeConn is a connection whose other end is the test.
type fakeConn struct {
	net.Conn
	in      io.Reader
	out     bytes.Buffer
	err     error // of Write and of each Set
	set     []time.Time
	written []time.Time // by SetWriteDeadline
	remote  net.Addr
}

func (c *fakeConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *fakeConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *fakeConn) RemoteAddr() net.Addr        { return c.remote }
func (c *fakeConn) SetDeadline(t time.Time) error {
	c.set = append(c.set, t)
	return c.err
}

func (c *fakeConn) SetWriteDeadline(t time.Time) error {
	c.written = append(c.written, t)
	return c.err
}

// TestReadIsBounded reads the longest reply, an octet more, and what follows after a Write.
func TestReadIsBounded(t *testing.T) {
	c := &boundedConn{Conn: &fakeConn{in: strings.NewReader(strings.Repeat("x", 12))}, left: 7, end: time.Now().Add(time.Hour)}
	p := make([]byte, 3)
	for _, want := range []struct {
		n   int
		err error
	}{{3, nil}, {3, nil}, {1, nil}, {0, errLongReply}, {0, errLongReply}} {
		if n, err := c.Read(p); n != want.n || !errors.Is(err, want.err) || !errors.Is(c.failed, want.err) {
			t.Errorf("%d octets, %v, failed %v; want %+v", n, err, c.failed, want)
		}
	}
	if n, err := c.Write([]byte("QUIT")); n != 4 || err != nil || c.left != maxServerReply {
		t.Errorf("%d octets, %v, %d left", n, err, c.left)
	}
	c.failed = nil
	if rest, err := io.ReadAll(c); len(rest) != 5 || err != nil || !errors.Is(c.failed, io.EOF) {
		t.Errorf("%q, %v, failed %v", rest, err, c.failed)
	}
}

// TestDeadlines: nothing may take longer than the transaction.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		end := now.Add(time.Hour)
		for _, tt := range []struct{ at, want time.Time }{
			{time.Time{}, end}, {end.Add(-1), end.Add(-1)}, {end, end}, {end.Add(1), end},
		} {
			f := &fakeConn{}
			c := &boundedConn{Conn: f, end: end, block: tt.at.Sub(now)}
			if err := c.SetDeadline(tt.at); err != nil || len(f.set) != 1 || !f.set[0].Equal(tt.want) {
				t.Errorf("%v: %v, %v", tt.at, f.set, err)
			}
			if tt.at.IsZero() {
				continue
			}
			if _, err := c.Write([]byte("x")); err != nil || len(f.written) != 1 || !f.written[0].Equal(tt.want) {
				t.Errorf("Write until %v: %v, %v", tt.at, f.written, err)
			}
		}
	})
	// Without a deadline, nothing is written and nothing is waited for.
	f := &fakeConn{err: net.ErrClosed, in: strings.NewReader("220 hello\r\n")}
	tr := &transaction{Submitter: &Submitter{opts: Options{Timeouts: Timeouts{}.orDefaults()}}, conn: &boundedConn{Conn: f, left: 100}}
	if n, err := tr.conn.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if _, err := tr.command(nil, "NOOP", 250); !errors.Is(err, net.ErrClosed) {
		t.Errorf("command: %v", err)
	}
	if _, _, step, err := tr.startTLS(t.Context()); step != "no connection" || !errors.Is(err, net.ErrClosed) {
		t.Errorf("startTLS: %q, %v", step, err)
	}
	if f.out.Len() != 0 {
		t.Errorf("wrote %q", f.out.String())
	}
}

// TestGreet: go-smtp reads a greeting first, and then what comes from the MTA.
func TestGreet(t *testing.T) {
	all, err := io.ReadAll(greet(&fakeConn{in: strings.NewReader("250 ok\r\n")}))
	if string(all) != "220 go on\r\n250 ok\r\n" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

func TestUnverified(t *testing.T) {
	for _, tt := range []struct {
		remote net.Addr
		tls    TLS
		want   bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Opportunistic, true},
		{&net.TCPAddr{IP: net.IPv6loopback}, Opportunistic, true},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Required, false},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, Opportunistic, false},
		{&net.UnixAddr{Name: "a"}, Opportunistic, false},
	} {
		tr := &transaction{Submitter: &Submitter{opts: Options{TLS: tt.tls}}, conn: &boundedConn{Conn: &fakeConn{remote: tt.remote}}}
		if tr.unverified() != tt.want {
			t.Errorf("%v, %s: %t", tt.remote, tt.tls, !tt.want)
		}
	}
}

func TestOffersSTARTTLS(t *testing.T) {
	for ehlo, want := range map[string]bool{
		"me\nSIZE\nSTARTTLS": true, "me\nstarttls \nSIZE": true, "STARTTLS": false, "STARTTLS\nSIZE": false, "me\nXSTARTTLS": false, "me\nSTARTTLS 1": false, "": false,
	} {
		if offersSTARTTLS(ehlo) != want {
			t.Errorf("%q", ehlo)
		}
	}
}

// TestTaker: a body that looks at its errors can stop when the MTA is gone.
func TestTaker(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{nil, broken} {
		w := &taker{to: writer(func(p []byte) (int, error) { return 2, want })}
		if n, err := w.Write([]byte("abc")); n != 2 || !errors.Is(err, want) || !errors.Is(w.err, want) {
			t.Errorf("%d, %v, kept %v, want %v", n, err, w.err, want)
		}
	}
	w := &taker{to: io.Discard, err: broken}
	if _, err := w.Write([]byte("abc")); err != nil || !errors.Is(w.err, broken) {
		t.Errorf("a later success: %v, kept %v", err, w.err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestDefaults(t *testing.T) {
	all := Timeouts{DefaultConnect, DefaultCommand, DefaultBlock, DefaultEnd, DefaultTotal}
	for o, want := range map[Timeouts]Timeouts{
		{}:                   all,
		{-1, -1, -1, -1, -1}: all,
		{1, 2, 3, 4, 5}:      {1, 2, 3, 4, 5},
	} {
		if got := o.orDefaults(); got != want {
			t.Errorf("%v: %v", o, got)
		}
	}
	s, err := New(Options{Server: "mail:25"})
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil || !isWord(name) {
		name = "localhost"
	}
	if o := s.opts; o.HELO != name || o.TLS != Opportunistic || o.Timeouts != all {
		t.Errorf("%+v", o)
	}
}

func TestIsWord(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "~!": true, "": false, "a b": false, "<": false, ">": false, "a\x7f": false, "a\t": false, "ü": false} {
		if isWord(s) != want {
			t.Errorf("%q", s)
		}
	}
}

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "password")
	long := strings.Repeat("x", maxPassword)
	const none = "the first line of PATH is not a password"
	for _, tt := range []struct{ text, want, problem string }{
		{"secret", "secret", ""}, {"secret\n", "secret", ""}, {"secret\r\nmore", "secret", ""}, {" secret ", " secret ", ""}, {"a\r\r\n", "a\r", ""},
		{long, long, ""}, {long + "\n", "", "PATH has more than 4096 octets"},
		{"", "", none}, {"\nsecret", "", none}, {"\r\n", "", none}, {"a\x00b", "", none}, {"a\n\x00", "a", ""},
	} {
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		problem := ""
		got, err := readPassword(path)
		if err != nil {
			problem = strings.ReplaceAll(strings.TrimPrefix(err.Error(), "submit: password: "), path, "PATH")
		}
		if got != tt.want || problem != tt.problem {
			t.Errorf("%.20q: %.20q, %s", tt.text, got, problem)
		}
	}
	if got, err := readPassword(dir); got != "" || err == nil || err.Error() != "submit: password: read "+dir+": is a directory" {
		t.Errorf("a directory: %q, %v", got, err)
	}
}

func TestEnvelopeCheck(t *testing.T) {
	long := strings.Repeat("a", maxAddress)
	is := func(s, what string) string { return "submit: " + printable.Quoted(s, 500) + what }
	const address, ascii, id = " is not an address", " is not ASCII", " cannot be an envelope id"
	for _, tt := range []struct {
		e    Envelope
		want string
	}{
		{Envelope{To: "a@b"}, ""},
		{Envelope{From: "a@b", To: "a@b", ID: "a"}, ""},
		{Envelope{From: long, To: long, ID: long[:maxID]}, ""},
		{Envelope{From: "ü@b", To: "ü@b", SMTPUTF8: true}, ""},
		{Envelope{}, "submit: no recipient"},
		{Envelope{From: "a@b"}, "submit: no recipient"},
		{Envelope{From: long + "a", To: "a@b"}, is(long+"a", address)},
		{Envelope{To: long + "a"}, is(long+"a", address)},
		{Envelope{To: strings.Repeat("a", 501)}, is(strings.Repeat("a", 501), address)},
		{Envelope{To: "a@b", ID: strings.Repeat("a", 501)}, is(strings.Repeat("a", 501), id)},
		{Envelope{To: "a<b"}, is("a<b", address)}, {Envelope{To: "a>b"}, is("a>b", address)}, {Envelope{To: "a b"}, is("a b", address)},
		{Envelope{To: "a\nb"}, is("a\nb", address)}, {Envelope{From: "\xff", To: "a@b", SMTPUTF8: true}, is("\xff", address)},
		{Envelope{To: "a\u202e", SMTPUTF8: true}, is("a\u202e", address)},
		{Envelope{To: "ü@b"}, is("ü@b", ascii)}, {Envelope{From: "ü@b", To: "a@b"}, is("ü@b", ascii)},
		{Envelope{To: "a@b", ID: long[:maxID+1]}, is(long[:maxID+1], id)}, {Envelope{To: "a@b", ID: "a b"}, is("a b", id)}, {Envelope{To: "a@b", ID: "ü"}, is("ü", id)},
	} {
		got := ""
		if err := tt.e.check(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.e, got, tt.want)
		}
	}
}

func TestLoginAnswers(t *testing.T) {
	for _, initial := range []bool{false, true} {
		l := &login{mechanism: "X", answers: []string{"a", "b"}, initial: initial}
		mechanism, first, err := l.Start()
		said := []string{mechanism, string(first)}
		for err == nil {
			first, err = l.Next([]byte("?"))
			said = append(said, string(first))
		}
		want := []string{"X", "", "a", "b", ""}
		if initial {
			want = []string{"X", "a", "b", ""}
		}
		if !slices.Equal(said, want) || err.Error() != "the mail server asks for more than user and password" {
			t.Errorf("initial %t: %q, %v", initial, said, err)
		}
	}
	if _, _, err := (&login{initial: true}).Start(); err == nil {
		t.Error("there is an answer without one")
	}
}
