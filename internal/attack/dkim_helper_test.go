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
	// rigClient is the stranger's address: no SPF record of the bank has it.
	rigClient = "198.51.100.66"
	// maxQuestions is what one message may ask of the DNS in all: the sum of
	// msgauth's bounds for its stages.
	maxQuestions = 2*150 + 64 + 96 + 102 + 24
)

// bankZone is what every case finds in the DNS: a bank whose mail only DKIM
// can authenticate, and a stranger with everything in order for himself.
const bankZone = `
bank.example              TXT "v=spf1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
evil.example              TXT "v=spf1 +all"
_dmarc.evil.example       TXT "v=DMARC1; p=none"
`

// rig is a whole daemon in this process, in monitor mode so that every message
// gets its label, asking a name server over real sockets, without a cache so
// that every case asks anew.
type rig struct {
	*daemon.Daemon
	dns *nameserver.Server // nil if the test brings its own
	// sent counts the messages of send; raw says that a test has others too.
	sent int
	raw  bool
}

// newRig starts a daemon; server is the name server to ask, "" for one that
// is set by the zone of each message.
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
	zone   string   // beside bankZone
	from   string   // MAIL FROM, <bounce@evil.example> by default
	raw    string   // CRLF message; every octet gets through to the daemon
	chunks []string // the body in these parts, instead of the one in raw
}

// got is what became of it.
type got struct {
	res     client.Result
	label   authres.Field
	queries []string
}

// words sums the label up: for each result of the methods "method=result", and
// "/reason" if there is one.
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

// send gives the daemon a message and checks what must hold for every one: the
// MTA gets an answer, the header then holds one field of ours and that can be
// read, dmarc=pass has an aligned pass beside it, the DNS was asked only so
// much.
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
		// Not by the client, which as Postfix cuts fields short.
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

// dial opens a session of the attacker's.
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

// splitRaw takes a message apart without repairing anything.
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

// checkAligned holds every dmarc=pass to a pass of the same organization,
// which in these tests has two labels.
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
		t.Errorf("dmarc=pass for %s with nothing of it authenticated: %+v", author, f.Results)
	}
}
