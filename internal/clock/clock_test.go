package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Watch
		jump := time.Duration(0)
		const h = time.Hour
		for i, tt := range []struct{ wait, jump, want time.Duration }{
			{0, 0, 0}, {h, 0, h}, {h, 0, 2 * h},
			{h, 87600 * h, 0}, {h, 0, h}, {h, -87600 * h, 0}, {h, 0, h},
			{h, tolerance, 2 * h}, {h, tolerance + 1, 0}, {h, -tolerance, h}, {h, -tolerance - 1, 0},
			{240 * h, 0, 240 * h},
		} {
			time.Sleep(tt.wait)
			jump += tt.jump
			if got := w.Even(time.Now().Add(jump)); got != tt.want {
				t.Errorf("look %d: %s, want %s", i, got, tt.want)
			}
		}
	})
}
