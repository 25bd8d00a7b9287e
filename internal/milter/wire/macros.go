package wire

import (
	"bytes"
	"strings"
)

const (
	// macroStages are the commands that macros are sent for, in the order of the
	// protocol. The macros from firstMessageStage on belong to one message.
	macroStages       = "CHMRTLNBE"
	firstMessageStage = 2
	// keptMacros is how large the memory of a stage may be that is kept for reuse, in
	// octets.
	keptMacros = 512
)

// Macros keeps the macros that the MTA sent for each stage. If the MTA sends macros for a
// stage whose event has come, they replace the earlier ones: the {rcpt_addr} of the last
// recipient must not be taken for that of the next.
type Macros struct {
	Limit  int // the most octets of names and values
	bytes  int
	stages [len(macroStages)]macroStage
	events uint // how many events have come
}

type macroStage struct {
	pairs []byte // names and values as they came, each with its NUL
	last  int    // where the macros of the last frame begin
	used  bool   // the event has come, so the next macros replace these
	after uint   // how many events came before the last frame
}

// Add reads a macro frame: the command of the stage, then names and values. Macros for other
// commands (an unknown SMTP command, ABORT) are ignored. A frame that comes twice before its
// event counts once.
func (m *Macros) Add(data []byte) error {
	if len(data) == 0 {
		return Malformed{KindMalformedMacro}
	}
	pairs := data[1:]
	if n := len(pairs); n > 0 && pairs[n-1] != 0 || bytes.Count(pairs, []byte{0})%2 != 0 {
		return Malformed{KindMalformedMacro}
	}
	i := strings.IndexByte(macroStages, data[0])
	if i < 0 {
		return nil
	}
	st := &m.stages[i]
	if st.used {
		m.clear(i)
	}
	st.after = m.events
	if bytes.Equal(st.pairs[st.last:], pairs) {
		return nil
	}
	if m.bytes+len(pairs) > m.Limit {
		return Malformed{KindMacrosTooLarge}
	}
	st.last = len(st.pairs)
	st.pairs = append(st.pairs, pairs...)
	m.bytes += len(pairs)
	return nil
}

// Event notes that the event cmd has come.
func (m *Macros) Event(cmd byte) {
	m.events++
	if i := strings.IndexByte(macroStages, cmd); i >= 0 {
		m.stages[i].used = true
	}
}

func (m *Macros) clear(i int) {
	st := &m.stages[i]
	m.bytes -= len(st.pairs)
	st.pairs, st.last, st.used = st.pairs[:0], 0, false
	if cap(st.pairs) > keptMacros {
		st.pairs = nil
	}
}

// EndMessage forgets the macros that belong to a message. next is the command that ends the
// message, or 0. Macros that came for next after the last event belong to the message that
// begins, and stay.
func (m *Macros) EndMessage(next byte) {
	for i := firstMessageStage; i < len(macroStages); i++ {
		st := &m.stages[i]
		if macroStages[i] == next && !st.used && st.after == m.events {
			continue
		}
		m.clear(i)
	}
}

// Get returns the value of a macro from the latest stage that has it. If it came twice at
// that stage, the later value counts.
func (m *Macros) Get(name string) string {
	name = macroName(name)
	for i := len(macroStages) - 1; i >= 0; i-- {
		if v, ok := m.stages[i].get(name); ok {
			return v
		}
	}
	return ""
}

func (st *macroStage) get(name string) (value string, ok bool) {
	var found []byte
	for rest := st.pairs; len(rest) > 0; {
		n := bytes.IndexByte(rest, 0)
		v := n + 1 + bytes.IndexByte(rest[n+1:], 0)
		if string(macroName(rest[:n])) == name {
			found, ok = rest[n+1:v], true
		}
		rest = rest[v+1:]
	}
	return string(found), ok
}

// macroName removes the braces: "{i}" and "i" are the same macro.
func macroName[T string | []byte](s T) T {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' {
		return s[1 : len(s)-1]
	}
	return s
}
