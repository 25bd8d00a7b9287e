// Package trait has the words for what a message shows of its way here, and
// what each of them speaks for.
//
// A trait is one row of the table below and a detector in package msgauth. Its
// word is the same in the configuration (policy.overrides), the log, the label,
// JSON and the output of explain.
package trait

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Trait is the word for one trait.
type Trait string

// The traits. Anyone can write most of them into a message: a trait may make a
// decision milder by one step, but it never turns a fail into a pass.
const (
	// AuthorSPFFail: SPF says fail for the author's own domain.
	AuthorSPFFail Trait = "author_spf_fail"
	// IPRevFail: the client's reverse name does not point back to the client.
	IPRevFail Trait = "iprev_fail"

	// List: the message says that it came through a mailing list, by a field
	// made for that (RFC 2919, 2369) or by its structure.
	List Trait = "list"
	// ListSignature: a signature passes whose domain the list's own fields name,
	// and which is not the author's. So there is such a list, and it sent this.
	ListSignature Trait = "list_signature"
	// ARC: at least one ARC field is there, valid or not.
	ARC Trait = "arc"
	// BrokenAuthorSignature: the author's domain signed the message and its key
	// is published, but the header or the body no longer matches, or cannot be
	// known to match because the MTA does not show what was signed.
	BrokenAuthorSignature Trait = "broken_author_signature"
	// SRS: a forwarder rewrote the return path.
	SRS Trait = "srs"
	// Forwarded: the message says that it was forwarded, resent or delivered
	// before.
	Forwarded Trait = "forwarded"

	// AuthorHost: the message is a notification, and its client is a host of the
	// author: its name, which iprev verified, is at or below the Author Domain
	// and has no octets of its address in it. Such mail is often unsigned, and
	// the HELO name of its host often has no SPF record.
	AuthorHost Trait = "author_host"
	// AuthorRecordBroken: the SPF record of the author's own domain cannot be
	// evaluated (permerror), or a signature by that domain was refused for its
	// form while its key is published. It is looked for where DMARC fails.
	AuthorRecordBroken Trait = "author_record_broken"
	// ClientUnknown: the client's address is private or not known, so that SPF
	// and iprev could not pass.
	ClientUnknown Trait = "client_unknown"

	// Bulk: the message says that it went to many (Precedence: bulk or junk), as
	// newsletters do. They come directly, so it does not speak for indirect mail.
	Bulk Trait = "bulk"
	// RewrittenFrom: the author is shown as "somebody via something". Lists do
	// that when they put an address of their own into From. The author domain is
	// the list's then and has to authenticate, so it does not speak for indirect
	// mail.
	RewrittenFrom Trait = "rewritten_from"
	// ThirdPartySignature: a signature of another domain passes.
	ThirdPartySignature Trait = "third_party_signature"
	// Notification: the message has the null sender, or says that a program sent
	// it of its own accord (Auto-Submitted, RFC 3834). Bounces and replies of
	// absence do so.
	Notification Trait = "notification"
)

// Side is what a trait speaks for in a message that fails DMARC.
type Side string

// The sides.
const (
	Spoofing Side = "spoofing" // a direct spoof
	Indirect Side = "indirect" // a list or a forwarder between the author and us
	Author   Side = "author"   // the author's own mail, which a mistake or our own view keeps from passing
	Neither  Side = ""
)

// row is what the table says of one trait.
type row struct {
	trait Trait
	side  Side
	// result: the trait restates a result that the Evaluation has anyway, so
	// that a Set does not hold it.
	result bool
}

// table has every trait. The log and the label name traits in this order.
var table = [...]row{
	{trait: AuthorSPFFail, side: Spoofing, result: true},
	{trait: IPRevFail, side: Spoofing, result: true},
	{trait: List, side: Indirect},
	{trait: ListSignature, side: Indirect},
	{trait: ARC, side: Indirect},
	{trait: BrokenAuthorSignature, side: Indirect},
	{trait: SRS, side: Indirect},
	{trait: Forwarded, side: Indirect},
	{trait: AuthorHost, side: Author},
	{trait: AuthorRecordBroken, side: Author},
	{trait: ClientUnknown, side: Author, result: true},
	{trait: Bulk, side: Neither},
	{trait: RewrittenFrom, side: Neither},
	{trait: ThirdPartySignature, side: Neither},
	{trait: Notification, side: Neither},
}

// All lists every trait.
func All() []Trait { return where(func(row) bool { return true }) }

// Of lists the traits that speak for one of the sides.
func Of(sides ...Side) []Trait {
	return where(func(r row) bool { return slices.Contains(sides, r.side) })
}

// Held lists the traits that a Set can hold.
func Held() []Trait { return where(func(r row) bool { return !r.result }) }

func where(wanted func(row) bool) []Trait {
	var out []Trait
	for _, r := range table {
		if wanted(r) {
			out = append(out, r.trait)
		}
	}
	return out
}

// Side returns what t speaks for.
func (t Trait) Side() Side {
	if i := t.index(); i >= 0 {
		return table[i].side
	}
	return Neither
}

// index returns the row of t, -1 if it has none.
func (t Trait) index() int {
	return slices.IndexFunc(table[:], func(r row) bool { return r.trait == t })
}

// Set holds the traits of one message. The zero value has none.
type Set struct{ bits uint32 }

// Add puts traits into the set. It leaves out words that the table does not have,
// and traits that restate a result.
func (s *Set) Add(traits ...Trait) {
	for _, t := range traits {
		if i := t.index(); i >= 0 && !table[i].result {
			s.bits |= 1 << i
		}
	}
}

// Has reports whether t is in the set.
func (s Set) Has(t Trait) bool {
	i := t.index()
	return i >= 0 && s.bits&(1<<i) != 0
}

// String returns every trait that a set can hold with true or false, such as
// "list=true srs=false".
func (s Set) String() string {
	var out []byte
	for i, t := range Held() {
		if i > 0 {
			out = append(out, ' ')
		}
		out = fmt.Appendf(out, "%s=%t", t, s.Has(t))
	}
	return string(out)
}

// MarshalJSON writes an object with true or false for every trait that a set
// can hold.
func (s Set) MarshalJSON() ([]byte, error) {
	out := []byte("{")
	for i, t := range Held() {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "%q:%t", t, s.Has(t))
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes, and leaves out traits that the
// table does not have.
func (s *Set) UnmarshalJSON(raw []byte) error {
	var traits map[Trait]bool
	if err := json.Unmarshal(raw, &traits); err != nil {
		return fmt.Errorf("trait: %w", err)
	}
	*s = Set{}
	for t, is := range traits {
		if is {
			s.Add(t)
		}
	}
	return nil
}
