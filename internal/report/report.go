// Package report has what DMARC reports are made of: the Observation of one message, the rows that
// count equal messages, the windows of time, the jobs that each become one aggregate report
// (RFC 9990), and the interface of the store that keeps them. It opens nothing and asks nobody.
//
// A section without a name of an RFC is of RFC 9990.
package report

import (
	"net/netip"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/ledger"
)

// Disposition says what was done with a message because of DMARC (§3.1.1.5).
type Disposition string

// The dispositions.
const (
	None       Disposition = "none"       // nothing was done, although the message failed, or no enforcement was asked for
	Pass       Disposition = "pass"       // DMARC passed, and the published policy is quarantine or reject
	Quarantine Disposition = "quarantine" // held, or marked as suspicious
	Reject     Disposition = "reject"     // refused
)

// Policy is the DMARC policy that was applied to a message, as policy_published reports it. Tags that
// the record does not have stand with their effective values.
type Policy struct {
	Domain  dns.Name // where the record was found: the DMARC Policy Domain
	P       dmarc.Policy
	SP      dmarc.Policy
	NP      dmarc.Policy
	ADKIM   dmarc.Mode
	ASPF    dmarc.Mode
	FO      string // as in the record, such as "1:d:s"
	Testing bool   // t=y
	Method  dmarc.Method
	Invalid string // names of the record's invalid tags, separated by ", "; not part of the identity
}

// Owner returns the domain by which the jobs of one owner are counted.
func (p Policy) Owner() dns.Name { return Owner(p.Domain) }

// Owner returns the domain that stands for all names of one owner: the registered domain, or the
// public suffix of a hosting service. It does not ask DNS, because a tag psd=n in a wildcard's record
// would make every name an Organizational Domain.
func Owner(n dns.Name) dns.Name {
	if owner := suffix.Owner(n); owner != "" {
		return owner
	}
	return n
}

// Reason says why the disposition is not the published policy (§3.1.1.6). The comment comes from a
// fixed table, because senders read it.
type Reason struct {
	Type    string // a policy.OverrideType
	Comment string
}

// DKIMResult is the result of one signature.
type DKIMResult struct {
	Domain   dns.Name
	Selector string // Unknown if the signature has none
	Result   string // a word of RFC 8601 §2.7.1
	Human    string // our words, never the sender's; "" if there is nothing to say
}

// SPFResult is the result of SPF for MAIL FROM.
type SPFResult struct {
	Domain string // of MAIL FROM, or of HELO if the path is null, or Unknown
	Result string // a word of RFC 8601 §2.7.2
	Human  string
}

// Row counts messages that are equal in everything that a report says about them.
type Row struct {
	Source       netip.Addr // unmapped, without a zone
	Disposition  Disposition
	DKIM         bool // an aligned signature passed
	SPF          bool // SPF passed, aligned
	Reasons      []Reason
	HeaderFrom   dns.Name
	EnvelopeFrom dns.Name     // "" for the null path, Unknown if it is not known or was left out
	EnvelopeTo   dns.Name     // "" unless report.aggregate.envelope_to is set
	AuthDKIM     []DKIMResult // aligned strict, aligned relaxed, other passes, the rest
	AuthSPF      SPFResult
	Count        int64
}

// Observation is one message as the reports count it.
type Observation struct {
	Time   time.Time // of the evaluation
	Policy Policy
	Row    Row // with Count 1
	// AboutReports says that the message is itself about reports. It counts, but it is no reason to
	// send a report. Spam says that an earlier filter marked the message as spam.
	AboutReports bool
	Spam         bool
	// Accepted says that the message was neither refused nor quarantined.
	Accepted bool
	// Incomplete says that a result is a temporary error only because this host stopped waiting for it.
	Incomplete bool
}

// Key identifies a Row in its job. Rows with equal keys are added up.
type Key [16]byte

// PolicyID identifies a Policy. Equal policies of the same domain have equal ids.
type PolicyID [16]byte

// Day is a UTC day, counted from 1 January 1970.
type Day = ledger.Day

// Sighting is what is remembered about a domain for one day. It says later whether the domain is
// established.
type Sighting struct {
	Domain dns.Name // the DMARC Policy Domain
	Day    Day
	Kind   SightingKind
}

// SightingKind says how a domain was met.
type SightingKind string

// The kinds of sightings.
const (
	SeenPass  SightingKind = "pass"  // it passed DMARC in mail that was neither refused nor quarantined
	SeenFail  SightingKind = "fail"  // it was the author of other mail
	SeenWrote SightingKind = "wrote" // a user of ours wrote to it
)
