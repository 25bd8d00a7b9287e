package paint

import "time"

type Color string

const (
	Red   Color = "red"
	Green Color = "green"
	clear Color = "clear"
)

// Lone has no other value.
type Lone int

const One Lone = 1

type Limits struct {
	Wait  time.Duration
	Shade Color
}

var Base = Limits{3, clear}
