//go:build linux

package main

import (
	"strings"
	"testing"
)

// late is a module whose goroutines begin in each of the ways that the tool knows.
var late = map[string]string{
	"go.mod": "module example\n\ngo 1.25\n",
	"internal/bell/bell.go": `package bell

import (
	"sync"
	"sync/atomic"
	"time"
)

type Bell struct {
	Rung  atomic.Int64
	works sync.WaitGroup
}

func (b *Bell) ring(times ...int64) {
	for _, n := range times {
		b.Rung.Add(n)
	}
}

// Ring rings four times in the background, unless it is night.
func (b *Bell) Ring(night bool) {
	if night {
		return
	}
	go func(n int64) { b.ring(n) }(1)
	go b.ring(1)
	b.works.Go(func() { b.ring(1) })
	time.AfterFunc(0, func() { b.ring(1) })
}
`,
	"internal/bell/bell_test.go": `package bell

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHasty(t *testing.T) {
	var b Bell
	b.Ring(false)
	time.Sleep(10 * time.Millisecond)
	if n := b.Rung.Load(); n != 4 {
		t.Error("rung", n)
	}
}

func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bell
		start := time.Now()
		b.Ring(false)
		time.Sleep(1)
		synctest.Wait()
		if n, took := b.Rung.Load(), time.Since(start); n != 4 || took != 1 {
			t.Error("rung", n, took)
		}
	})
}

func TestNightHasty(t *testing.T) {
	var b Bell
	b.Ring(true)
	if n := b.Rung.Load(); n != 0 {
		t.Error("rung", n)
	}
}

func TestNightSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bell
		b.Ring(true)
		synctest.Wait()
		if n := b.Rung.Load(); n != 0 {
			t.Error("rung", n)
		}
	})
}
`,
}

// testDelays checks that delays show a test that counts on quick goroutines, and a test of absence that looks too early, and no other.
func testDelays(t *testing.T, bin string) {
	dir := write(t, late)
	for name, c := range map[string]struct {
		args    string
		status  int
		has, no string
	}{
		"counts on quick goroutines": {"--delay 100ms bell", 1, "internal/bell: TestHasty: ", "Steady"},
		"waits for them":             {"--delay 100ms --run Steady bell", 0, "4 places where a goroutine begins, 0 of 5 runs failed", "TestSteady"},
		"looks too early":            {"--delay 100ms --run TestNightHasty --at bell/bell.go:23 --strict bell", 1, "removed: return; under: if night  (noticed in ", ""},
		"looks in time":              {"--delay 100ms --run TestNightSteady --at bell/bell.go:23 --strict bell", 0, "1 killed", "survived ("},
		"negative":                   {"--delay -1s bell", 2, "--delay", ""},
	} {
		_, out, status := mutate(t, bin, dir, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out, c.has) || (c.no != "" && strings.Contains(out, c.no)) {
			t.Errorf("%s: status %d, want %d, with %q, without %q\n%s", name, status, c.status, c.has, c.no, out)
		}
	}
}
