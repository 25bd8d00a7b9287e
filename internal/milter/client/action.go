package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Kind is a kind of answer that a milter can give.
type Kind string

// The answers to an event.
const (
	Continue Kind = "continue"
	Accept   Kind = "accept"
	Reject   Kind = "reject"
	Tempfail Kind = "tempfail"
	Discard  Kind = "discard"
	Skip     Kind = "skip"  // send no more parts of the body
	Custom   Kind = "reply" // answer with the given reply code and text
)

// Action is a milter's answer to an event.
type Action struct {
	Kind Kind `json:"kind"`
	// Code is the reply code of a Custom answer. Lines has the text of each line, without the
	// code, and with "%" in place of "%%".
	Code  int      `json:"code,omitempty"`
	Lines []string `json:"lines,omitempty"`
}

// String returns the answer in the form that logs and test failures show.
func (a Action) String() string {
	if a.Kind != Custom {
		return string(a.Kind)
	}
	return strconv.Itoa(a.Code) + " " + strings.Join(a.Lines, " ")
}

// Delivers reports whether the MTA still processes the message after this answer, so that it can
// be delivered.
func (a Action) Delivers() bool { return a.Kind == Continue || a.Kind == Accept || a.Kind == Skip }

func parseAction(cmd byte, data []byte) (Action, error) {
	switch cmd {
	case 'c':
		return Action{Kind: Continue}, nil
	case 'a':
		return Action{Kind: Accept}, nil
	case 'r':
		return Action{Kind: Reject}, nil
	case 't':
		return Action{Kind: Tempfail}, nil
	case 'd':
		return Action{Kind: Discard}, nil
	case 's':
		return Action{Kind: Skip}, nil
	case 'y':
		return parseReply(data)
	}
	return Action{}, fmt.Errorf("%w: answer %q", ErrMalformed, cmd)
}

// parseReply reads a reply as Postfix does (milter8.c, SMFIR_REPLYCODE). If the text after the
// code begins with a digit (an enhanced status code), that digit must be the first digit of the
// code. "%%" is read as "%", and a single "%" is dropped.
func parseReply(data []byte) (Action, error) {
	text, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(rest) != 0 {
		return Action{}, fmt.Errorf("%w: reply %q", ErrMalformed, data)
	}
	a := Action{Kind: Custom}
	lines := strings.Split(string(text), "\r\n")
	for i, line := range lines {
		separator := byte('-')
		if i == len(lines)-1 {
			separator = ' '
		}
		code, _ := strconv.Atoi(line[:min(3, len(line))]) // 0 if it is no number
		if code < 400 || code > 599 || len(line) < 4 || line[3] != separator ||
			a.Code != 0 && a.Code != code || len(line) > 4 && line[4] >= '0' && line[4] <= '9' && line[4] != line[0] {
			return Action{}, fmt.Errorf("%w: reply %q", ErrMalformed, text)
		}
		a.Code = code
		a.Lines = append(a.Lines, unescape(line[4:]))
	}
	return a, nil
}

// unescape returns s with "%%" replaced by "%", and without any single "%".
func unescape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(s, "%%", "\x00"), "%", ""), "\x00", "%")
}

// Modification is a change of the message that a milter asks the MTA for.
type Modification struct {
	Kind  ModificationKind `json:"kind"`
	Index int              `json:"index,omitempty"`
	Name  string           `json:"name,omitempty"`
	// Value is the value of the field as the milter sent it (folds as LF). For a
	// quarantine it is the reason.
	Value string `json:"value,omitempty"`
}

// ModificationKind is the kind of edit.
type ModificationKind string

// The edits that this client knows.
const (
	InsertHeader ModificationKind = "insert"
	AddHeader    ModificationKind = "add"
	ChangeHeader ModificationKind = "change"
	DeleteHeader ModificationKind = "delete"
	Quarantine   ModificationKind = "quarantine"
)

// parseModification reads the frame of an edit. ok is false if the frame is of another kind.
func parseModification(cmd byte, data []byte) (m Modification, ok bool, err error) {
	bad := fmt.Errorf("%w: edit %q %q", ErrMalformed, cmd, data)
	switch cmd {
	case 'i':
		m.Kind = InsertHeader
	case 'm':
		m.Kind = ChangeHeader
	case 'h':
		m.Kind = AddHeader
	case 'q':
		reason, rest, found := bytes.Cut(data, []byte{0})
		if !found || len(rest) != 0 {
			return m, false, bad
		}
		return Modification{Kind: Quarantine, Value: string(reason)}, true, nil
	case 'b', 'e', '+', '-', '2':
		return m, false, fmt.Errorf("client: edit %q is not supported", cmd)
	default:
		return m, false, nil
	}
	if cmd != 'h' {
		if len(data) < 4 {
			return m, false, bad
		}
		m.Index = int(binary.BigEndian.Uint32(data))
		data = data[4:]
	}
	parts := strings.Split(string(data), "\x00")
	if len(parts) != 3 || parts[0] == "" || parts[2] != "" {
		return m, false, bad
	}
	m.Name, m.Value = parts[0], parts[1]
	if cmd == 'm' && m.Value == "" {
		m.Kind = DeleteHeader
	}
	return m, true, nil
}

// Apply returns the header after the edits. It applies them one after another, as Postfix does. In
// a change or deletion, the index counts the fields with this name from 1; names are compared
// without regard to case. A deletion renumbers the fields after it. A change of a field that does
// not exist adds the field at the end. In an insertion, the index counts all fields: the new field
// gets this place in the header, and 0 or 1 is the top.
func Apply(header []Field, mods []Modification) []Field {
	out := append([]Field(nil), header...)
	for _, m := range mods {
		value := strings.ReplaceAll(m.Value, "\n", "\r\n")
		switch m.Kind {
		case InsertHeader:
			i := min(max(m.Index-1, 0), len(out))
			out = append(out[:i], append([]Field{{m.Name, value}}, out[i:]...)...)
		case AddHeader:
			out = append(out, Field{m.Name, value})
		case ChangeHeader:
			if i := find(out, m.Name, m.Index); i >= 0 {
				out[i] = Field{m.Name, value}
			} else {
				out = append(out, Field{m.Name, value})
			}
		case DeleteHeader:
			if i := find(out, m.Name, m.Index); i >= 0 {
				out = append(out[:i], out[i+1:]...)
			}
		}
	}
	return out
}

// find returns the position in header of the index-th field with this name, or -1.
func find(header []Field, name string, index int) int {
	for i, f := range header {
		if f.Name == name || strings.EqualFold(f.Name, name) { // comparing first is several times as fast
			if index--; index == 0 {
				return i
			}
		}
	}
	return -1
}
