// Package msgauth runs the evaluators while a message arrives, and collects their results in an
// [Evaluation].
//
// The daemon makes one [Verifier]. The Verifier makes a [Connection] for each SMTP connection. The
// Connection starts iprev and the SPF check of HELO, and makes a [Verification] for each message.
// At MAIL, the Verification starts the SPF check of MAIL FROM. At the end of the header, it asks
// for every key of DKIM and ARC and for the DMARC policy. It hashes the body as the body arrives.
// Only Finish waits.
//
// This package does not decide what happens to a message; package policy does.
package msgauth

import (
	"net/netip"
	"sync"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/lookalike"
	"sekimori/internal/spf"
)

// Options are the settings of a Verifier. The zero value is usable.
type Options struct {
	// Budget bounds the waiting for DNS. Each stage that runs in the background may take this long.
	// Finish may also wait this long, counted from its call. 0 means DefaultBudget.
	Budget time.Duration
	DKIM   dkim.Options
	DMARC  dmarc.Options
	// Receiver is this host's name, the value of SPF's macro %{r}.
	Receiver dns.Name
	// Grace is the maximum time to wait, once DMARC's result is certain, for results that are
	// shown but cannot change the verdict. These are the SPF check of HELO and, if DMARC passes,
	// also iprev, the other identifiers and their alignment. The record of the author's mark gets as
	// much time again. A result that takes longer becomes a
	// temporary error. The grace does not apply to ARC: if the keys of a chain were missing, the
	// chain would be reported as failed. 0 means DefaultGrace; a negative value means no time.
	Grace time.Duration
	// LookAhead starts lookups early that would otherwise run one after the other. All names of a
	// DMARC tree walk are looked up at the same time. The address of the client's probable name is
	// looked up at the same time as the PTR record of the client's address. LookAhead changes no
	// result.
	LookAhead bool
	// SPFAhead is how many questions an SPF check may ask early (see
	// spf.Args.LookAhead). 0 is none.
	SPFAhead int
	// Indicators knows the marks of authors. It is nil if marks are not looked for. BIMI then says
	// which messages may have one.
	Indicators bimi.Indicators
	BIMI       bimi.Options
	// Watch knows the watched domains; nil if there are none.
	Watch *lookalike.Matcher
	// Now is the wall clock. It is used only for x=, t=, %{t} and Evaluation.Time. The default is
	// time.Now.
	Now func() time.Time
}

// Defaults and bounds of Options.
const (
	// MaxSPFAhead is the highest value that SPFAhead should have.
	MaxSPFAhead     = 50
	DefaultSPFAhead = 10
	DefaultBudget   = 10 * time.Second
	DefaultGrace    = 250 * time.Millisecond
)

// Verifier evaluates messages. It is safe for concurrent use.
type Verifier struct {
	resolver dns.Resolver
	slots    *lookupSlots
	answers  *sync.Pool // of *[]dns.Answer: buffers for the first run of a task
	o        Options

	wholeSlots *lookupSlots // of the lookups that Whole begins
	wholes     *wholeBound
}

// NewVerifier returns a Verifier that asks r. If Peek of r finds all answers of a stage, the stage
// runs in the caller's goroutine, else in the background.
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
	return &Verifier{
		resolver: r, slots: newLookupSlots(1), answers: answers, o: o,
		wholeSlots: newLookupSlots(wholeShare), wholes: &wholeBound{},
	}
}

// Session holds what is known about the SMTP client of one connection.
type Session struct {
	Client     netip.Addr `json:"client_ip,omitzero"` // not valid if the MTA did not know the address
	ClientName string     `json:"client_name,omitempty"`
	HELO       string     `json:"helo,omitempty"`
	TLSVersion string     `json:"tls_version,omitempty"`
	// Authenticated is the SASL login name, "" if the client did not log in.
	Authenticated string `json:"authenticated,omitempty"`
	// NoLeadingSpace is true if the MTA does not say which white space followed the colon of a
	// header field. One space is then assumed. A good signature with simple canonicalization of the
	// header (RFC 6376 §3.4.1) may then not match.
	NoLeadingSpace bool `json:"no_leading_space,omitempty"`
	// Relay is the host from which the MTA got the message, if it is one of the relays whose
	// Received field names the client. Client, ClientName and HELO are then from that field.
	// They are empty unless RelayLine is RelayRead.
	Relay     netip.Addr `json:"relay_ip,omitzero"`
	RelayLine RelayLine  `json:"relay_line,omitempty"`
}

// RelayLine says what the Received field of a relay told about the client.
type RelayLine string

// The values of RelayLine.
const (
	RelayRead       RelayLine = "read"       // it names the client
	RelayUnreadable RelayLine = "unreadable" // the relay's field is missing, or in a form that is not known
	RelayPrivate    RelayLine = "private"    // the client is a host of the site: a private address, a trusted one, or a relay
)

// RelayLines lists every RelayLine.
var RelayLines = []RelayLine{RelayRead, RelayUnreadable, RelayPrivate}

// Unknown reports whether the client cannot be identified: the MTA gave no address,
// or one that no client on the Internet can have. SPF and iprev say nothing about
// such a client.
func (s Session) Unknown() bool { return !s.Client.IsValid() || spf.PrivateClient(s.Client) }

// Envelope holds what is known about the transaction of one message.
type Envelope struct {
	QueueID    string   `json:"queue_id,omitempty"`
	MailFrom   string   `json:"mail_from"`          // as the client sent it
	SMTPUTF8   bool     `json:"smtputf8,omitempty"` // the client declared the message internationalized (RFC 6531)
	Recipients []string `json:"recipients,omitempty"`
	Size       int64    `json:"size"` // octets of header and body as received from the MTA
}

// maxReserve bounds the time that reserve returns.
const maxReserve = 2 * time.Second

// reserve returns the part of the budget that is set aside for DMARC's alignment, which is checked
// after the identifiers are known. Without this part, a sender whose keys never arrive could use up
// the budget, and DMARC would end as a temporary error although the policy is known.
func (v *Verifier) reserve() time.Duration { return min(v.o.Budget/4, maxReserve) }
