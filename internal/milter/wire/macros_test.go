package wire

import (
	"strings"
	"testing"
)

func TestMacrosOfOneStage(t *testing.T) {
	m := Macros{Limit: 100}
	add := func(frame string) {
		t.Helper()
		if err := m.Add([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	add("C{j}\x00mx\x00v\x00Postfix\x00")
	add("Ri\x00id\x00{rcpt_addr}\x00a\x00")
	add("R{rcpt_host}\x00host\x00") // a second frame before the event adds to the first
	if m.Get("i") != "id" || m.Get("{i}") != "id" || m.Get("rcpt_addr") != "a" || m.Get("{rcpt_host}") != "host" {
		t.Error(m)
	}
	m.Event('R')
	add("Ri\x00id\x00") // the MTA sends no {rcpt_addr} for the next recipient
	if m.Get("{rcpt_addr}") != "" {
		t.Error("a macro of another recipient:", m.Get("{rcpt_addr}"))
	}
	add("Rj\x00later\x00")
	if m.Get("j") != "later" {
		t.Error("the later stage does not win:", m.Get("j"))
	}
	add("Ux\x00y\x00") // macros for this command are ignored
	if m.Get("x") != "" {
		t.Error("kept")
	}
	m.EndMessage(0)
	if m.Get("j") != "mx" || m.Get("i") != "" {
		t.Error("after the message:", m)
	}
	for range 100 { // macros that were replaced or repeated do not count towards Limit
		add("Mi\x000123456789\x00")
		add("Ri\x000\x00")
		m.Event('R')
	}
	if m.bytes != len("{j}_mx_v_Postfix_")+len("i_0123456789_")+len("i_0_") {
		t.Error(m.bytes)
	}
	m.EndMessage(0)
	add("Mab\x00x\x00")
	add("Mb\x00x\x00") // this frame must not count as a repetition, although the frame before ends with the same octets
	add("Mab\x00y\x00")
	if m.Get("b") != "x" || m.Get("ab") != "y" {
		t.Error("the later value does not win:", m.Get("b"), m.Get("ab"))
	}
}

// TestMacrosCostNothing checks that the macros of a message need no allocation, because they
// reuse the memory of the message before.
func TestMacrosCostNothing(t *testing.T) {
	m := Macros{Limit: 1000}
	stage := func(frame string) {
		if err := m.Add([]byte(frame)); err != nil {
			t.Error(err)
		}
		m.Event(frame[0])
	}
	message := func() {
		for _, frame := range []string{"M{mail_addr}\x00a@example.com\x00", "Ri\x00id\x00", "Li\x00id\x00", "Li\x00id\x00", "Ei\x00id\x00"} {
			stage(frame)
		}
		m.EndMessage(0)
	}
	message()
	if n := testing.AllocsPerRun(100, message); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
	stage("M{mail_addr}\x00" + strings.Repeat("x", 900) + "\x00")
	m.EndMessage(0)
	if n := cap(m.stages[firstMessageStage].pairs); n > keptMacros {
		t.Errorf("%d octets kept", n)
	}
}

// TestMacrosOfEachStage: after its event, the macros of each stage replace those of before. Other commands have none.
func TestMacrosOfEachStage(t *testing.T) {
	for _, cmd := range []byte(macroStages) {
		m := Macros{Limit: 100}
		for _, frame := range []string{"a\x001\x00", "b\x002\x00"} {
			if err := m.Add(append([]byte{cmd}, frame...)); err != nil {
				t.Fatal(err)
			}
			m.Event(cmd)
			m.Event(CmdAbort)
		}
		if a, b := m.Get("a"), m.Get("b"); a != "" || b != "2" {
			t.Errorf("%c: %q, %q", cmd, a, b)
		}
	}
}
