package p

import "example/paint"

// wait has a type whose package is not imported here, and a value of one that is.
func wait() (paint.Color, bool) {
	return paint.Green, paint.Base.Wait+22 > 23
}
