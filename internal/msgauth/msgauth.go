// Package msgauth runs the evaluators over one message's life and gathers what
// they found in an [Evaluation].
//
// A [Verifier] is made once. For each SMTP connection it gives a [Connection],
// which starts iprev and the HELO identity's SPF check in the background; for
// each message the connection begins a [Verification]: SPF of MAIL FROM starts
// at MAIL, every DKIM and ARC key and the DMARC policy discovery at the end of
// the header, the body is hashed as it streams by. Only Finish waits.
//
// Nothing here decides what becomes of a message; that is package policy.
package msgauth

import (
	"net/netip"
	"sync"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

// Options are what an operator can set. The zero value is usable.
type Options struct {
	// Budget bounds the time a background stage may wait for DNS, and again
	// the wait at end of message. 0 means DefaultBudget.
	Budget time.Duration
	DKIM   dkim.Options
	DMARC  dmarc.Options
	// Receiver is this host's name, SPF's %{r}.
	Receiver dns.Name
	// Grace is how long a message waits, once DMARC's result is certain, for
	// results that decide nothing any more and are only shown: beside an
	// aligned pass the other identifiers, their alignment, and iprev; always
	// the SPF check of HELO. What did not come by then is a temporary error of
	// its own, as any check is that runs into a time limit, and no other result
	// changes. An ARC chain is waited for all the same: without its keys it
	// could only be called failed. 0 means DefaultGrace; less than 0 is no time.
	Grace time.Duration
	// LookAhead asks at once for what may have to be asked in turn: all names
	// of a DMARC tree walk, and the address of a client's supposed name beside
	// the name of its address. It changes no result.
	LookAhead bool
	// Now is the wall clock, used only for x=, t= and %{t}. Default time.Now.
	Now func() time.Time
}

// Defaults of Options.
const (
	DefaultBudget = 10 * time.Second
	DefaultGrace  = 250 * time.Millisecond
)

// Verifier evaluates messages. Safe for concurrent use.
type Verifier struct {
	resolver dns.Resolver
	slots    *lookupSlots
	answers  *sync.Pool // of *[]dns.Answer: buffers for the first run of a task
	o        Options
}

// NewVerifier returns a Verifier that asks r. A stage whose answers r has at hand
// runs at once instead of in the background.
func NewVerifier(r dns.Resolver, o Options) *Verifier {
	if o.Budget <= 0 {
		o.Budget = DefaultBudget
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	o.Grace = max(o.Grace, 0)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DKIM.Cache == nil {
		o.DKIM.Cache = dkim.NewCache()
	}
	answers := &sync.Pool{New: func() any { return new([]dns.Answer) }}
	return &Verifier{resolver: r, slots: newLookupSlots(), answers: answers, o: o}
}

// Session is what is known of the SMTP client (one connection).
type Session struct {
	Client     netip.Addr `json:"client_ip,omitzero"` // invalid if the MTA did not know
	ClientName string     `json:"client_name,omitempty"`
	HELO       string     `json:"helo,omitempty"`
	TLSVersion string     `json:"tls_version,omitempty"`
	// Authenticated is the SASL login name, "" if the client did not log in.
	Authenticated string `json:"authenticated,omitempty"`
	// NoLeadingSpace: the MTA does not say which white space stood directly
	// after a header field's colon, so one space was assumed. A signature that
	// hashes the header as it was sent (simple canonicalization, RFC 6376
	// §3.4.1) cannot be relied on to match.
	NoLeadingSpace bool `json:"no_leading_space,omitempty"`
}

// Unknown reports whether nobody can say who the client is: the MTA gave no
// address, or one that no client on the Internet can have. SPF and iprev say
// nothing about such a client.
func (s Session) Unknown() bool { return !s.Client.IsValid() || spf.PrivateClient(s.Client) }

// Envelope is what is known of the transaction (one message).
type Envelope struct {
	QueueID    string   `json:"queue_id,omitempty"`
	MailFrom   string   `json:"mail_from"`          // as typed by the client
	SMTPUTF8   bool     `json:"smtputf8,omitempty"` // the client declared it internationalized (RFC 6531)
	Recipients []string `json:"recipients,omitempty"`
	Size       int64    `json:"size"` // octets of header and body as seen here
}

// maxReserve bounds what reserve sets aside.
const maxReserve = 2 * time.Second

// reserve is the part of the budget kept for the alignment that follows the
// identifiers: without it a sender whose keys never come could use the budget
// up, and a policy that is known would end as a temporary error.
func (v *Verifier) reserve() time.Duration { return min(v.o.Budget/4, maxReserve) }
