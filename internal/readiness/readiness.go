// Package readiness says what it would do to enforce the published policies of authors: how much mail it
// would hit, whose mail that is, and which rules should come first. It judges the failing mail of each
// author domain by what a forger cannot make: the networks from which mail of the domain passes, the keys
// with which it signs, and the networks from which mail of others arrives unbroken.
//
// The package is given what the ledger counted ([Judge.Hit]), samples of failing messages
// ([Judge.Sample]), and what is known of authors and networks. It opens nothing; package gather reads
// what it needs from the store.
//
// To call an honest sender a spoofer is the worst mistake, because the operator would then let the mail
// be refused. So a doubt makes mail [Unclear].
package readiness

import (
	"net/netip"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
)

// Looks says what failing mail looks like.
type Looks string

// The values of Looks.
const (
	Author    Looks = "author"    // the author's own mail, which fails by a mistake
	Forwarded Looks = "forwarded" // the author's mail, which a list or a forwarder changed
	Spoof     Looks = "spoof"     // somebody else writes in the author's name
	Unclear   Looks = "unclear"   // what is known does not decide it
)

// AllLooks lists every value of Looks.
var AllLooks = []Looks{Author, Forwarded, Spoof, Unclear}

// Verdict says whether to enforce policies.
type Verdict string

// The verdicts.
const (
	Enforce Verdict = "enforce" // now
	Rules   Verdict = "rules"   // after the proposed rules are in effect
	Wait    Verdict = "wait"    // not yet; the reason says why
)

// Report is the answer to "may I enforce?". Numbers of messages that depend on samples are estimates.
type Report struct {
	// From and To are the first and the last day, in UTC, such as 2026-11-28.
	From string `json:"from"`
	To   string `json:"to"`
	Days int    `json:"days"`      // that were asked for
	Seen int    `json:"days_seen"` // of them, those on which mail was counted
	// Mode and Learned are mode and policy.learned of the configuration.
	Mode    policy.Mode        `json:"mode"`
	Learned policy.LearnedRule `json:"learned"`

	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason"` // the verdict in one line

	// Messages were evaluated, and Fail of them failed DMARC. Reject and Quarantine failed under that
	// published policy, so they would have been hit if policies were enforced without any exception.
	Messages   int64 `json:"messages"`
	Fail       int64 `json:"fail"`
	Reject     int64 `json:"p_reject"`
	Quarantine int64 `json:"p_quarantine"`
	// ByDomain is the part of Reject and Quarantine that the ledger has by domain. The rest is mail of
	// author domains that do not exist in DNS, or for which there was no room.
	ByDomain int64 `json:"by_domain"`
	// ByLooks divides ByDomain without MoreMessages.
	ByLooks []Part `json:"by_looks"`
	// Excepted is the part of ByDomain that the rules and the trusted sealers of the configuration let
	// through. Harmed is the honest part that they do not, and Left what the proposed rules leave of it.
	Excepted int64 `json:"excepted"`
	Harmed   int64 `json:"harmed"`
	Left     int64 `json:"left"`
	// Harsher and Milder are messages of ByDomain's domains whose verdict the learned signs would change with
	// policy.learned: use, or have changed.
	Harsher int64 `json:"learned_harsher"`
	Milder  int64 `json:"learned_milder"`

	// Proposed are rules that would keep honest mail from being hit, the most useful first. A person who
	// knows the hosts must confirm each.
	Proposed []Proposal `json:"proposed"`
	// Domains are the author domains with the most hits. More counts those that are left out, and
	// MoreMessages their hits.
	Domains      []Domain `json:"domains"`
	More         int      `json:"more_domains"`
	MoreMessages int64    `json:"more_messages"`
	// Samples is how many failing messages were looked at, and Notes what limits the report.
	Samples int      `json:"samples"`
	Notes   []Reason `json:"notes,omitempty"`
}

// Hits returns how many messages would have been hit.
func (r *Report) Hits() int64 { return r.Reject + r.Quarantine }

