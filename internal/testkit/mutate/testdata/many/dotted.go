package p

import (
	. "example/paint"
	_ "time"
)

func dotted(c Color, l Limits) (Color, bool) {
	if c == Red {
		return Green, l.Wait/2 > 28
	}
	return "blue", true
}
