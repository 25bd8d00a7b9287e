package history

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/policy"
)

// Column is a column by which records are found.
type Column int

// The columns. A domain stands for all domains below its registered domain, so that a search for a
// domain also finds those below it.
const (
	ByID      Column = iota // the explanation ID
	ByQueue                 // the MTA's queue id
	ByAuthor                // the author domain
	BySender                // the domain of the envelope sender
	ByClient                // the client's address
	ByVerdict               // the action and the reason of the verdict, see [OutcomeKey]
	columns
)

// Columns is the number of columns.
const Columns = int(columns)

// Keys has the key of each column; 0 means that the record has no such value. A key stands for a text,
// because senders choose the texts, which may be long and strange, and because a key takes 4 octets. Few
// texts share a key.
type Keys [Columns]int32

// key returns the key of a text. It is 0 only for no text. Keys are stored, so it must not change.
func key(column Column, text string) int32 {
	if text == "" {
		return 0
	}
	return fromSum(sha256.Sum256(append([]byte{byte(column)}, text...))) // each column has keys of its own
}

// fromSum returns the key of a text with this hash. It is never 0.
func fromSum(sum [sha256.Size]byte) int32 {
	k := int32(binary.BigEndian.Uint32(sum[:])) //nolint:gosec // all bits are used
	if k == 0 {
		return 1
	}
	return k
}

// IDKey returns the key of an explanation ID, in upper or lower case.
func IDKey(id string) KeyIn { return KeyIn{Column: ByID, Key: key(ByID, strings.ToUpper(id))} }

// QueueKey returns the key of a queue id.
func QueueKey(id string) KeyIn { return KeyIn{Column: ByQueue, Key: key(ByQueue, id)} }

// ClientKey returns the key of a client's address.
func ClientKey(a netip.Addr) KeyIn {
	if !a.IsValid() {
		return KeyIn{Column: ByClient}
	}
	return KeyIn{Column: ByClient, Key: key(ByClient, a.Unmap().WithZone("").String())}
}

// AuthorKey returns the key of an author domain, for a search for it and all domains below it.
func AuthorKey(d dns.Name) KeyIn {
	k := KeyIn{Column: ByAuthor, Key: key(ByAuthor, owner(d))}
	if l := label(d); l != "" {
		k.hint(authorHint, l)
	}
	return k
}

// AuthorOnlyKey is like AuthorKey, for a search for no other domain.
func AuthorOnlyKey(d dns.Name) KeyIn {
	k := AuthorKey(d)
	k.hint(authorHint, label(d))
	return k
}

// SenderKey returns the key of the domain of an envelope sender, for a search for it and all domains below it.
// The domain of the null sender is "".
func SenderKey(d dns.Name) KeyIn {
	if d == "" {
		return KeyIn{Column: BySender, Key: key(BySender, "<>")}
	}
	k := KeyIn{Column: BySender, Key: key(BySender, owner(d))}
	if l := label(d); l != "" {
		k.hint(senderHint, l)
	}
	return k
}

// SenderPathKey returns the key of an envelope sender, of which d is the domain. Upper and lower case are the
// same.
func SenderPathKey(d dns.Name, path string) KeyIn {
	k := SenderKey(d)
	k.hint(senderHint, label(d))
	k.hint(pathHint, folded(path))
	return k
}

// OutcomeKey returns the key of the action and the reason of a verdict. Its upper half is of the action only.
func OutcomeKey(a policy.Action, r policy.Reason) KeyIn {
	return KeyIn{Column: ByVerdict, Key: oldVerdict(a)&^outcomeReason | key(ByVerdict, "reason "+string(r))&outcomeReason}
}

// outcomeReason has the bits of the reason in an [OutcomeKey].
const outcomeReason = 1<<OutcomeBits - 1

// OutcomeBits is the number of bits of the reason in an [OutcomeKey], which are the last ones.
const OutcomeBits = 16

// MostFrequent is the outcome of most messages: they are accepted because an aligned identifier passed. An index
// of outcomes leaves it out, because it would be as large as the others, and those messages are found everywhere.
func MostFrequent() int32 { return OutcomeKey(policy.Accept, policy.ReasonAligned).Key }

// oldVerdict is the key that earlier versions gave an outcome. It says nothing about the reason.
func oldVerdict(a policy.Action) int32 { return key(ByVerdict, string(a)) }

// owner returns the registered domain above d, or d if there is none. When a new version of the program
// has a newer list of suffixes, a few domains are no longer found in what is older.
func owner(d dns.Name) string {
	if o := suffix.Owner(d); o != "" {
		return string(o)
	}
	return string(d)
}
