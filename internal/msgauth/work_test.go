package msgauth

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// most is the largest amount of arithmetic that one message may cause, in the unit of
// Cost.Operations.
const most = 64

const heavyExponent = 1<<31 - 1

// The keys are made only once for all tests, because making them takes long.
var (
	ordinary = sync.OnceValue(func() *signer.Heavy { return signer.NewHeavy(new(testing.B), 2048, 65537) })
	heavy    = sync.OnceValue(func() *signer.Heavy { return signer.NewHeavy(new(testing.B), 8192, heavyExponent) })
)

const plainMail = "From: Ann <ann@bank.example>\r\nSubject: hello\r\n\r\nHello.\r\n"

// load describes a message with DKIM signatures and an ARC chain. All are made with the same key,
// but each has a domain of its own.
type load struct {
	signatures, sets int
	key              crypto.Signer
	published        []string // the records at each key's name; nil means the record of the field "key"
}

func (l load) domain(kind string, i int) string { return fmt.Sprintf("%s%d.example", kind, i) }

func (l load) zone(tb testing.TB) *zone.Zone {
	tb.Helper()
	z := nameserver.Zone(tb, "_dmarc.bank.example TXT \"v=DMARC1; p=reject\"\n")
	records := l.published
	if records == nil {
		records = []string{signer.Record(l.key.Public())}
	}
	add := func(domain string) {
		for _, r := range records {
			z.Add(dns.Name("s._domainkey."+domain), dns.TypeTXT, dns.Record{Text: r})
		}
	}
	for i := range l.signatures {
		add(l.domain("d", i))
	}
	for i := 1; i <= l.sets; i++ {
		add(l.domain("hop", i))
	}
	return z
}

func (l load) mail(tb testing.TB) string {
	tb.Helper()
	eml := plainMail
	for i := range l.signatures {
		eml = l.sign(tb, l.domain("d", i), eml)
	}
	for i := 1; i <= l.sets; i++ {
		eml = signer.Seal(tb, signer.Set{I: i, Key: l.key}, eml)
	}
	return eml
}

func (l load) sign(tb testing.TB, domain, eml string) string {
	tb.Helper()
	return signer.DKIM(tb, l.key, "v=1; a=rsa-sha256; c=relaxed/relaxed; d="+domain+"; s=s; h=from:subject; bh=%BH; b=", eml)
}

// strangers returns records of different keys that do not belong to the key of the signatures. Nobody has
// the private keys. Each modulus is greater than any signature, which a verifier would refuse at once
// otherwise.
func strangers(n, bits, exponent int) (records []string) {
	for i := range n {
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(bits))
		records = append(records, signer.Record(&rsa.PublicKey{N: modulus.Sub(modulus, big.NewInt(int64(2*i+1))), E: exponent}))
	}
	return records
}

func operations(e *Evaluation) float64 { return e.Cost[DKIM].Operations + e.Cost[ARC].Operations }

func results(e *Evaluation) map[string]int {
	n := map[string]int{}
	for _, s := range e.DKIM {
		n[strings.TrimSuffix(string(s.Result)+"/"+string(s.Reason), "/")]++
	}
	return n
}

