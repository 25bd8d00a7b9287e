package dns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a resolver that takes its time and then answers or fails.
type answers struct {
	LookupOnly
	delay time.Duration
	err   error
	asked int
}

func (a *answers) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	a.asked++
	select {
	case <-time.After(a.delay):
	case <-ctx.Done():
		return Answer{}, &Error{Kind: KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
	}
	return Answer{Name: name, Type: typ}, a.err
}

func kindOf(t *testing.T, err error) ErrorKind {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	return e.Kind
}

func TestMeterLimitsLookups(t *testing.T) {
	next := &answers{}
	m := NewMeter(next, 2)
	for range 2 {
		if _, err := m.Lookup(t.Context(), "example.com", TypeA); err != nil {
			t.Fatal(err)
		}
	}
	_, err := m.Lookup(t.Context(), "example.com", TypeA)
	if kindOf(t, err) != KindBudget || next.asked != 2 || m.Exceeded() != 1 || m.Lookups() != 3 {
		t.Errorf("third lookup: %v, asked %d, exceeded %d, lookups %d", err, next.asked, m.Exceeded(), m.Lookups())
	}
}

func TestMeterTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &answers{delay: 3 * time.Second}
		m := NewMeter(next, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := m.Lookup(ctx, "a.example", TypeA); err != nil {
			t.Fatal(err)
		}
		// Two seconds are left: the upstream's timeout is our budget's end.
		if _, err := m.Lookup(ctx, "b.example", TypeA); kindOf(t, err) != KindTimeout {
			t.Errorf("lookup past the budget: %v", err)
		}
		if _, err := m.Lookup(ctx, "c.example", TypeA); kindOf(t, err) != KindTimeout || next.asked != 2 {
			t.Errorf("lookup after the budget: %v, asked %d", err, next.asked)
		}
		if m.Busy() != 5*time.Second || m.Exceeded() != 2 {
			t.Errorf("busy %v, exceeded %d", m.Busy(), m.Exceeded())
		}
		gone, cancelGone := context.WithCancel(t.Context())
		cancelGone()
		if _, err := m.Lookup(gone, "d.example", TypeA); kindOf(t, err) != KindCanceled {
			t.Errorf("lookup nobody waits for: %v", err)
		}
	})
}

