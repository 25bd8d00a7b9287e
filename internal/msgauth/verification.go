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

	iprev      *task[iprev.Result]
	iprevMeter *dns.Meter
	helo       *task[spf.Check]
	heloMeter  *dns.Meter
	endHELO    context.CancelFunc // of the check under way
	accounted  bool               // what the connection asked was counted with a message
}

// Connect begins what depends on the client alone. Close must be called.
func (v *Verifier) Connect(ctx context.Context, s Session) *Connection {
	ctx, cancel := context.WithCancel(ctx)
	c := &Connection{v: v, ctx: ctx, cancel: cancel, client: s, iprevMeter: v.meter(IPRev), heloMeter: v.meter(SPF)}
	c.iprev = start(IPRev, func() iprev.Result {
		ctx, cancel := v.budget(c.ctx)
		defer cancel()
		return iprev.Check(ctx, c.iprevMeter, s.Client)
	})
	return c
}

// Helo records the client's HELO name and begins its check. A client may greet
// again (RFC 5321 §4.1.4, after STARTTLS); the last name counts.
func (c *Connection) Helo(name string) {
	if c.helo != nil && name == c.client.HELO {
		return
	}
	if c.endHELO != nil {
		c.endHELO() // a client may greet a thousand times: only one check runs
	}
	c.client.HELO = name
	meter := c.v.meter(SPF)
	c.heloMeter = meter
	args := c.args("")
	ctx, cancel := c.v.budget(c.ctx)
	c.endHELO = cancel
	c.helo = start(SPF, func() spf.Check {
		defer cancel()
		return unknownClient(spf.CheckHELO(ctx, meter, args))
	})
}

// Close ends whatever still runs for this connection.
func (c *Connection) Close() { c.cancel() }

func (c *Connection) args(mailFrom string) spf.Args {
	return spf.Args{IP: c.client.Client, HELO: c.client.HELO, MailFrom: mailFrom, Receiver: c.v.o.Receiver, Now: c.v.o.Now()}
}

// unknownClient: where the MTA does not know the client's address no statement
// can be made, and none may be held against the message.
func unknownClient(check spf.Check) spf.Check {
	if check.Reason == spf.ReasonNoAddress {
		check.Result = spf.TempError
	}
	return check
}

// Verification is one message under way. Its methods are called from one
// goroutine, in the order of the message.
type Verification struct {
	c   *Connection
	ctx context.Context
	// endLookups frees the timer of what EndOfHeader started.
	endLookups context.CancelFunc
	cancel     context.CancelFunc
	session    Session
	size       int64
	path       mailaddr.Path

	meters   meters
	mailFrom *task[spf.Check]

	headerSeen bool
	from       mailaddr.From
	fromErr    *mailaddr.FromError
	traits     Traits
	lists      []dns.Name // that the header names
	digest     string
	dkim       *dkim.Verifier
	arc        *arc.Verifier
	discovery  *task[*dmarc.Discovery]

	dkimElapsed, arcElapsed time.Duration
}

// Begin starts a message at MAIL: the SPF check of its return path runs from
// here on. s carries the client's facts as known by now; its address and HELO
// name are the connection's. Close must be called.
func (c *Connection) Begin(s Session, e Envelope) *Verification {
	s.Client, s.HELO = c.client.Client, c.client.HELO
	ctx, cancel := context.WithCancel(c.ctx)
	m := &Verification{c: c, ctx: ctx, cancel: cancel, session: s, meters: meters{}}
	for _, mech := range []Mechanism{SPF, DKIM, DMARC, ARC} {
		m.meters[mech] = c.v.meter(mech)
	}
	path, err := mailaddr.ParsePath(e.MailFrom)
	m.path = path
	args := c.args("")
	if err == nil && !path.Null {
		args.MailFrom = path.Local + "@" + path.DomainRaw
	}
	m.mailFrom = start(SPF, func() spf.Check {
		if err != nil {
			// RFC 7208 §4.3: a malformed identity has no policy.
			return spf.Check{Identity: spf.MailFrom, Result: spf.None, Problem: err.Error()}
		}
		ctx, cancel := c.v.budget(ctx)
		defer cancel()
		return unknownClient(spf.CheckMailFrom(ctx, m.meters[SPF], args))
	})
	return m
}

