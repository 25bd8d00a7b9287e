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

// ErrNotNegotiated is returned for an edit the MTA did not allow.
var ErrNotNegotiated = errors.New("milter: the MTA does not allow this action")

// ErrInvalidEdit is returned for an edit that could change more of the header
// than the one field it is for.
var ErrInvalidEdit = errors.New("milter: invalid edit")

// maxEditBytes bounds a value we write; Postfix itself cuts fields at 60,000.
const maxEditBytes = 60000

// Modifier collects the edits of a message. They are written when
// EndOfMessage has returned, and only if its reply lets the message live.
//
// The order of writing is fixed: changes, then deletions from the highest
// index down, then insertions. Every index thus counts the fields as they
// came, although Postfix renumbers at each deletion: a forged field must not
// live on in the place of another (CVE-2022-48521).
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

// deleteSet stands for many deletions of fields of one name.
type deleteSet struct {
	name   string
	count  int
	doomed func(index int) bool
}

// InsertHeader puts a field at index: 0 is above everything, the MTA's own
// Received field too. Of several at 0 the last one ends at the top. value is
// what follows the colon, with folds as CRLF or LF and white space.
func (m *Modifier) InsertHeader(index int, name, value string) error {
	if index < 0 {
		return fmt.Errorf("%w: insert at index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.inserts, ActionAddHeader, edit{index, name, value})
}

// ChangeHeader gives the index-th field called name, the topmost being 1, a
// new value. An empty value deletes it.
func (m *Modifier) ChangeHeader(name string, index int, value string) error {
	if value == "" {
		return m.DeleteHeader(name, index)
	}
	if index < 1 {
		return fmt.Errorf("%w: change of index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.changes, ActionChangeHeader, edit{index, name, value})
}

// DeleteHeader removes the index-th field called name, the topmost being 1.
// Names are compared without case.
func (m *Modifier) DeleteHeader(name string, index int) error {
	if index < 1 {
		return fmt.Errorf("%w: deletion of index %d", ErrInvalidEdit, index)
	}
	return m.add(&m.deletes, ActionChangeHeader, edit{index: index, name: name})
}

// DeleteHeaders removes those of the first count fields called name for whose
// index, from 1, doomed reports true. It is asked when the edits are written, so
// that any number of deletions takes no memory. DeleteHeader must not be used for
// the same name.
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

// Quarantine has the MTA hold the message, for the reason given to its
// operator. A character of the reason that is not printable ASCII becomes '?'. The reply must still be Continue or Accept.
func (m *Modifier) Quarantine(reason string) error {
	if !m.conn.HasAction(ActionQuarantine) {
		return ErrNotNegotiated
	}
	if strings.ContainsAny(reason, "\r\n\x00") {
		return fmt.Errorf("%w: quarantine reason holds CR, LF or NUL", ErrInvalidEdit)
	}
	// An empty reason would be no frame of ours to tell from none.
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

// validName reports whether s is a field name (RFC 5322 §2.2).
func validName(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// checkValue refuses what could end the field: every line break must be a fold
// (RFC 5322 §2.2.3), with something after its white space, since a line of
// white space alone is the end of the header to some.
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
			return fmt.Errorf("%w: line break that is no fold", ErrInvalidEdit)
		}
		if !more {
			return nil
		}
		value = rest
	}
}

// lead fits the value's beginning to the MTA: with the leading space
// negotiated it adds none, else it adds its own.
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

// maxUnsent is how many octets of edits gather before they are sent.
const maxUnsent = 64 << 10

// write writes the edits. They go out with the reply, but for those that are too
// many to gather; an error is of sending these.
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

// orderedDeletes returns the deletions, the highest index first and each
// once: a second one would hit the field that took the place.
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
