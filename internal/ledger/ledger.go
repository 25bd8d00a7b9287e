// Package ledger has what the daemon remembers about authors, day by day: how much of a domain's mail
// passed, by what, and from which networks. It has the types, the rules that need nothing else, and the
// interface of the store. It opens nothing and asks nobody.
//
// The ledger answers two questions. The policy asks what is usual for an author (see [Usual]); people
// ask what became of their mail, by domain and by month.
//
// Nobody can add a pass in another's name, so nothing here that makes a verdict harsher can be made up
// by a stranger. deploy/docs/memory.md says for each sign why.
package ledger

import (
	"net/netip"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// Day is a UTC day, counted from 1 January 1970.
type Day int32

const secondsPerDay = 24 * 60 * 60

// DayOf returns the UTC day of t.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / secondsPerDay
	if s%secondsPerDay < 0 {
		d--
	}
	return Day(d)
}

// Time returns the beginning of the day, in UTC.
func (d Day) Time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// How long the store keeps what is counted, in days. Today counts as a day.
const (
	KeepDays    = 400 // rows, totals and sketches
	KeepSources = 60  // sources, and the passes of author domains
)

// Counts are numbers of messages of one author's Organizational Domain.
type Counts struct {
	Messages int64 `json:"messages"`
	// Pass passed DMARC, or would have if the domain had a record: an aligned identifier passed. PassDKIM
	// and PassSPF did so by that mechanism; many do by both.
	Pass     int64 `json:"pass"`
	PassDKIM int64 `json:"pass_dkim"`
	PassSPF  int64 `json:"pass_spf"`
	Fail     int64 `json:"fail"`
	// TempError could not be decided, because an answer was missing, and were delivered.
	TempError int64 `json:"temperror"`
	// Signed had a signature of the Organizational Domain or of a domain below it, whatever its result.
	Signed int64 `json:"signed"`
	// Rejected and Quarantined are what was done, not what the policy of the author asks for.
	Rejected    int64 `json:"rejected"`
	Quarantined int64 `json:"quarantined"`
	// Indirect failed, and looked like indirect mail or the author's own.
	Indirect int64 `json:"indirect"`
	// Harsher and Milder are messages whose verdict the learned signs would change, or have changed (see
	// policy.learned).
	Harsher int64 `json:"harsher"`
	Milder  int64 `json:"milder"`
}

// Add adds the counts of o.
func (c *Counts) Add(o Counts) {
	into, from := c.Fields(), o.Fields()
	for i := range into {
		*into[i] += *from[i]
	}
}

// NumCounts is how many numbers Counts has.
const NumCounts = 12

// Fields returns the numbers in the order in which they are declared, for those who store or add them.
func (c *Counts) Fields() [NumCounts]*int64 {
	return [NumCounts]*int64{&c.Messages, &c.Pass, &c.PassDKIM, &c.PassSPF, &c.Fail, &c.TempError, &c.Signed, &c.Rejected, &c.Quarantined,
		&c.Indirect, &c.Harsher, &c.Milder}
}

// Row is one day of an author's Organizational Domain on a group of hosts.
type Row struct {
	Day    Day      `json:"day"`
	Domain dns.Name `json:"domain"` // the author's registered domain; only one that publishes something about mail
	Group  string   `json:"group"`  // ledger.group: hosts that do the same work have the same group
	Counts
	Policy dmarc.Policy `json:"policy"` // that was published last; "" if there is no DMARC record
	// First and Last are when the first and the last message came, in seconds since 1970.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Example is the explanation id of the last message that failed, or "".
	Example string   `json:"example,omitempty"`
	Signers []Signer `json:"signers,omitempty"` // the strongest first; see MaxSigners
	// Sending has the networks that sent with a return path of the domain, and what SPF said of them; see
	// MaxSending.
	Sending []Sending `json:"sending,omitempty"`
	Sources Sketch    `json:"-"` // how many different networks the messages came from
}

// MaxSigners is how many signers of a domain a day has. A domain signs with few keys, but who forges its
// mail can write any selector. What is left out is added up under the name [Others].
const MaxSigners = 16

// Others is the selector of the entry that has all signers which got no entry of their own.
const Others = "*"

// Signer counts the signatures of one key of the author's Organizational Domain or of a domain below it.
type Signer struct {
	Domain   dns.Name `json:"d"`
	Selector string   `json:"s"`
	Pass     int64    `json:"pass"`
	Fail     int64    `json:"fail"` // whatever the reason
}

