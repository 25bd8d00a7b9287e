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

// Evaluation holds every fact about one message. It does not change once it is made.
// The label, the log, the metrics and explain all read it.
type Evaluation struct {
	Session  Session  `json:"session"`
	Envelope Envelope `json:"envelope"`

	// From is the author; FromError says why there is none.
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

	// Time is the wall-clock time at which the message was judged.
	Time time.Time `json:"time"`
	// Digest identifies the message by its From, Date and Message-ID fields, in
	// hexadecimal. It is the same on every host to which the message is offered.
	Digest string `json:"digest"`

	Cost   map[Mechanism]Cost `json:"cost"`
	Panics []Panic            `json:"panics,omitempty"`
	// Wait is how long the end of the message took until all of this was known.
	Wait time.Duration `json:"wait_ns"`
}

// AuthorScope returns the widest domain that is known to be the author's: the
// Organizational Domain if the evaluation needed to find it, else the Author Domain.
func (e *Evaluation) AuthorScope() dns.Name {
	if e.DMARC.OrganizationalDomain != "" {
		return e.DMARC.OrganizationalDomain
	}
	return e.From.AuthorDomain
}

// Cost says what one mechanism asked of DNS, what it computed, and how long it took.
type Cost struct {
	Lookups  int           `json:"lookups"`
	Exceeded int           `json:"exceeded,omitempty"` // lookups without an answer because of the limit or the time of the message
	NoRoom   int           `json:"no_room,omitempty"`  // those of Exceeded that had to wait for a slot
	DNS      time.Duration `json:"dns_ns"`             // summed over concurrent lookups
	Elapsed  time.Duration `json:"elapsed_ns"`         // wall time, mostly overlapping the transfer
	// Operations is the cost of the public-key arithmetic of DKIM and ARC. The unit
	// is one verification of an RSA signature of 2,048 bits with exponent 65537.
	Operations float64 `json:"operations,omitempty"`
}

// Lookups returns the number of lookups of all mechanisms.
func (e *Evaluation) Lookups() (n int) {
	for _, c := range e.Cost {
		n += c.Lookups
	}
	return n
}

// DNSTime returns the time of all lookups, summed.
func (e *Evaluation) DNSTime() (d time.Duration) {
	for _, c := range e.Cost {
		d += c.DNS
	}
	return d
}
