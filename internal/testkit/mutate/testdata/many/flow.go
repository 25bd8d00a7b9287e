package p

import "sync"

type yes bool

var start = func() int { return 1 }

type box struct {
	mu   sync.RWMutex
	wg   sync.WaitGroup
	done chan struct{}
}

func (b *box) Close() error  { return nil }
func (b *box) Stop()         {}
func (b *box) cancel(n int)  {}
func (b *box) Helper() error { return nil }
func (b *box) Done()         {}

// quiet has statements that are left alone, beside some that are not.
func (b *box) quiet() (err error) {
	b.mu.RLock()
	b.cancel(5)
	b.wg.Add(6)
	b.wg.Done()
	b.mu.RUnlock()
	b.mu.Lock()
	b.mu.Unlock()
	_ = b.Helper()
	_, err = 0, b.Helper()
	<-b.done
	defer b.Close()
	defer b.Stop()
	defer b.cancel(7)
	defer b.wg.Done()
	defer b.mu.Unlock()
	defer start()
	go start()
	var _ yes = true
	return
}

func loops(a []int, c, d chan int) (n int) {
outer:
	for i := 0; i < len(a); i++ {
		switch a[i] {
		case 4, 5:
			break outer
		case 6:
			continue outer
		case 7:
			n--
			fallthrough
		default:
			n = 3
		}
		{
			n += 2
		}
	}
	for {
		select {
		case c <- 1:
			n = 7
		case n = <-d:
			n = 8
		default:
			goto end
		}
	}
end:
	n = 9
	for range 3 {
		break
	}
	if n := 3; n > 4 {
		n++
	} else if n > 5 {
		n--
	} else {
		n = 6
	}
	func() {
		n = 10
	}()
	for n = 11; ; n++ {
		return
	}
}

// ends has returns that must stay, because the function would lack one, and others.
func ends(n int, c chan int) int {
	if n > 1 {
		return 1
	}
	if n > 2 {
		for range c {
			return 2
		}
		for {
			if n > 3 {
				return 3
			}
			return 4
		}
	} else if n > 4 {
		return 5
	} else {
		switch {
		case n > 5:
			println()
			return 6
		case n > 6:
			if n > 7 {
				return 7
			}
			return 8
		default:
			select {
			case <-c:
				println()
				return 9
			case c <- 1:
				if n > 8 {
					return 10
				} else {
					return 11
				}
			}
		}
	}
}

func literals() func() (bool, error) {
	_ = func(err error) {
		return
	}
	return func() (ok bool, err error) {
		if err != nil {
			return
		}
		return true, err
	}
}

func named() (yes, error) { return two() }

func two() (yes, error) { return true, nil }

func nothing(n int) {
	if n > 9 {
		return
	} else {
		n++
	}
	return
}
