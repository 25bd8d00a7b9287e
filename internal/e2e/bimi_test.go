package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	othermilter "github.com/emersion/go-milter"

	"sekimori/internal/bimi"
	"sekimori/internal/filter"
	"sekimori/internal/judge"
	ours "sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// markZone has a brand, a look-alike of it, and a sub-domain whose parent does not enforce its policy.
// RSAKEY stands for the key record that all domains share.
const markZone = `
_dmarc.brand.example            TXT "v=DMARC1; p=reject"
default._bimi.brand.example     TXT "v=BIMI1; l=https://brand.example/l.svg; a=https://brand.example/a.pem"
s1._domainkey.brand.example     TXT RSAKEY
brand.example                   TXT "v=spf1 ip4:192.0.2.10 -all"
_dmarc.br4nd.example            TXT "v=DMARC1; p=reject"
default._bimi.br4nd.example     TXT "v=BIMI1; l=https://br4nd.example/l.svg; a=https://brand.example/a.pem"
s1._domainkey.br4nd.example     TXT RSAKEY
_dmarc.none.example             TXT "v=DMARC1; p=none"
_dmarc.news.none.example        TXT "v=DMARC1; p=reject"
default._bimi.news.none.example TXT "v=BIMI1; l=https://brand.example/l.svg; a=https://brand.example/a.pem"
s1._domainkey.news.none.example TXT RSAKEY
`

// certified is an Indicators that knows the mark of brand.example, with a picture of as many octets. The
// certificate is not for any other domain.
type certified int

// svg returns the picture.
func (n certified) svg() []byte {
	const open, end = "<svg>", "</svg>"
	return []byte(open + strings.Repeat("x", int(n)-len(open+end)) + end)
}

// Find implements bimi.Indicators.
func (n certified) Find(_ context.Context, q bimi.Query) bimi.Answer {
	if q.Domain != "brand.example" {
		return bimi.Answer{Result: bimi.Fail, Reason: "san", Authority: bimi.AuthorityFail}
	}
	m := &bimi.Mark{SVG: n.svg(), Certified: true, Type: string(bimi.RegisteredMark), Same: true}
	return bimi.Answer{Result: bimi.Pass, Authority: bimi.AuthorityPass, Mark: m}
}

// serveMarks starts the milter of a listener, in the process of the test: the real filter and judge, but
// marks that are known.
func serveMarks(t *testing.T, sl slot, marks bimi.Indicators, rules ...policy.Rule) {
	t.Helper()
	key, _ := run.keys.records()
	p := policy.Default()
	p.Rules = rules
	j := &judge.Judge{
		Verifier: msgauth.NewVerifier(nameserver.Zone(t, strings.ReplaceAll(markZone, "RSAKEY", key)),
			msgauth.Options{Indicators: marks, BIMI: bimi.Options{RequireCertificate: true, RequireDKIM: true}}),
		Policy: p, Label: ours.Settings{Names: ours.Names{AuthServID: authServID}},
	}
	listeners, err := sockets.Config{Address: sl.milter}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	serveFilter(t, listeners[0], filter.New(filter.Options{Judge: j}))
}

func serveFilter(t *testing.T, ln net.Listener, f *filter.Filter) {
	t.Helper()
	server := milter.New(milter.Options{NewSession: f.NewSession})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, milter.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// TestMarks: the mail of a certified brand carries its mark, and nobody else's mail does, whatever fields
// the sender writes.
func TestMarks(t *testing.T) {
	s := shared(t)
	t.Parallel()
	forged := []string{"BIMI-Location: v=BIMI1; l=https://evil.example/x.svg", "BIMI-Indicator: PHN2Zy8+", "BIMI-Logo-Preference: avp=brand",
		"Authentication-Results: " + authServID + "; bimi=pass header.d=brand.example"}
	strange := policy.Rule{ID: "let-through", When: policy.Conditions{DKIM: []policy.Pattern{"br4nd.example"}}, Then: policy.Outcome{Action: policy.Accept}}
	lenient := policy.Rule{ID: "lenient", When: policy.Conditions{SPF: []policy.Pattern{"brand.example"}}, Then: policy.Outcome{Action: policy.Accept}}
	sl := s.postfix.take(t, plain)
	serveMarks(t, sl, certified(12<<10), strange, lenient)
	from := func(domain string) mail { return mail{from: "Brand <news@" + domain + ">", extra: forged} }
	for _, c := range []struct {
		why    string
		sender string
		raw    []byte
		want   string // the result of BIMI
	}{
		{"the brand", "x@relay.invalid", signed(t, from("brand.example").bytes(), "brand.example", "s1"), "bimi=pass (Registered Mark)"},
		{"a look-alike", "x@relay.invalid", signed(t, from("br4nd.example").bytes(), "br4nd.example", "s1"), "bimi=fail (san) policy.authority=fail"},
		{"a spoof that a rule lets through", "x@relay.invalid", signed(t, from("brand.example").bytes(), "br4nd.example", "s1"), "bimi=skipped (dmarc)"},
		{"an SPF pass alone", "x@brand.example", from("brand.example").bytes(), "bimi=skipped (dkim)"},
		{"the brand, by a rule", "x@brand.example", signed(t, from("brand.example").bytes(), "brand.example", "s1"), "bimi=skipped (verdict)"},
		{"p=none at the parent", "x@relay.invalid", signed(t, from("news.none.example").bytes(), "news.none.example", "s1"), "bimi=skipped (organization)"},
	} {
		rcpt := recipient()
		sl.post(t, bankMX, c.sender, rcpt, c.raw).accepted(t)
		d := s.inbox.wait(t, rcpt)
		results := d.all("Authentication-Results")
		if len(results) != 2 || !strings.HasPrefix(results[1], authServID+"; "+c.want) {
			t.Errorf("%s: %q, want %s", c.why, results, c.want)
		}
		location, indicator := d.all("BIMI-Location"), d.all("BIMI-Indicator")
		if !strings.Contains(c.want, "pass") {
			if len(location)+len(indicator)+len(d.all("BIMI-Logo-Preference")) > 0 {
				t.Errorf("%s: %v %.100v", c.why, location, indicator)
			}
			continue
		}
		if len(location) != 1 || location[0] != "v=BIMI1; a=https://brand.example/a.pem; l=https://brand.example/l.svg" {
			t.Errorf("%s: %q", c.why, location)
		}
		checkIndicator(t, d, certified(12<<10))
	}
}

// checkIndicator checks that the message has the picture, whole.
func checkIndicator(t *testing.T, d delivery, mark certified) {
	t.Helper()
	values := d.all("BIMI-Indicator")
	if len(values) != 1 {
		t.Errorf("%d fields with a picture", len(values))
		return
	}
	svg, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(values[0]), ""))
	if err != nil || string(svg) != string(mark.svg()) {
		t.Errorf("a picture of %d octets arrived with %d: %v", mark, len(svg), err)
	}
}

