package attack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

const (
	rigID = "mx.here.example"
	// rigClient is the address of the attacker. The bank's SPF record does not
	// permit it.
	rigClient = "198.51.100.66"
	// maxQuestions is the largest number of DNS questions of one message: the sum
	// of msgauth's bounds for its stages.
	maxQuestions = 2*150 + 64 + 96 + 102 + 24
)

// bankZone is the DNS of every case: a bank whose mail only DKIM can authenticate,
// and an attacker whose own DNS is complete.
const bankZone = `
bank.example              TXT "v=spf1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
evil.example              TXT "v=spf1 +all"
_dmarc.evil.example       TXT "v=DMARC1; p=none"
`

// rig is a whole daemon in this process. It is in monitor mode, so every message
// gets a label. It asks a name server over real sockets and has no cache, so
// every case asks all its questions.
type rig struct {
	*daemon.Daemon
	dns *nameserver.Server // nil if the test brings its own
	// sent counts the messages of send. raw is true if a test sends others too.
	sent int
	raw  bool
}

// newRig starts a daemon that asks server. If server is "", newRig starts a name
// server, and the zone of each message becomes the zone of that server.
func newRig(t *testing.T, server string, change func(*config.Config)) *rig {
	t.Helper()
	r := &rig{}
	if server == "" {
		r.dns = nameserver.Serve(t, bankZone, nameserver.Options{})
		server = r.dns.Addr()
	}
	cfg := daemon.Config(server)
	cfg.AuthservID, cfg.Mode = rigID, policy.Monitor
	if change != nil {
		change(cfg)
	}
	r.Daemon = daemon.Start(t, cfg)
	t.Cleanup(func() {
		r.Stop()
		if n := len(r.Log.Records(t, "evaluated")); n != r.sent && !r.raw {
			t.Errorf("%d messages were taken for %d", r.sent, n)
		}
	})
	return r
}

// shot is one message of an attacker.
type shot struct {
	zone   string   // in addition to bankZone
	from   string   // MAIL FROM, <bounce@evil.example> by default
	raw    string   // the message with CRLF; the daemon gets every octet of it
	chunks []string // the body in these parts, instead of the body in raw
}

// got is what became of a shot.
type got struct {
	res     client.Result
	label   authres.Field
	queries []string
}

// words returns the label's results of the methods, each as "method=result" or
// "method=result/reason".
func (g got) words(methods ...string) string {
	var out []string
	for _, r := range g.label.Results {
		for _, m := range methods {
			if r.Method != m {
				continue
			}
			w := m + "=" + r.Value
			if r.Reason != "" {
				w += "/" + r.Reason
			}
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// send sends a message and checks the invariants. The MTA gets an answer. The
// header then has one field of ours, and it can be parsed. A dmarc=pass has an
// aligned pass beside it. The number of DNS questions is bounded.
func (r *rig) send(t *testing.T, s shot) (g got) {
	t.Helper()
	var z *zone.Zone
	if r.dns != nil {
		z = nameserver.Zone(t, bankZone+s.zone)
		r.dns.SetZone(z)
	}
	if s.from == "" {
		s.from = "<bounce@evil.example>"
	}
	r.sent++
	c, nc := r.dial(t)
	must := func(_ client.Action, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Mail(s.from))
	must(c.Rcpt("<r@here.example>"))
	must(c.Data())
	header, body := splitRaw(s.raw)
	for _, f := range header {
		// client.Header would cut the field short, as Postfix does.
		writeFrame(t, nc, 'L', f.Name+"\x00"+strings.ReplaceAll(f.Value, "\r\n", "\n")+"\x00")
	}
	must(c.EndOfHeader())
	if s.chunks == nil && body != "" {
		s.chunks = []string{body}
	}
	for _, chunk := range s.chunks {
		writeFrame(t, nc, 'B', chunk)
	}
	var err error
	if g.res.Action, g.res.Modifications, err = c.EndOfMessage(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	if !g.res.Action.Delivers() {
		t.Fatalf("monitor mode, yet the answer is %s", g.res.Action)
	}
	if g.label, err = mta.Label(client.Apply(header, g.res.Modifications), rigID); err != nil {
		t.Fatal(err)
	}
	if z != nil {
		if g.queries = z.Queries(); len(g.queries) > maxQuestions {
			t.Errorf("%d questions", len(g.queries))
		}
	}
	checkAligned(t, g.label)
	return g
}

// dial opens a session of the attacker.
func (r *rig) dial(t *testing.T) (*client.Client, net.Conn) {
	t.Helper()
	nc, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := client.New(nc)
	if err := mta.Greet(c, mta.Peer{Name: "mail.evil.example", Addr: netip.MustParseAddrPort(rigClient + ":4321"), HELO: "mail.evil.example"}); err != nil {
		t.Fatal(err)
	}
	return c, nc
}

func writeFrame(t *testing.T, nc net.Conn, cmd byte, data string) {
	t.Helper()
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	if _, err := nc.Write(append(append(frame, cmd), data...)); err != nil {
		t.Fatal(err)
	}
}

// splitRaw splits a message into fields and body without repairing anything.
func splitRaw(raw string) (h []client.Field, body string) {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(head, "\r\n"), "\r\n") {
		if n := len(h); n > 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			h[n-1].Value += "\r\n" + line
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		h = append(h, client.Field{Name: name, Value: value})
	}
	return h, body
}

// checkAligned checks that beside a dmarc=pass there is a pass of SPF or DKIM for
// the same organizational domain, which in these tests has two labels.
func checkAligned(t *testing.T, f authres.Field) {
	t.Helper()
	property := func(r authres.Result, name string) string {
		for _, p := range r.Properties {
			if string(p.Type)+"."+p.Name == name {
				return p.Value[strings.LastIndexByte(p.Value, '@')+1:]
			}
		}
		return ""
	}
	org := func(d string) string {
		labels := strings.Split(strings.ToLower(d), ".")
		return strings.Join(labels[max(0, len(labels)-2):], ".")
	}
	var author string
	passed := map[string]bool{}
	for _, r := range f.Results {
		switch {
		case r.Method == "dmarc" && r.Value == "pass":
			author = property(r, "header.from")
		case r.Method == "spf" && r.Value == "pass":
			passed[org(property(r, "smtp.mailfrom"))] = true
		case r.Method == "dkim" && r.Value == "pass":
			passed[org(property(r, "header.d"))] = true
		}
	}
	if author != "" && !passed[org(author)] {
		t.Errorf("dmarc=pass for %s, of which nothing is authenticated: %+v", author, f.Results)
	}
}
