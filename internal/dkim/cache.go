package dkim

import (
	"strings"
	"sync"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/message"
)

// Cache is shared by the messages of a daemon. It keeps the keys of records that
// were parsed before. It also keeps the memory of earlier messages, so that new
// messages can use this memory again. Results do not point into this memory. A
// nil Cache keeps nothing. A Cache is safe for concurrent use.
type Cache struct {
	keys    keyCache
	indexes sync.Pool // holds *fieldIndex
	bodies  sync.Pool // holds *canonicalizer
}

// NewCache returns an empty Cache.
func NewCache() *Cache { return new(Cache) }

// parseKey returns the result of syntax.ParseKey. It parses a record only if the
// cache does not have the record's key.
func (c *Cache) parseKey(txt string) (syntax.Key, *syntax.Error) {
	if c == nil || len(txt) > maxCachedRecord {
		return syntax.ParseKey(txt)
	}
	if k, ok := c.keys.get(txt); ok {
		return k, nil
	}
	k, err := syntax.ParseKey(txt)
	if err == nil { // records with errors are not kept, because it costs little to parse them again
		c.keys.add(strings.Clone(txt), k)
	}
	return k, err
}

// index returns an index of h.
func (c *Cache) index(h message.Header) *fieldIndex {
	var x *fieldIndex
	if c != nil {
		x, _ = c.indexes.Get().(*fieldIndex)
	}
	if x == nil {
		x = newFieldIndex()
	}
	x.build(h)
	return x
}

func (c *Cache) reuseIndex(x *fieldIndex) {
	if c != nil && x.clear() {
		c.indexes.Put(x)
	}
}

// body returns a canonicalizer that is ready for a body.
func (c *Cache) body(relaxed bool) *canonicalizer {
	var b *canonicalizer
	if c != nil {
		b, _ = c.bodies.Get().(*canonicalizer)
	}
	if b == nil {
		b = newCanonicalizer()
	}
	b.begin(relaxed)
	return b
}

func (c *Cache) reuseBody(b *canonicalizer) {
	if c != nil && b != nil {
		c.bodies.Put(b)
	}
}

const (
	// maxCachedRecord is the length of the longest key record that is kept, in
	// octets. The record of an RSA key of 8,192 bits has 1,500 octets.
	maxCachedRecord = 2 << 10
	// maxCachedKeys and maxCachedKeyBytes bound the memory of all keys, because
	// senders choose the number of keys. A large receiver sees some thousands of
	// keys a day.
	maxCachedKeys     = 8192
	maxCachedKeyBytes = 8 << 20
	// keyOverhead is the memory that a key takes beside its record and its
	// modulus, in octets.
	keyOverhead = 500
)

// keyCache keeps keys by the text of their record, because parsing base64 and
// ASN.1 costs as much as a third of a verification. New keys are added to the map
// "recent". When this map is full, it replaces the map "past", and the keys that
// were in "past" are dropped. When a key in "past" is asked for, it is copied to
// "recent". So keys that are used often are not dropped.
type keyCache struct {
	mu           sync.RWMutex
	recent, past map[string]syntax.Key
	bytes        int // memory of the keys in recent
}

func (c *keyCache) get(txt string) (syntax.Key, bool) {
	c.mu.RLock()
	k, ok := c.recent[txt]
	past := false
	if !ok {
		k, past = c.past[txt]
	}
	c.mu.RUnlock()
	if past {
		c.add(txt, k)
	}
	return k, ok || past
}

func (c *keyCache) add(txt string, k syntax.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.recent[txt]; known {
		return
	}
	size := len(txt) + k.Bits/8 + keyOverhead
	if c.recent == nil || len(c.recent) >= maxCachedKeys/2 || c.bytes+size > maxCachedKeyBytes/2 {
		c.past, c.recent, c.bytes = c.recent, make(map[string]syntax.Key), 0
	}
	c.recent[txt] = k
	c.bytes += size
}
