package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/farm"
)

// RunFarm runs the tests of [farm.Store]. Each has a store of its own.
func RunFarm(t *testing.T, open func(testing.TB) farm.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, farm.Store)
	}{{"Beat", testBeat}, {"Lease", testFarmLease}, {"LeaseAtOnce", testFarmLeaseAtOnce}, {"Hostile", testHostileFarm}, {"Many", testManyHosts}} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func hosts(t *testing.T, s farm.Store, now time.Time) []farm.Host {
	t.Helper()
	all, err := s.Hosts(t.Context(), now)
	ok(t, err)
	return all
}

func testBeat(t *testing.T, s farm.Store) {
	now := time.Now().UTC()
	same(t, "hosts of an empty store", len(hosts(t, s, now)), 0)
	a := farm.Beat{
		Instance: "a", Name: "mx1.example", Version: "1.0", Config: "0123456789abcdef", Mode: "enforce", Since: now.Add(-time.Hour), Uptime: time.Hour,
		Loaded: now.Add(-time.Minute), Messages: map[string]int64{"accept": 5}, DNS: farm.DNS{Servers: 2, Up: 1, Queries: 10, Failed: 1},
	}
	b := a
	b.Instance, b.Name, b.NotReady = "b", "mx2.example", "stopping"
	ok(t, s.Beat(t.Context(), now, a))
	ok(t, s.Beat(t.Context(), now.Add(time.Millisecond), b))
	a.Messages = map[string]int64{"reject": 1}
	ok(t, s.Beat(t.Context(), now.Add(2*time.Millisecond), a))
	all := hosts(t, s, now.Add(2*time.Millisecond))
	if len(all) != 2 {
		t.Fatalf("%d hosts: %+v", len(all), all)
	}
	same(t, "the youngest", all[0].Beat, a)
	same(t, "the other", all[1].Beat, b)
	for _, h := range all {
		if h.Age < 0 || h.Age > time.Minute {
			t.Errorf("%s: age %s", h.Name, h.Age)
		}
	}
	ok(t, s.Leave(t.Context(), "a"))
	ok(t, s.Leave(t.Context(), "unknown"))
	all = hosts(t, s, now)
	if len(all) != 1 || all[0].Instance != "b" {
		t.Errorf("after a left: %+v", all)
	}
}

func testFarmLease(t *testing.T, s farm.Store) {
	for i, tt := range []struct {
		after       time.Duration // Noon
		name, owner string
		want        bool
	}{
		{0, "x", "a", true}, {time.Second, "x", "b", false}, {time.Second, "y", "b", true}, {30 * time.Second, "x", "a", true},
		{89 * time.Second, "x", "b", false}, {90 * time.Second, "x", "b", true}, {91 * time.Second, "x", "a", false},
	} {
		got, err := s.Lease(t.Context(), Noon().Add(tt.after), tt.name, tt.owner, time.Minute)
		ok(t, err)
		same(t, fmt.Sprint(i), got, tt.want)
	}
}

func testFarmLeaseAtOnce(t *testing.T, s farm.Store) {
	for round := range 20 {
		var won atomic.Int32
		var wg sync.WaitGroup
		for owner := range 4 {
			wg.Go(func() {
				got, err := s.Lease(t.Context(), Noon().Add(time.Duration(round)*time.Hour), "x", fmt.Sprint(owner), time.Minute)
				if err != nil {
					t.Error(err)
				}
				if got {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		same(t, fmt.Sprint("winners of round ", round), won.Load(), int32(1))
	}
}

func testHostileFarm(t *testing.T, s farm.Store) {
	now := time.Now().UTC()
	for i, x := range hostile() {
		ok(t, s.Beat(t.Context(), now, farm.Beat{Instance: x, Name: x, Version: x, NotReady: x, Messages: map[string]int64{x: 1}}))
		same(t, "hosts", len(hosts(t, s, now)), i+1)
		_, err := s.Lease(t.Context(), now, "x", x, time.Minute)
		ok(t, err)
	}
	for _, x := range hostile() {
		ok(t, s.Leave(t.Context(), x))
	}
	same(t, "hosts", len(hosts(t, s, now)), 0)
}

// testManyHosts: a daemon that crashes all the time leaves many heartbeats, of which the youngest are read.
func testManyHosts(t *testing.T, s farm.Store) {
	now := time.Now().UTC()
	for n := range farm.MaxHosts + 1 {
		ok(t, s.Beat(t.Context(), now.Add(time.Duration(n)*time.Millisecond), farm.Beat{Instance: fmt.Sprint(n), Name: "mx1.example"}))
	}
	all := hosts(t, s, now.Add(time.Minute))
	same(t, "hosts", len(all), farm.MaxHosts)
	same(t, "the youngest", all[0].Instance, fmt.Sprint(farm.MaxHosts))
}
