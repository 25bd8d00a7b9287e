// Package traffic makes what a load test needs: a corpus of signed mail, with
// what is to become of each message, and the DNS zone of the corpus, which it
// serves.
package traffic

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"

	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
)

const (
	maxDomains  = 60000 // each has an address of its own in 198.18.0.0/16
	maxMessages = 1_000_000
	spoofers    = 64 // clients that send mail in the name of other domains
	// bodyVariants is how many bodies there are of each size. The last one is
	// never sent: a broken signature is a signature over it.
	bodyVariants = 3
)

// Options say what traffic is made of. The same options make the same
// corpus, octet for octet.
type Options struct {
	Seed       uint64
	Messages   int // distinct messages; a longer run repeats them
	PerSession int // messages of one connection, all of one client
	Domains    int
	// Zipf is the exponent of Zipf's law: the larger it is, the more of the mail
	// comes from few domains. 0 takes the domains in turn, so that no domain
	// comes twice if there are at least as many domains as sessions.
	Zipf float64
	// TTL is the TTL of every record.
	TTL time.Duration

	Sizes      Mix // of a message: 2KB, 5MB
	Signatures Mix // none, rsa, ed25519, two (rsa and ed25519), five (rsa)
	SPF        Mix // lookups of a domain's SPF record, 0 to 10
	Policies   Mix // of a domain: none, quarantine, reject, absent
	// Outcomes of a message: pass (SPF passes and, if the message is signed,
	// DKIM), fail (MAIL FROM has the author's domain, SPF forbids the client, and
	// signatures are broken), spoof (SPF passes for a stranger's MAIL FROM, and
	// there is no signature).
	Outcomes Mix
	// Subdomains is the percentage of messages whose author is at a subdomain
	// without a policy of its own.
	Subdomains int
}

// Default is traffic as an MX sees it.
func Default() Options {
	return Options{
		Seed: 1, Messages: 1000, PerSession: 10, Domains: 1000, Zipf: 1.1, TTL: time.Hour, Subdomains: 20,
		Sizes:      Mix{{"2KB", 60}, {"20KB", 30}, {"200KB", 9}, {"5MB", 1}},
		Signatures: Mix{{"rsa", 60}, {"ed25519", 5}, {"two", 20}, {"five", 5}, {"none", 10}},
		SPF:        Mix{{"1", 70}, {"5", 20}, {"10", 10}},
		Policies:   Mix{{"reject", 40}, {"quarantine", 20}, {"none", 30}, {"absent", 10}},
		Outcomes:   Mix{{"pass", 85}, {"fail", 5}, {"spoof", 10}},
	}
}

// Validate says what is wrong with the options, or nil.
func (o Options) Validate() error {
	switch {
	case o.Messages < 1 || o.Messages > maxMessages:
		return fmt.Errorf("traffic: %d messages; 1 to %d", o.Messages, maxMessages)
	case o.PerSession < 1 || o.PerSession > maxMessages:
		return fmt.Errorf("traffic: %d messages a session; 1 to %d", o.PerSession, maxMessages)
	case o.Domains < 1 || o.Domains > maxDomains:
		return fmt.Errorf("traffic: %d domains; 1 to %d", o.Domains, maxDomains)
	case o.Zipf < 0 || o.Zipf > 10 || math.IsNaN(o.Zipf):
		return fmt.Errorf("traffic: Zipf exponent %g; 0 to 10", o.Zipf)
	case o.Subdomains < 0 || o.Subdomains > 100:
		return fmt.Errorf("traffic: %d of 100 authors at subdomains", o.Subdomains)
	case o.TTL < time.Second || o.TTL > 365*24*time.Hour:
		return fmt.Errorf("traffic: TTL %v; 1s to a year", o.TTL)
	}
	for _, c := range []struct {
		what  string
		mix   Mix
		valid func(string) error
	}{
		{"sizes", o.Sizes, func(s string) error { _, err := parseSize(s); return err }},
		{"signatures", o.Signatures, oneOf("none", "rsa", "ed25519", "two", "five")},
		{"spf", o.SPF, func(s string) error { _, err := parseLookups(s); return err }},
		{"policies", o.Policies, oneOf("none", "quarantine", "reject", "absent")},
		{"outcomes", o.Outcomes, oneOf("pass", "fail", "spoof")},
	} {
		if err := c.mix.check(c.what, c.valid); err != nil {
			return err
		}
	}
	return nil
}

