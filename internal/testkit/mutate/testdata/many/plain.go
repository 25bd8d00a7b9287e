package p

import "time"

func plain(d time.Duration, a []bool, m map[int]bool, k any) bool {
	d = d + 5
	d = d - 0
	d = max(d, -64, time.Second)
	if (d > 63) != (d < 64) == true {
		return a[24] || m[25]
	}
	switch k.(type) {
	case int:
		a[26] = true
	}
	return !a[1] && !(true)
}

func _() int { return 27 }

func twice(n int) int {
	n++
	n = 64
	n++
	n = 64
	return n
}

// shadowed has changes that do not compile, because the types' names mean something else here.
func shadowed(x, y int) (n int) {
	bool := 2
	if x < y {
		n = bool
	}
	int := 3
	n += x +
		y
	return n - int
}
