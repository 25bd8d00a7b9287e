package upstream

import (
	"maps"
	"slices"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/dnswire"
	"sekimori/internal/testkit/nameserver"
)

// gathered is a Metrics with the registry in which it is registered.
type gathered struct {
	*Metrics
	nameserver.Series
}

func testMetrics(t *testing.T) *gathered {
	t.Helper()
	reg := nameserver.NewSeries()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	return &gathered{m, reg}
}

func TestSeriesStartAtZero(t *testing.T) {
	m := testMetrics(t)
	got := m.Values(t)
	want := 7*7 + 1 + 3 + 2 + 3 + 1 + 2 // queries, duration, hedges, probes, TCP, EDNS, TLS
	if len(got) != want {
		t.Errorf("%d series, want %d: %v", len(got), want, slices.Sorted(maps.Keys(got)))
	}
	for k, v := range got {
		if v != 0 {
			t.Errorf("%s starts at %v", k, v)
		}
	}
}

// TestLabelsAreFew: senders of mail decide for which names and types the client asks, but they
// cannot add series.
func TestLabelsAreFew(t *testing.T) {
	m := testMetrics(t)
	before := len(m.Values(t))
	for typ := range dns.Type(300) {
		m.query(typ, ResultNoError, time.Millisecond)
	}
	got := m.Values(t)
	if len(got) != before {
		t.Errorf("%d series became %d", before, len(got))
	}
	if got["queries other noerror"] != 300-6 || got["query_duration_seconds"] != 300 {
		t.Errorf("other %v, durations %v", got["queries other noerror"], got["query_duration_seconds"])
	}
}

func TestHistogramIsClassicAndNative(t *testing.T) {
	m := testMetrics(t)
	m.query(dns.TypeA, ResultNoError, 3*time.Millisecond)
	families, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sekimori_dns_query_duration_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if len(h.GetBucket()) != 12 || h.GetSchema() != 3 || len(h.GetPositiveSpan()) != 1 { // schema 3 means the factor 2^(2^-3), which is 1.09
			t.Errorf("%d buckets, schema %d, %d spans", len(h.GetBucket()), h.GetSchema(), len(h.GetPositiveSpan()))
		}
		return
	}
	t.Error("no histogram")
}

func TestResultOf(t *testing.T) {
	record := []dns.Record{{Text: "x"}}
	cases := []struct {
		r    dnswire.Reply
		kind dns.ErrorKind
		want Result
	}{
		{r: dnswire.Reply{Answer: dns.Answer{Records: record}}, want: ResultNoError},
		{r: dnswire.Reply{Answer: dns.Answer{Name: "a", Canonical: "b"}, Follow: true}, want: ResultNoError},
		{r: dnswire.Reply{Answer: dns.Answer{Name: "a", Canonical: "b"}}, want: ResultNoData},
		{r: dnswire.Reply{Answer: dns.Answer{Status: dns.NXDomain}}, want: ResultNXDomain},
		{kind: dns.KindServFail, want: ResultServFail},
		{kind: dns.KindRefused, want: ResultRefused},
		{kind: dns.KindTimeout, want: ResultTimeout},
		{kind: dns.KindNetwork, want: ResultTimeout},
		{kind: dns.KindMalformed, want: ResultMalformed},
		{kind: dns.KindLoop, want: ResultMalformed},
		{kind: dns.KindTooLarge, want: ResultMalformed},
	}
	for _, c := range cases {
		var err *dns.Error
		if c.kind != 0 {
			err = &dns.Error{Kind: c.kind}
		}
		if got := resultOf(c.r, err); got != c.want {
			t.Errorf("%+v %v: got %s, want %s", c.r, err, got, c.want)
		}
	}
}

func TestRegisteringTwiceFails(t *testing.T) {
	m := testMetrics(t)
	if _, err := NewMetrics(m); err == nil {
		t.Error("the same series twice in one registry")
	}
	var nothing *Metrics // a nil *Metrics must not panic
	nothing.query(dns.TypeA, ResultNoError, 1)
	nothing.watch(nil)
	nothing.hedged(true, true)
	nothing.probed(true)
	nothing.overTCP(reasonCase)
	nothing.withoutEDNS()
	nothing.connected(true)
}

// TestCounts: Counts includes the queries of every type, also of types without a series of their
// own.
func TestCounts(t *testing.T) {
	m := testMetrics(t)
	m.query(dns.TypeA, ResultNoError, time.Second)
	m.query(dns.TypeTXT, ResultNoError, 2*time.Second)
	m.query(dns.TypeNS, ResultTimeout, 0)
	c := m.Counts()
	if c.Queries[ResultNoError] != 2 || c.Queries[ResultTimeout] != 1 || len(c.Queries) != len(results) ||
		c.Time.Count != 2 || c.Time.Seconds != 3 || len(c.Servers) != 0 {
		t.Errorf("%+v", c)
	}
}