// Corpus is the traffic and the zone it needs.
type Corpus struct {
	Sessions []Session
	Zone     *zone.Zone
}

// Session is what one client sends over one connection.
type Session struct {
	Client   netip.Addr
	Name     string // of the client: both HELO and reverse name
	Messages []Message
}

// Message is one message and the outcome that it should have.
type Message struct {
	Envelope client.Envelope
	Header   []client.Field
	Body     []byte // shared by many messages
	Want     Outcome
}

// Messages returns how many messages there are.
func (c *Corpus) Messages() int {
	n := 0
	for _, s := range c.Sessions {
		n += len(s.Messages)
	}
	return n
}

// domain is a domain that sends mail.
type domain struct {
	name   string
	addr   netip.Addr
	policy string
}

func (d domain) host() string { return "mail." + d.name }

// generator holds the parts that messages are made from.
type generator struct {
	o       Options
	keys    Keys
	domains []domain
	evil    []domain
	bodies  map[string][]body // by size
	ranks   []float64         // cumulative weight of the domains, the likeliest first
}

// New makes a corpus.
func New(o Options) (*Corpus, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	keys, err := NewKeys(o.Seed)
	if err != nil {
		return nil, err
	}
	return keys.Corpus(o)
}

// Corpus makes a corpus that the keys sign. It depends on the seed in the
// options and on the keys.
func (keys Keys) Corpus(o Options) (*Corpus, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &generator{o: o, keys: keys, bodies: map[string][]body{}}
	for _, s := range o.Sizes {
		size, _ := parseSize(s.Kind) // validated
		for v := range bodyVariants {
			g.bodies[s.Kind] = append(g.bodies[s.Kind], newBody(newRand(o.Seed, "body "+s.Kind, v), size))
		}
	}
	total := 0.0
	for rank := range o.Domains {
		total += math.Pow(float64(rank+1), -o.Zipf)
		g.ranks = append(g.ranks, total)
	}
	z := newZone(o.TTL)
	for i := range o.Domains {
		g.domains = append(g.domains, g.newDomain(z, i))
	}
	for i := range spoofers {
		g.evil = append(g.evil, newSpoofer(z, i))
	}
	served, err := z.parsed()
	if err != nil {
		return nil, err
	}
	sessions, err := g.sessions()
	return &Corpus{Sessions: sessions, Zone: served}, err
}

// newDomain publishes domain i: SPF, keys, DMARC, and its host with address and
// reverse name.
func (g *generator) newDomain(z *zoneWriter, i int) domain {
	rng := newRand(g.o.Seed, "domain", i)
	d := domain{
		name: fmt.Sprintf("d%05d.example", i), policy: g.o.Policies.pick(rng),
		addr: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), // RFC 2544's range
	}
	lookups, _ := parseLookups(g.o.SPF.pick(rng)) // validated
	owner := d.name
	for n := range lookups {
		next := "_spf" + strconv.Itoa(n+1) + "." + d.name
		z.addTXT(owner, "v=spf1 include:"+next+" -all")
		owner = next
	}
	z.addTXT(owner, "v=spf1 ip4:"+d.addr.String()+" -all")
	z.addMX(d.name, d.host())
	z.addA(d.name, d.addr)
	z.addA("news."+d.name, d.addr)
	z.addA(d.host(), d.addr)
	z.addPTR(d.addr, d.host())
	for _, k := range g.keys {
		z.addTXT(k.selector+"._domainkey."+d.name, k.record)
	}
	if d.policy != "absent" {
		z.addTXT("_dmarc."+d.name, "v=DMARC1; p="+d.policy)
	}
	return d
}

// newSpoofer publishes a client whose own DNS is right and that sends mail in the
// name of other domains.
func newSpoofer(z *zoneWriter, i int) domain {
	d := domain{name: fmt.Sprintf("x%02d.example", i), addr: netip.AddrFrom4([4]byte{198, 19, 0, byte(i)}), policy: "absent"}
	z.addTXT(d.name, "v=spf1 ip4:"+d.addr.String()+" -all")
	z.addA(d.host(), d.addr)
	z.addPTR(d.addr, d.host())
	return d
}

