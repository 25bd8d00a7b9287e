//go:build linux

package main

const zmutSource = `// Package zmut switches one mutant on: ZMUT is its number, ZMUT_COV a file that notes which were reached.
package zmut

import (
	"os"
	"strconv"
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
`
