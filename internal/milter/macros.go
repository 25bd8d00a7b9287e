package milter

import "strings"

// Stages that macros are sent for, in the order of the protocol. Those from
// firstMessageStage on belong to one message.
const (
	macroStages       = "CHMRTLNBE"
	firstMessageStage = 2
)

// macros keeps what the MTA said at each stage. A stage said again replaces
// what it said before: a {rcpt_addr} of the last recipient must not be taken
// for this one's.
type macros struct {
	stages [len(macroStages)]macroStage
	bytes  int
	limit  int
}

type macroStage struct {
	values map[string]string
	used   bool // the event these were for has come: the next ones replace them
	bytes  int
}

// add reads a macro frame: the stage's command, then names and values. The
// macros of other commands (an unknown SMTP command, ABORT) are passed over.
func (m *macros) add(data []byte) error {
	if len(data) == 0 {
		return malformed{KindMalformedMacro}
	}
	pairs, ok := parseStrings(data[1:])
	if !ok || len(pairs)%2 != 0 {
		return malformed{KindMalformedMacro}
	}
	i := strings.IndexByte(macroStages, data[0])
	if i < 0 {
		return nil
	}
	if m.stages[i].used {
		m.clear(i)
	}
	for len(pairs) > 0 {
		if err := m.set(i, macroName(pairs[0]), pairs[1]); err != nil {
			return err
		}
		pairs = pairs[2:]
	}
	return nil
}

func (m *macros) set(i int, name, value string) error {
	st := &m.stages[i]
	if old, ok := st.values[name]; ok {
		n := len(name) + len(old)
		st.bytes -= n
		m.bytes -= n
	}
	n := len(name) + len(value)
	if m.bytes+n > m.limit {
		return malformed{KindMacrosTooLarge}
	}
	if st.values == nil {
		st.values = make(map[string]string)
	}
	st.values[name] = value
	st.bytes += n
	m.bytes += n
	return nil
}

// event notes that the stage's event has come.
func (m *macros) event(cmd byte) {
	if i := strings.IndexByte(macroStages, cmd); i >= 0 {
		m.stages[i].used = true
	}
}

func (m *macros) clear(i int) {
	st := &m.stages[i]
	m.bytes -= st.bytes
	clear(st.values)
	st.used, st.bytes = false, 0
}

// endMessage forgets the macros that belong to a message.
func (m *macros) endMessage() {
	for i := firstMessageStage; i < len(macroStages); i++ {
		m.clear(i)
	}
}

// get returns a macro of the latest stage that has it.
func (m *macros) get(name string) string {
	name = macroName(name)
	for i := len(macroStages) - 1; i >= 0; i-- {
		if v, ok := m.stages[i].values[name]; ok {
			return v
		}
	}
	return ""
}

// macroName takes the braces off: "{i}" and "i" are one macro.
func macroName(s string) string {
	if len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' {
		return s[1 : len(s)-1]
	}
	return s
}
