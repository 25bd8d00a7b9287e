package report

import (
	"testing"

	"sekimori/internal/dns"
)

// TestReduced checks that made-up rows become one, and that what the domain's owner needs stays.
func TestReduced(t *testing.T) {
	forged := func(n string) Row {
		r := example()
		r.DKIM, r.SPF = false, false
		r.EnvelopeFrom, r.AuthSPF.Domain = "evil.example", n+".evil.example"
		r.AuthDKIM = []DKIMResult{{Domain: "evil.example", Selector: n, Result: "fail"}, {Domain: "mail.shop.example", Selector: "s1", Result: "fail"}}
		return r
	}
	if forged("a").Reduced().Key() != forged("b").Reduced().Key() {
		t.Error("rows that differ only in what was made up stay different")
	}
	if r := forged("a").Reduced(); len(r.AuthDKIM) != 1 || r.AuthDKIM[0].Domain != "mail.shop.example" {
		t.Errorf("the domain's own signature is gone: %+v", r)
	}
	if r := forged("a").Reduced(); r.EnvelopeFrom != Unknown {
		t.Errorf("MAIL FROM that was left out looks like %q", r.EnvelopeFrom)
	}
	null := forged("a")
	null.EnvelopeFrom = ""
	if r := null.Reduced(); r.EnvelopeFrom != "" {
		t.Errorf("the null path became %q", r.EnvelopeFrom)
	}
	aligned := example()
	aligned.SPF = true
	if r := aligned.Reduced(); r.EnvelopeFrom != aligned.EnvelopeFrom || r.AuthSPF != aligned.AuthSPF || len(r.AuthDKIM) != 1 {
		t.Errorf("what passed is gone: %+v", r)
	}
	if len(example().AuthDKIM) != 2 || len(aligned.AuthDKIM) != 2 {
		t.Error("Reduced changed the row")
	}
	if r := (Row{}).Reduced().Reduced(); r.Key() != (Row{}).Reduced().Key() {
		t.Error("reducing twice differs from reducing once")
	}
}

// TestReducedRelated: a failed signature stays if its domain is the author's, or above or below it.
func TestReducedRelated(t *testing.T) {
	for domain, kept := range map[dns.Name]int{
		"shop.example": 1, "mail.shop.example": 1, "example": 1, "myshop.example": 0, "op.example": 0, "shop.example.org": 0, "mail.example": 0,
	} {
		r := Row{HeaderFrom: "shop.example", AuthDKIM: []DKIMResult{{Domain: domain, Result: "fail"}}}
		if got := len(r.Reduced().AuthDKIM); got != kept {
			t.Errorf("%s: %d signatures kept, want %d", domain, got, kept)
		}
	}
}

// TestTakes checks how many jobs a window may get.
func TestTakes(t *testing.T) {
	b := Batch{MaxJobs: 1000, MaxOwned: 300}
	for _, tt := range []struct {
		b           Batch
		jobs, owned int64
		ok, owner   bool
	}{
		{b, 0, 0, true, false}, {b, 499, 299, true, false}, {b, 499, 300, false, true}, {b, 500, 2, true, false}, {b, 500, 3, false, true},
		{b, 999, 0, true, false}, {b, 1000, 0, false, false}, {b, 1000, 3, false, true},
		{Batch{MaxJobs: 4, MaxOwned: 3}, 2, 0, true, false}, {Batch{MaxJobs: 4, MaxOwned: 3}, 2, 1, false, true},
		{Batch{}, 1 << 40, 1 << 40, true, false}, {Batch{MaxJobs: 2}, 1, 1, true, false}, {Batch{MaxJobs: 2}, 2, 2, false, false},
		{Batch{MaxOwned: 2}, 100, 1, true, false}, {Batch{MaxOwned: 2}, 100, 2, false, true},
		{Batch{MaxOwned: 1}, 0, 0, true, false}, {Batch{MaxOwned: 1}, 0, 1, false, true},
		{Batch{MaxJobs: 1}, 0, 0, true, false}, {Batch{MaxJobs: 1}, 1, 0, false, false}, {Batch{MaxJobs: 1, MaxOwned: 9}, 0, 1, false, true},
	} {
		if ok, owner := tt.b.Takes(tt.jobs, tt.owned); ok != tt.ok || owner != tt.owner {
			t.Errorf("%d and %d of %d and %d: %v, %v", tt.jobs, tt.owned, tt.b.MaxJobs, tt.b.MaxOwned, ok, owner)
		}
	}
}

func TestRowLimit(t *testing.T) {
	for _, c := range []struct {
		max, rows    int64
		take, reduce bool
	}{
		{0, 1 << 40, true, false},
		{100, 0, true, false}, {100, 89, true, false}, {100, 90, true, true}, {100, 99, true, true}, {100, 100, false, true},
		{1, 0, true, false}, {1, 1, false, true},
	} {
		take, reduce := Batch{MaxRows: c.max}.RowLimit(c.rows)
		if take != c.take || reduce != c.reduce {
			t.Errorf("limit %d, %d rows: take %v, reduce %v", c.max, c.rows, take, reduce)
		}
	}
}
