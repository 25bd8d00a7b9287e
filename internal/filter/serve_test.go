package filter

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/topology"
)

// recorder is an observer that keeps the decisions.
type recorder struct {
	mu        sync.Mutex
	decisions []*judge.Decision
	verdicts  []policy.Verdict // verdicts on messages that were evaluated
	skipped   []policy.Verdict // verdicts on messages that were not evaluated
	queueIDs  []string         // queue ids of all messages
	took      []time.Duration  // the times that all decisions took
}

func (r *recorder) Decided(d *judge.Decision, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions = append(r.decisions, d)
	r.took = append(r.took, took)
	r.queueIDs = append(r.queueIDs, d.Envelope.QueueID)
	if d.Evaluation != nil {
		r.verdicts = append(r.verdicts, d.Verdict)
	} else {
		r.skipped = append(r.skipped, d.Verdict)
	}
}

// serve runs the filter behind a real milter server.
func serve(t *testing.T, r dns.Resolver, j judge.Judge, limits milter.Limits) (addr string, seen *recorder) {
	t.Helper()
	return serveWatched(t, r, j, limits, nil)
}

// serveWatched is serve with a topology.Watch, which is told what the filter cannot see.
func serveWatched(t *testing.T, r dns.Resolver, j judge.Judge, limits milter.Limits, watch *topology.Watch) (addr string, seen *recorder) {
	t.Helper()
	seen = &recorder{}
	j.Verifier = msgauth.NewVerifier(r, msgauth.Options{Budget: 2 * time.Second})
	if j.Label.HostName == "" {
		j.Label.AuthServID = id
	}
	o := Options{Judge: &j, Topology: watch, Observers: []Observer{seen}}
	s := milter.New(milter.Options{NewSession: New(o).NewSession})
	s.Set(milter.Settings{Limits: limits, ReplyAt: New(o).ReplyAt()})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, milter.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String(), seen
}

// mtaSession is one SMTP session, played by a test client that takes the part of the MTA.
type mtaSession struct {
	t *testing.T
	c *client.Client
}

func open(t *testing.T, addr, ip, helo string, offer client.Offer) mtaSession {
	t.Helper()
	c, err := client.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.Buffer() // as Postfix does; the tests with thousands of fields are five times as fast
	if _, err := c.Negotiate(offer); err != nil {
		t.Fatal(err)
	}
	peer := netip.AddrPort{}
	if ip != "" {
		peer = netip.AddrPortFrom(netip.MustParseAddr(ip), 40000)
	}
	if a, err := c.Connect("client.example", peer); err != nil || a.Kind != client.Continue {
		t.Fatalf("the answer to CONNECT is %q: %v", a, err) // after "accept", an MTA would show none of the client's messages
	}
	if helo != "" {
		if a, err := c.Helo(helo); err != nil || a.Kind != client.Continue {
			t.Fatalf("the answer to HELO is %q: %v", a, err)
		}
	}
	return mtaSession{t, c}
}

// send sends a message. It returns the result, and the header that is delivered to the
// recipient.
func (s mtaSession) send(from, raw string, args ...string) (client.Result, message.Header) {
	s.t.Helper()
	return s.sendTo(client.Envelope{From: from, FromArgs: args, To: []string{"<to@here.example>"}, QueueID: "4Q"}, raw)
}

func (s mtaSession) sendTo(env client.Envelope, raw string) (client.Result, message.Header) {
	s.t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	res, err := s.c.SendMessage(env, []byte(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	fields, _ := client.Split([]byte(raw))
	var h message.Header
	for _, f := range client.Apply(fields, res.Modifications) {
		h = append(h, message.Field(f))
	}
	return res, h
}

func quarantined(res client.Result) bool {
	for _, m := range res.Modifications {
		if m.Kind == client.Quarantine {
			return true
		}
	}
	return false
}

// ours returns the first field of the header on one line. It checks that this is the field
// that we wrote, that it parses, and that no other field has our authserv-id.
func ours(t *testing.T, h message.Header) string {
	t.Helper()
	if len(h) == 0 || !h[0].Is(authres.FieldName) {
		t.Fatalf("our field is not on top: %q", h)
	}
	for _, v := range h[1:].Values(authres.FieldName) {
		if authres.NewIDs(id).Claimed(v) {
			t.Errorf("another field claims our id: %q", v)
		}
	}
	if _, err := authres.Parse(h[0].Value); err != nil {
		t.Errorf("our own field does not parse: %v\n%s", err, h[0].Value)
	}
	return strings.Join(strings.Fields(h[0].Value), " ")
}

// namedLabel labels with the usual authserv-id.
func namedLabel() label.Settings { return label.Settings{Names: label.Names{AuthServID: id}} }

// serveFilter runs the filter behind a milter server.
func serveFilter(t *testing.T, f *Filter) (addr string) {
	t.Helper()
	return serveSessions(t, f.NewSession)
}

func serveSessions(t *testing.T, sessions func(*milter.Conn) milter.Session) (addr string) {
	t.Helper()
	return serveOn(t, milter.New(milter.Options{NewSession: sessions}))
}

// serveOn serves on a local port until the test ends.
func serveOn(t *testing.T, s *milter.Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
	})
	return ln.Addr().String()
}
