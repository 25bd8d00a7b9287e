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
	ByVerdict               // the action of the verdict; there are so few that a store has no index of it
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
	sum := sha256.Sum256(append([]byte{byte(column)}, text...)) // each column has keys of its own
	k := int32(binary.BigEndian.Uint32(sum[:]))                 //nolint:gosec // all bits are used
	if k == 0 {
		return 1
	}
	return k
}

// IDKey returns the key of an explanation ID, in upper or lower case.
func IDKey(id string) KeyIn { return KeyIn{ByID, key(ByID, strings.ToUpper(id))} }

// QueueKey returns the key of a queue id.
func QueueKey(id string) KeyIn { return KeyIn{ByQueue, key(ByQueue, id)} }

// ClientKey returns the key of a client's address.
func ClientKey(a netip.Addr) KeyIn {
	if !a.IsValid() {
		return KeyIn{ByClient, 0}
	}
	return KeyIn{ByClient, key(ByClient, a.Unmap().WithZone("").String())}
}

// AuthorKey returns the key of an author domain.
func AuthorKey(d dns.Name) KeyIn { return KeyIn{ByAuthor, key(ByAuthor, owner(d))} }

// SenderKey returns the key of the domain of an envelope sender. The domain of the null sender is "".
func SenderKey(d dns.Name) KeyIn {
	if d == "" {
		return KeyIn{BySender, key(BySender, "<>")}
	}
	return KeyIn{BySender, key(BySender, owner(d))}
}

// VerdictKey returns the key of the action of a verdict.
func VerdictKey(a policy.Action) KeyIn { return KeyIn{ByVerdict, key(ByVerdict, string(a))} }

// owner returns the registered domain above d, or d if there is none. When a new version of the program
// has a newer list of suffixes, a few domains are no longer found in what is older.
func owner(d dns.Name) string {
	if o := suffix.Owner(d); o != "" {
		return string(o)
	}
	return string(d)
}
