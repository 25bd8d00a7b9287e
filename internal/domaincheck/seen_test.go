package domaincheck

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/testkit/nameserver"
)

// rows is a ledger that has only rows.
type rows struct {
	ledger.Store
	all []ledger.Row
	err error
}

func (r rows) Rows(_ context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		for _, x := range r.all {
			if x.Day >= f.From && x.Day <= f.To && x.Domain == f.Domain && !yield(x, nil) {
				return
			}
		}
		if r.err != nil {
			yield(ledger.Row{}, r.err)
		}
	}
}

func TestSeen(t *testing.T) {
	const today = 20000
	row := func(day ledger.Day, domain dns.Name, signers ...ledger.Signer) ledger.Row {
		return ledger.Row{Day: day, Domain: domain, Signers: signers}
	}
	many := make([]ledger.Signer, maxSeen+1)
	for i := range many {
		many[i] = ledger.Signer{Domain: "many.example", Selector: fmt.Sprintf("s%02d", i), Pass: 1}
	}
	signer := func(domain dns.Name, selector string, pass int64) ledger.Signer {
		return ledger.Signer{Domain: domain, Selector: selector, Pass: pass}
	}
	s := rows{all: []ledger.Row{
		row(today-seenDays, "before.example", signer("before.example", "s", 1)),
		row(today-seenDays+1, "first.example", signer("first.example", "s", 1)),
		row(today+1, "tomorrow.example", signer("tomorrow.example", "s", 1)),
		row(today, "odd.example", signer("odd.example", "", 1), signer("odd.example", "a..b", 1), signer("odd.example", ".", 1), signer("odd.example", "S", 1)),
		row(today, "order.example", signer("b.order.example", "s1", 2), signer("a.order.example", "s3", 1), signer("order.example", "s9", 3),
			signer("a.order.example", "s2", 1), signer("b.order.example", "s0", 1), signer("notorder.example", "s0", 9)),
		row(today-seenDays, "a.example", ledger.Signer{Domain: "a.example", Selector: "old", Pass: 9}),
		row(today-3, "a.example", ledger.Signer{Domain: "a.example", Selector: "before", Pass: 9}),
		row(today-2, "a.example", ledger.Signer{Domain: "a.example", Selector: "s1", Pass: 1}, ledger.Signer{Domain: "mail.a.example", Selector: "s2", Pass: 5},
			ledger.Signer{Domain: "a.example", Selector: "forged", Fail: 100}, ledger.Signer{Domain: "a.example", Selector: ledger.Others, Pass: 100}),
		row(today-2, "a.example", ledger.Signer{Domain: "a.example", Selector: "s1", Pass: 7}), // of another group
		row(today-1, "a.example", ledger.Signer{Domain: "a.example", Selector: "s1", Fail: 7}),
		row(today, "many.example", many...),
	}}
	for _, tt := range []struct {
		domain dns.Name
		want   []Signer
	}{
		{"a.example", []Signer{{"a.example", "s1"}, {"mail.a.example", "s2"}}},
		{"mail.a.example", []Signer{{"mail.a.example", "s2"}}},
		{"other.example", nil},
		{"before.example", nil},
		{"first.example", []Signer{{"first.example", "s"}}},
		{"tomorrow.example", nil},
		{"odd.example", []Signer{{"odd.example", "s"}}},
		{"order.example", []Signer{{"order.example", "s9"}, {"b.order.example", "s1"}, {"a.order.example", "s2"}, {"a.order.example", "s3"}, {"b.order.example", "s0"}}},
	} {
		got, err := Seen(t.Context(), s, tt.domain, today)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.domain, got, err, tt.want)
		}
	}
	if got, err := Seen(t.Context(), s, "many.example", today); err != nil || len(got) != maxSeen || got[0].Selector != "s00" || got[maxSeen-1].Selector != "s19" {
		t.Errorf("%v, %v", got, err)
	}
	s.err = errors.New("the store is away")
	if got, err := Seen(t.Context(), s, "a.example", today); err == nil || got != nil {
		t.Errorf("a store that fails: %v, %v", got, err)
	}
}

// TestSeenKeys looks at the keys that were seen, and at the record of the mark of the Organizational Domain.
func TestSeenKeys(t *testing.T) {
	const zone = good + `
news.a.example MX 10 mx.a.example
news.a.example TXT "v=spf1 mx -all"
default._bimi.a.example TXT "v=BIMI1; l=https://a.example/l.svg"
s1._domainkey.x.news.a.example TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
s1._domainkey.news.a.example TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
s3._domainkey.x.news.a.example TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
`
	r := Check(t.Context(), nameserver.Zone(t, zone), "news.a.example", []dns.Name{"s1"}, Options{
		Now: time.Unix(1e9, 0), Seen: []Signer{{"news.a.example", "s1"}, {"news.a.example", "s2"}, {"x.news.a.example", "s3"}, {"x.news.a.example", "s1"}},
	})
	var words []Word
	for _, f := range r.Faults {
		words = append(words, f.Word)
	}
	if !slices.Equal(words, []Word{BIMINoCertificate, KeyMissing}) || len(r.Unknown) > 0 || len(r.Keys) != 4 || r.Keys[0].Seen || !r.Keys[1].Seen {
		t.Errorf("faults %v, unknown %v, keys %+v", words, r.Unknown, r.Keys)
	}
	if b := r.BIMI; b.Published || b.Domain != "a.example" || b.Location != "https://a.example/l.svg" {
		t.Errorf("BIMI %+v", b)
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  s1: ed25519, 256 bits\n", "  s2: no usable key (seen here)\n", "  s3 of x.news.a.example: ed25519, 256 bits (seen here)\n",
		"(that of a.example)\n", "\"sekimori bimi check news.a.example\"",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
}
