package traffic

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
)

// small returns options for a small corpus with many kinds of mail. It has all outcomes, DMARC
// policies and kinds of signatures, but not the SPF records called "terms".
func small() Options {
	o := Default()
	o.Messages, o.PerSession, o.Domains = 120, 4, 30
	o.Sizes = Mix{{"2KB", 8}, {"20KB", 2}, {"200KB", 1}}
	o.Signatures = Mix{{"rsa", 1}, {"ed25519", 1}, {"two", 1}, {"five", 1}, {"none", 1}}
	o.SPF = Mix{{"0", 1}, {"1", 1}, {"5", 1}, {"10", 1}}
	o.Policies = Mix{{"reject", 1}, {"quarantine", 1}, {"none", 1}, {"absent", 1}}
	o.Outcomes = Mix{{"pass", 2}, {"fail", 1}, {"spoof", 1}}
	return o
}

// testKeys makes the keys of seed 1, once for all tests because that takes long.
var testKeys = sync.OnceValues(func() (Keys, error) { return NewKeys(1) })

func newCorpus(t *testing.T, o Options) *Corpus {
	t.Helper()
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	c, err := keys.Corpus(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCorpusDependsOnTheSeedOnly(t *testing.T) {
	o := small()
	o.Messages = 40
	a, err := New(o) // this call makes its own keys
	if err != nil {
		t.Fatal(err)
	}
	b := newCorpus(t, o)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed made another corpus")
	}
	o.Seed++
	c := newCorpus(t, o)
	if reflect.DeepEqual(a.Sessions, c.Sessions) || reflect.DeepEqual(a.Zone, c.Zone) {
		t.Error("another seed made the same corpus")
	}
}

func TestCorpusShape(t *testing.T) {
	o := Default()
	o.Messages, o.PerSession, o.Domains, o.Signatures = 600, 1, 50, Mix{{"none", 1}}
	o.Sizes, o.Outcomes = Mix{{"2KB", 1}}, Mix{{"pass", 1}}
	c := newCorpus(t, o)
	if c.Messages() != 600 {
		t.Errorf("%d messages", c.Messages())
	}
	if a, err := c.Zone.Lookup(t.Context(), "r4._domainkey.d00049.example", dns.TypeTXT); err != nil || len(a.Records) != 1 {
		t.Errorf("a key of the last domain: %v, %v", a, err)
	}
	byDomain := map[string]int{}
	for _, s := range c.Sessions {
		byDomain[s.Name]++
		for _, m := range s.Messages {
			size := len(m.Body)
			for _, f := range m.Header {
				size += len(f.Name) + len(f.Value) + 3
			}
			if size < 1400 || size > 2500 {
				t.Errorf("a message of 2 KB has %d octets", size)
			}
			if lines := bytes.Split(m.Body, []byte("\r\n")); slices.ContainsFunc(lines, func(l []byte) bool { return len(l) > 78 || bytes.Contains(l, []byte("  ")) }) {
				t.Errorf("not in canonical form: %q", m.Body)
			}
		}
	}
	if first, last := byDomain["mail.d00000.example"], byDomain["mail.d00049.example"]; first < 60 || first <= 3*last {
		t.Errorf("Zipf: the first domain sent %d, the last %d of 600", first, last)
	}
	o.Zipf, o.Domains = 0, 600
	seen := map[string]bool{}
	for _, s := range newCorpus(t, o).Sessions {
		if seen[s.Name] {
			t.Fatalf("%s sends twice", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{"2KB": 2000, "200KB": 200_000, "5MB": 5_000_000, "777": 777, "64MB": 64_000_000} {
		n, err := parseSize(text)
		if err != nil || n != want {
			t.Errorf("%s: %d %v", text, n, err)
			continue
		}
		if n > 5_000_000 {
			continue // making a body of this size takes long
		}
		b := newBody(rand.New(rand.NewPCG(1, 2)), n)
		if off := len(b.text) + headerRoom - n; off > 700 && n > 2000 {
			t.Errorf("%s: body of %d octets", text, len(b.text))
		}
		if (b.contentType == mixedType) != (n > attachmentFrom) || !strings.HasSuffix(string(b.text), "\r\n") {
			t.Errorf("%s: %s", text, b.contentType)
		}
	}
}

func TestCorpusOptionsRefused(t *testing.T) {
	for why, change := range map[string]func(*Options){
		"no messages":        func(o *Options) { o.Messages = 0 },
		"too many messages":  func(o *Options) { o.Messages = maxMessages + 1 },
		"empty sessions":     func(o *Options) { o.PerSession = 0 },
		"no domains":         func(o *Options) { o.Domains = 0 },
		"too many domains":   func(o *Options) { o.Domains = maxDomains + 1 },
		"a negative Zipf":    func(o *Options) { o.Zipf = -1 },
		"no Zipf":            func(o *Options) { o.Zipf = math.NaN() },
		"no TTL":             func(o *Options) { o.TTL = 0 },
		"a TTL of centuries": func(o *Options) { o.TTL = math.MaxInt64 * time.Nanosecond },
		"percentage":         func(o *Options) { o.Subdomains = 101 },
		"size":               func(o *Options) { o.Sizes = Mix{{"2GB", 1}} },
		"too large":          func(o *Options) { o.Sizes = Mix{{"65MB", 1}, {"100000000MB", 1}} },
		"signatures":         func(o *Options) { o.Signatures = Mix{{"dsa", 1}} },
		"11 lookups":         func(o *Options) { o.SPF = Mix{{"11", 1}} },
		"policy":             func(o *Options) { o.Policies = Mix{{"p", 1}} },
		"outcome":            func(o *Options) { o.Outcomes = nil },
	} {
		o := small()
		change(&o)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "traffic: ") {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func TestMix(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"rsa", "rsa=1"}, {"rsa=70, none=30", "rsa=70,none=30"}, {"a=0,b", "a=0,b=1"},
		{"", ""}, {"a=-1", ""}, {"a=x", ""}, {"=3", ""}, {"a=0", ""}, {"a=9999999999", ""},
	} {
		var m Mix
		err := m.Set(tc.text)
		if got := m.String(); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v", tc.text, got, err)
		}
	}
	counts := map[string]int{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		counts[Mix{{"a", 3}, {"never", 0}, {"b", 1}}.pick(rng)]++
	}
	if counts["never"] != 0 || counts["a"] < 650 || counts["b"] < 150 {
		t.Errorf("%v", counts)
	}
}
