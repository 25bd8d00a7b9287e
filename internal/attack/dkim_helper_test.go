package attack

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/milter/client"
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

// rigLog is the daemon's log.
type rigLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *rigLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *rigLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rig is a whole daemon in this process, in monitor mode so that every message
// gets its label, asking a name server over real sockets, without a cache so
// that every case asks anew.
type rig struct {
	app *app.App
	dns *dnstest.Server // nil if the test brings its own
	log *rigLog
	// sent counts the messages of send; raw says that a test has others too.
	sent int
	raw  bool
}

// newRig starts a daemon; server is the name server to ask, "" for one that
// is set by the zone of each message.
func newRig(t *testing.T, server string, change func(*config.Config)) *rig {
	t.Helper()
	r := &rig{log: &rigLog{}}
	if server == "" {
		s, err := dnstest.NewServer(dnstest.MustParse(t, bankZone), dnstest.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		r.dns, server = s, s.Addr()
	}
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
	cfg.AuthservID, cfg.Mode, cfg.Admin.Listen = rigID, config.ModeMonitor, ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server)}}
	cfg.DNS.Cache.Size = 0
	if change != nil {
		change(cfg)
	}
	a, err := app.New(cfg, app.Options{Version: "test", Log: r.log})
	if err != nil {
		t.Fatal(err)
	}
	r.app = a
	a.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		a.Stop(ctx)
		log := r.log.String()
		if strings.Contains(log, `"panic"`) {
			t.Errorf("the daemon panicked:\n%s", log)
		}
		if n := strings.Count(log, `"msg":"evaluated"`); n != r.sent && !r.raw {
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
	var zone *dnstest.Zone
	if r.dns != nil {
		zone = dnstest.MustParse(t, bankZone+s.zone)
		r.dns.SetZone(zone)
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
	g.label = label(t, header, g.res.Modifications)
	if zone != nil {
		if g.queries = zone.Queries(); len(g.queries) > maxQuestions {
			t.Errorf("%d questions", len(g.queries))
		}
	}
	checkAligned(t, g.label)
	return g
}

// dial opens a session of the attacker's.
func (r *rig) dial(t *testing.T) (*client.Client, net.Conn) {
	t.Helper()
	nc, err := net.Dial("tcp", r.app.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := client.New(nc)
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect("mail.evil.example", netip.MustParseAddrPort(rigClient+":4321")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Helo("mail.evil.example"); err != nil {
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

// label returns the one field of ours, read back.
func label(t *testing.T, header []client.Field, mods []client.Modification) authres.Field {
	t.Helper()
	var ours []string
	for _, f := range client.Apply(header, mods) {
		if strings.EqualFold(f.Name, authres.FieldName) && authres.ClaimsID(f.Value, rigID) {
			ours = append(ours, f.Value)
		}
	}
	if len(ours) != 1 {
		t.Fatalf("%d fields of ours: %q", len(ours), ours)
	}
	field, err := authres.Parse(ours[0])
	if err != nil {
		t.Fatalf("our own field cannot be read: %v\n%q", err, ours[0])
	}
	return field
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

// The attackers' own signer, written plainly from RFC 6376: it signs what a
// correct signer would refuse to.

var (
	rigWSP  = regexp.MustCompile(`[ \t]+`)
	rigFold = regexp.MustCompile(`\r\n([ \t])`)
	rigH    = regexp.MustCompile(`(?:^|;)\s*h=([^;]*)`)
	rigL    = regexp.MustCompile(`(?:^|;)\s*l=(\d{1,9});`)
)

func relaxedField(name, value string) string {
	value = rigWSP.ReplaceAllString(rigFold.ReplaceAllString(value, "$1"), " ")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Trim(value, " ")
}

func relaxedBody(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(rigWSP.ReplaceAllString(l, " "), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// selected is the hash input of the fields that h= names, relaxed.
func selected(h []client.Field, names string) string {
	var b strings.Builder
	used := map[string]int{}
	for name := range strings.SplitSeq(names, ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		skip := used[name]
		for i := len(h) - 1; i >= 0; i-- {
			if !strings.EqualFold(strings.TrimRight(h[i].Name, " \t"), name) {
				continue
			}
			if skip == 0 {
				b.WriteString(relaxedField(name, h[i].Value) + "\r\n")
				used[name]++
				break
			}
			skip--
		}
	}
	return b.String()
}

// tags are those of an honest signature of the bank; more goes in before bh=.
func tags(more string) string {
	return "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; " + more + "bh=%BH; b="
}

// signWith puts a signature on top. tags are a whole field but for the value
// of b= at its end, %BH stands for the body's hash; h= and l= are heeded.
func signWith(t testing.TB, key crypto.Signer, tags, eml string) string {
	t.Helper()
	h, body := splitRaw(eml)
	body = relaxedBody(body)
	if m := rigL.FindStringSubmatch(tags); m != nil {
		n := 0
		for _, c := range m[1] {
			n = 10*n + int(c-'0')
		}
		body = body[:min(n, len(body))]
	}
	sum := sha256.Sum256([]byte(body))
	value := " " + strings.Replace(tags, "%BH", base64.StdEncoding.EncodeToString(sum[:]), 1)
	names := ""
	if m := rigH.FindStringSubmatch(tags); m != nil {
		names = m[1]
	}
	return "DKIM-Signature:" + value + rawSign(t, key, selected(h, names)+relaxedField("dkim-signature", value)) + "\r\n" + eml
}

func rawSign(t testing.TB, key crypto.Signer, input string) string {
	t.Helper()
	hashed := sha256.Sum256([]byte(input))
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0)
	}
	sig, err := key.Sign(rand.Reader, hashed[:], opts)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// bankKey is the bank's private key; nobody else has it.
func bankKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the bank's key of thirty-two oct"))
}

func evilKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the evil key of thirty-two octet"))
}

var bankRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// edRecord is the key record for an Ed25519 key.
func edRecord(key ed25519.PrivateKey) string {
	return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func rsaRecord(t testing.TB, pub *rsa.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// txt is a line of zone text.
func txt(name, text string) string {
	var b strings.Builder
	b.WriteString(name + " TXT")
	for first := true; first || text != ""; first = false {
		n := min(len(text), 255)
		b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text[:n]) + `"`)
		text = text[n:]
	}
	return b.String() + "\n"
}

// bankKeyZone publishes the bank's key.
func bankKeyZone() string { return txt("s._domainkey.bank.example", edRecord(bankKey())) }

const bankMail = "From: Ann <ann@bank.example>\r\nTo: r@here.example\r\nSubject: hello\r\n\r\nHello  there.\r\n"

// insert puts a field in front of the one that begins with before.
func insert(eml, field, before string) string {
	return strings.Replace(eml, "\r\n"+before, "\r\n"+field+"\r\n"+before, 1)
}
