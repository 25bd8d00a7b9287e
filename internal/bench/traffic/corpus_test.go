package traffic

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/signer"
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
	for text, want := range map[string]int{"2KB": 2000, "200KB": 200_000, "5MB": 5_000_000, "777": 777, "64MB": 64_000_000, "67108864": 64 << 20,
		"1": 1, "0": 0, "67108865": 0, "68MB": 0, "67108KB": 67_108_000, "67109KB": 0, "x": 0, "1GB": 0, "": 0} {
		n, err := parseSize(text)
		if (err == nil) != (want > 0) || n != want {
			t.Errorf("%s: %d %v", text, n, err)
			continue
		}
		if err != nil || n > 200_000 {
			continue // making a larger body takes long
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

// TestCorpusOptions has each bound, the first value beyond it, and what is told of it.
func TestCorpusOptions(t *testing.T) {
	for _, tt := range []struct {
		change func(*Options)
		want   string
	}{
		{func(*Options) {}, ""},
		{func(o *Options) {
			o.Messages, o.PerSession, o.Domains, o.Zipf, o.Subdomains, o.TTL = 1, 1, 1, 0, 0, time.Second
		}, ""},
		{func(o *Options) {
			o.Messages, o.PerSession, o.Domains, o.Zipf, o.Subdomains, o.TTL = maxMessages, maxMessages, maxDomains, 10, 100, 365*24*time.Hour
		}, ""},
		{func(o *Options) { o.Messages = 0 }, "0 messages; 1 to 1000000"},
		{func(o *Options) { o.Messages = maxMessages + 1 }, "1000001 messages; 1 to 1000000"},
		{func(o *Options) { o.PerSession = 0 }, "0 messages a session; 1 to 1000000"},
		{func(o *Options) { o.PerSession = maxMessages + 1 }, "1000001 messages a session; 1 to 1000000"},
		{func(o *Options) { o.Domains = 0 }, "0 domains; 1 to 60000"},
		{func(o *Options) { o.Domains = maxDomains + 1 }, "60001 domains; 1 to 60000"},
		{func(o *Options) { o.Zipf = -1 }, "Zipf exponent -1; 0 to 10"},
		{func(o *Options) { o.Zipf = 10.1 }, "Zipf exponent 10.1; 0 to 10"},
		{func(o *Options) { o.Zipf = math.NaN() }, "Zipf exponent NaN; 0 to 10"},
		{func(o *Options) { o.Subdomains = -1 }, "-1 of 100 authors at subdomains"},
		{func(o *Options) { o.Subdomains = 101 }, "101 of 100 authors at subdomains"},
		{func(o *Options) { o.TTL = time.Second - 1 }, "TTL 999.999999ms; 1s to a year"},
		{func(o *Options) { o.TTL = 365*24*time.Hour + 1 }, "TTL 8760h0m0.000000001s; 1s to a year"},
		{func(o *Options) { o.Sizes = Mix{{"1", 1}, {"64MB", 1}} }, ""},
		{func(o *Options) { o.Sizes = Mix{{"1", 1}, {"2GB", 1}} }, `sizes: "2GB" is not a size up to 64MB; write 2KB, 5MB`},
		{func(o *Options) { o.Sizes = Mix{{"100000000MB", 1}} }, `sizes: "100000000MB" is not a size up to 64MB; write 2KB, 5MB`},
		{func(o *Options) { o.Signatures = Mix{{"dsa", 1}} }, `signatures: "dsa" is none of none, rsa, ed25519, two, five`},
		{func(o *Options) { o.SPF = Mix{{"0", 1}, {"10", 1}, {"terms", 1}} }, ""},
		{func(o *Options) { o.SPF = Mix{{"11", 1}} }, `spf: "11" is neither a number of lookups from 0 to 10 nor terms`},
		{func(o *Options) { o.SPF = Mix{{"-1", 1}} }, `spf: "-1" is neither a number of lookups from 0 to 10 nor terms`},
		{func(o *Options) { o.SPF = Mix{{"x", 1}} }, `spf: "x" is neither a number of lookups from 0 to 10 nor terms`},
		{func(o *Options) { o.Policies = Mix{{"p", 1}} }, `policies: "p" is none of none, quarantine, reject, absent`},
		{func(o *Options) { o.Outcomes = Mix{{"lost", 1}} }, `outcomes: "lost" is none of pass, fail, spoof`},
		{func(o *Options) { o.Outcomes = nil }, "outcomes: empty"},
	} {
		o := small()
		tt.change(&o)
		if err := o.Validate(); (err == nil) != (tt.want == "") || err != nil && err.Error() != "traffic: "+tt.want {
			t.Errorf("%+v: %v, want %s", o, err, tt.want)
		}
		if tt.want == "" {
			continue
		}
		if c, err := (Keys{}).Corpus(o); c != nil || err == nil || err.Error() != "traffic: "+tt.want {
			t.Errorf("%+v: a corpus, %v", o, err)
		}
		if c, err := New(o); c != nil || err == nil || err.Error() != "traffic: "+tt.want {
			t.Errorf("%+v: a new corpus, %v", o, err)
		}
	}
}

func TestLookups(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "1": 1, "10": 10, "11": -1, "-1": -1, "x": -1, "": -1, "terms": -1} {
		n, err := parseLookups(text)
		if (err == nil) != (want >= 0) || n != max(want, 0) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
		if ok := validSPF(text) == nil; ok != (want >= 0 || text == "terms") {
			t.Errorf("%q is valid: %v", text, ok)
		}
	}
}

// TestCorpusIsPinned checks that a corpus has the same octets as ever, so that the results of two versions can be compared.
func TestCorpusIsPinned(t *testing.T) {
	o := small()
	o.Messages = 60
	h := sha256.New()
	for _, s := range newCorpus(t, o).Sessions {
		fmt.Fprintf(h, "%q\n", fmt.Sprint(s))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != "18a915693115f0e70d0eadfb25b2fe5092bd3b65f264d567398b65de57e81733" {
		t.Errorf("another corpus: %s", got)
	}
}

// TestDomain checks the zone of one domain.
func TestDomain(t *testing.T) {
	const rest = `$ MX 10 mail.$
$ A 198.18.44.1
news.$ A 198.18.44.1
mail.$ A 198.18.44.1
1.44.18.198.in-addr.arpa. PTR mail.$
r0._domainkey.$ TXT "v=DKIM1; p=x"
`
	for _, tt := range []struct{ policy, spf, want string }{
		{"absent", "0", `$ TXT "v=spf1 ip4:198.18.44.1 -all"
` + rest},
		{"reject", "2", `$ TXT "v=spf1 include:_spf1.# -all"
_spf1.$ TXT "v=spf1 include:_spf2.# -all"
_spf2.$ TXT "v=spf1 ip4:198.18.44.1 -all"
` + rest + `_dmarc.$ TXT "v=DMARC1; p=reject"
`},
		{"none", "terms", `in.$ A 198.19.255.1
$ TXT "v=spf1 a mx include:_spf1.# include:_spf2.# -all"
_spf1.$ TXT "v=spf1 ip4:198.19.255.1 -all"
_spf2.$ TXT "v=spf1 include:_spf3.# -all"
_spf3.$ TXT "v=spf1 ip4:198.18.44.1 -all"
` + strings.NewReplacer("$ MX 10 mail.$", "$ MX 10 in.$", "\n$ A 198.18.44.1", "\n$ A 198.19.255.1").Replace(rest) + `_dmarc.$ TXT "v=DMARC1; p=none"
`},
	} {
		z := &zoneWriter{}
		g := &generator{o: Options{SPF: Mix{{tt.spf, 1}}, Policies: Mix{{tt.policy, 1}}}, keys: Keys{{selector: "r0", record: "v=DKIM1; p=x"}}}
		d := g.newDomain(z, 300)
		if got, want := z.text.String(), strings.NewReplacer("$", "d00300.example.", "#", "d00300.example").Replace(tt.want); got != want {
			t.Errorf("%s, %s:\n%s\nwant\n%s", tt.policy, tt.spf, got, want)
		}
		if d.name != "d00300.example" || d.addr.String() != "198.18.44.1" || d.policy != tt.policy {
			t.Errorf("%+v", d)
		}
	}
	z := &zoneWriter{}
	d := newSpoofer(z, 7)
	if want := "x07.example. TXT \"v=spf1 ip4:198.19.0.7 -all\"\nmail.x07.example. A 198.19.0.7\n7.0.19.198.in-addr.arpa. PTR mail.x07.example.\n"; z.text.String() != want || d.policy != "absent" {
		t.Errorf("%+v:\n%s", d, z.text.String())
	}
}

// TestMessage checks what is sent and what should become of it, and the signatures by the signer of other tests.
func TestMessage(t *testing.T) {
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		outcome, signatures, policy string
		subdomains                  int
		from, mailFrom, selectors   string
		want                        string
	}{
		{"pass", "rsa", "reject", 0, "a.example", "a.example", "r0", "dkim=pass spf=pass dmarc=pass deliver"},
		{"pass", "ed25519", "none", 0, "a.example", "a.example", "e0", "dkim=pass spf=pass dmarc=pass deliver"},
		{"pass", "two", "absent", 100, "news.a.example", "a.example", "r0 e0", "dkim=pass spf=pass dmarc=none deliver"},
		{"pass", "five", "quarantine", 0, "a.example", "a.example", "r0 r1 r2 r3 r4", "dkim=pass spf=pass dmarc=pass deliver"},
		{"pass", "none", "reject", 0, "a.example", "a.example", "", "dkim=none spf=pass dmarc=pass deliver"},
		{"fail", "rsa", "reject", 0, "a.example", "a.example", "r0", "dkim=fail spf=fail dmarc=fail reject"},
		{"fail", "none", "quarantine", 0, "a.example", "a.example", "", "dkim=none spf=fail dmarc=fail quarantine"},
		{"fail", "ed25519", "none", 100, "news.a.example", "a.example", "e0", "dkim=fail spf=fail dmarc=fail deliver"},
		{"fail", "rsa", "absent", 0, "a.example", "a.example", "r0", "dkim=fail spf=fail dmarc=none deliver"},
		{"spoof", "rsa", "reject", 0, "a.example", "b.example", "", "dkim=none spf=pass dmarc=fail reject"},
	} {
		name := fmt.Sprintf("%+v", tt)
		g := &generator{o: Options{Seed: 1, Sizes: Mix{{"2KB", 1}}, Signatures: Mix{{tt.signatures, 1}}, Subdomains: tt.subdomains}, keys: keys, bodies: map[string][]body{}}
		for v := range bodyVariants {
			g.bodies["2KB"] = append(g.bodies["2KB"], newBody(newRand(1, "body", v), 2000))
		}
		m, err := g.message(newRand(1, "test", 0), 26, tt.outcome, domain{name: "a.example", policy: tt.policy}, domain{name: "b.example"})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Want.String(); got != tt.want || m.Envelope.From != "<bounce@"+tt.mailFrom+">" || m.Envelope.QueueID != "4L0000001A" {
			t.Errorf("%s: %+v, %+v", name, m.Want, m.Envelope)
		}
		n := len(strings.Fields(tt.selectors))
		var eml strings.Builder
		for _, f := range m.Header[n:] {
			eml.WriteString(f.Name + ":" + f.Value + "\r\n")
		}
		if !strings.Contains(eml.String(), "\r\nFrom: \"Load 26\" <info@"+tt.from+">\r\n") || !strings.HasPrefix(eml.String(), "Received: from app.b.example ") {
			t.Errorf("%s:\n%s", name, eml.String())
		}
		signed := m.Body
		if tt.outcome == "fail" {
			signed = g.bodies["2KB"][bodyVariants-1].text
		}
		if bytes.Equal(m.Body, g.bodies["2KB"][bodyVariants-1].text) {
			t.Errorf("%s: the body of broken signatures is sent", name)
		}
		for i, selector := range strings.Fields(tt.selectors) {
			k := keys[slices.IndexFunc(keys, func(k key) bool { return k.selector == selector })]
			tags, _, _ := strings.Cut(m.Header[i].Value, "\r\n\tb=")
			algorithm := map[bool]string{true: "rsa-sha256", false: "ed25519-sha256"}[selector[0] == 'r']
			if want := " v=1; a=" + algorithm + "; c=relaxed/relaxed; d=a.example; s=" + selector + ";\r\n\th=from:to:subject:"; !strings.HasPrefix(tags, want) {
				t.Errorf("%s: %s", name, tags)
			}
			want := signer.DKIM(t, k.signer, tags[1:]+"\r\n\tb=", eml.String()+"\r\n"+string(signed))
			want, _, _ = strings.Cut(want, "\r\nReceived:")
			if got := "DKIM-Signature:" + strings.ReplaceAll(m.Header[i].Value, "\r\n\t ", ""); got != want {
				t.Errorf("%s: %s\nwant %s", name, got, want)
			}
			for line := range strings.SplitSeq(m.Header[i].Value, "\r\n") {
				if len(line) > 90 {
					t.Errorf("%s: a line of %d", name, len(line))
				}
			}
			if record := signer.Record(k.signer.Public()); k.record != record {
				t.Errorf("%s: %s, want %s", selector, k.record, record)
			}
		}
	}
}

// TestSessions checks who sends which messages: a domain its own, and a spoofer those of any domain.
func TestSessions(t *testing.T) {
	name := regexp.MustCompile(`d0000[012]\.example`)
	for outcome, sender := range map[string]string{"pass": `mail\.(d0000[012]\.example)`, "fail": `mail\.x\d\d\.example`, "spoof": `mail\.x\d\d\.example`} {
		o := small()
		o.Messages, o.PerSession, o.Domains, o.Zipf = 14, 4, 3, 0
		o.Sizes, o.Signatures, o.Outcomes = Mix{{"2KB", 1}}, Mix{{"none", 1}}, Mix{{outcome, 1}}
		c := newCorpus(t, o)
		var counts []int
		authors := map[string]bool{}
		n := 0
		for _, s := range c.Sessions {
			counts = append(counts, len(s.Messages))
			a, err := c.Zone.Lookup(t.Context(), dns.ReverseName(s.Client), dns.TypePTR)
			if !regexp.MustCompile("^"+sender+"$").MatchString(s.Name) || err != nil || len(a.Records) != 1 || string(a.Records[0].Host) != s.Name {
				t.Errorf("%s: sent by %s %s, %v, %v", outcome, s.Client, s.Name, a, err)
			}
			for _, m := range s.Messages {
				from := name.FindString(m.Header[1].Value)
				authors[from] = true
				if outcome == "pass" && s.Name != "mail."+from || m.Envelope.QueueID != fmt.Sprintf("4L%08X", n) || strings.Contains(m.Envelope.From, from) != (outcome != "spoof") {
					t.Errorf("%s: %s sends %+v of %s", outcome, s.Name, m.Envelope, from)
				}
				n++
			}
		}
		if !slices.Equal(counts, []int{4, 4, 4, 2}) || len(authors) != 3 {
			t.Errorf("%s: sessions of %v, authors %v", outcome, counts, authors)
		}
	}
}

// TestCorpusFails checks that an error of a key or of its record is not lost.
func TestCorpusFails(t *testing.T) {
	for want, k := range map[string]key{
		"traffic: sign for d00000.example: no": {"r0", refusing{}, "v=DKIM1; p=x"},
		"traffic: zone of the corpus: ":        {"r0", refusing{}, "a\"\nno record"},
	} {
		o := small()
		o.Domains, o.Signatures, o.Outcomes = 1, Mix{{"rsa", 1}}, Mix{{"pass", 1}}
		if _, err := (Keys{k}).Corpus(o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

type refusing struct{ crypto.Signer }

func (refusing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

func TestDefault(t *testing.T) {
	o := Default()
	want := Options{
		Seed: 1, Messages: 1000, PerSession: 10, Domains: 1000, Zipf: 1.1, TTL: time.Hour, Subdomains: 20,
		Sizes: o.Sizes, Signatures: o.Signatures, SPF: o.SPF, Policies: o.Policies, Outcomes: o.Outcomes,
	}
	if err := o.Validate(); err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, m := range []Mix{o.Sizes, o.Signatures, o.SPF, o.Policies, o.Outcomes} {
		total := 0
		for _, s := range m {
			total += s.Weight
		}
		if total != 100 {
			t.Errorf("%v adds up to %d %%", m, total)
		}
	}
}

// TestBody checks the two forms of a body, at the size where one becomes the other.
func TestBody(t *testing.T) {
	for _, tt := range []struct{ size, least, most int }{{1, 80, 160}, {1080, 80, 160}, {1100, 100, 180}, {50_999, 49_999, 50_080}, {51_000, 50_000, 50_100}} {
		b := newBody(newRand(1, "body", 0), tt.size)
		if len(b.text) < tt.least || len(b.text) > tt.most || b.hash != sha256.Sum256(b.text) {
			t.Errorf("%d: %d octets", tt.size, len(b.text))
		}
		text := string(b.text)
		if b.contentType == plainType {
			if tt.size >= 51_000 || strings.Contains(text, "--=_load") {
				t.Errorf("%d: %s", tt.size, text)
			}
		} else {
			words, data, _ := strings.Cut(text, dataStart)
			data, end := strings.CutSuffix(data, dataEnd)
			raw, err := base64.StdEncoding.DecodeString(data)
			if tt.size < 51_000 || !strings.HasPrefix(words, proseStart) || len(words) < prose || len(words) > prose+90 || !end || err != nil ||
				len(raw)%57 != 0 || bytes.Count(raw, raw[:2]) > 10 {
				t.Errorf("%d: %s, %v", tt.size, text, err)
			}
			text = words
		}
		for line := range strings.Lines(text) {
			if n := len(line); n > 64+20 || n < 66 && !strings.Contains(proseStart, line) {
				t.Errorf("%d: a line of %d octets: %q", tt.size, n, line)
			}
		}
	}
}

// TestKeys checks the keys of seed 1, so that the results of two versions can be compared.
func TestKeys(t *testing.T) {
	keys, err := testKeys()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for i, k := range keys {
		if want := []string{"r0", "r1", "r2", "r3", "r4", "e0"}[i]; k.selector != want {
			t.Errorf("selector %s, want %s", k.selector, want)
		}
		if r, ok := k.signer.(*rsa.PrivateKey); ok && (r.N.BitLen() != rsaBits || r.E != 65537 || r.Validate() != nil) {
			t.Errorf("key %d: %d bits, %v", i, r.N.BitLen(), r.Validate())
		}
		h.Write([]byte(k.record))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != "f9cb180a28edfa9dcd58e6950bcefdcfe83c82a7d8922498ba32c04a1aa16032" {
		t.Errorf("other keys: %s", got)
	}
	small := smallPrimes()
	if len(small) != 549 || small[0] != 3 || small[548] != 3989 { // 550 primes are below 4,000, with 2
		t.Errorf("%d primes, %d to %d", len(small), small[0], small[len(small)-1])
	}
}

func TestMix(t *testing.T) {
	for _, tc := range []struct{ text, want, err string }{
		{"rsa", "rsa=1", ""}, {"rsa=70, none=30", "rsa=70,none=30", ""}, {"a=0,b", "a=0,b=1", ""}, {"a=1000000", "a=1000000", ""},
		{"", "", `"" names no kind`}, {"a, ", "", `" " names no kind`}, {"=3", "", `"=3" names no kind`}, {"a=0,b=0", "", "no kind has a weight"},
		{"a=-1", "", `"a=-1" is not a weight; write kind=number`}, {"a=x", "", `"a=x" is not a weight; write kind=number`},
		{"a=1000001", "", `"a=1000001" is not a weight; write kind=number`},
	} {
		var m Mix
		err := m.Set(tc.text)
		if got := m.String(); got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
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
