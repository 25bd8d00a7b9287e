package filter

import (
	"math/bits"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/milter"
)

// A reserved field is one that readers take for the word of this host. What
// comes from outside under such a name goes, all of it or what speaks in our
// name.
type reserved struct {
	name string
	// forged reports whether the value is a result in the name of one of ours;
	// nil: a value never is.
	forged func(ours authres.IDs, value string) bool
	// goes reports whether the field goes; nil: every field of that name.
	goes func(ours authres.IDs, value string) bool
}

// reservedFields are the results of authentication (RFC 8601 §5, RFC 7208 §9.1),
// our own verdict, and the fields by which a host that verified BIMI tells mail
// clients which logo to show.
var reservedFields = [...]reserved{
	{authres.FieldName, authres.IDs.Claimed, authres.IDs.Claimed},
	{authres.ReceivedSPFName, authres.IDs.NamedInSPF, authres.IDs.ClaimedSPF},
	{VerdictField, nil, nil},
	{"BIMI-Location", nil, nil},
	{"BIMI-Indicator", nil, nil},
	{"BIMI-Logo-Preference", nil, nil},
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

// removeForged deletes the reserved fields that go. Indices count the fields of
// one name from 1. Where the MTA lets no field be deleted it reports whether a
// result in our name is left.
func (s *session) removeForged(h message.Header, m *milter.Modifier) (left bool, err error) {
	ours := s.identity().ours
	var seen [len(reservedFields)]int
	for i := range h {
		k := reservedName(h[i].Name)
		if k < 0 {
			continue
		}
		r := &reservedFields[k]
		seen[k]++
		switch {
		case r.goes != nil && !r.goes(ours, h[i].Value):
		case !s.conn.HasAction(milter.ActionChangeHeader):
			left = left || r.forged != nil && r.forged(ours, h[i].Value)
		default:
			if err := m.DeleteHeader(r.name, seen[k]); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// outline is what is kept of the header of a message over a limit: how many
// fields of each reserved name it has, and which of them go. Its size does not
// depend on the message's.
type outline struct {
	count  [len(reservedFields)]int
	stays  [len(reservedFields)][maxOutlined / 64]uint64
	forged bool // there is a result in our name
}

// maxOutlined is for how many fields of one name it is kept which of them stay:
// those after them all go. No genuine message has as many.
const maxOutlined = 4096

// add notes a field of which start is the beginning of the value.
func (o *outline) add(ours authres.IDs, name, start string) {
	k := reservedName(name)
	if k < 0 {
		return
	}
	r := &reservedFields[k]
	i := o.count[k]
	o.count[k]++
	if r.goes != nil && i < maxOutlined && !r.goes(ours, start) {
		o.stays[k][i/64] |= 1 << (i % 64)
	}
	o.forged = o.forged || r.forged != nil && r.forged(ours, start)
}

// maxForged is how many fields of a message over a limit are deleted at most. An
// MTA looks for each of them from the beginning: Postfix takes half a minute of
// a processor for so many, and four times that for twice as many.
const maxForged = 10_000

// tooMany reports whether more fields would have to be deleted than maxForged.
func (o *outline) tooMany() bool {
	n := 0
	for k, count := range o.count {
		n += count
		for _, word := range o.stays[k] {
			n -= bits.OnesCount64(word)
		}
	}
	return n > maxForged
}

// remove is removeForged.
func (o *outline) remove(c *milter.Conn, m *milter.Modifier) (left bool, err error) {
	if !c.HasAction(milter.ActionChangeHeader) {
		return o.forged, nil
	}
	for k, count := range o.count {
		if count == 0 {
			continue
		}
		stays := &o.stays[k]
		doomed := func(index int) bool {
			i := index - 1
			return i >= maxOutlined || stays[i/64]&(1<<(i%64)) == 0
		}
		if err := m.DeleteHeaders(reservedFields[k].name, count, doomed); err != nil {
			return false, err
		}
	}
	return false, nil
}
