package p

import (
	"sync"
	"testing"
)

type kind int

const (
	red kind = iota
	blue
)

func f(tb testing.TB, mu *sync.Mutex, a []int, x, y int) (kind, error) {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	z := x
	z++
	if x < y && a != nil {
		tb.Log(z)
	}
	for range a {
		continue
	}
	return red, nil
}

func g(c chan int, err error, words map[string]int) (bool, error) {
	defer close(c)
	defer println()
	switch {
	case !(len(c) > 100):
		c <- 2
	default:
		words["x"] = int(blue)
		return true, err
	}
	_ = words
	if err != nil {
		panic("x")
	}
	words["y"] -= len(words) * 70
	return false, nil
}
