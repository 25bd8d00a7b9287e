package wire

import (
	"bytes"
	"strings"
)

const (
	// macroStages are the commands for which an MTA sends macros, in the order in which the
	// commands come. The macros of the stages from firstMessageStage on belong to one message.
	macroStages       = "CHMRTLNBE"
	firstMessageStage = 2
	// keptMacros is the largest buffer, in octets, that a stage keeps for reuse.
	keptMacros = 512
)

// Sign is a macro for which the daemon asks although no MTA has it. Programs of this project tell the
// daemon from other milters by it. An MTA sends nothing for a macro that it does not have.
const Sign = "{sekimori}"

// Macros keeps the macros that the MTA sent for each stage. Macros that come after the event of
// their stage replace the earlier macros of that stage. Without that, {rcpt_addr} of one recipient
// could be taken for {rcpt_addr} of the next recipient.
type Macros struct {
	Limit  int // how many octets of names and values are kept at most
	bytes  int
	stages [len(macroStages)]macroStage
	events uint // how many events of all stages have come
}

type macroStage struct {
	pairs []byte // names and values as the MTA sent them, each with its NUL
	last  int    // the index in pairs at which the latest macro frame begins
	used  bool   // the event has come, so the next macros replace these
	after uint   // the value of events when the latest macro frame came
}

// Add reads a macro frame: the command of the stage, then names and values. It ignores macros for
// commands that are not in macroStages (an unknown SMTP command, ABORT). If the MTA sends a frame
// of a stage twice in a row before the event of that stage, the second frame is ignored.
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

// Event notes that the event cmd has come. Macros for cmd that come later replace those that
// came before.
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

// EndMessage forgets the macros of the message that ends. next is the command that ends it, or
// 0. Macros for next that came after the last event belong to the message that now begins, so
// they are kept.
func (m *Macros) EndMessage(next byte) {
	for i := firstMessageStage; i < len(macroStages); i++ {
		st := &m.stages[i]
		if macroStages[i] == next && st.after == m.events {
			continue
		}
		m.clear(i)
	}
}

// Get returns the value of a macro from the latest stage that has the macro. If that stage has
// it twice, Get returns the later value.
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

// macroName removes the braces of a name, because "{i}" and "i" are the same macro.
func macroName[T string | []byte](s T) T {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' {
		return s[1 : len(s)-1]
	}
	return s
}
