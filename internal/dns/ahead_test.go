package dns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a resolver that answers after a second. Some names fail or panic.
type scripted struct {
	LookupOnly
	asked chan Name
}

func (s scripted) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	s.asked <- name
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return Answer{}, &Error{Kind: KindBudget, Name: name, Type: typ, Err: ctx.Err()}
	}
	switch name {
	case "bomb.example":
		panic("boom")
	case "refused.example":
		return Answer{}, &Error{Kind: KindRefused, Name: name, Type: typ}
	}
	return Answer{Name: name, Type: typ}, nil
}

func newScripted() scripted { return scripted{asked: make(chan Name, 100)} }

// TestAhead: an expected question is looked up at once and only once, and a later Lookup returns
// its outcome.
func TestAhead(t *testing.T) {
	for _, tt := range []struct {
		reason   string
		expect   []Name
		lookup   Name
		asked    int
		took     time.Duration
		kind     ErrorKind // 0 if there is an answer
		panicked bool
	}{
		{reason: "not expected", lookup: "a.example", asked: 1, took: time.Second},
		{reason: "expected, and the answer has arrived", expect: []Name{"a.example", "b.example"}, lookup: "b.example", asked: 2},
		{reason: "expected twice", expect: []Name{"a.example", "a.example"}, lookup: "a.example", asked: 1},
		{reason: "the lookup failed, so Lookup fails too", expect: []Name{"refused.example"}, lookup: "refused.example", asked: 1, kind: KindRefused},
		{reason: "a panic shows in the Lookup of the same name", expect: []Name{"bomb.example"}, lookup: "bomb.example", asked: 1, panicked: true},
		{reason: "a panic does not show in the Lookup of another name", expect: []Name{"bomb.example"}, lookup: "a.example", asked: 2, took: time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := newScripted()
			a := NewAhead(next)
			for range 2 {
				for _, name := range tt.expect {
					if !a.Expect(t.Context(), name, TypeTXT) {
						t.Errorf("%s: %s is not asked ahead", tt.reason, name)
					}
				}
			}
			time.Sleep(2 * time.Second)
			begin := time.Now()
			defer func() {
				if v := recover(); (v != nil) != tt.panicked || tt.panicked && v != "boom" {
					t.Errorf("%s: panic %v", tt.reason, v)
				}
			}()
			answer, err := a.Lookup(t.Context(), tt.lookup, TypeTXT)
			if took := time.Since(begin); took != tt.took || len(next.asked) != tt.asked {
				t.Errorf("%s: took %v, asked %d", tt.reason, took, len(next.asked))
			}
			switch {
			case tt.kind != 0:
				if kindOf(t, err) != tt.kind {
					t.Errorf("%s: %v", tt.reason, err)
				}
			case err != nil || answer.Name != tt.lookup:
				t.Errorf("%s: %+v, %v", tt.reason, answer, err)
			}
		})
	}
}

// TestAheadTime: a Lookup whose context ends gets no answer. If the context of Expect ends, a later
// Lookup asks again.
func TestAheadTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := newScripted()
		a := NewAhead(next)
		ctx, cancel := context.WithCancel(t.Context())
		a.Expect(ctx, "a.example", TypeTXT)
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if _, err := a.Lookup(short, "a.example", TypeTXT); kindOf(t, err) != KindTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no time to wait: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := a.Lookup(gone, "a.example", TypeTXT); kindOf(t, err) != KindCanceled {
			t.Errorf("canceled lookup: %v", err)
		}
		cancel() // the context of Expect
		synctest.Wait()
		if answer, err := a.Lookup(t.Context(), "a.example", TypeTXT); err != nil || answer.Name != "a.example" || len(next.asked) != 2 {
			t.Errorf("asked again: %+v, %v, %d questions", answer, err, len(next.asked))
		}
	})
}

// TestAheadKnown: if Peek of the resolver behind the Ahead finds the answer to an expected
// question, no lookup is made, and Peek is called only once.
func TestAheadKnown(t *testing.T) {
	next := &knows{names: map[Name]bool{"known.example": true}}
	seen := NewTrace(next)
	a := NewAhead(seen)
	a.Expect(t.Context(), "known.example", TypeTXT)
	if answer, ok := a.Peek("known.example", TypeTXT); ok {
		t.Errorf("the answer to an expected question was peeked at: %+v", answer)
	}
	for range 2 {
		if answer, err := a.Lookup(t.Context(), "known.example", TypeTXT); err != nil || answer.Name != "known.example" {
			t.Errorf("%+v, %v", answer, err)
		}
	}
	if next.asked != 0 || len(seen.Lookups()) != 1 {
		t.Errorf("asked %d, seen %v", next.asked, seen.Lookups())
	}
}
