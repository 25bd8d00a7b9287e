package ledger

import (
	"fmt"
	"slices"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
)

// TestStrongest checks the bound on signers: as many as allowed stay as they are, and only one more
// brings the entry for all others.
func TestStrongest(t *testing.T) {
	for n := MaxSigners - 1; n <= MaxSigners+2; n++ {
		var all []Signer
		for i := range n {
			all = append(all, Signer{Domain: "a.example", Selector: fmt.Sprint("s", i), Pass: int64(100 - i), Fail: 1})
		}
		want := slices.Clone(all)
		if n > MaxSigners {
			others := Signer{Selector: Others}
			for _, s := range all[MaxSigners:] {
				others.Pass, others.Fail = others.Pass+s.Pass, others.Fail+s.Fail
			}
			want = append(want[:MaxSigners], others)
		}
		slices.Reverse(all)
		if got := strongest(all); !slices.Equal(got, want) {
			t.Errorf("%d signers: %v, want %v", n, got, want)
		}
	}
}

// TestMergeSources checks the last day that counts when two batches tell of a source.
func TestMergeSources(t *testing.T) {
	for _, c := range []struct {
		ago  Day
		want int
	}{{0, 1}, {1, 2}, {KeepSources - 1, 2}, {KeepSources, 1}, {KeepSources + 1, 1}, {1000, 1}} {
		s, o := Source{Last: 2000, Days: 1}, Source{Last: 2000 - c.ago, Days: 1}
		for _, got := range []Source{s.Merge(o), o.Merge(s)} {
			if n := got.Within(2000, KeepSources); n != c.want || got.Last != 2000 || got.Days>>KeepSources != 0 {
				t.Errorf("%d days ago: %d days, %+v, want %d", c.ago, n, got, c.want)
			}
		}
	}
}

func TestRelated(t *testing.T) {
	for _, c := range []struct {
		a, b dns.Name
		want bool
	}{
		{"a.example", "a.example", true},
		{"x.a.example", "a.example", true},
		{"a.example", "x.a.example", true},
		{"a.example", "b.example", false},
		{"xa.example", "a.example", false},
	} {
		if got := related(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %t", c.a, c.b, got)
		}
	}
}

func TestKinds(t *testing.T) {
	want := []Kind{"selector_gone", "signature_fails", "spf_broken", "spf_address_lost", "pass_share_fallen"}
	if !slices.Equal(Kinds, want) {
		t.Errorf("%q, want %q", Kinds, want)
	}
}

func TestPublished(t *testing.T) {
	for _, p := range []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""} {
		if got := published(p); got != p {
			t.Errorf("%q: %q", p, got)
		}
	}
	if got := published("other"); got != "" {
		t.Errorf("a policy that is not known: %q", got)
	}
}

// TestSignWithoutDomain checks that only a signature below the owner counts as one of the author. A
// signature without a domain, which could not be read, is nobody's.
func TestSignWithoutDomain(t *testing.T) {
	for _, c := range []struct {
		domain, owner dns.Name
		want          bool
	}{
		{"shop.example", "shop.example", true},
		{"news.shop.example", "shop.example", true},
		{"evil.example", "shop.example", false},
		{"", "shop.example", false},
		{"", "", false},
	} {
		x := &Entry{}
		x.sign(&msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass, Domain: c.domain, Selector: "s1"}}}, c.owner)
		if x.Signed != c.want || (len(x.Signers) == 1) != c.want {
			t.Errorf("%q of %q: signed %t, %v", c.domain, c.owner, x.Signed, x.Signers)
		}
	}
}
