package msgauth

import (
	"strings"
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

// Evaluation is every fact found about one message: immutable once made, and
// the single source for the header, the log, the metrics, the reports and
// explain.
type Evaluation struct {
	Session  Session  `json:"session"`
	Envelope Envelope `json:"envelope"`

	// From is the author as parsed; FromError says why there is none.
	From      mailaddr.From       `json:"from"`
	FromError *mailaddr.FromError `json:"from_error,omitempty"`

	IPRev    iprev.Result     `json:"iprev"`
	HELO     spf.Check        `json:"spf_helo"`
	MailFrom spf.Check        `json:"spf_mailfrom"`
	DKIM     []dkim.Signature `json:"dkim"`
	ARC      arc.Result       `json:"arc"`
	DMARC    dmarc.Evaluation `json:"dmarc"`
	Traits   Traits           `json:"traits"`

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

// Cost is what one stage asked of the DNS and how long it took.
type Cost struct {
	Lookups  int           `json:"lookups"`
	Exceeded int           `json:"exceeded,omitempty"` // lookups the budget refused
	DNS      time.Duration `json:"dns_ns"`             // summed over concurrent lookups
	Elapsed  time.Duration `json:"elapsed_ns"`         // wall time, mostly overlapping the transfer
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

// Traits are unauthenticated signs of indirect mail. Anyone can write them:
// they may make a decision milder by one step, never turn a fail into a pass.
type Traits struct {
	// List: the message says it came through a mailing list (RFC 2919, 2369).
	List bool `json:"list"`
	// Forwarded: the message says it was forwarded or resent.
	Forwarded bool `json:"forwarded"`
	// SRS: the return path was rewritten by a forwarder.
	SRS bool `json:"srs"`
	// ARC: at least one ARC field is there, valid or not.
	ARC bool `json:"arc"`
	// BrokenAuthorSignature: a signature aligned with the author's domain whose
	// key is published, but whose header or body no longer matches.
	BrokenAuthorSignature bool `json:"broken_author_signature"`
	// ThirdPartySignature: a passing signature of another domain.
	ThirdPartySignature bool `json:"third_party_signature"`
}

// Indirect reports whether any trait speaks for a list or a forwarder between
// the author and us.
func (t Traits) Indirect() bool {
	return t.List || t.Forwarded || t.SRS || t.ARC || t.BrokenAuthorSignature
}

// listFields are those mailing list software adds and direct mail rarely has.
// List-Unsubscribe is not among them: every newsletter has it.
var listFields = []string{"List-Id", "List-Post", "Mailing-List", "X-Mailing-List", "X-BeenThere"}

var forwardFields = []string{"Resent-From", "Resent-Sender", "X-Forwarded-To", "X-Forwarded-For", "X-Original-To"}

func traitsOf(h message.Header, mailFrom mailaddr.Path) Traits {
	t := Traits{SRS: isSRS(mailFrom.Local)}
	for _, f := range h {
		switch {
		case isAny(f, listFields):
			t.List = true
		case f.Is("Precedence") && strings.EqualFold(strings.TrimSpace(f.Value), "list"):
			t.List = true
		case isAny(f, forwardFields):
			t.Forwarded = true
		case f.Is("ARC-Seal"), f.Is("ARC-Message-Signature"):
			t.ARC = true
		}
	}
	return t
}

func isAny(f message.Field, names []string) bool {
	for _, n := range names {
		if f.Is(n) {
			return true
		}
	}
	return false
}

// isSRS recognises the Sender Rewriting Scheme's local parts.
func isSRS(local string) bool {
	if len(local) < 5 {
		return false
	}
	switch strings.ToUpper(local[:5]) {
	case "SRS0=", "SRS0+", "SRS0-", "SRS1=", "SRS1+", "SRS1-":
		return true
	}
	return false
}
