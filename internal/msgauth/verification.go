package msgauth

import (
	"context"
	"errors"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/spf"
)

// Connection is one SMTP client's connection. Its methods are called from one
// goroutine.
type Connection struct {
	v      *Verifier
	ctx    context.Context
	cancel context.CancelFunc
	client Session

	iprev       task[iprev.Result]
	iprevBudget budget
	iprevAsks   dns.Resolver
	named       bool      // expectName has announced a name to iprevAsks
	helo        *greeting // nil before HELO
	counted     bool      // the lookups of the connection are already counted with a message
}

// greeting is the check of one HELO name.
type greeting struct {
	task[spf.Check]
	budget budget
}

// Connect begins a connection and starts iprev, which needs only the client's address. Close must
// be called.
func (v *Verifier) Connect(ctx context.Context, s Session) *Connection {
	ctx, cancel := context.WithCancel(ctx)
	c := &Connection{v: v, ctx: ctx, cancel: cancel, client: s}
	c.iprev.setUp(c, iprevStage, "")
	c.iprevAsks = c.iprev.ahead()
	c.iprevBudget.begin(ctx, v.o.Budget)
	c.iprev.start(&c.iprevBudget, c.iprevAsks, func(ctx context.Context, r dns.Resolver) iprev.Result {
		if spf.PrivateClient(s.Client) {
			// The reverse zone of a private address belongs to the site, if there is such a zone,
			// and says nothing about the sender.
			return iprev.Result{Status: iprev.PermError, IP: s.Client.Unmap().WithZone(""), Problem: "the client's address is not one of the Internet"}
		}
		return iprev.Check(ctx, r, s.Client)
	})
	c.expectName(s.ClientName)
	return c
}

// expectName announces the address lookup of the client's probable name to the resolver of iprev.
// iprev needs this lookup if the PTR record has that name. host is the name that the MTA found, or
// the HELO name.
func (c *Connection) expectName(host string) {
	name, err := dns.ParseHostname(host)
	if err != nil || c.iprev.ended() || c.named {
		return
	}
	c.named = true // only once, because a client may send HELO a thousand times
	c.iprevAsks.Expect(&c.iprevBudget, name, iprev.AddressType(c.client.Client))
}

// Helo records the client's HELO name and begins its SPF check. A client may send HELO again, for
// example after STARTTLS (RFC 5321 §4.1.4); the last name counts.
func (c *Connection) Helo(name string) {
	if c.helo != nil {
		if name == c.client.HELO {
			return
		}
		c.helo.budget.end() // only one check may run, because a client may send HELO a thousand times
	}
	c.client.HELO = name
	g := &greeting{} // a new value, because the check of the previous name may still run
	c.helo = g
	g.setUp(c, spfStage, "")
	g.budget.begin(c.ctx, c.v.o.Budget)
	args := c.args("")
	g.start(&g.budget, g.spfAhead(), func(ctx context.Context, r dns.Resolver) spf.Check {
		return spf.CheckHELO(ctx, r, args)
	})
	c.expectName(name)
}

// Close ends everything that still runs for this connection.
func (c *Connection) Close() { c.cancel() }

func (c *Connection) args(mailFrom string) spf.Args {
	return spf.Args{
		IP: c.client.Client, InternetOnly: true, HELO: c.client.HELO, MailFrom: mailFrom, Receiver: c.v.o.Receiver, Now: c.v.o.Now(),
		LookAhead: c.v.o.SPFAhead,
	}
}

// Verification is the evaluation of one message. Its methods are called from one goroutine, in the
// order in which the message arrives.
type Verification struct {
	c       *Connection
	session Session
	size    int64
	path    mailaddr.Path

	// mailBudget bounds the stage that begins at MAIL. headerBudget bounds the stages that begin at
	// the end of the header. endBudget bounds all waiting in Finish. Within endBudget, the budget
	// "identifiers" bounds the waiting for identifiers, and the budget "shown" bounds the waiting
	// for results that cannot change the verdict (see Options.Grace).
	mailBudget, headerBudget, endBudget, identifiers, shown budget

	mailFrom task[spf.Check]

	headerSeen bool
	from       author.From
	fromErr    *author.Error
	header     message.Header
	headerSize int64
	digest     string
	dkim       *dkim.Verifier
	arc        *arc.Verifier
	discovery  task[*dmarc.Discovery]
	dmarcAsks  dns.Resolver

	dkimStage, arcStage stage
	marks               *marks // nil if marks are not looked for
	countsConnection    bool   // the lookups of the connection count with this message

	hurried    bool // results may be missing that are only shown, because Options.Grace has passed
	handedOver bool // Whole closes dkim, and not Close
}

// Begin starts the evaluation of a message at MAIL, with the SPF check of the return path. s holds
// what is known about the client by now, except its address and HELO name, which Begin takes from
// the connection. Close must be called.
func (c *Connection) Begin(s Session, e Envelope) *Verification {
	s.Client, s.HELO = c.client.Client, c.client.HELO
	m := &Verification{c: c, session: s}
	m.mailFrom.setUp(c, spfStage, "")
	path, err := mailaddr.ParsePath(e.MailFrom)
	m.path = path
	args := c.args(pathText(path))
	m.mailBudget.begin(c.ctx, c.v.o.Budget)
	m.mailFrom.start(&m.mailBudget, m.mailFrom.spfAhead(), func(ctx context.Context, r dns.Resolver) spf.Check {
		if err != nil {
			// A malformed identity has no policy (RFC 7208 §4.3).
			return spf.Check{Identity: spf.MailFrom, Result: spf.None, Problem: err.Error()}
		}
		return spf.CheckMailFrom(ctx, r, args)
	})
	return m
}

