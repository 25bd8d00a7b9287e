package dkim

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/signer"
)

// TestVerifySum verifies signatures over a hash of the caller's, as arc does for a seal: a good one, each
// kind of bad one, and one for which no work is left.
func TestVerifySum(t *testing.T) {
	sum := sha256.Sum256([]byte("seals"))
	good := ed25519.Sign(edKey(), sum[:])
	h, _ := signer.Split([]byte(sign(t, signing{key: edKey()}, testMail)))
	for _, tt := range []struct {
		why       string
		signature []byte
		sum       digest
		spent     bool
		want      Reason
	}{
		{"good", good, sum, false, ""},
		{"another hash", good, sha256.Sum256([]byte("sealed")), false, ReasonSignature},
		{"another signature", append(slices.Clone(good[:63]), good[63]^1), sum, false, ReasonSignature},
		{"a signature that is too short", good[:63], sum, false, ReasonSignature},
		{"no work is left", good, sum, true, ReasonWorkLimit},
	} {
		v := NewVerifier(h, Options{})
		m := v.Message()
		p, err := m.Read(0, syntax.FormDKIM)
		if err != nil {
			t.Fatal(err)
		}
		p.Signature = tt.signature
		m.WantKey(&p)
		m.Start(t.Context(), zoneWith(signer.Record(edKey().Public())))
		if tt.spent {
			m.budget.free = 0
		}
		if got := m.VerifySum(t.Context(), &p, tt.sum, Options{}.WithDefaults()); reasonOf(got.Err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.why, got.Err, tt.want)
		}
		v.Close()
	}
}

// TestSinkKeepsItsSize writes pieces of each size around that of the buffer: it must not grow.
func TestSinkKeepsItsSize(t *testing.T) {
	for _, size := range []int{1, 1000, sinkBuffer - 1, sinkBuffer, sinkBuffer + 1} {
		c := newCanonicalizer()
		piece := strings.Repeat("x", size)
		total := 3*sinkBuffer/size + 1
		for range total {
			c.write([]byte(piece))
		}
		c.sink.close()
		if cap(c.sink.buf) != sinkBuffer || c.sink.whole != sha256.Sum256([]byte(strings.Repeat(piece, total))) {
			t.Errorf("pieces of %d octets: a buffer of %d, hash %x", size, cap(c.sink.buf), c.sink.whole)
		}
	}
}

// TestEmptyPiece checks that a write of nothing between CR and LF changes nothing.
func TestEmptyPiece(t *testing.T) {
	for _, relaxed := range []bool{false, true} {
		c := newCanonicalizer()
		c.begin(relaxed)
		for _, piece := range []string{"", "a\r", "", "\nb", ""} {
			c.write([]byte(piece))
		}
		c.sink.close()
		if c.sink.whole != sha256.Sum256([]byte("a\r\nb")) {
			t.Errorf("relaxed %t: another hash", relaxed)
		}
	}
}

// TestEnded has each state of a lookup.
func TestEnded(t *testing.T) {
	open, closed := make(chan struct{}), make(chan struct{})
	close(closed)
	for why, tt := range map[string]struct {
		lookup Lookup
		want   bool
	}{
		"not started":       {Lookup{}, true},
		"known at once":     {Lookup{started: true}, true},
		"asked":             {Lookup{started: true, done: open}, false},
		"answered":          {Lookup{started: true, done: closed}, true},
		"to be begun again": {Lookup{done: open}, true},
	} {
		if got := tt.lookup.ended(); got != tt.want {
			t.Errorf("%s: %t", why, got)
		}
	}
}

// TestStartEnds checks that a Start without questions begins nothing, and that the context of the lookups
// ends with the last of them.
func TestStartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(nil, Options{})
		defer v.Close()
		m := v.Message()
		var contexts []context.Context
		trip := time.Second
		r := resolverFunc(func(ctx context.Context) (dns.Answer, error) {
			contexts = append(contexts, ctx)
			mine := trip
			trip *= 2
			time.Sleep(mine)
			return dns.Answer{}, ctx.Err()
		})
		m.Start(t.Context(), r)
		if v.Arrived() != nil || len(m.stops) != 0 {
			t.Errorf("without questions: %d to stop", len(m.stops))
		}
		m.WantKeyAt("a.example", "s")
		m.Start(t.Context(), r)
		synctest.Wait()
		m.WantKeyAt("b.example", "s")
		m.Start(t.Context(), r)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if contexts[0].Err() == nil || contexts[1].Err() != nil {
			t.Errorf("after the first answer: %v, %v", contexts[0].Err(), contexts[1].Err())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if contexts[1].Err() == nil {
			t.Error("the context outlives the lookups")
		}
	})
}

// TestTagsAreNotKept checks that no signature keeps tags: the next field is read into their memory.
func TestTagsAreNotKept(t *testing.T) {
	h, _ := signer.Split([]byte(sign(t, signing{key: edKey()}, testMail)))
	v := NewVerifier(append(slices.Clone(h[:1]), h...), Options{})
	defer v.Close()
	for i := range v.checks {
		if v.checks[i].pending.Tags != nil {
			t.Errorf("signature %d keeps %d tags", i, len(v.checks[i].pending.Tags))
		}
	}
	if len(v.checks) != 2 {
		t.Errorf("%d signatures", len(v.checks))
	}
}
