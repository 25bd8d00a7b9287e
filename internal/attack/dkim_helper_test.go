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
	// rigClient is the address of the attacker. The bank's SPF record does not permit this address
	// (or any other).
	rigClient = "198.51.100.66"
	// maxQuestions is the largest number of DNS questions that these tests allow for one message.
	// It has 150 for each of the two SPF checks (HELO and MAIL FROM), and the limits of msgauth's
	// stages for DKIM, DMARC, ARC and iprev.
	maxQuestions = 2*150 + 64 + 96 + 102 + 24
)

// bankZone is part of the DNS in every case. The bank's mail can be authenticated only by DKIM. The
// SPF record of evil.example, the attacker's domain, permits every address.
const bankZone = `
bank.example              TXT "v=spf1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
evil.example              TXT "v=spf1 +all"
_dmarc.evil.example       TXT "v=DMARC1; p=none"
`

// rig is a whole daemon in the test process. It is in monitor mode, so every message gets a label.
// It asks a name server over real sockets and has no cache, so each message asks all its questions.
type rig struct {
	*daemon.Daemon
	dns *nameserver.Server // nil if the test runs its own name server
	// sent counts the messages that send has sent. raw is true if the test also sends messages in
	// another way; the total is then not checked.
	sent int
	raw  bool
}

// newRig starts a daemon that uses the name server at address server. If server is "", newRig
// starts a name server, and send gives it the zone of each message.
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

// shot is one message of an attacker, for rig.send.
type shot struct {
	zone   string   // zone text in addition to bankZone
	from   string   // MAIL FROM; "" stands for <bounce@evil.example>
	raw    string   // the message with CRLF; the daemon gets its octets unchanged
	chunks []string // if set, the body is sent in these parts, and the body in raw is not used
}

// got is what the daemon did with a shot.
type got struct {
	res     client.Result
	label   authres.Field
	queries []string
}

// words returns the label's results of the given methods as one text. Each result is
// "method=result" or "method=result/reason".
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

// send sends a message and checks the invariants. The daemon must answer, and the header must then
// have exactly one field of ours, which can be parsed. If this field says dmarc=pass, it must also
// have an aligned pass. The number of DNS questions must be within maxQuestions.
func (r *rig) send(t *testing.T, s shot) (g got) {
	t.Helper()
	var z *zone.Zone
	if r.dns != nil {
		z = nameserver.Zone(t, bankZone+s.zone)
		r.SetZone(r.dns, z)
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
		// The frame is written by hand, because client.Header would cut the value at a NUL, as
		// Postfix does.
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

// dial opens a milter session in which the SMTP client is the attacker.
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

// splitRaw splits a message into fields and body without correcting malformed lines.
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

// checkAligned checks a field that says dmarc=pass: it must also have a pass of SPF or DKIM for the
// same organizational domain. In these tests an organizational domain has two labels.
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
