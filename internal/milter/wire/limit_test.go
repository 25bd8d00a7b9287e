package wire

import (
	"errors"
	"testing"
)

// TestMacrosLimit adds frames up to the limit, and one octet more. A frame that comes twice counts once,
// also if another frame of its stage came before.
func TestMacrosLimit(t *testing.T) {
	const first, second = "CA\x001234\x00", "CB\x00567\x00" // 7 and 6 octets without the command
	for limit := range 20 {
		m := Macros{Limit: limit}
		var err error
		for _, frame := range []string{first, first, second, second} {
			if err = m.Add([]byte(frame)); err != nil {
				break
			}
		}
		var malformed Malformed
		switch {
		case limit >= 7+6:
			if err != nil || m.bytes != 7+6 || m.Get("A") != "1234" || m.Get("B") != "567" {
				t.Errorf("limit %d: %v, %d octets, A=%q, B=%q", limit, err, m.bytes, m.Get("A"), m.Get("B"))
			}
		case !errors.As(err, &malformed) || malformed.Kind != KindMacrosTooLarge:
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// TestMacrosNUL adds frames whose names or values have no end.
func TestMacrosNUL(t *testing.T) {
	for _, frame := range []string{"", "CA", "CA\x00", "CA\x00b", "CA\x00b\x00c", "CA\x00b\x00c\x00", "C\x00"} {
		m := Macros{Limit: 100}
		var malformed Malformed
		if err := m.Add([]byte(frame)); !errors.As(err, &malformed) || malformed.Kind != KindMalformedMacro || m.bytes != 0 {
			t.Errorf("%q: %v, %d octets", frame, err, m.bytes)
		}
	}
}
