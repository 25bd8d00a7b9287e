package label

import (
	"math/bits"
	"slices"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/message"
)

// reserved is a field name under which readers expect the results of this host. Fields
// of that name that come from outside are deleted: all of them, or those in our name.
type reserved struct {
	name string
	// read reports whether a field with that value is deleted, and whether it holds a
	// result in our name. If read is nil, every field of that name is deleted, and none
	// counts as forged.
	read func(ours authres.IDs, value string) (goes, forged bool)
}

// reservedFields are the results of authentication (RFC 8601 §5, RFC 7208 §9.1), our
// own verdict, and the fields that tell mail clients which logo a host has verified
// (BIMI).
var reservedFields = [...]reserved{
	{authres.FieldName, readResults},
	{authres.ReceivedSPFName, readReceivedSPF},
	{VerdictField, nil},
	{"BIMI-Location", nil},
	{"BIMI-Indicator", nil},
	{"BIMI-Logo-Preference", nil},
}

func readResults(ours authres.IDs, value string) (goes, forged bool) {
	claimed := ours.Claimed(value)
	return claimed, claimed
}

// readReceivedSPF also deletes a field that names no receiver.
func readReceivedSPF(ours authres.IDs, value string) (goes, forged bool) {
	goes = ours.ClaimedSPF(value)
	return goes, goes && ours.NamedInSPF(value)
}

func (r *reserved) judge(ours authres.IDs, value string) (goes, forged bool) {
	if r.read == nil {
		return true, false
	}
	return r.read(ours, value)
}

// reservedName returns the index of the name in reservedFields, or -1.
func reservedName(name string) int {
	for i := range reservedFields {
		if n := reservedFields[i].name; len(n) == len(name) && strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// removeForged adds the deletions of reserved fields, the highest index first.
func (l *Writer) removeForged(ours authres.IDs, h message.Header) {
	var seen [len(reservedFields)]int
	first := len(l.edits)
	for i := range h {
		k := reservedName(h[i].Name)
		if k < 0 {
			continue
		}
		seen[k]++
		if goes, forged := reservedFields[k].judge(ours, h[i].Value); goes {
			l.edits = append(l.edits, Edit{Kind: Delete, Name: reservedFields[k].name, Index: seen[k], Forged: forged})
		}
	}
	slices.Reverse(l.edits[first:])
}

// Outline is what is kept of the header of a message over a limit: how many fields of
// each reserved name there are, and which of them are not deleted. The size of an
// Outline does not depend on the message.
type Outline struct {
	count  [len(reservedFields)]int
	stays  [len(reservedFields)]Kept
	forged [len(reservedFields)]bool // a field of that name holds a result in our name
}

// MaxOutlined is the number of fields of one name that are looked at one by one. All
// fields after them are deleted. No genuine message has as many.
const MaxOutlined = 4096

// Kept has a bit for each of the first MaxOutlined fields of a name. The bit is set if
// the field stays.
type Kept [MaxOutlined / 64]uint64

// Goes reports whether the field with that index, from 1, is deleted.
func (k *Kept) Goes(index int) bool {
	i := index - 1
	return i >= MaxOutlined || k[i/64]&(1<<(i%64)) == 0
}

// Add adds a field. start is the beginning of the field's value.
func (o *Outline) Add(id *Identity, name, start string) {
	k := reservedName(name)
	if k < 0 {
		return
	}
	i := o.count[k]
	o.count[k]++
	goes, forged := reservedFields[k].judge(id.Ours, start)
	if !goes && i < MaxOutlined {
		o.stays[k][i/64] |= 1 << (i % 64)
	}
	o.forged[k] = o.forged[k] || forged
}

// MaxForged is how many fields of a message over a limit are deleted at most. An MTA
// searches the header from the beginning for each deletion. Postfix needs half a minute
// of processor time for this number, and four times as long for twice the number.
const MaxForged = 10_000

// TooMany reports whether more than MaxForged fields would have to be deleted.
func (o *Outline) TooMany() bool {
	n := 0
	for k := range o.count {
		n += o.deletions(k)
	}
	return n > MaxForged
}

// deletions returns how many fields of a name are deleted.
func (o *Outline) deletions(k int) int {
	n := o.count[k]
	for _, word := range o.stays[k] {
		n -= bits.OnesCount64(word)
	}
	return n
}

// remove does for an Outline what removeForged does for a header. It makes one edit
// for each name, because a stranger may have written many fields.
func (o *Outline) remove(l *Writer) {
	for k, count := range o.count {
		if o.deletions(k) > 0 {
			l.edits = append(l.edits, Edit{Kind: DeleteMany, Name: reservedFields[k].name, Index: count, Forged: o.forged[k], Kept: &o.stays[k]})
		}
	}
}