// MaxSending is how many networks a day of a domain has for SPF. A domain sends from few, but who forges
// its mail can use any number. Those that passed or sent signed mail come first.
const MaxSending = 8

// Sending counts messages from a network whose return path is of the author's Organizational Domain, or
// of a domain below it.
type Sending struct {
	Network netip.Prefix `json:"network"`
	Pass    int64        `json:"pass"` // SPF passed
	// Missed are messages for which SPF said fail, softfail or neutral: the record does not have the address.
	// Signed are those of them that passed DMARC by a signature, so nobody forged them.
	Missed int64 `json:"missed"`
	Signed int64 `json:"signed"`
	// Record is a hash of the SPF record by which the last of them was judged.
	Record uint32 `json:"record"`
}

// Author is one day of an author domain, as it stood in From, of mail that passed. The learned signs are
// about author domains, because a subdomain may be sent by others than its parent.
type Author struct {
	Day    Day      `json:"day"`
	Domain dns.Name `json:"domain"`
	Owner  dns.Name `json:"owner"` // its Organizational Domain, as [Row] has it
	Pass   int64    `json:"pass"`
	Signed int64    `json:"signed"` // of Pass: an aligned signature passed
	// Both is the part of Signed for which SPF passed too, aligned. Who sends a signed message of another
	// again cannot add to it.
	Both int64 `json:"both"`
}

// Source is a network that delivered mail of an author domain that passed.
type Source struct {
	Domain  dns.Name     `json:"domain"`
	Owner   dns.Name     `json:"owner"`
	Network netip.Prefix `json:"network"` // see [NetworkOf]
	Last    Day          `json:"last"`
	Days    DaySet       `json:"days"` // on which it did, counted back from Last
}

// DaySet is a set of days before a given one: bit i stands for the i-th day before it, and bit 0 for
// that day itself. Only KeepSources bits are used.
type DaySet uint64

const dayBits = 1<<KeepSources - 1

// MaxSources is how many networks are kept of an author domain. More than MaxUsual of them mean that
// its networks say nothing, so the bound only has to be above that.
const MaxSources = 256

// Total counts messages that are equal in all these results. All words come from fixed lists, so there are
// few rows, and every table of results can be added up from them.
type Total struct {
	Day     Day          `json:"day"`
	Group   string       `json:"group"`
	SPF     string       `json:"spf"`     // a word of RFC 8601 §2.7.2
	DKIM    string       `json:"dkim"`    // the best of the signatures, a word of RFC 8601 §2.7.1
	Policy  dmarc.Policy `json:"policy"`  // published; "" for none
	DMARC   string       `json:"dmarc"`   // pass, fail, temperror, permerror or none
	Applied string       `json:"applied"` // a policy.Action
	// Override is why the disposition differs from the published policy (RFC 9990 §3.1.1.6), or "".
	Override string `json:"override"`
	Messages int64  `json:"messages"`
}

// Delta is what a daemon adds to the ledger at once. Every list is in ascending order of what identifies
// its elements, which are all different; [Table.Take] makes it so.
type Delta struct {
	Rows    []Row
	Authors []Author
	Sources []Source
	Totals  []Total
	Figures []Figure
	// MaxDomains is how many rows a day may have in a group; 0 means no limit. See [Delta.RowLimit].
	MaxDomains int64
	// Dropped counts messages for whose domain there was no room in the daemon's memory, by day.
	Dropped []Dropped
}

// Dropped counts what the ledger of a day and group lacks.
type Dropped struct {
	Day      Day    `json:"day"`
	Group    string `json:"group"`
	Messages int64  `json:"messages"`
}

// Empty reports whether there is nothing to add.
func (d *Delta) Empty() bool {
	return len(d.Rows) == 0 && len(d.Authors) == 0 && len(d.Sources) == 0 && len(d.Totals) == 0 && len(d.Figures) == 0 && len(d.Dropped) == 0
}

// Messages returns how many messages are counted: each has one total.
func (d *Delta) Messages() (n int64) {
	for i := range d.Totals {
		n += d.Totals[i].Messages
	}
	return n
}

// Slack is the part of MaxDomains by which a day may exceed it until the least frequent domains are
// dropped: a batch cannot know yet which those are. Beyond it, domains that are new to the day are dropped
// at once.
const Slack = 4 // MaxDomains/4

// RowLimit returns how many rows a day may have until Expire drops the least frequent ones.
func (d *Delta) RowLimit() int64 { return d.MaxDomains + d.MaxDomains/Slack }
