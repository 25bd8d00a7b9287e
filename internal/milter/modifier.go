package milter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sekimori/internal/milter/wire"
	"sekimori/internal/printable"
	"sekimori/internal/smtp"
)

// ErrNotNegotiated is returned for an edit that the MTA does not allow.
var ErrNotNegotiated = errors.New("milter: the MTA does not allow this action")

// ErrInvalidEdit is returned for an edit with an invalid name, value, index or reason, for example
// a value that would end its field and begin another.
var ErrInvalidEdit = errors.New("milter: invalid edit")

// maxEditBytes is the longest value that we write, in octets. Postfix itself cuts fields at
// 60,000 octets.
const maxEditBytes = 60000

// Modifier collects the edits of a message. They are written when EndOfMessage has returned, and
// only if the message is delivered.
//
// The order of writing is fixed: changes, then deletions from the highest index down, then
// insertions. Postfix counts the fields anew after each deletion. In this order every index
// still means the same field as when the message arrived. In another order a deletion could miss
// a forged field and remove a different one (CVE-2022-48521).
type Modifier struct {
	conn       *Conn
	changes    []edit
	deletes    []edit
	sets       []deleteSet
	inserts    []edit
	quarantine string
}

type edit struct {
	index       int
	name, value string
}

// deleteSet is one call of DeleteHeaders.
type deleteSet struct {
	name   string
	count  int
	doomed func(index int) bool
}

