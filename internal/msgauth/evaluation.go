package msgauth

import (
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Evaluation is every fact found about one message: immutable once made, and
// the single source for the header, the log, the metrics, the reports and
// explain.
type Evaluation struct {
	Session  Session  `json:"session"`
	Envelope Envelope `json:"envelope"`

	// From is the author as parsed; FromError says why there is none.
	From      author.From   `json:"from"`
	FromError *author.Error `json:"from_error,omitempty"`

	IPRev    iprev.Result     `json:"iprev"`
	HELO     spf.Check        `json:"spf_helo"`
	MailFrom spf.Check        `json:"spf_mailfrom"`
	DKIM     []dkim.Signature `json:"dkim"`
	ARC      arc.Result       `json:"arc"`
	DMARC    dmarc.Evaluation `json:"dmarc"`
	// Traits are what else the message shows of its way here. Evaluation.Has
	// also knows the traits that only restate a result.
	Traits trait.Set `json:"traits"`

	// Time is when the message was judged, by the wall clock.
	Time time.Time `json:"time"`
	// Digest names the message by its From, Date and Message-ID fields, in
	// hexadecimal: the same on every host it is offered to.
	Digest string `json:"digest"`

	Cost   map[Mechanism]Cost `json:"cost"`
	Panics []Panic            `json:"panics,omitempty"`
	// Wait is how long end of message waited for all of this.
	Wait time.Duration `json:"wait_ns"`
}

// AuthorScope is the widest domain known to be the author's: the
// Organizational Domain where the evaluation needed it, else the Author
// Domain.
func (e *Evaluation) AuthorScope() dns.Name {
	if e.DMARC.OrganizationalDomain != "" {
		return e.DMARC.OrganizationalDomain
	}
	return e.From.AuthorDomain
}

// Cost is what one stage asked of the DNS, computed, and how long it took.
type Cost struct {
	Lookups  int           `json:"lookups"`
	Exceeded int           `json:"exceeded,omitempty"` // lookups the budget refused
	NoRoom   int           `json:"no_room,omitempty"`  // of these, those that had to wait for the lookups of others
	DNS      time.Duration `json:"dns_ns"`             // summed over concurrent lookups
	Elapsed  time.Duration `json:"elapsed_ns"`         // wall time, mostly overlapping the transfer
	// Operations is the public-key arithmetic of DKIM and ARC, in verifications
	// of RSA signatures of 2,048 bits with the exponent 65537.
	Operations float64 `json:"operations,omitempty"`
}

// Lookups sums the questions of all stages.
func (e *Evaluation) Lookups() (n int) {
	for _, c := range e.Cost {
		n += c.Lookups
	}
	return n
}

// DNSTime sums the time of all lookups.
func (e *Evaluation) DNSTime() (d time.Duration) {
	for _, c := range e.Cost {
		d += c.DNS
	}
	return d
}
