package distinct

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)

const oneDay = 24 * time.Hour

// TestAccuracy checks the error of the estimates over ten windows of each size. The root mean
// square error is at most twice StandardError, and the mean error is at most StandardError. The
// hashes are a fixed sequence, so the estimates are the same in every run.
func TestAccuracy(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 10, 100, 1000, 4096, 10_000, 12_000, 20_000, 200_000} {
		const windows = 10
		var sum, squares float64
		for range windows {
			w := NewWindow()
			for range n {
				w.add(random.Uint64(), start)
			}
			e := w.Estimate(start)/float64(n) - 1
			sum, squares = sum+e, squares+e*e
		}
		bias, rms := sum/windows, math.Sqrt(squares/windows)
		if t.Logf("%8d: mean %+.4f, error %.4f", n, bias, rms); rms > 2*StandardError || math.Abs(bias) > StandardError {
			t.Errorf("%d values: estimates off by %+.4f in the mean, %.4f root mean square; stated is %v", n, bias, rms, StandardError)
		}
	}
}

func TestStandardError(t *testing.T) {
	if want := 1.04 / math.Sqrt(registers); math.Abs(StandardError-want) > 1e-9 {
		t.Errorf("%v, want %v", StandardError, want)
	}
}

// fill adds n different values that begin with name.
func fill(w *Window, name string, n int, at time.Time) {
	for i := range n {
		w.Add(name+strconv.Itoa(i)+".example", at)
	}
}

// near reports an error if got is more than five standard errors away from want. By chance, that
// happens less than once in a million times.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 5*StandardError*want {
		t.Errorf("%s: %.0f, want about %.0f", what, got, want)
	}
}

func TestEmpty(t *testing.T) {
	if got := NewWindow().Estimate(start); got != 0 {
		t.Errorf("%v", got)
	}
}

func TestRepeated(t *testing.T) {
	w := NewWindow()
	for range 1000 {
		w.Add("example.com", start)
	}
	if got := math.Round(w.Estimate(start)); got != 1 {
		t.Errorf("one value a thousand times: %v", got)
	}
}

// TestDays checks that a value that was seen on several days counts once, and that a day is no
// longer counted Days days later.
func TestDays(t *testing.T) {
	w := NewWindow()
	fill(w, "first", 3000, start)
	fill(w, "both", 3000, start)
	fill(w, "both", 3000, start.Add(time.Minute)) // start is 23:59, so this is the next day
	fill(w, "second", 3000, start.Add(2*time.Minute))
	for _, tt := range []struct {
		when time.Duration
		want float64
	}{
		{0, 6000}, // the next day is after now, so its values are left out
		{time.Minute, 9000},
		{29 * oneDay, 9000},
		{29*oneDay + time.Minute, 6000}, // the first day is no longer counted
		{30*oneDay + time.Minute, 0},
		{4000 * oneDay, 0},
	} {
		near(t, tt.when.String(), w.Estimate(start.Add(tt.when)), tt.want)
	}
}

// TestPlacesAreReused: two days that are a multiple of Days apart use the same place in the window.
// The values of one day replace those of the other day, also after the clock was set back.
func TestPlacesAreReused(t *testing.T) {
	for _, jump := range []time.Duration{Days * oneDay, 7 * Days * oneDay, -Days * oneDay} {
		w := NewWindow()
		fill(w, "before", 3000, start)
		fill(w, "after", 1000, start.Add(jump))
		near(t, "after a jump of "+jump.String(), w.Estimate(start.Add(jump)), 1000)
		fill(w, "back", 500, start)
		near(t, "after the way back from "+jump.String(), w.Estimate(start), 500)
	}
}

// TestAnyTime checks Add and Estimate for times before 1970 and far after it.
func TestAnyTime(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Unix(math.MaxInt64, 0), time.Unix(math.MinInt64, 0)} {
		w := NewWindow()
		w.Add("example.com", at)
		if got := math.Round(w.Estimate(at)); got != 1 {
			t.Errorf("%v: %v", at, got)
		}
	}
}

// TestExtremeHashes checks the ranks of extreme hashes. A hash without a set bit has the highest
// rank.
func TestExtremeHashes(t *testing.T) {
	w := NewWindow()
	for _, hash := range []uint64{0, math.MaxUint64, 1, 1 << 63, 1 << (64 - precision - 1)} {
		w.add(hash, start)
	}
	s := w.sketch(day(start))
	if got := s.words[0].Load(); got != uint32(TopRank(registers)) {
		t.Errorf("register 0 is %d, want %d", got, TopRank(registers))
	}
	if got := s.words[len(s.words)-1].Load() >> 24; got != 1 {
		t.Errorf("the last register is %d, want 1", got)
	}
	if got := w.Estimate(start); math.IsNaN(got) || math.IsInf(got, 0) {
		t.Errorf("estimate %v", got)
	}
}

