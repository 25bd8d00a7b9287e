package dkim

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/message"
	"sekimori/internal/testkit/signer"
)

// TestResultsOutliveTheMessage checks that the results of a message do not
// change when later messages use its memory again.
func TestResultsOutliveTheMessage(t *testing.T) {
	z := zoneWith(signer.Record(&rsaKey(t).PublicKey))
	o := Options{Cache: NewCache()}
	mail := sign(t, signing{}, testMail)
	for _, c := range []string{"simple/simple", "relaxed/simple", "relaxed/relaxed"} {
		mail = sign(t, signing{c: c, h: "from:to:subject:from"}, mail)
	}
	first := verifyOnce(t, []byte(mail), z, o)
	before, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		other := fmt.Sprintf("X-Filler-%d: %s\r\n", i, strings.Repeat("z", 50*i)) + strings.ReplaceAll(mail, "relaxed", "RELAXED")
		verifyOnce(t, []byte(other), z, o)
	}
	after, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) || first[0].Result != Pass {
		t.Errorf("the results were\n%s\nand became\n%s", before, after)
	}
}

// TestCacheConcurrently checks that messages may use a cache at the same time.
func TestCacheConcurrently(t *testing.T) {
	z := zoneWith(signer.Record(&rsaKey(t).PublicKey))
	o := Options{Cache: NewCache()}
	good := sign(t, signing{}, testMail)
	bad := strings.Replace(good, "Subject:", "Subject: x", 1)
	var wg sync.WaitGroup
	for range 4 {
		for mail, want := range map[string]Result{good: Pass, bad: Fail} {
			wg.Go(func() {
				for range 50 {
					if s := verifyOnce(t, []byte(mail), z, o); len(s) != 1 || s[0].Result != want {
						t.Errorf("%+v, want %s", s, want)
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestIndexKept checks that the index of a huge header is not kept in memory.
func TestIndexKept(t *testing.T) {
	for n, want := range map[int]bool{20: true, maxIndexKept/2 + 1: false} {
		x := (*Cache)(nil).index(make(message.Header, n))
		if got := x.clear(); got != want {
			t.Errorf("of %d fields: kept %v", n, got)
		}
	}
	for n, want := range map[int]bool{100: true, maxIndexKept + 1: false} {
		x := (*Cache)(nil).index(message.Header{{Name: "A", Value: strings.Repeat("x", n)}})
		if x.relaxedField(0); x.clear() != want {
			t.Errorf("a field of %d octets: kept %v", n, !want)
		}
	}
}

// TestIndexReused checks that a huge index is not put back for the next message.
func TestIndexReused(t *testing.T) {
	c := new(Cache)
	x := c.index(make(message.Header, maxIndexKept/2+1))
	c.reuseIndex(x)
	if c.indexes.Get() != nil || x.header != nil {
		t.Error("a huge index was kept")
	}
}

// keyRecord returns a valid key record that is different for each i.
func keyRecord(i int) string {
	return fmt.Sprintf("v=DKIM1; k=ed25519; n=%d; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", i)
}

// TestKeyCacheBounds checks that strangers who publish many keys cannot make the
// cache grow or drop a key that is in use.
func TestKeyCacheBounds(t *testing.T) {
	for _, tc := range []struct {
		why    string
		record func(int) string
		n      int
	}{
		{"many", keyRecord, 3 * maxCachedKeys},
		{"long ones", func(i int) string {
			return keyRecord(i) + "; x=" + strings.Repeat("x", maxCachedRecord-len(keyRecord(i))-4)
		}, 3 * maxCachedKeyBytes / maxCachedRecord},
	} {
		c := NewCache()
		const used = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
		most := 0
		for i := range tc.n {
			if _, err := c.parseKey(tc.record(i)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.parseKey(used); err != nil {
				t.Fatal(err)
			}
			if _, ok := c.keys.recent[used]; !ok {
				t.Fatalf("%s: a key in use is gone after %d", tc.why, i)
			}
			most = max(most, len(c.keys.recent)+len(c.keys.past))
			if c.keys.bytes > maxCachedKeyBytes/2 {
				t.Fatalf("%s: %d octets", tc.why, c.keys.bytes)
			}
		}
		if most > maxCachedKeys || most < 100 {
			t.Errorf("%s: %d keys at most", tc.why, most)
		}
	}
}

// TestKeyCacheKeeps checks that the cache returns the result of ParseKey, and
// that it keeps neither errors nor the keys of very long records.
func TestKeyCacheKeeps(t *testing.T) {
	for _, tc := range []struct {
		why, txt string
		kept     bool
	}{
		{"a key", keyRecord(1), true},
		{"an RSA key", signer.Record(&rsaKey(t).PublicKey), true},
		{"a revoked key", "v=DKIM1; p=", true},
		{"no key", "v=spf1 -all", false},
		{"a broken key", "v=DKIM1; p=!", false},
		{"a long record", keyRecord(1) + "; x=" + strings.Repeat("x", maxCachedRecord), false},
	} {
		c := NewCache()
		want, wantErr := syntax.ParseKey(tc.txt)
		for range 3 {
			got, err := c.parseKey(tc.txt)
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
				t.Errorf("%s: %v %v, want %v %v", tc.why, got, err, want, wantErr)
			}
		}
		if _, kept := c.keys.get(tc.txt); kept != tc.kept {
			t.Errorf("%s: kept %v", tc.why, kept)
		}
	}
}

// plainHeaderHash returns the text that a signature hashes. It is a second, slow
// implementation of RFC 6376 §5.4.2: it looks at all fields for each name.
func plainHeaderHash(c syntax.Canonicalization, h message.Header, names []string, self int, b syntax.Span) string {
	taken := map[int]bool{self: true}
	text := ""
	for _, name := range names {
		for i := len(h) - 1; i >= 0; i-- {
			if !taken[i] && strings.EqualFold(strings.TrimRight(h[i].Name, " \t"), name) {
				taken[i] = true
				text += refHeader(c, h[i].Name, h[i].Value) + "\r\n"
				break
			}
		}
	}
	return text + refHeader(c, h[self].Name, h[self].Value[:b.Start]+h[self].Value[b.End:])
}

// TestHeaderHashAgainstReference compares headerHash with the hash of
// plainHeaderHash's text, for random headers and random h=. The index of a
// header uses the memory of earlier indexes.
func TestHeaderHashAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	cache := NewCache()
	names := []string{"From", "from", "FROM ", "To", "Subject", "X-A", "X-B", "x-a\t", "DKIM-Signature", "", "é"}
	for range 3000 {
		h := make(message.Header, 1+r.IntN(12))
		for i := range h {
			h[i] = message.Field{Name: names[r.IntN(len(names))], Value: randomBody(r, r.IntN(12))}
		}
		self := r.IntN(len(h))
		prefix, middle, suffix := " x "+randomBody(r, 5)+"b=", "QUJD\r\n =", []string{"", "; " + randomBody(r, 5)}[r.IntN(2)]
		h[self] = message.Field{Name: "DKIM-Signature", Value: prefix + middle + suffix}
		cut := syntax.Span{Start: len(prefix), End: len(prefix) + len(middle)}
		var list []string
		for range r.IntN(10) {
			list = append(list, strings.TrimSpace(names[r.IntN(len(names))]))
		}
		x := cache.index(h)
		for _, c := range []syntax.Canonicalization{syntax.Simple, syntax.Relaxed, syntax.Relaxed} {
			got, _ := x.headerHash(&Pending{Params: syntax.Params{HeaderCanon: c, Headers: list, BSpan: cut}, Field: self}, form{})
			if text := plainHeaderHash(c, h, list, self, cut); got != sha256.Sum256([]byte(text)) {
				t.Fatalf("%s, %q of %q: not the hash of %q", c, list, h, text)
			}
		}
		cache.reuseIndex(x)
	}
}