// pathText returns a sender as spf.Args.MailFrom has it. It returns "" for a null path, and for the zero
// Path of a malformed one.
func pathText(p mailaddr.Path) string {
	if p.Null || p == (mailaddr.Path{}) {
		return ""
	}
	return p.Local + "@" + p.DomainRaw
}

// EndOfHeader parses the header and starts the lookups that it makes necessary.
func (m *Verification) EndOfHeader(h message.Header) {
	for _, f := range h {
		m.size += int64(len(f.Name) + len(":") + len(f.Value) + len("\r\n"))
	}
	m.header, m.headerSize = h, m.size
	m.digest = digest(h)
	from, err := author.Parse(h.Values("From"))
	m.from, m.fromErr = from, refusal(err)

	v := m.c.v
	m.dkimStage.setUp(m.c, dkimStage, from.AuthorDomain)
	m.discovery.setUp(m.c, dmarcStage, from.AuthorDomain)
	m.arcStage.setUp(m.c, arcStage, "")
	m.headerBudget.begin(m.c.ctx, v.o.Budget)
	o := v.o.DKIM
	o.Now = v.o.Now()
	o.Prefer = from.AuthorDomain
	o.ReturnPath = returnPath(m.path)
	o.LeadingSpaceUnknown = m.session.NoLeadingSpace
	m.dkim = dkim.NewVerifier(h, o)
	m.dkim.Start(&m.headerBudget, &m.dkimStage)
	// ARC shares with DKIM the index of the header, the hashes of the body, and the keys that DKIM
	// has already asked for.
	m.arc = arc.NewVerifier(m.dkim.Message(), o)
	m.arc.Start(&m.headerBudget, &m.arcStage)
	if m.fromErr == nil {
		m.dmarcAsks = m.discovery.ahead()
		m.discovery.start(&m.headerBudget, m.dmarcAsks, func(ctx context.Context, r dns.Resolver) *dmarc.Discovery {
			return dmarc.Discover(ctx, r, from.AuthorDomain, v.o.DMARC)
		})
	}
	// This flag is set last. Close checks it, and must not see a half-built verifier if something
	// above panicked.
	m.headerSeen = true
}

// refusal returns an error of author.Parse in its own type, which Parse always returns. Any other error
// would count as a malformed field: a message must not pass as one without an author's policy.
func refusal(err error) *author.Error {
	var e *author.Error
	if err == nil || errors.As(err, &e) {
		return e
	}
	return &author.Error{Kind: author.KindMalformed, Detail: err.Error()}
}

// returnPath returns the value that MTAs write into Return-Path for a sender. It returns "" if the
// sender is not known.
func returnPath(p mailaddr.Path) string {
	switch {
	case p.Null:
		return "<>"
	case p.DomainRaw == "":
		return ""
	}
	return "<" + p.Local + "@" + p.DomainRaw + ">"
}

// Write takes the next octets of the body as received. The chunks may have any size.
func (m *Verification) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	if !m.headerSeen {
		return len(p), nil
	}
	return m.dkim.Write(p)
}

// Finish waits for the stages that still run, but no longer than the budget, and returns every
// fact. Call it once. envelope is the Envelope of Begin with everything that became known since,
// such as recipients and queue id.
func (m *Verification) Finish(ctx context.Context, envelope Envelope) *Evaluation {
	if !m.headerSeen {
		m.EndOfHeader(nil)
	}
	begin := time.Now()
	envelope.Size = m.size
	v := m.c.v
	m.endBudget.begin(ctx, v.o.Budget)
	defer m.endBudget.end()
	e := &Evaluation{
		Session: m.session, Envelope: envelope,
		From: m.from, FromError: m.fromErr,
		Time: v.o.Now(), Digest: m.digest,
	}
	// The budgets within endBudget end with it.
	m.identifiers.begin(&m.endBudget, v.o.Budget-v.reserve())
	keys, alignment := &m.identifiers, &m.endBudget
	decided := m.awaitPass(&m.identifiers)
	if decided {
		m.shown.begin(&m.endBudget, v.o.Grace)
		keys, alignment = &m.shown, &m.shown
	}
	e.DKIM = m.finishDKIM(keys, e)
	// ARC may wait as long as the identifiers, even if DMARC's result is certain: a chain whose
	// keys are missing would be reported as failed.
	e.ARC = m.finishARC(&m.identifiers, e)
	e.MailFrom = m.waitMailFrom(keys, e)
	e.DMARC = m.evaluateDMARC(alignment, e)
	m.hurried = decided && m.shown.Err() != nil
	if !decided {
		m.shown.begin(&m.endBudget, v.o.Grace)
	}
	m.startBIMI(e)
	// If DMARC passes, no verdict depends on iprev and the traits. If it does not pass, iprev
	// matters: the client's name may be that of a known forwarder, and a name that does not point
	// back to the client is a sign of a spoof. Rules may ask for iprev and for traits.
	rest := &m.endBudget
	if e.DMARC.Result == dmarc.ResultPass {
		rest = &m.shown
	}
	e.IPRev = m.waitIPRev(rest, e)
	e.HELO = m.waitHELO(&m.shown, e)
	e.Watch = m.watch(e.From)
	m.findTraits(rest, e)
	e.BIMI = m.finishBIMI(e)
	m.account(e)
	e.Wait = time.Since(begin)
	return e
}