// InsertHeader inserts a field at index. Index 0 is above all fields, also above the MTA's own
// Received field. After several insertions at 0 the last one is the topmost. value is everything
// after the colon. A fold in it is CRLF or LF, followed by white space.
func (m *Modifier) InsertHeader(index int, name, value string) error {
	if index < 0 {
		return fmt.Errorf("%w: insert at index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.inserts, ActionAddHeader, edit{index, name, value})
}

// ChangeHeader gives a new value to the index-th field called name, counted from 1 at the top.
// An empty value deletes the field.
func (m *Modifier) ChangeHeader(name string, index int, value string) error {
	if value == "" {
		return m.DeleteHeader(name, index)
	}
	if index < 1 {
		return fmt.Errorf("%w: change of index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.changes, ActionChangeHeader, edit{index, name, value})
}

// DeleteHeader removes the index-th field called name, counted from 1 at the top. Names are
// compared without regard to case.
func (m *Modifier) DeleteHeader(name string, index int) error {
	if index < 1 {
		return fmt.Errorf("%w: deletion of index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.deletes, ActionChangeHeader, edit{index: index, name: name})
}

// DeleteHeaders removes some of the first count fields called name. doomed gets the index of
// each of these fields, counted from 1, and reports whether the field is to be removed. doomed
// is called when the edits are written, so even very many deletions take no memory. Do not call
// DeleteHeader for the same name.
func (m *Modifier) DeleteHeaders(name string, count int, doomed func(index int) bool) error {
	switch {
	case !m.conn.HasAction(ActionChangeHeader):
		return ErrNotNegotiated
	case !validName(name):
		return fmt.Errorf("%w: field name %q", ErrInvalidEdit, name)
	}
	m.sets = append(m.sets, deleteSet{name, count, doomed})
	return nil
}

// Quarantine makes the MTA hold the message. The operator of the MTA is shown the reason, in which
// every character that is not printable ASCII becomes '?'. A long reason is cut, and "held"
// replaces an empty one. A reason with CR, LF or NUL is refused with ErrInvalidEdit. EndOfMessage
// must return Continue or Accept; otherwise the edit is not written.
func (m *Modifier) Quarantine(reason string) error {
	if !m.conn.HasAction(ActionQuarantine) {
		return ErrNotNegotiated
	}
	if strings.ContainsAny(reason, "\r\n\x00") {
		return fmt.Errorf("%w: quarantine reason holds CR, LF or NUL", ErrInvalidEdit)
	}
	// In m.quarantine, "" means that there is no quarantine, so an empty reason is never stored.
	m.quarantine = cmp.Or(printable.Marked(reason, smtp.MaxLen), "held")
	return nil
}

func (m *Modifier) add(list *[]edit, need Action, e edit) error {
	if !m.conn.HasAction(need) {
		return ErrNotNegotiated
	}
	if !validName(e.name) {
		return fmt.Errorf("%w: field name %q", ErrInvalidEdit, e.name)
	}
	if err := checkValue(e.value); err != nil {
		return err
	}
	*list = append(*list, e)
	return nil
}

// validName reports whether s is a valid field name (RFC 5322 §2.2).
func validName(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// checkValue refuses a value that could end the field. Every line break must be a fold (RFC 5322
// §2.2.3). The line after it must have more than white space, because some programs treat a line
// of white space as the end of the header.
func checkValue(value string) error {
	if len(value) > maxEditBytes {
		return fmt.Errorf("%w: value of %d octets", ErrInvalidEdit, len(value))
	}
	for first := true; ; first = false {
		line, rest, more := strings.Cut(value, "\n")
		if more {
			line = strings.TrimSuffix(line, "\r")
		}
		if strings.IndexByte(line, '\r') >= 0 || strings.IndexByte(line, 0) >= 0 {
			return fmt.Errorf("%w: value holds CR or NUL", ErrInvalidEdit)
		}
		if !first && (line == "" || line[0] != ' ' && line[0] != '\t' || strings.Trim(line, " \t") == "") {
			return fmt.Errorf("%w: a line break that is not a fold", ErrInvalidEdit)
		}
		if !more {
			return nil
		}
		value = rest
	}
}

// lead returns value with the leading space that the MTA expects. If the MTA agreed to keep leading
// space, the MTA adds none, so the value must begin with a space or tab. Otherwise the MTA adds a
// space, so lead removes a leading space.
func (m *Modifier) lead(value string) string {
	if value == "" {
		return value
	}
	if !m.conn.HasLeadingSpace() {
		return strings.TrimPrefix(value, " ")
	}
	if value[0] == ' ' || value[0] == '\t' {
		return value
	}
	return " " + value
}

// maxUnsent is how many octets of edits are collected before they are sent.
const maxUnsent = 64 << 10

// write writes the edits to the write buffer of t, which is sent together with the reply. If the
// edits of DeleteHeaders are longer than maxUnsent, write sends some of them earlier. An error
// means that this sending failed.
func (m *Modifier) write(t *wire.Transport) error {
	for _, e := range m.changes {
		t.ChangeHeader(e.index, e.name, m.lead(e.value))
	}
	for _, e := range m.orderedDeletes() {
		t.ChangeHeader(e.index, e.name, "")
	}
	for _, s := range m.sets {
		if err := s.write(t); err != nil {
			return err
		}
	}
	for _, e := range m.inserts {
		t.InsertHeader(e.index, e.name, m.lead(e.value))
	}
	if m.quarantine != "" {
		t.Quarantine(m.quarantine)
	}
	return nil
}

func (s deleteSet) write(t *wire.Transport) error {
	for i := s.count; i > 0; i-- {
		if !s.doomed(i) {
			continue
		}
		t.ChangeHeader(i, s.name, "")
		if len(t.Appended()) > maxUnsent {
			if err := t.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// orderedDeletes returns the deletions without duplicates, the highest index first. A duplicate
// must not be sent, because it would remove the field that has moved to this index.
func (m *Modifier) orderedDeletes() []edit {
	out := slices.Clone(m.deletes)
	for i := range out {
		out[i].name = strings.ToLower(out[i].name)
	}
	slices.SortFunc(out, func(a, b edit) int {
		return cmp.Or(cmp.Compare(b.index, a.index), cmp.Compare(a.name, b.name))
	})
	return slices.Compact(out)
}