// sessions makes all sessions on all cores, because signing takes long.
func (g *generator) sessions() ([]Session, error) {
	count := (g.o.Messages + g.o.PerSession - 1) / g.o.PerSession
	out := make([]Session, count)
	errs := make([]error, count)
	var work sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for c := range cores {
		work.Go(func() {
			for i := c; i < count; i += cores {
				out[i], errs[i] = g.session(i, min(g.o.PerSession, g.o.Messages-i*g.o.PerSession))
			}
		})
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// session makes session i. Its client is the host of a domain or a spoofer.
func (g *generator) session(i, messages int) (Session, error) {
	rng := newRand(g.o.Seed, "session", i)
	first := g.o.Outcomes.pick(rng)
	sender := g.pickDomain(rng, i)
	if first != "pass" {
		sender = g.evil[rng.IntN(spoofers)]
	}
	s := Session{Client: sender.addr, Name: sender.host()}
	for n := range messages {
		author := sender
		if first != "pass" {
			author = g.pickDomain(rng, i*g.o.PerSession+n)
		}
		m, err := g.message(rng, i*g.o.PerSession+n, first, author, sender)
		if err != nil {
			return s, err
		}
		s.Messages = append(s.Messages, m)
	}
	return s, nil
}

func (g *generator) pickDomain(rng *rand.Rand, turn int) domain {
	if g.o.Zipf == 0 {
		return g.domains[turn%len(g.domains)]
	}
	at := rng.Float64() * g.ranks[len(g.ranks)-1]
	return g.domains[min(sort.SearchFloat64s(g.ranks, at), len(g.domains)-1)]
}

// message makes message n with the given outcome.
func (g *generator) message(rng *rand.Rand, n int, outcome string, author, sender domain) (Message, error) {
	bodies := g.bodies[g.o.Sizes.pick(rng)]
	sent := bodies[rng.IntN(bodyVariants-1)]
	signed := sent.hash
	signatures := g.o.Signatures.pick(rng)
	from, mailFrom := author.name, author.name
	if rng.IntN(100) < g.o.Subdomains {
		from = "news." + author.name
	}
	want := Outcome{DKIM: "pass", SPF: "pass", DMARC: "pass", Action: Deliver}
	switch outcome {
	case "fail":
		signed = bodies[bodyVariants-1].hash
		want = Outcome{DKIM: "fail", SPF: "fail", DMARC: "fail", Action: policyAction(author.policy)}
	case "spoof":
		signatures, mailFrom = "none", sender.name
		want = Outcome{DKIM: "none", SPF: "pass", DMARC: "fail", Action: policyAction(author.policy)}
	}
	if signatures == "none" {
		want.DKIM = "none"
	}
	if author.policy == "absent" {
		want.DMARC = "none"
	}
	m := Message{
		Envelope: client.Envelope{From: "<bounce@" + mailFrom + ">", To: []string{"<reader@mx.example>"}, QueueID: fmt.Sprintf("4L%08X", n)},
		Header:   newHeader(rng, n, from, sender, sent.contentType), Body: sent.text, Want: want,
	}
	var fields []client.Field
	for _, k := range g.signers(signatures) {
		f, err := sign(m.Header, signed, author.name, k)
		if err != nil {
			return m, err
		}
		fields = append(fields, f)
	}
	m.Header = append(fields, m.Header...)
	return m, nil
}

func (g *generator) signers(signatures string) []key {
	switch signatures {
	case "rsa":
		return g.keys[:1]
	case "ed25519":
		return g.keys[rsaKeys:]
	case "two":
		return []key{g.keys[0], g.keys[rsaKeys]}
	case "five":
		return g.keys[:rsaKeys]
	}
	return nil
}

// policyAction returns what sekimori does in its default configuration with mail
// that fails DMARC under a policy.
func policyAction(policy string) Action {
	switch policy {
	case "reject":
		return Reject
	case "quarantine":
		return Quarantine
	}
	return Deliver
}

// body is one body with its hash.
type body struct {
	text        []byte
	hash        [sha256.Size]byte
	contentType string // of the message
}
