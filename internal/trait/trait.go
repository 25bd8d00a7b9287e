// Package trait lists the traits. A trait is a fact about the way that a message took to this host,
// such as a sign of a mailing list. If the message fails DMARC, most traits are evidence for one
// explanation (a [Side]): a spoof, indirect mail, or mail of the author.
//
// Each trait has an entry in the table below. Package msgauth finds out which traits a message has.
// The word of a trait is the same in the configuration (policy.overrides), the log, the label, JSON
// and the output of explain.
package trait

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Trait is the word for one trait.
type Trait string

// The traits. Anyone can write most of them into a message. A trait may therefore make a decision
// milder by one step, but never turns a fail into a pass.
const (
	// AuthorSPFFail: SPF says fail for the author's own domain.
	AuthorSPFFail Trait = "author_spf_fail"
	// IPRevFail: the client's reverse name does not point back to the client.
	IPRevFail Trait = "iprev_fail"

	// List: the message says that it came through a mailing list, by a field
	// made for that (RFC 2919, 2369) or by its structure.
	List Trait = "list"
	// ListSignature: a signature passes whose domain is at or above a domain in List-Id or
	// List-Post, and is not the author's. This proves that the list exists and sent the message.
	ListSignature Trait = "list_signature"
	// ARC: the message has an ARC-Seal or ARC-Message-Signature field, valid or not.
	ARC Trait = "arc"
	// BrokenAuthorSignature: the author's domain signed the message and the key is published, but
	// the header or the body does not match. This includes signatures that cannot be checked,
	// because the MTA hides a part of what was signed.
	BrokenAuthorSignature Trait = "broken_author_signature"
	// SRS: a forwarder rewrote the return path.
	SRS Trait = "srs"
	// Forwarded: the message says that it was forwarded, resent or delivered
	// before.
	Forwarded Trait = "forwarded"

	// AuthorHost: the message is a notification, and its client is a host of the author: the name
	// that iprev verified is at or below the Author Domain and is not the name of a customer's
	// access line (one that shows the address or a word such as "dsl"). Such mail is often
	// unsigned, and the HELO name of such a host often has no SPF record.
	AuthorHost Trait = "author_host"
	// AuthorRecordBroken: the SPF record of the author's own domain cannot be evaluated
	// (permerror), or a signature of that domain was refused for its form or its key while the key
	// is published. The trait is only looked for if DMARC fails.
	AuthorRecordBroken Trait = "author_record_broken"
	// ClientUnknown: the client's address is private or not known, so SPF and iprev cannot pass.
	ClientUnknown Trait = "client_unknown"

	// Bulk: the message says that it went to many recipients (Precedence: bulk or junk), as
	// newsletters do. Newsletters come directly, so the trait is not evidence for indirect mail.
	Bulk Trait = "bulk"
	// RewrittenFrom: a display name in From contains " via ", as in "Ann via Gardeners". Lists
	// write such a name when they replace the author's address in From by their own. DMARC then
	// checks the list's domain, which does not need the milder treatment of indirect mail. The
	// trait is therefore evidence for no side.
	RewrittenFrom Trait = "rewritten_from"
	// ThirdPartySignature: a signature of another domain passes.
	ThirdPartySignature Trait = "third_party_signature"
	// Notification: the message has the null sender, or says that a program sent it without a
	// person (Auto-Submitted, RFC 3834). Bounces and vacation replies do so.
	Notification Trait = "notification"
	// Lookalike: the author looks like a domain or name of the key "watch" without being it. Namesakes,
	// partners and subsidiaries do so too, so the trait is evidence for no side.
	Lookalike Trait = "lookalike"

	// The learned signs compare a message that fails with what is usual for its author domain (see package
	// ledger). A message has none of them as long as too little is known. Nobody but the domain itself can
	// add to what they rest on.

	// UnsignedUnlikeUsual: practically all mail of the author domain that passes has an aligned signature,
	// and this message has no signature of the author at all, not even a broken one.
	UnsignedUnlikeUsual Trait = "unsigned_unlike_usual"
	// UnknownSource: the author domain sends from few networks, and the client is in none of them. It is
	// weak: a forwarder is not in them either.
	UnknownSource Trait = "unknown_source"
	// KnownSource: the client's network has often delivered mail of the author domain that passed.
	KnownSource Trait = "known_source"
)

// Side is an explanation of why a message fails DMARC, for which a trait is evidence.
type Side string

// The sides.
const (
	Spoofing Side = "spoofing" // a spoofer sent the message directly
	Indirect Side = "indirect" // the message came from the author through a list or a forwarder
	Author   Side = "author"   // the author sent the message, but a mistake or a client that this host does not know keeps it from passing
	Neither  Side = ""
)

// row is the entry for one trait in the table below.
type row struct {
	trait Trait
	side  Side
	// result means that the trait only restates a result of the Evaluation. A Set does not hold
	// such a trait.
	result bool
	// learned means that the trait comes from what the daemon remembers. policy.learned says whether it is
	// evidence. weak means that it does not count unless another trait of its side is there.
	learned, weak bool
}

// table has every trait, in the order in which the log and the label list them.
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
	{trait: Lookalike, side: Neither},
	{trait: UnsignedUnlikeUsual, side: Spoofing, learned: true},
	{trait: UnknownSource, side: Spoofing, learned: true, weak: true},
	{trait: KnownSource, side: Indirect, learned: true},
}

// All lists every trait.
func All() []Trait { return where(func(row) bool { return true }) }

// Of lists the traits that are evidence for one of the sides.
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

// Side returns the side for which t is evidence.
func (t Trait) Side() Side { return t.row().side }

// Learned lists the learned signs.
func Learned() []Trait { return where(func(r row) bool { return r.learned }) }

// IsLearned reports whether t comes from what the daemon remembers.
func (t Trait) IsLearned() bool { return t.row().learned }

// IsWeak reports whether t is evidence only beside another trait of its side.
func (t Trait) IsWeak() bool { return t.row().weak }

// row returns the entry of t, or the zero row if it has none.
func (t Trait) row() row {
	if i := t.index(); i >= 0 {
		return table[i]
	}
	return row{}
}

// index returns the index of t in the table, or -1 if t is not there.
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

// String returns each trait that a set can hold with true or false, such as "list=true srs=false".
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

// MarshalJSON writes an object that has true or false for each trait that a set can hold.
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

// AppendBinary appends the set in a form that only the same program can read.
func (s Set) AppendBinary(b []byte) ([]byte, error) {
	return binary.AppendUvarint(b, uint64(s.bits)), nil
}

// UnmarshalBinary reads what AppendBinary appended.
func (s *Set) UnmarshalBinary(data []byte) error {
	bits, n := binary.Uvarint(data)
	if n != len(data) || n == 0 || bits > math.MaxUint32 {
		return errors.New("trait: not a set that this program wrote")
	}
	s.bits = uint32(bits)
	return nil
}

// UnmarshalJSON reads the output of MarshalJSON. It ignores traits that the table does not have.
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
