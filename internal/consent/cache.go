package consent

import (
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"sekimori/internal/policy"
)

// maxCached is the largest number of answers that are kept. There must be a
// limit, because a stranger can make up any number of recipients.
const maxCached = 100_000

// cache keeps the answers of the socketmap, including NOTFOUND. It does not
// keep failures, so the next lookup of the recipient asks again.
type cache struct {
	ttl   time.Duration
	start time.Time
	store *otter.Cache[string, kept] // nil if Options.CacheTTL is 0
}

type kept struct {
	class policy.Class
	until time.Duration // when the answer expires, as time since cache.start
}

func newCache(ttl time.Duration) (*cache, error) {
	c := &cache{ttl: ttl, start: time.Now()}
	if ttl <= 0 {
		return c, nil
	}
	store, err := otter.New(&otter.Options[string, kept]{MaximumSize: maxCached})
	if err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	c.store = store
	return c, nil
}

func (c *cache) now() time.Duration { return time.Since(c.start) }

func (c *cache) get(key string) (policy.Class, bool) {
	if c.store == nil {
		return "", false
	}
	k, ok := c.store.GetIfPresent(key)
	return k.class, ok && c.now() < k.until
}

func (c *cache) put(key string, class policy.Class) {
	if c.store != nil {
		c.store.Set(key, kept{class, c.now() + c.ttl})
	}
}
