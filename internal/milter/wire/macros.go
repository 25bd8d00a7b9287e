package wire

import (
	"bytes"
	"strings"
)

const (
	// macroStages are the stages that macros are sent for, in the order of the
	// protocol. Those from firstMessageStage on belong to one message.
	macroStages       = "CHMRTLNBE"
	firstMessageStage = 2
	// keptMacros is what a stage may keep for the next event, in octets.
	keptMacros = 512
)

// Macros keeps what the MTA said at each stage. A stage said again replaces
// what it said before: a {rcpt_addr} of the last recipient must not be taken
// for this one's.
type Macros struct {
	Limit  int // octets of names and values
	bytes  int
	stages [len(macroStages)]macroStage
	events uint // how many events have come
}

type macroStage struct {
	pairs []byte // names and values as they came, each with its NUL
	last  int    // where the last frame's begin
	used  bool   // the event these were for has come: the next ones replace them
	after uint   // the number of events before the last frame
}

// Add reads a macro frame: the stage's command, then names and values. The
// macros of other commands (an unknown SMTP command, ABORT) are passed over.
// A frame said twice before its event counts once.
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

// Event notes that the stage's event has come.
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

// EndMessage forgets the macros that belong to a message. next is the command
// that ends it, or 0: macros of that command which came after the last event
// belong to the message that begins, and stay.
func (m *Macros) EndMessage(next byte) {
	for i := firstMessageStage; i < len(macroStages); i++ {
		st := &m.stages[i]
		if macroStages[i] == next && !st.used && st.after == m.events {
			continue
		}
		m.clear(i)
	}
}

// Get returns a macro of the latest stage that has it; of one said twice at a
// stage, what was said last.
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

// macroName takes the braces off: "{i}" and "i" are one macro.
func macroName[T string | []byte](s T) T {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' {
		return s[1 : len(s)-1]
	}
	return s
}
