package label

import (
	"math/bits"
	"slices"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/message"
)

// A reserved field is one that readers take for the word of this host. What
// comes from outside under such a name goes, all of it or what speaks in our
// name.
type reserved struct {
	name string
	// read reports whether a field of that value goes, and whether it is a result
	// in the name of one of ours; nil: every field of that name goes, and none is.
	read func(ours authres.IDs, value string) (goes, forged bool)
}

// reservedFields are the results of authentication (RFC 8601 §5, RFC 7208 §9.1),
// our own verdict, and the fields by which a host that verified BIMI tells mail
// clients which logo to show.
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

// readReceivedSPF: a field that names nobody goes too.
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

// reservedName returns the index in reservedFields, or -1.
func reservedName(name string) int {
	for i := range reservedFields {
		if n := reservedFields[i].name; len(n) == len(name) && strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// removeForged deletes the reserved fields that go, the highest index first.
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

// Outline is what is kept of the header of a message over a limit: how many
// fields of each reserved name it has, and which of them go. Its size does not
// depend on the message's.
type Outline struct {
	count  [len(reservedFields)]int
	stays  [len(reservedFields)]Kept
	forged [len(reservedFields)]bool // there is a result in our name
}

// MaxOutlined is for how many fields of one name it is kept which of them stay:
// those after them all go. No genuine message has as many.
const MaxOutlined = 4096

// Kept has a bit for each field of a name that stays, from the first one on.
type Kept [MaxOutlined / 64]uint64

// Goes reports whether the field of that index does not stay.
func (k *Kept) Goes(index int) bool {
	i := index - 1
	return i >= MaxOutlined || k[i/64]&(1<<(i%64)) == 0
}

// Add notes a field of which start is the beginning of the value.
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

// MaxForged is how many fields of a message over a limit are deleted at most. An
// MTA looks for each of them from the beginning: Postfix takes half a minute of
// a processor for so many, and four times that for twice as many.
const MaxForged = 10_000

// TooMany reports whether more fields would have to be deleted than MaxForged.
func (o *Outline) TooMany() bool {
	n := 0
	for k := range o.count {
		n += o.doomed(k)
	}
	return n > MaxForged
}

// doomed is how many fields of a name go.
func (o *Outline) doomed(k int) int {
	n := o.count[k]
	for _, word := range o.stays[k] {
		n -= bits.OnesCount64(word)
	}
	return n
}

// remove is removeForged: one edit for each name, since a stranger may have made
// many fields.
func (o *Outline) remove(l *Writer) {
	for k, count := range o.count {
		if o.doomed(k) > 0 {
			l.edits = append(l.edits, Edit{Kind: DeleteMany, Name: reservedFields[k].name, Index: count, Forged: o.forged[k], Kept: &o.stays[k]})
		}
	}
}
