package mta

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// session is the milter side of the test. It records what the MTA tells it, and gives the answers
// that the test has set for connect and HELO.
type session struct {
	told          *[]string
	ended         chan struct{}
	connect, helo milter.Reply
}

func (s session) tell(words ...string) milter.Reply {
	*s.told = append(*s.told, strings.Join(words, " "))
	return milter.Continue
}

func (s session) Connect(c milter.Connect) milter.Reply {
	s.tell("connect", c.Hostname, c.Addr.String())
	return s.connect
}

func (s session) Helo(name string) milter.Reply {
	s.tell("helo", name)
	return s.helo
}

func (s session) Mail(from string, _ []string) milter.Reply { return s.tell("mail", from) }
func (s session) Rcpt(to string, _ []string) milter.Reply   { return s.tell("rcpt", to) }
func (s session) Data() milter.Reply                        { return milter.Continue }
func (s session) Header(name, value string) milter.Reply    { return s.tell(name + ":" + value) }
func (s session) EndOfHeader() milter.Reply                 { return milter.Continue }
func (s session) Body(chunk []byte) milter.Reply            { return s.tell(string(chunk)) }
func (s session) Abort()                                    {}

func (s session) Close(end milter.End) {
	s.tell("closed", string(end))
	close(s.ended)
}

func (s session) EndOfMessage(context.Context, *milter.Modifier) milter.Reply { return milter.Accept }

func TestSend(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:2525")
	message := []string{"mail <a@b.example>", "rcpt <c@d.example>", "From: a", "body\r\n", "closed quit"}
	for _, tt := range []struct {
		name          string
		peer          Peer
		connect, helo milter.Reply
		told          []string
		err           string
	}{
		{"all of it", Peer{Name: "mx.b.example", Addr: addr, HELO: "b.example"}, milter.Continue, milter.Continue,
			append([]string{"connect mx.b.example 192.0.2.1:2525", "helo b.example"}, message...), ""},
		{"a client without address, name and HELO", Peer{}, milter.Continue, milter.Continue,
			append([]string{"connect unknown invalid AddrPort"}, message...), ""},
		{"refused at connect", Peer{Addr: addr, HELO: "b.example"}, milter.Reject, milter.Continue,
			[]string{"connect unknown 192.0.2.1:2525", "closed eof"}, "mta: connect: the milter says reject"},
		{"put off at HELO", Peer{Addr: addr, HELO: "b.example"}, milter.Continue, milter.Tempfail,
			[]string{"connect unknown 192.0.2.1:2525", "helo b.example", "closed eof"}, "mta: HELO: the milter says tempfail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []string
			ended := make(chan struct{})
			s := milter.New(milter.Options{
				NewSession: func(*milter.Conn) milter.Session {
					return session{told: &told, ended: ended, connect: tt.connect, helo: tt.helo}
				},
			})
			s.Set(milter.Settings{ReplyAt: milter.ReplyAt{Connect: true, Helo: true}})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			_, err = Send("tcp", l.Addr().String(), tt.peer, client.Envelope{From: "<a@b.example>", To: []string{"<c@d.example>"}}, []byte("From: a\r\n\r\nbody\r\n"))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			<-ended
			if err := s.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-served
			if !slices.Equal(told, tt.told) {
				t.Errorf("told %q\nwant %q", told, tt.told)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Send("tcp", l.Addr().String(), Peer{}, client.Envelope{}, nil); err == nil {
		t.Error("no error")
	}
}

// listen calls serve with the only connection to the address that it returns. The connection has a deadline.
func listen(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if nc, err := l.Accept(); err == nil {
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			serve(nc.(*net.TCPConn))
			nc.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// TestMilterGone checks the error if the milter sends only the first of its answers.
func TestMilterGone(t *testing.T) {
	answers := []string{"\x00\x00\x00\x0dO\x00\x00\x00\x06" + strings.Repeat("\x00", 8), "\x00\x00\x00\x01c", "\x00\x00\x00\x01c"}
	for n, want := range []string{"EOF", "mta: connect: EOF", "mta: HELO: EOF", "client: mail: EOF"} {
		address := listen(t, func(nc *net.TCPConn) {
			_, _ = nc.Write([]byte(strings.Join(answers[:n], "")))
			_ = nc.CloseWrite()
			_, _ = io.Copy(io.Discard, nc)
		})
		if _, err := Send("tcp", address, Peer{HELO: "x"}, client.Envelope{From: "<>"}, nil); err == nil || err.Error() != want {
			t.Errorf("after %d answers: %v, want %s", n, err, want)
		}
	}
}

// TestAnswer checks when Answer answers, with what, and that it then reads until the client has ended.
func TestAnswer(t *testing.T) {
	const head = "O\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, tt := range []struct {
		macros []string
		offer  int // octets
		more   int
		want   string
	}{
		{nil, 17, 0, "\x00\x00\x00\x0d" + head},
		{nil, 16, 0, ""},
		{nil, 17, 16 << 20, "\x00\x00\x00\x0d" + head},
		{[]string{"j"}, 17, 0, "\x00\x00\x00\x13" + head + "\x00\x00\x00\x00j\x00"},
		{[]string{"j", "{x}"}, 17, 0, "\x00\x00\x00\x17" + head + "\x00\x00\x00\x00j {x}\x00"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			Answer(l, tt.macros...)
			close(done)
		}()
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		_, err1 := nc.Write(make([]byte, tt.offer))
		got := make([]byte, len(tt.want))
		_, err2 := io.ReadFull(nc, got)
		_, err3 := nc.Write(make([]byte, tt.more)) // more than the system keeps for a closed connection
		rest, err4 := closed(nc)
		if err := errors.Join(err1, err2, err3, err4); err != nil || string(got) != tt.want || len(rest) > 0 {
			t.Errorf("%q, %d octets: %q %q, %v", tt.macros, tt.offer, got, rest, err)
		}
		nc.Close()
		l.Close()
		<-done
	}
}

// closed ends what the client sends, and returns what it still gets.
func closed(nc net.Conn) ([]byte, error) {
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(nc)
}