// TestMarkSizes: both MTAs deliver the largest picture that is ever handed on, and the largest that a
// certificate may hold.
func TestMarkSizes(t *testing.T) {
	eachMTA(t, func(t *testing.T, from slots) {
		sl := from.take(t, plain)
		var size certified
		serveMarks(t, sl, sized{&size})
		raw := signed(t, mail{from: "news@brand.example"}.bytes(), "brand.example", "s1")
		for _, size = range []certified{1 << 10, 20 << 10, 24 << 10, 32 << 10, 42_534} {
			rcpt := recipient()
			sl.post(t, bankMX, "x@relay.invalid", rcpt, raw).accepted(t)
			checkIndicator(t, run.inbox.wait(t, rcpt), size)
		}
	})
}

// sized is an Indicators with a picture whose size changes between messages.
type sized struct{ size *certified }

func (s sized) Find(ctx context.Context, q bimi.Query) bimi.Answer { return s.size.Find(ctx, q) }

// inserter is a milter of another program that inserts BIMI-Indicator.
type inserter struct {
	othermilter.NoOpMilter
	value string
}

func (i inserter) Body(m *othermilter.Modifier) (othermilter.Response, error) {
	return othermilter.RespContinue, m.InsertHeader(0, ours.IndicatorField, strings.ReplaceAll(i.value, "\r\n", "\n"))
}

// TestMarkPostfixCut: Postfix cuts a field of more than 60,000 octets without a word. If it stops doing
// that, label.maxIndicator can be raised.
func TestMarkPostfixCut(t *testing.T) {
	s := shared(t)
	t.Parallel()
	sl := s.postfix.take(t, plain)
	var value atomic.Value // Postfix asks the milter in another goroutine
	serveOther(t, sl, func() othermilter.Milter { return inserter{value: value.Load().(string)} })
	for _, c := range []struct {
		size  certified
		whole bool
	}{{42_534, true}, {44 << 10, false}} {
		indicator := (&bimi.Mark{SVG: c.size.svg()}).Indicator()
		value.Store(indicator)
		rcpt := recipient()
		sl.post(t, bankMX, "x@relay.invalid", rcpt, mail{from: "a@brand.example"}.bytes()).accepted(t)
		values := s.inbox.wait(t, rcpt).all(ours.IndicatorField)
		if len(values) != 1 {
			t.Fatalf("%d fields", len(values))
		}
		svg, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(values[0]), ""))
		if whole := err == nil && len(svg) == int(c.size); whole != c.whole {
			t.Errorf("a field of %d octets: whole is %t, want %t", len(indicator), whole, c.whole)
		}
	}
}

// TestMarkSendmailNext: Sendmail takes a long field from its milter, but not from another MTA: it refuses
// a message whose header has more than 32 KiB (MaxHeadersLength). So a site whose mail goes on to a
// Sendmail needs header: location.
func TestMarkSendmailNext(t *testing.T) {
	m := sharedSendmail(t)
	t.Parallel()
	sl := m.take(t, plain)
	serveMarks(t, sl, bimi.Unfetched{})
	for _, c := range []struct {
		size certified
		code int
	}{{20 << 10, 250}, {24 << 10, 552}} {
		value := (&bimi.Mark{SVG: c.size.svg()}).Indicator()
		r := sl.attempt(bankMX, "x@relay.invalid", recipient(), mail{from: "a@nothing.example", extra: []string{"X-Mark:" + value}}.bytes())
		if r.code != c.code {
			t.Errorf("a field of %d octets: %v, want %d", len(value), r, c.code)
		}
	}
}
