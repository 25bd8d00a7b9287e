package p

import (
	. "example/paint"
	hue "example/paint"
	tm "time"
)

type num[T any] int

type level uint8

const (
	low  level = 1
	high level = 200
	same       = high
)

const long, wide = 64, 63

type truth bool

var table = map[int]kind{3: red, 64: blue}

var array = [5]int{4, 3: 2}

var slice = []kind{1: blue, 2: red}

type pair struct {
	a, b int
	k    kind
}

func values(x, y int, f float64, b truth, d tm.Duration, s string, l level) (n int) {
	type local int
	p := pair{a: 1, b: 2, k: red}
	q := pair{63, 64, blue}
	n = array[1] + slice2()[1]
	n = x + y - x*y/2
	n = -7 + x
	n += 65
	n = 'a' + x
	n = long + x
	n = wide - x
	f = f * 2.5
	f = f / 64
	d = d + 5
	d = d - 0
	d *= tm.Second
	d = hue.Base.Wait + 6
	l = l + 7
	l = low
	var m num[string] = 8
	m = m + 9
	var o local = 10
	o = o + 11
	s = s + "text"
	if b {
		n = 12
	}
	if truth(x < y) || b && !b {
		n = 13
	}
	if x < y || x <= y || x > y || x >= y {
		n = 14
	}
	if (x == y || x != y) && !(s == "a") && true {
		n = 15
	}
	if !b {
		n = 16
	}
	switch x {
	case 17, long:
		n = int(int8(18))
	}
	switch kind(x) {
	case red:
	}
	var bit = x&3<<2 | y%4
	take(hue.Red, One, Green, hue.Base.Shade == hue.Red)
	_ = [3]int{}
	_ = make([]byte, 19)
	_ = uint64(1 << 63)
	_ = x == long && y > wide
	return n + bit + int(f) + int(d) + int(m) + int(o) + len(s) + int(l) + p.a + q.b
}

func slice2() []int { return slice3[:20] }

var slice3 []int

func take(Color, Lone, hue.Color, bool) {}

func generic[T ~int | ~int64](x T) T {
	return x + 21
}

func words(ok bool, err error) (bool, error, truth) {
	if ok {
		return ok, err, true
	}
	return false, err, false
}
