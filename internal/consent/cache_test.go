package consent

import (
	"strings"
	"testing"
	"time"

	"sekimori/internal/policy"
)

func TestCacheIsBounded(t *testing.T) {
	c, err := newCache(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCached + 1000 {
		c.put(string(rune('a'+i%26))+strings.Repeat("x", i%3)+time.Duration(i).String(), policy.In)
	}
	c.store.CleanUp()
	if n := c.store.EstimatedSize(); n > maxCached {
		t.Errorf("%d answers are kept", n)
	}
	old := &cache{ttl: time.Hour, start: time.Now().Add(-2 * time.Hour), store: c.store}
	c.put("a", policy.In)
	if _, ok := old.get("a"); ok {
		t.Error("an answer past its time is used")
	}
	if _, ok := c.get("a"); !ok {
		t.Error("an answer in its time is not")
	}
}

// TestCacheIsOff checks that without a time nothing is kept.
func TestCacheIsOff(t *testing.T) {
	for ttl, keeps := range map[time.Duration]bool{-1: false, 0: false, 1: true} {
		c, err := newCache(ttl)
		if err != nil || (c.store != nil) != keeps {
			t.Errorf("%d: store %v, %v", ttl, c.store, err)
		}
		c.put("a@b.example", policy.In)
		if _, ok := c.get("a@b.example"); ok && !keeps {
			t.Errorf("%d: an answer was kept", ttl)
		}
	}
}