func TestMeterPassesErrors(t *testing.T) {
	want := &Error{Kind: KindServFail, Name: "example.com", Type: TypeTXT}
	m := NewMeter(&answers{err: want}, 1)
	if _, err := m.Lookup(t.Context(), "example.com", TypeTXT); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestTrace(t *testing.T) {
	next := &answers{}
	tr := NewTrace(next)
	if _, err := tr.Lookup(t.Context(), "a.example", TypeMX); err != nil {
		t.Fatal(err)
	}
	next.err = &Error{Kind: KindRefused, Name: "b.example", Type: TypeA, Server: "192.0.2.53:53"}
	if _, err := tr.Lookup(t.Context(), "b.example", TypeA); err == nil {
		t.Fatal("the error was swallowed")
	}
	got := tr.Lookups()
	if len(got) != 2 || got[0].Answer == nil || got[0].Type != TypeMX || got[1].Answer != nil ||
		got[1].Error != "dns: b.example A: refused (server 192.0.2.53:53)" {
		t.Errorf("trace: %+v", got)
	}
}

// TestTraceKnown: an answer at hand is remembered as one that was asked for, and
// a question that is not at hand is remembered when it is asked.
func TestTraceKnown(t *testing.T) {
	tr := NewTrace(&knows{names: map[Name]bool{"known.example": true}})
	if answer, ok := tr.Peek("known.example", TypeA); !ok || answer.Name != "known.example" {
		t.Errorf("%+v, %t", answer, ok)
	}
	if _, ok := tr.Peek("other.example", TypeA); ok {
		t.Error("other.example is at hand")
	}
	if _, err := tr.Lookup(t.Context(), "other.example", TypeA); err != nil {
		t.Error(err)
	}
	got := tr.Lookups()
	if len(got) != 2 || got[0].Name != "known.example" || got[0].Answer == nil || got[1].Name != "other.example" {
		t.Errorf("%+v", got)
	}
}

// queues is a resolver whose lookups had to wait for others, and that asks ahead.
type queues struct{ answers }

func (*queues) Queued() bool                            { return true }
func (*queues) Expect(context.Context, Name, Type) bool { return true }

// TestWrappersPassOn: what only the resolver behind knows comes through every
// wrapper.
func TestWrappersPassOn(t *testing.T) {
	for _, behind := range []Resolver{&queues{}, &answers{}} {
		_, want := behind.(*queues)
		for _, r := range []Resolver{NewTrace(behind), NewMeter(behind, 1), NewAhead(behind)} {
			if r.Queued() != want {
				t.Errorf("%T: queued is not %t", r, want)
			}
			if _, ahead := r.(*Ahead); !ahead && r.Expect(t.Context(), "a.example", TypeA) != want {
				t.Errorf("%T: asking ahead is not %t", r, want)
			}
		}
	}
	known := &knows{names: map[Name]bool{"known.example": true}}
	for _, r := range []Resolver{NewTrace(known), NewMeter(known, 9), NewAhead(known)} {
		for name, want := range map[Name]bool{"known.example": true, "other.example": false} {
			if _, ok := r.Peek(name, TypeA); ok != want {
				t.Errorf("%T: %s is at hand: %t", r, name, ok)
			}
		}
	}
}

func TestOutOfTime(t *testing.T) {
	for _, tt := range []struct {
		r    Resolver
		err  error
		want ErrorKind
	}{
		{&answers{}, context.DeadlineExceeded, KindTimeout},
		{&answers{}, context.Canceled, KindCanceled},
		{&queues{}, context.DeadlineExceeded, KindBudget},
		{&queues{}, context.Canceled, KindCanceled},
	} {
		failed := OutOfTime(tt.r, tt.err, "a.example", TypeTXT)
		if failed.Kind != tt.want || failed.Name != "a.example" || failed.Type != TypeTXT || !errors.Is(failed, tt.err) {
			t.Errorf("%T, %v: %v", tt.r, tt.err, failed)
		}
	}
}

// knows is a resolver that has the answers of some names at hand.
type knows struct {
	answers
	names map[Name]bool
}

func (k *knows) Peek(name Name, typ Type) (Answer, bool) {
	return Answer{Name: name, Type: typ}, k.names[name]
}

// TestMeterPeek: what is known counts as what is asked does, but cannot be
// refused.
func TestMeterPeek(t *testing.T) {
	next := &knows{names: map[Name]bool{"known.example": true}}
	m := NewMeter(next, 3)
	for i, tt := range []struct {
		name    Name
		ok      bool
		lookups int
	}{
		{"known.example", true, 1},
		{"other.example", false, 1},
		{"known.example", true, 2},
		{"known.example", true, 3},
		{"known.example", false, 3}, // over the limit
	} {
		answer, ok := m.Peek(tt.name, TypeA)
		if ok != tt.ok || ok && answer.Name != tt.name || m.Lookups() != tt.lookups {
			t.Errorf("%d: %v %+v, %d lookups", i, ok, answer, m.Lookups())
		}
	}
	if _, err := m.Lookup(t.Context(), "known.example", TypeA); kindOf(t, err) != KindBudget || m.Exceeded() != 1 || m.Busy() != 0 || next.asked != 0 {
		t.Errorf("past the limit: %v, %d refused, busy %v, asked %d", err, m.Exceeded(), m.Busy(), next.asked)
	}
	m.Reset(next, 1)
	if m.Lookups() != 0 || m.Exceeded() != 0 {
		t.Errorf("after Reset: %d lookups, %d refused", m.Lookups(), m.Exceeded())
	}
	if _, ok := NewMeter(&answers{}, 1).Peek("known.example", TypeA); ok {
		t.Error("a resolver that knows nothing knows something")
	}
}
