package mta

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// session is the milter side of the test. It records what the MTA tells it, and gives the answers
// that the test has set for connect and HELO.
type session struct {
	told          *[]string
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
func (s session) Close(milter.End)                          { s.tell("closed") }

func (s session) EndOfMessage(context.Context, *milter.Modifier) milter.Reply { return milter.Accept }

func TestSend(t *testing.T) {
	addr := netip.MustParseAddrPort("192.0.2.1:2525")
	message := []string{"mail <a@b.example>", "rcpt <c@d.example>", "From: a", "body\r\n", "closed"}
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
			[]string{"connect unknown 192.0.2.1:2525", "closed"}, "mta: connect: the milter says reject"},
		{"put off at HELO", Peer{Addr: addr, HELO: "b.example"}, milter.Continue, milter.Tempfail,
			[]string{"connect unknown 192.0.2.1:2525", "helo b.example", "closed"}, "mta: HELO: the milter says tempfail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []string
			s := milter.New(milter.Options{
				NewSession: func(*milter.Conn) milter.Session {
					return session{told: &told, connect: tt.connect, helo: tt.helo}
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
	if _, err := Dial("tcp", l.Addr().String(), Peer{}); err == nil {
		t.Error("no error")
	}
}
