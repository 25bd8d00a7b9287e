// Package destination decides to whom a DMARC report is sent, and says why not. The rules are those of
// report.Withheld, in that order. Everything it knows comes from the job, from what was remembered
// about the domain, from the store's suppressions and from DNS.
//
// The record of a domain, and with it every destination, is written by a stranger. The package lets
// only plain addresses through, which can stand in a mail header and in an SMTP command as they are.
// The DNS queries for one report are bounded by MaxQueries.
//
// A section without a name of an RFC is of RFC 9990.
package destination

import (
	"context"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// Bounds on the queries that one report causes.
const (
	// MaxDestinations is the most that Settings.MaxDestinations can be.
	MaxDestinations = 20
	// MaxZones is the most block lists that are asked.
	MaxZones = 8
	// maxWalk is the number of queries of one tree walk (RFC 9989 §4.10).
	maxWalk = 8
	// maxOfHost is the number of queries for a destination: the tree walk of its domain, the record
	// that authorizes it, its MX records and its addresses.
	maxOfHost = maxWalk + 1 + 3
	// MaxQueries is the most DNS queries that one report can cause: the domain's record and its tree
	// walk, and the queries for each destination, and block lists for the domain and each destination.
	MaxQueries = 1 + maxWalk + MaxDestinations*maxOfHost + (1+MaxDestinations)*MaxZones
)

// UsualDestinations is how many destinations of a record get a report, if Settings do not say.
const UsualDestinations = 5

// Settings are the operator's choices.
type Settings struct {
	Send bool
	// Always and Never list domains and destinations, without regard to case: "shop.example" is a
	// policy domain, "@shop.example" a domain of destinations, "rua@shop.example" a destination, and
	// ".shop.example" every policy domain and every domain of destinations below shop.example. Always stands for being established; a destination in it has no effect.
	Always, Never []string
	// Own lists the addresses of our own report mail: its From, and the return path without the token. A
	// report to one of them would come back to us.
	Own []string
	// DNSBL lists zones that list domains. At most MaxZones are asked.
	DNSBL           []dns.Name
	MaxDestinations int  // 0: UsualDestinations; at most MaxDestinations
	Correspondents  bool // whether mail of our users establishes a domain
	SMTPUTF8        bool // whether an address may have characters beyond ASCII
	Discovery       dmarc.Options
}

// Kind says which tag of the record has the destinations.
type Kind string

// The kinds of reports.
const (
	Aggregate Kind = "rua"
	Failure   Kind = "ruf"
)

// Facts are what is known about one report.
type Facts struct {
	Kind Kind // "" is Aggregate
	Job  report.Job
	Seen report.Seen // up to the day of "now"
	// Suppression returns the entry of a target, or report.ErrUnknown. A Store has this method.
	Suppression func(ctx context.Context, target string) (report.Suppression, error)
	// All says that every rule is checked, also after the first that applies, to show them to a
	// person.
	All bool
}

// Decision says what becomes of a report.
type Decision struct {
	// Word is "" if the report is sent to at least one destination now, report.Waiting if that must be
	// decided later because of a temporary failure, and else the first rule that left no destination.
	Word report.Word
	// Reason is a sentence about Word, or "" if the report is sent.
	Reason string
	// Rules has every rule in the order of checking, with what was found out.
	Rules []Rule
	// Record is the DMARC record as it is now, or nil.
	Record *dmarc.Record
	// Destinations has every URI of the record in the order of the record.
	Destinations []Destination
}

// Rule is one rule and what was found out.
type Rule struct {
	Word     report.Word
	State    RuleState
	Evidence string // a sentence
}

// RuleState says what came of a rule.
type RuleState string

// The states of a rule.
const (
	RulePassed  RuleState = "passed"  // it leaves at least one destination
	RuleApplies RuleState = "applies" // it leaves no destination
	RuleLater   RuleState = "later"   // a temporary failure
	RuleSkipped RuleState = "skipped" // not checked, because an earlier rule had already decided
)

// Destination is one URI of the record.
type Destination struct {
	URI     string
	Address string   // "" if the URI is unusable
	Host    dns.Name // the domain of Address
	// Word is "" if a report is sent there, report.Waiting if that must be decided later, and else why
	// nothing is sent there.
	Word   report.Word
	Detail string // what was found out, in words
	// NoServer says that the domain has no mail server, as opposed to a suppression.
	NoServer bool
}
