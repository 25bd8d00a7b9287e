//go:build linux

package main

const zmutSource = `// Package zmut switches one mutant on: ZMUT is its number, ZMUT_COV a file that notes which were reached.
// ZMUT_DELAY is the longest delay of a goroutine, in nanoseconds, and ZMUT_SEED chooses the delays.
package zmut

import (
	"os"
	"reflect"
	"strconv"
	"sync/atomic"
	"syscall"
)

var (
	on  = func() int { n, _ := strconv.Atoi(os.Getenv("ZMUT")); return n }()
	cov = func() []byte {
		p := os.Getenv("ZMUT_COV")
		if p == "" {
			return nil
		}
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return nil
		}
		defer f.Close()
		b, err := syscall.Mmap(int(f.Fd()), 0, 1<<16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			return nil
		}
		return b
	}()
)

func Is(n int) bool {
	if cov != nil {
		cov[n] = 1
	}
	return n == on
}

type num interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

func Add[T num](n int, v T) T {
	if Is(n) {
		return v + 1
	}
	return v
}

func Mul[T num](n int, v, by T) T {
	if Is(n) {
		return v * by
	}
	return v
}

func Pick[T any](n int, v, other T) T {
	if Is(n) {
		return other
	}
	return v
}

func Err(n int, e error) error {
	if Is(n) {
		return nil
	}
	return e
}

func number(name string) uint64 {
	n, _ := strconv.ParseUint(os.Getenv(name), 10, 64)
	return n
}

var (
	longest, seed = number("ZMUT_DELAY"), number("ZMUT_SEED")

	begun   [1 << 10]atomic.Uint64 // goroutines by place
	waiting atomic.Int32
)

// maxWaiting bounds the threads: each delay holds one.
const maxWaiting = 500

// Delay waits for up to the longest delay; one in four does not wait. The thread sleeps, not the goroutine: this is real
// time in a bubble of testing/synctest too, and such a bubble waits for the goroutine as for one that computes.
func Delay(n int) {
	if longest == 0 {
		return
	}
	x := mix(mix(seed<<20+uint64(n)) + begun[n%len(begun)].Add(1))
	if x%4 == 0 {
		return
	}
	defer waiting.Add(-1)
	if waiting.Add(1) > maxWaiting {
		return
	}
	left := syscall.NsecToTimespec(int64(x / 4 % longest))
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

// mix is the output function of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Late returns f with a delay in front, if f is a function.
func Late[F any](n int, f F) F {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Func || v.IsNil() {
		return f
	}
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		Delay(n)
		if v.Type().IsVariadic() {
			return v.CallSlice(args)
		}
		return v.Call(args)
	}).Interface().(F)
}
`
