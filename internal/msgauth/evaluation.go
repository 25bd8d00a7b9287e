package msgauth

import (
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/bimi"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Evaluation holds every fact about one message. It does not change after Finish has returned it.
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
	// BIMI is nil if marks are not looked for (see Options.Indicators). Whether a message shows its
	// mark depends on the verdict, too: see Mark in package policy.
	BIMI *bimi.Evaluation `json:"bimi,omitempty"`
	// Traits are further facts about how the message came to this host, such as signs of a mailing
	// list. They do not contain the traits that only restate one of the results above;
	// Evaluation.Has derives those.
	Traits trait.Set `json:"traits"`
	// Watch says whether the author is one of the watched domains, or looks like one. It is nil if
	// neither is the case.
	Watch *lookalike.Finding `json:"watch,omitempty"`

	// Time is the wall-clock time at which the message was judged.
	Time time.Time `json:"time"`
	// Digest identifies the message by its From, Date and Message-ID fields, in hexadecimal. It is
	// the same on every host to which the message is offered, unless a host on the way changes one
	// of these fields.
	Digest string `json:"digest"`

	Cost   map[Mechanism]Cost `json:"cost"`
	Panics []Panic            `json:"panics,omitempty"`
	// Wait is how long Finish took.
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

// Cost says how many lookups one mechanism made, how much it computed, and how long it took.
type Cost struct {
	Lookups  int           `json:"lookups"`
	Exceeded int           `json:"exceeded,omitempty"` // lookups that failed because the lookup limit or the message's time was used up
	NoRoom   int           `json:"no_room,omitempty"`  // how many of Exceeded failed because the stage had to wait too long for a slot
	DNS      time.Duration `json:"dns_ns"`             // summed over all lookups, also those that ran at the same time
	Elapsed  time.Duration `json:"elapsed_ns"`         // wall time; much of it passes while the message is still arriving
	// Ahead is how many questions SPF asked early, and Unneeded is how many of them it
	// did not need in the end. Only the cost of SPF has these two numbers.
	Ahead    int `json:"ahead,omitempty"`
	Unneeded int `json:"unneeded,omitempty"`
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

// DNSTime returns the sum of the times of all lookups.
func (e *Evaluation) DNSTime() (d time.Duration) {
	for _, c := range e.Cost {
		d += c.DNS
	}
	return d
}
