// Package traffic makes what a load test needs: a corpus of signed mail with the expected outcome
// of each message, and a name server with the DNS zone of the corpus.
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
	maxDomains  = 60000 // each domain has its own address in 198.18.0.0/16
	maxMessages = 1_000_000
	spoofers    = 64 // clients that send mail in the name of other domains
	// bodyVariants is the number of bodies of each size. The last one is never sent. Its hash is
	// used for broken signatures.
	bodyVariants = 3
)

// Options are the parameters of a corpus. With the same options the corpus is always the same,
// octet for octet.
type Options struct {
	Seed       uint64
	Messages   int // number of different messages; a longer run repeats them
	PerSession int // messages in one connection, all from the same client
	Domains    int
	// Zipf is the exponent of Zipf's law. The larger it is, the larger is the part of the mail that
	// comes from few domains. With 0, the domains are used one after another. Then no domain is
	// used twice if there are at least as many domains as sessions.
	Zipf float64
	// TTL is the TTL of every DNS record.
	TTL time.Duration

	Sizes      Mix // sizes of messages, such as 2KB or 5MB
	Signatures Mix // signatures of a message: none, rsa, ed25519, two (rsa and ed25519) or five (rsa)
	SPF        Mix // number of DNS lookups that a domain's SPF record needs, 0 to 10, or "terms" (see addSeveralTerms)
	Policies   Mix // DMARC policy of a domain: none, quarantine, reject or absent
	// Outcomes are the outcomes of messages. With pass, SPF passes, and DKIM too if the message is
	// signed. With fail, MAIL FROM has the author's domain, SPF forbids the client, and signatures
	// are broken. With spoof, MAIL FROM has another domain for which SPF passes, and there is no
	// signature.
	Outcomes Mix
	// Subdomains is the percentage of messages whose author is at a subdomain that has no DMARC
	// policy of its own.
	Subdomains int
}

// Default returns options for a mix of mail that an MX might see.
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

// Validate returns an error if the options are invalid.
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
		{"spf", o.SPF, validSPF},
		{"policies", o.Policies, oneOf("none", "quarantine", "reject", "absent")},
		{"outcomes", o.Outcomes, oneOf("pass", "fail", "spoof")},
	} {
		if err := c.mix.check(c.what, c.valid); err != nil {
			return err
		}
	}
	return nil
}

// Corpus is the mail and the DNS zone that belongs to it.
type Corpus struct {
	Sessions []Session
	Zone     *zone.Zone
}

// Session is what one client sends over one connection.
type Session struct {
	Client   netip.Addr
	Name     string // the client's host name, used for HELO and for the reverse name
	Messages []Message
}

// Message is one message and the outcome that it should have.
type Message struct {
	Envelope client.Envelope
	Header   []client.Field
	Body     []byte // shared by many messages, so it must not be changed
	Want     Outcome
}

// Messages returns the number of messages in all sessions.
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

// generator has the parts from which messages are made.
type generator struct {
	o       Options
	keys    Keys
	domains []domain
	evil    []domain
	bodies  map[string][]body // by size, as in Options.Sizes
	ranks   []float64         // cumulative weights of the domains, the most frequent domain first
}

// New makes a corpus with keys derived from o.Seed.
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

// Corpus makes a corpus signed with the given keys. It depends only on the options (which have the
// seed) and the keys.
func (keys Keys) Corpus(o Options) (*Corpus, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &generator{o: o, keys: keys, bodies: map[string][]body{}}
	for _, s := range o.Sizes {
		size, _ := parseSize(s.Kind) // no error: Validate has checked the size
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

// newDomain adds domain i to the zone: its SPF, key and DMARC records, and its mail host with
// address and reverse name.
func (g *generator) newDomain(z *zoneWriter, i int) domain {
	rng := newRand(g.o.Seed, "domain", i)
	d := domain{
		name: fmt.Sprintf("d%05d.example", i), policy: g.o.Policies.pick(rng),
		// 198.18.0.0/15 is reserved for benchmarks (RFC 2544). Domains that follow each other are in different
		// /24, as senders on the Internet are: a verifier may give one network only a share of what all need.
		addr: netip.AddrFrom4([4]byte{198, 18, byte(i), byte(i >> 8)}),
	}
	web, mx := d.addr, d.host()
	if shape := g.o.SPF.pick(rng); shape == severalTerms {
		web, mx = elsewhere(), "in."+d.name
		z.addA(mx, elsewhere())
		addSeveralTerms(z, d)
	} else {
		addIncludes(z, d, shape)
	}
	z.addMX(d.name, mx)
	z.addA(d.name, web)
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

// elsewhere is the address of hosts that send no mail.
func elsewhere() netip.Addr { return netip.AddrFrom4([4]byte{198, 19, 255, 1}) }

// addIncludes publishes an SPF record that needs as many lookups as shape says. Each lookup is an
// include: the record of d includes a second record, which includes a third, and so on.
func addIncludes(z *zoneWriter, d domain, shape string) {
	lookups, _ := parseLookups(shape) // no error: Validate has checked the shape
	owner := d.name
	for n := range lookups {
		next := "_spf" + strconv.Itoa(n+1) + "." + d.name
		z.addTXT(owner, "v=spf1 include:"+next+" -all")
		owner = next
	}
	z.addTXT(owner, "v=spf1 ip4:"+d.addr.String()+" -all")
}

// addSeveralTerms publishes an SPF record that needs five lookups: a, mx, two includes, and an
// include in the second of these two records. Domains with a web host, a mail host and two mail
// services publish such records. Only the last included record permits the address of d.
func addSeveralTerms(z *zoneWriter, d domain) {
	z.addTXT(d.name, "v=spf1 a mx include:_spf1."+d.name+" include:_spf2."+d.name+" -all")
	z.addTXT("_spf1."+d.name, "v=spf1 ip4:"+elsewhere().String()+" -all")
	z.addTXT("_spf2."+d.name, "v=spf1 include:_spf3."+d.name+" -all")
	z.addTXT("_spf3."+d.name, "v=spf1 ip4:"+d.addr.String()+" -all")
}

// newSpoofer adds a spoofer to the zone: a client that has correct DNS records of its own and sends
// mail in the name of other domains.
func newSpoofer(z *zoneWriter, i int) domain {
	d := domain{name: fmt.Sprintf("x%02d.example", i), addr: netip.AddrFrom4([4]byte{198, 19, 0, byte(i)}), policy: "absent"}
	z.addTXT(d.name, "v=spf1 ip4:"+d.addr.String()+" -all")
	z.addA(d.host(), d.addr)
	z.addPTR(d.addr, d.host())
	return d
}

// sessions makes all sessions. It uses all cores, because signing takes long.
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

// session makes session i. Its client is the mail host of a domain, or a spoofer.
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

// policyAction returns what sekimori does, in its default configuration, with a message that fails
// DMARC if the author's domain has the given policy.
func policyAction(policy string) Action {
	switch policy {
	case "reject":
		return Reject
	case "quarantine":
		return Quarantine
	}
	return Deliver
}

// body is the body of a message.
type body struct {
	text        []byte
	hash        [sha256.Size]byte
	contentType string // value of the Content-Type field of the message
}