// TestSketch checks the functions for sketches of any size.
func TestSketch(t *testing.T) {
	for _, size := range []int{16, registers} {
		low := uint64(1) << (63 - precisionOf(size)) // the first bit behind those that choose the register
		a, b := make([]uint8, size), make([]uint8, size)
		for _, tt := range []struct {
			hash     uint64
			register int
			want     int
			changed  bool
		}{
			{low, 0, 1, true}, {low, 0, 1, false}, {low >> 1, 0, 2, true}, {low, 0, 2, false}, {0, 0, TopRank(size), true}, {1, 0, TopRank(size), false},
			{math.MaxUint64, size - 1, 1, true}, {2 * low, 1, TopRank(size), true}, {2*low + low, 1, TopRank(size), false},
		} {
			if changed := Raise(a, tt.hash); changed != tt.changed || int(a[tt.register]) != tt.want {
				t.Errorf("%d registers, %#x: %d, changed %v", size, tt.hash, a[tt.register], changed)
			}
		}
		if b[2] = 5; !Merge(b, a) || b[0] != a[0] || b[2] != 5 || b[size-1] != 1 || Merge(b, a) {
			t.Errorf("merged: %v", b)
		}
	}
}

// TestSeries compares the corrections with their series, summed term by term.
func TestSeries(t *testing.T) {
	for _, x := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.999} {
		s, u := x, 1-x
		for k := 1.0; k <= 60; k++ {
			s += math.Pow(x, math.Pow(2, k)) * math.Pow(2, k-1)
			u -= math.Pow(1-math.Pow(x, math.Pow(2, -k)), 2) * math.Pow(2, -k)
		}
		if got := sigma(x); math.Abs(got-s) > 1e-9*(1+s) {
			t.Errorf("sigma(%v) is %v, want %v", x, got, s)
		}
		if got := tau(x); math.Abs(got-u/3) > 1e-9 {
			t.Errorf("tau(%v) is %v, want %v", x, got, u/3)
		}
	}
	if sigma(1) != math.Inf(1) || tau(1) != 0 {
		t.Errorf("%v, %v", sigma(1), tau(1))
	}
}

// TestFull checks that the estimate is infinite if all registers have the highest rank, and huge but
// finite if one does not.
func TestFull(t *testing.T) {
	var merged [registers]uint8
	for i := range merged {
		merged[i] = uint8(TopRank(registers))
	}
	if got := Estimate(merged[:]); !math.IsInf(got, 1) {
		t.Errorf("%v", got)
	}
	merged[0]--
	if got := Estimate(merged[:]); got < 1e19 || math.IsInf(got, 1) {
		t.Errorf("but one: %v", got)
	}
}

// TestSeeds checks that two windows have different seeds: the same values set different registers.
// Therefore values that were chosen to fill the registers of one window do not fill those of
// another.
func TestSeeds(t *testing.T) {
	a, b := NewWindow(), NewWindow()
	fill(a, "", 100, start)
	fill(b, "", 100, start)
	same := 0
	for i := range registers / perWord {
		x, y := a.sketch(day(start)).words[i].Load(), b.sketch(day(start)).words[i].Load()
		if x != 0 && x == y {
			same++
		}
	}
	if same > 50 {
		t.Errorf("%d words of two windows are the same", same)
	}
}

// TestConcurrent adds values to two days from eight goroutines, while another goroutine reads. It
// checks that no value is lost. With -race it also checks that there is no data race.
func TestConcurrent(t *testing.T) {
	w := NewWindow()
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 2000 {
				at := start.Add(time.Duration(i%2) * time.Minute)
				w.Add(fmt.Sprint("own", g, i), at)
				w.Add(fmt.Sprint("shared", i), at)
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if got := w.Estimate(start.Add(time.Minute)); got > 30_000 {
				t.Errorf("%v while it is filled", got)
			}
		}
	})
	all.Wait()
	near(t, "of eight writers", w.Estimate(start.Add(time.Minute)), 18_000)
}

// TestRaiseIsAtomic checks that the same hashes give the same registers, no matter whether one
// goroutine adds them or eight do.
func TestRaiseIsAtomic(t *testing.T) {
	one, many := NewWindow(), NewWindow()
	var all sync.WaitGroup
	for g := range uint64(8) {
		hashes := rand.New(rand.NewPCG(g, 7))
		again := rand.New(rand.NewPCG(g, 7))
		for range 5000 {
			one.add(hashes.Uint64(), start)
		}
		all.Go(func() {
			for range 5000 {
				many.add(again.Uint64(), start)
			}
		})
	}
	all.Wait()
	for i := range registers / perWord {
		if a, b := one.sketch(day(start)).words[i].Load(), many.sketch(day(start)).words[i].Load(); a != b {
			t.Fatalf("word %d: %x and %x", i, a, b)
		}
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	w := NewWindow()
	w.Add("example.com", start) // the first Add of a day allocates the sketch of that day
	if n := testing.AllocsPerRun(1000, func() { w.Add("example.org", start) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	w := NewWindow()
	b.ReportAllocs()
	for b.Loop() {
		w.Add("news.example.com", start)
	}
}

func BenchmarkEstimate(b *testing.B) {
	w := NewWindow()
	for d := range Days {
		fill(w, "", 1000, start.Add(time.Duration(d)*oneDay))
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Estimate(start.Add((Days - 1) * oneDay))
	}
}
