package msgauth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// TestStages: each entry of stages is complete and has a mechanism of its own.
func TestStages(t *testing.T) {
	seen := map[Mechanism]bool{}
	for i, s := range stages {
		if s.mechanism == "" || s.maxLookups == 0 || s.purpose == nil || s.cost == nil || seen[s.mechanism] {
			t.Errorf("stage %d: %+v", i, s)
		}
		seen[s.mechanism] = true
	}
	for i, want := range map[stageIndex]int{spfStage: 200, dkimStage: 64, dmarcStage: 96, arcStage: 102, iprevStage: 24, bimiStage: 8} {
		if got := stages[i].maxLookups; got != want {
			t.Errorf("stage %d: %d lookups, want %d", i, got, want)
		}
	}
	if len(Mechanisms()) != len(stages) {
		t.Errorf("%d mechanisms, %d stages", len(Mechanisms()), len(stages))
	}
}

// stageOf returns an SPF stage that makes at most limit lookups of r.
func stageOf(r dns.Resolver, limit int) *stage {
	s := new(stage)
	s.setUp(&Connection{v: NewVerifier(r, Options{})}, spfStage, "")
	kind := *s.kind
	kind.maxLookups = limit
	s.kind = &kind
	return s
}

// TestStageLookups: no stage makes more lookups than its limit, whatever its evaluator does.
func TestStageLookups(t *testing.T) {
	for i, kind := range stages {
		z := zone.New()
		var s stage
		s.setUp(&Connection{v: NewVerifier(z, Options{})}, stageIndex(i), "")
		var err error
		for range kind.maxLookups + 5 {
			_, err = s.Lookup(t.Context(), "example.com", dns.TypeTXT)
		}
		if c := s.cost(0); kindOf(err) != dns.KindBudget || c.Exceeded != 5 || c.Lookups != kind.maxLookups+5 || len(z.Queries()) != kind.maxLookups {
			t.Errorf("%s: %v, %+v, asked %d", kind.mechanism, err, c, len(z.Queries()))
		}
	}
}

// TestStageTime: a lookup that fails because the message's time ends counts as Exceeded, and its
// error does not name a failure of the server. A canceled lookup does not count.
func TestStageTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := stageOf(nameserver.Func(func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			asked++
			return away{next: nameserver.Zone(t, zoneText), trip: 3 * time.Second}.Lookup(ctx, name, typ)
		}), 10)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := s.Lookup(ctx, "a.example", dns.TypeA); err != nil {
			t.Fatal(err)
		}
		// Two seconds are left. No lookup had to wait for a slot, so the error is a timeout.
		if _, err := s.Lookup(ctx, "b.example", dns.TypeA); kindOf(err) != dns.KindTimeout {
			t.Errorf("lookup past the time: %v", err)
		}
		if _, err := s.Lookup(ctx, "c.example", dns.TypeA); kindOf(err) != dns.KindTimeout || asked != 2 {
			t.Errorf("lookup after the time: %v, asked %d", err, asked)
		}
		if c := s.cost(0); c.DNS != 5*time.Second || c.Exceeded != 2 || c.NoRoom != 0 {
			t.Errorf("%+v", c)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := s.Lookup(gone, "d.example", dns.TypeA); kindOf(err) != dns.KindCanceled || s.cost(0).Exceeded != 2 {
			t.Errorf("lookup that nothing waits for: %v, %+v", err, s.cost(0))
		}
	})
}

// TestStageAnswerAtTheEnd: an answer counts even if the message's time ends at the same moment.
func TestStageAnswerAtTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := stageOf(nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
		cancel()
		return dns.Answer{Name: "a.example"}, nil
	}), 1)
	if a, err := s.Lookup(ctx, "a.example", dns.TypeA); err != nil || a.Name != "a.example" || s.cost(0).Exceeded != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestStagePassesErrors(t *testing.T) {
	want := &dns.Error{Kind: dns.KindServFail, Name: "example.com", Type: dns.TypeTXT}
	s := stageOf(nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) { return dns.Answer{}, want }), 1)
	if _, err := s.Lookup(t.Context(), "example.com", dns.TypeTXT); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// TestStagePeek: an answer that Peek finds counts as a lookup. Above the limit, Peek finds nothing,
// and the following Lookup counts the refusal.
func TestStagePeek(t *testing.T) {
	r := hides{zone: nameserver.Zone(t, zoneText), name: "other.example"}
	s := stageOf(r, 3)
	for i, tt := range []struct {
		name    dns.Name
		ok      bool
		lookups int
	}{
		{"bank.example", true, 1},
		{"other.example", false, 1},
		{"bank.example", true, 2},
		{"bank.example", true, 3},
		{"bank.example", false, 3}, // above the limit
	} {
		answer, ok := s.Peek(tt.name, dns.TypeTXT)
		if ok != tt.ok || ok && answer.Name != tt.name || s.cost(0).Lookups != tt.lookups {
			t.Errorf("%d: %t %+v, %+v", i, ok, answer, s.cost(0))
		}
	}
	if _, err := s.Lookup(t.Context(), "bank.example", dns.TypeTXT); kindOf(err) != dns.KindBudget || s.cost(0).Exceeded != 1 || s.cost(0).DNS != 0 {
		t.Errorf("past the limit: %v, %+v", err, s.cost(0))
	}
}

// TestStagePassesOn: Expect of a stage calls Expect of the resolver behind it. Queued does not,
// because only the stage knows the slots.
func TestStagePassesOn(t *testing.T) {
	s := stageOf(dns.NewAhead(zone.New()), 3)
	if !s.Expect(t.Context(), "bank.example", dns.TypeTXT) || s.Queued() {
		t.Errorf("queued: %t", s.Queued())
	}
}
