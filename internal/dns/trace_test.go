package dns

import (
	"context"
	"errors"
	"testing"
	"time"
)

// answers is a resolver that answers or fails after a delay.
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

// TestTraceKnown: Peek records an answer that it finds. A question that Peek does not answer is
// recorded when Lookup asks it.
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

// queues is a resolver in which lookups had to wait for a slot, and which looks ahead.
type queues struct{ answers }

func (*queues) Queued() bool                            { return true }
func (*queues) Expect(context.Context, Name, Type) bool { return true }

// TestWrappersPassOn: Queued and Peek of a Trace and of an Ahead return what the resolver behind it
// returns. So does Expect of a Trace.
func TestWrappersPassOn(t *testing.T) {
	for _, behind := range []Resolver{&queues{}, &answers{}} {
		_, want := behind.(*queues)
		for _, r := range []Resolver{NewTrace(behind), NewAhead(behind)} {
			if r.Queued() != want {
				t.Errorf("%T: queued is not %t", r, want)
			}
			if _, ahead := r.(*Ahead); !ahead && r.Expect(t.Context(), "a.example", TypeA) != want {
				t.Errorf("%T: asking ahead is not %t", r, want)
			}
		}
	}
	known := &knows{names: map[Name]bool{"known.example": true}}
	for _, r := range []Resolver{NewTrace(known), NewAhead(known)} {
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

// knows is a resolver whose Peek finds the answers for some names.
type knows struct {
	answers
	names map[Name]bool
}

func (k *knows) Peek(name Name, typ Type) (Answer, bool) {
	return Answer{Name: name, Type: typ}, k.names[name]
}