// TestWork: the arithmetic of one message is bounded. Ordinary messages stay below the bound. The
// result of a signature or chain beyond the bound is neither "none" nor "fail".
func TestWork(t *testing.T) {
	record := func(k crypto.Signer) string { return signer.Record(k.Public()) }
	rotated := append(strangers(3, 2048, 65537), record(ordinary()))
	type signed struct {
		signatures, sets int
		key              crypto.Signer
	}
	mails := map[signed]string{} // signing takes longer than verifying
	for _, tt := range []struct {
		reason     string
		load       load
		want       string // results of the signatures
		chain      arc.Status
		oldest     int
		operations [2]float64 // least and most
	}{
		{"ten signatures and the longest chain there may be", load{10, 50, ordinary(), nil}, "map[pass:10]", arc.Pass, 47, [2]float64{64, 64}},
		{"a chain of five, and all of its message signatures", load{2, 5, ordinary(), nil}, "map[pass:2]", arc.Pass, 0, [2]float64{12, 12}},
		{"the fourth of four keys at each name", load{3, 3, ordinary(), rotated}, "map[pass:3]", arc.Pass, 0, [2]float64{36, 36}},
		{"the fourth of four keys at each name, ten signatures", load{10, 0, ordinary(), rotated}, "map[pass:10]", arc.None, 0, [2]float64{40, 40}},
		{"four keys at each name of the longest chain", load{10, 50, ordinary(), rotated},
			"map[pass:1 policy/work_limit:9]", arc.NotEvaluated, 0, [2]float64{4, 64}},
		{"heavy keys", load{3, 0, heavy(), nil}, "map[pass:1 policy/work_limit:2]", arc.None, 0, [2]float64{30, 64}},
		{"heavy keys of the longest chain", load{1, 4, heavy(), nil}, "map[pass:1]", arc.NotEvaluated, 0, [2]float64{30, 64}},
		{"a heavy key behind others", load{2, 2, heavy(), append(strangers(3, 8192, heavyExponent), record(heavy()))},
			"map[policy/work_limit:2]", arc.NotEvaluated, 0, [2]float64{30, 64}},
		{"keys of another size than the signatures", load{10, 50, ordinary(), strangers(4, 8192, heavyExponent)},
			"map[fail/signature_mismatch:10]", arc.Fail, 0, [2]float64{0, 0}},
	} {
		as := signed{tt.load.signatures, tt.load.sets, tt.load.key}
		if mails[as] == "" {
			mails[as] = tt.load.mail(t)
		}
		e := evaluate(t, NewVerifier(tt.load.zone(t), Options{}), "<a@no.example>", mails[as])
		if got := fmt.Sprint(results(e)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
		if e.ARC.Status != tt.chain || e.ARC.OldestPass != tt.oldest {
			t.Errorf("%s: arc=%q %s oldest-pass=%d, want %q %d", tt.reason, e.ARC.Status, e.ARC.Reason, e.ARC.OldestPass, tt.chain, tt.oldest)
		}
		if n := operations(e); n < tt.operations[0] || n > min(tt.operations[1], most) {
			t.Errorf("%s: %v operations", tt.reason, n)
		}
		if e.DMARC.Result != dmarc.ResultFail {
			t.Errorf("%s: dmarc=%s", tt.reason, e.DMARC.Result)
		}
	}
}

// TestWorkOfTheAuthor: signatures whose keys need much arithmetic stand above or below the author's
// signature. The author's signature passes all the same.
func TestWorkOfTheAuthor(t *testing.T) {
	for _, above := range []bool{true, false} {
		z := load{key: heavy()}.zone(t)
		z.Add("s._domainkey.bank.example", dns.TypeTXT, dns.Record{Text: signer.Record(ordinary().Public())})
		author := load{key: ordinary()}
		eml := plainMail
		if !above {
			eml = author.sign(t, "bank.example", eml)
		}
		for i := range 9 {
			domain := fmt.Sprintf("evil%d.example", i)
			z.Add(dns.Name("s._domainkey."+domain), dns.TypeTXT, dns.Record{Text: signer.Record(heavy().Public())})
			eml = load{key: heavy()}.sign(t, domain, eml)
		}
		if above {
			eml = author.sign(t, "bank.example", eml)
		}
		e := evaluate(t, NewVerifier(z, Options{}), "<a@no.example>", eml)
		if !e.DMARC.AlignedDKIM || e.DMARC.Result != dmarc.ResultPass || results(e)["policy/work_limit"] == 0 {
			t.Errorf("above: %t: %v, dmarc=%s", above, results(e), e.DMARC.Result)
		}
	}
}

// TestWorkWithoutKeys: if the signatures of a chain exceed the bound whatever their keys are, no
// keys are looked up.
func TestWorkWithoutKeys(t *testing.T) {
	l := load{0, 5, heavy(), nil}
	e := evaluate(t, NewVerifier(l.zone(t), Options{}), "<a@no.example>", l.mail(t))
	if e.ARC.Status != arc.NotEvaluated || e.ARC.Reason != arc.ReasonWorkLimit || e.Cost[ARC].Lookups != 0 || operations(e) != 0 {
		t.Errorf("%q %s, %d lookups, %v operations", e.ARC.Status, e.ARC.Reason, e.Cost[ARC].Lookups, operations(e))
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWorstMessage measures messages that use up the work limit of a message, or that have
// many large key records. Each message takes at most 5 ms of CPU time, including the parsing of the
// key records. If the MTA has removed a signed field, a message can take twice as long, as package
// dkim explains for its limit.
func BenchmarkWorstMessage(b *testing.B) {
	for _, bm := range []struct {
		name string
		load load
	}{
		{"ordinary", load{10, 50, ordinary(), nil}},
		{"heavy", load{10, 50, heavy(), append(strangers(3, 8192, heavyExponent), signer.Record(heavy().Public()))}},
		{"heavy-signatures", load{10, 0, heavy(), append(strangers(3, 8192, heavyExponent), signer.Record(heavy().Public()))}},
		{"short-heavy", load{10, 50, signer.NewHeavy(b, 1280, heavyExponent), nil}},
		{"other-sizes", load{10, 50, ordinary(), strangers(4, 8192, heavyExponent)}},
		{"four-keys", load{10, 50, ordinary(), append(strangers(3, 2048, heavyExponent), signer.Record(ordinary().Public()))}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			r := newMemory(bm.load.zone(b))
			h, body := message.Parse([]byte(bm.load.mail(b)))
			env := Envelope{MailFrom: "<a@no.example>"}
			var n float64
			one := func() {
				v := NewVerifier(r, Options{DKIM: dkim.Options{Cache: dkim.NewCache()}}) // none of the keys is known yet
				c := v.Connect(b.Context(), Session{Client: netip.MustParseAddr("192.0.2.1")})
				m := c.Begin(Session{}, env)
				m.EndOfHeader(h)
				_, _ = m.Write(body)
				n = operations(m.Finish(b.Context(), env))
				m.Close()
				c.Close()
			}
			one() // fills the memory, so that the benchmark measures no lookups
			b.ReportAllocs()
			begin := cpuTime(b)
			for b.Loop() {
				one()
			}
			b.ReportMetric(n, "operations")
			b.ReportMetric(float64((cpuTime(b)-begin).Microseconds())/1e3/float64(b.N), "cpu-ms/message")
		})
	}
}
