package milter_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sekimori/internal/milter"
)

// FuzzServer sends random octets to a server. The server must not panic, must end the session when
// the client leaves, and must call the Session as its contract says: one Abort for every Mail, one
// Close, and no call after Close.
func FuzzServer(f *testing.F) {
	o := optneg()
	message := mailFrame + rcptFrame + frame('T', "") + frame('D', "Li\x00id\x00") + frame('L', "From\x00 a@b\n c\x00") +
		frame('N', "") + frame('B', "body\r\n") + frame('E', "") + frame('A', "")
	for _, seed := range []string{
		"", o, o + connectFrame + message + message + frame('Q', ""),
		o + frame('D', "Cj\x00mx\x00{client_addr}\x00::1\x00") + frame('C', "h\x006\x00\x19IPv6:::1\x00") + frame('H', "x\x00") + message,
		o + connectFrame + mailFrame + frame('K', "") + connectFrame + message,
		o + connectFrame + strings.Repeat(mailFrame+rcptFrame, 3) + frame('U', "x\x00"),
		o + connectFrame + mailFrame + rcptFrame + strings.Repeat(frame('L', "A\x00b\x00"), 12) + frame('N', "") + frame('E', "x"),
		frame('O', "\x00\x00\x00\x02\x00\x00\x00\x3f\x00\x00\x00\x7f") + connectFrame + message,
		o + "\x00\x00\x00\x00", o + "\xff\xff\xff\xffB", o + connectFrame + "\x00\x00\x00\x09M<",
		o + connectFrame + frame('M', "<bad>\x00") + rcptFrame + frame('N', "") + frame('E', ""),
	} {
		f.Add([]byte(seed))
	}
	feed := feeder(f)
	f.Fuzz(func(t *testing.T, data []byte) { feed(t, data) })
}

// FuzzFrames sends well-formed frames after the negotiation, because random octets are hardly
// ever a frame. Each line of the input is a command and its payload, with '|' for NUL.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		"Ch|U\nHx|\nDMi|id|\nM<>|SIZE=1|\nR<x>|\nT\nDLi|id|\nLFrom| a|\nN\nBbody\nE\nA\nM<bad>|\nR<x>|\nN\nE\nQ",
		"DC{client_addr}|::1|\nCh|6..IPv6:::1|\nM<>|\nK\nCh|4..192.0.2.1|\nUx|\nM<>|\nM<>|\nR<x>|\nLA|b|\nN\nElast\nHx|",
		"Ch|L\nM<>|\nR1|\nR2|\nR3|\nR4|\nR5|\nLA|b|\nN\nE",
		"Ch|U\nM<>|\nR1|\nLA||\nLA||\nLA||\nLA||\nLA||\nLA||\nLA||\nLA||\nLA||\nN\nBx\nE\nQ",
	} {
		f.Add(seed, byte(0x1f))
		f.Add(seed, byte(0))
	}
	feed := feeder(f)
	f.Fuzz(func(t *testing.T, script string, protocol byte) {
		var data strings.Builder
		offer := []byte(optneg())
		offer[14] = protocol
		data.Write(offer)
		for line := range strings.Lines(script) {
			if line = strings.TrimSuffix(line, "\n"); line != "" {
				data.WriteString(frame(line[0], strings.ReplaceAll(line[1:], "|", "\x00")))
			}
		}
		feed(t, []byte(data.String()))
	})
}

// feeder starts a server. It returns a function that makes a connection, sends data on it, and
// checks that the connection ended as it must.
func feeder(f *testing.F) func(t *testing.T, data []byte) {
	var panics []string
	ended := make(chan milter.End, 1024)
	recorder := &recorder{}
	server := milter.New(milter.Options{
		NewSession: recorder.session,
		Observer: milter.Observer{
			SessionEnded: func(e milter.End) { ended <- e },
			Panic:        func(component string, stack []byte) { panics = append(panics, component+"\n"+string(stack)) },
		},
	})
	server.Set(milter.Settings{Limits: milter.Limits{MaxHeaderFields: 8, MaxHeaderBytes: 256, MaxMacroBytes: 256, MaxRecipients: 4}})
	ln := newPipeListener()
	go func() { _ = server.Serve(ln) }()
	return func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		server := closeNotifier{theirs, make(chan struct{})}
		ln.conns <- server
		go func() {
			_, _ = ours.Write(data)
			_ = ours.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		select {
		case <-server.closed: // closing the connection is the last thing that a link does
		case <-time.After(20 * time.Second):
			t.Fatal("the connection does not end")
		}
		if len(ended) == 0 {
			t.Error("no session ended")
		}
		for len(ended) > 0 { // after a QUIT_NC a connection has several sessions
			<-ended
		}
		for _, p := range panics {
			t.Error("panic in", p)
		}
		panics = nil
		recorder.check(t)
	}
}

// closeNotifier is a connection that closes a channel when the server closes it.
type closeNotifier struct {
	net.Conn
	closed chan struct{}
}

func (c closeNotifier) Close() error {
	defer close(c.closed)
	return c.Conn.Close()
}

// recorder collects the violations of the Session contract that its Sessions notice.
type recorder struct{ flaws []string }

func (r *recorder) session(*milter.Conn) milter.Session { return &strict{r: r} }

func (r *recorder) check(t *testing.T) {
	for _, flaw := range r.flaws {
		t.Error(flaw)
	}
	r.flaws = nil
}