// EndOfHeader parses the header and starts every lookup that follows from it.
func (m *Verification) EndOfHeader(h message.Header) {
	for _, f := range h {
		m.size += int64(len(f.Name) + len(":") + len(f.Value) + len("\r\n"))
	}
	m.traits, m.lists, m.digest = traitsOf(h, m.path), listDomains(h), digest(h)
	from, err := mailaddr.ParseFrom(h.Values("From"))
	m.from = from
	if err != nil && !errors.As(err, &m.fromErr) {
		m.fromErr = &mailaddr.FromError{Kind: mailaddr.KindMalformed, Detail: err.Error()}
	}

	ctx, cancel := m.c.v.budget(m.ctx)
	m.endLookups = cancel
	o := m.c.v.o.DKIM
	o.Now = m.c.v.o.Now()
	o.Prefer = from.AuthorDomain
	m.dkim = dkim.NewVerifier(h, o)
	m.dkim.Start(ctx, m.meters[DKIM])
	// ARC shares the header's index, the body's hashes and the keys already
	// asked for.
	m.arc = arc.NewVerifier(m.dkim.Message(), o)
	m.arc.Start(ctx, m.meters[ARC])
	m.discovery = start(DMARC, func() *dmarc.Discovery {
		if m.fromErr != nil || from.AuthorDomain == "" {
			return nil
		}
		return dmarc.Discover(ctx, m.meters[DMARC], from.AuthorDomain, m.c.v.o.DMARC)
	})
	// Last: after a panic above, Close must find nothing half made.
	m.headerSeen = true
}

// Write takes body octets as received, in any portions.
func (m *Verification) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	if !m.headerSeen {
		return len(p), nil
	}
	return m.dkim.Write(p)
}

// Finish waits for what is still under way, at most the budget, and returns
// every fact. It is called once. envelope is the one of Begin with what became
// known since, such as recipients and queue id.
func (m *Verification) Finish(ctx context.Context, envelope Envelope) *Evaluation {
	if !m.headerSeen {
		m.EndOfHeader(nil)
	}
	begin := time.Now()
	envelope.Size = m.size
	ctx, cancel := m.c.v.budget(ctx)
	defer cancel()
	e := &Evaluation{
		Session: m.session, Envelope: envelope,
		From: m.from, FromError: m.fromErr, Traits: m.traits,
		Time: m.c.v.o.Now(), Digest: m.digest,
		Cost: map[Mechanism]Cost{},
	}
	// Own work first: the lookups under way do not wait for it.
	identifiers, endIdentifiers := context.WithTimeout(ctx, m.c.v.o.Budget-m.c.v.reserve())
	defer endIdentifiers()
	e.DKIM = m.finishDKIM(identifiers, e)
	e.ARC = m.finishARC(identifiers, e)
	e.MailFrom = m.waitMailFrom(identifiers, e)
	e.DMARC = m.evaluateDMARC(ctx, e)
	// No verdict depends on the rest, but that of a message that fails: its
	// client's name speaks for a known forwarder, a name that does not point
	// back for a spoof.
	rest, endRest := ctx, context.CancelFunc(func() {})
	if e.DMARC.Result != dmarc.ResultFail {
		rest, endRest = context.WithTimeout(ctx, m.c.v.o.Grace)
	}
	defer endRest()
	e.IPRev = waitIPRev(rest, e, m.c.iprev)
	helo, endHELO := context.WithTimeout(ctx, m.c.v.o.Grace)
	defer endHELO()
	e.HELO = m.waitHELO(helo, e)
	m.finishTraits(e)
	m.account(e)
	e.Wait = time.Since(begin)
	return e
}