// Part is a number of messages with the same looks.
type Part struct {
	Looks    Looks `json:"looks"`
	Messages int64 `json:"messages"`
}

// Domain is what would have been hit of an author's registered domain.
type Domain struct {
	Domain dns.Name     `json:"domain"`
	Policy dmarc.Policy `json:"policy"` // published last
	// Messages are all of the domain, Pass those that passed. Reject and Quarantine would have been hit.
	Messages   int64 `json:"messages"`
	Pass       int64 `json:"pass"`
	Reject     int64 `json:"p_reject"`
	Quarantine int64 `json:"p_quarantine"`
	Harsher    int64 `json:"learned_harsher"` // see Report
	Milder     int64 `json:"learned_milder"`
	// Signs says that practically all of its mail is signed, and Networks how many networks it sends from;
	// 0 if that is not known well enough, or if there are too many to say anything.
	Signs    bool `json:"always_signs"`
	Networks int  `json:"known_networks"`
	// Broken has what stopped working for this sender.
	Broken  []ledger.Breakage `json:"broken,omitempty"`
	Streams []Stream          `json:"streams"` // the largest first
}

// Hits returns how many messages would have been hit.
func (d *Domain) Hits() int64 { return d.Reject + d.Quarantine }

// Stream is mail of one domain that was hit, that looks the same for the same reason.
type Stream struct {
	Looks    Looks  `json:"looks"`
	Reason   Reason `json:"reason"`
	Messages int64  `json:"messages"`
	Samples  int    `json:"samples"`
	Networks int    `json:"networks"` // among the samples
	// Rejected and Quarantined is what the present configuration would do with mode: enforce. It would let
	// Excepted through.
	Rejected    int64 `json:"rejected"`
	Quarantined int64 `json:"quarantined"`
	Excepted    int64 `json:"excepted"`
	// Hosts are those that handed most of it over.
	Hosts   []Host `json:"hosts,omitempty"`
	Example string `json:"example,omitempty"` // an explanation id, for sekimori explain --id
}

// Host is who handed mail over, by the best evidence of it.
type Host struct {
	Kind    forwarders.Kind `json:"kind"`
	Value   string          `json:"value"`
	Samples int             `json:"samples"`
}

// Proposal is a rule that would keep honest mail from being hit.
type Proposal struct {
	Looks    Looks           `json:"looks"`    // forwarded, or author
	Messages int64           `json:"messages"` // that it would let through, or treat milder
	Authors  int             `json:"authors"`  // of the samples
	Rule     forwarders.Rule `json:"rule"`
}

// Setup is the present configuration.
type Setup struct {
	Policy policy.Config
	// Days is how many days the report is about. They end on Today.
	Days  int
	Today ledger.Day
}

// The bounds of a report.
const (
	// MaxDomains is how many domains are judged. For each, the store is asked for its days and networks. The
	// rest is in Report.More.
	MaxDomains = 300
	// MaxSamples is how many failing messages are looked at. Each takes 500 octets.
	MaxSamples = 20_000
	// maxHosts is how many hosts a stream names, and maxRules how many rules are proposed: a person has to
	// look at each.
	maxHosts = 5
	maxRules = 20
	// maxSelectors is how many signatures of a message are looked at.
	maxSelectors = 4
)

// hostKey names a host.
type hostKey struct {
	kind  forwarders.Kind
	value string
}

// sample is what is remembered of a failing message.
type sample struct {
	id      string
	owner   dns.Name
	client  netip.Addr // not valid if it is not known
	network netip.Prefix
	host    hostKey
	name    string   // verified name of the client
	keys    []string // keys of the owner by which there are broken signatures
	now     policy.Action
	// other says that a domain that is not the author's authenticated, and indirect that the message says
	// that it came through a list or a forwarder; listed that it says so of a list or an ARC sealer.
	other, indirect, listed, listSigned, srs bool
	// authorHost and recordBroken are the traits; spfFail says that SPF of the owner says fail.
	authorHost, recordBroken, spfFail bool
}
