package label

import (
	"math/bits"
	"slices"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/message"
)

// reserved is a field name under which mail clients and later filters expect results of
// this host. If a message from outside has fields of this name, some or all of them are
// deleted.
type reserved struct {
	name string
	// `read` says what happens to a field of this name with the given value: whether it is
	// deleted (goes), and whether it holds a result in our name (forged). If `read` is nil,
	// every field of this name is deleted, and forged is false.
	read func(ours authres.IDs, value string) (goes, forged bool)
}

// reservedFields lists the fields with authentication results (RFC 8601 §5, RFC 7208 §9.1),
// our field with the verdict, and the fields that tell mail clients which logo a host has
// verified (BIMI).
var reservedFields = [...]reserved{
	{authres.FieldName, readResults},
	{authres.ReceivedSPFName, readReceivedSPF},
	{VerdictField, nil},
	{LocationField, nil},
	{IndicatorField, nil},
	{PreferenceField, nil},
}

func readResults(ours authres.IDs, value string) (goes, forged bool) {
	claimed := ours.Claimed(value)
	return claimed, claimed
}

// readReceivedSPF says that a field is deleted if its receiver has one of our names, or if
// the field names no receiver.
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

// reservedName returns the index of the name in reservedFields, or -1 if the name is not
// reserved.
func reservedName(name string) int {
	for i := range reservedFields {
		if n := reservedFields[i].name; len(n) == len(name) && strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// removeForged adds an edit for each reserved field that is deleted. The last field of the
// header is deleted first, so that no deletion changes the index of a field that a later
// edit deletes.
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

// Outline is what is kept of the header of a message that crossed a limit. It says how many
// fields of each reserved name the header has, and which of these fields stay. An Outline
// has a fixed size, however large the message is.
type Outline struct {
	count  [len(reservedFields)]int
	stays  [len(reservedFields)]Kept
	forged [len(reservedFields)]bool // for each reserved name: whether at least one field of this name holds a result in our name
}

// MaxOutlined is the largest number of fields of one name that an Outline distinguishes.
// Later fields of that name are all deleted. A genuine message has far fewer.
const MaxOutlined = 4096

// Kept has one bit for each of the first MaxOutlined fields of a name. The bit is set if
// the field is not deleted.
type Kept [MaxOutlined / 64]uint64

// Goes reports whether the field with the given index is deleted. The first field has the
// index 1.
func (k *Kept) Goes(index int) bool {
	i := index - 1
	return i >= MaxOutlined || k[i/64]&(1<<(i%64)) == 0
}

// Add adds a header field to the outline. start is the beginning of the field's value.
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

// MaxForged is the largest number of fields that are deleted from a message that crossed a
// limit. For each deletion an MTA searches the header from its beginning, so the work grows
// with the square of the number: Postfix needs half a minute of processor time for 10,000
// deletions.
const MaxForged = 10_000

// TooMany reports whether more than MaxForged fields would have to be deleted.
func (o *Outline) TooMany() bool {
	n := 0
	for k := range o.count {
		n += o.deletions(k)
	}
	return n > MaxForged
}

// deletions returns how many fields with the name reservedFields[k].name are deleted.
func (o *Outline) deletions(k int) int {
	n := o.count[k]
	for _, word := range o.stays[k] {
		n -= bits.OnesCount64(word)
	}
	return n
}

// remove adds the edits that delete the reserved fields of an Outline. There may be very
// many of these fields, so it adds one edit for each name and not one for each field.
func (o *Outline) remove(l *Writer) {
	for k, count := range o.count {
		if o.deletions(k) > 0 {
			l.edits = append(l.edits, Edit{Kind: DeleteMany, Name: reservedFields[k].name, Index: count, Forged: o.forged[k], Kept: &o.stays[k]})
		}
	}
}
