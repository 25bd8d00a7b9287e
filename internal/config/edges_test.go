package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
)

// TestEdges checks keys with a limit: the last value that is allowed, and the first that is not. The error of
// the second must name the key.
func TestEdges(t *testing.T) {
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("/x, ", n), ", ") + "]" }
	long := strings.Repeat("a", 63)
	for _, tt := range []struct{ key, format, good, bad string }{
		{"bimi.wait", "bimi: {wait: %s}", "0s", "-1s"},
		{"bimi.wait", "bimi: {wait: %s}", "2s", "2001ms"},
		{"bimi.roots", "bimi: {roots: %s}", list(maxRoots), list(maxRoots + 1)},
		{"bimi.ct_logs", "bimi: {ct_logs: %s}", list(maxCTLogs), list(maxCTLogs + 1)},
		{"store.spool.size", "store: {spool: {size: %s}}", Size(leastSpool).String(), fmt.Sprint(leastSpool - 1)},
		{"store.url", "store: {url: 'sqlite:%s'}", "/var/lib/x.db", "/var/lib/../x.db"},
		{"store.url", "store: {url: 'sqlite:%s'}", "/x", "x"},
		{"store.url", "store: {url: 'sqlite:%s'}", "/x", "/x/"},
		{"report.contact_info", "report: {contact_info: '%s'}", "https://isp.example/x", "https:///x"},
		{"report.contact_info", "report: {contact_info: '%s'}", "see our page", "https://a b/%%zz"},
		{"report.contact", "report: {contact: '%s@isp.example'}", strings.Repeat("a", 64), strings.Repeat("a", 65)},
		{"report.contact", "report: {contact: '%s@isp.example'}", "a.b", "a..b"},
		{"report.contact", "report: {contact: 'a@%s'}", "isp.example", "isp"},
		{"dkim.max_signatures", "dkim: {max_signatures: %s}", "50", "51"},
		{"dkim.max_signatures", "dkim: {max_signatures: %s}", "1", "0"},
		{"dkim.clock_skew", "dkim: {clock_skew: %s}", "24h", "24h1ms"},
		{"admin.recent", "admin: {recent: %s}", "100000", "100001"},
		{"admin.recent", "admin: {recent: %s}", "0", "-1"},
		{"admin.listen", "admin: {listen: '127.0.0.1:%s'}", "65535", "65536"},
		{"admin.listen", "admin: {listen: '127.0.0.1:%s'}", "0", "00"},
		{"admin.listen", "admin: {listen: '127.0.0.1:%s'}", "1", "-1"},
		{"admin.listen", "admin: {listen: '%s'}", "127.0.0.1:1", "::1:1"},
		{"limits.memory", "limits: {memory: %s}", "16MiB", fmt.Sprint(leastMemory - 1)},
		{"limits.memory", "limits: {memory: %s}", "0", "1"},
		{"limits.recipients", "limits: {recipients: %s}", "1", "0"},
		{"limits.shown_wait", "limits: {shown_wait: %s}", "0s", "-1ms"},
		{"limits.idle_timeout", "limits: {idle_timeout: %s}", "1ms", "0s"},
		{"report.aggregate.rate", "report: {aggregate: {rate: %s}}", "1", "0"},
		{"report.aggregate.rate_per_host", "report: {aggregate: {rate_per_host: %s}}", "1", "0"},
		{"report.aggregate.max_rows", "report: {aggregate: {max_rows: %s}}", "1", "0"},
		{"report.aggregate.max_destinations", "report: {aggregate: {max_destinations: %s}}", "1", "0"},
		{"report.failure.per_domain", "report: {failure: {per_domain: %s}}", "1", "0"},
		{"report.failure.total", "report: {failure: {total: %s}}", "1", "0"},
		{"report.keep", "report: {keep: %s}", "1ms", "0s"},
		{"policy.ramp.percent", "policy: {ramp: {percent: %s}}", "100", "101"},
		{"policy.ramp.domains[a.example]", "policy: {ramp: {domains: {a.example: %s}}}", "100", "101"},
		{"policy.ramp.domains[a.example]", "policy: {ramp: {domains: {a.example: %s}}}", "0", "-1"},
		{"limits.max_sessions", "limits: {max_sessions: %s}", "1", "0"},
		{"limits.header_fields", "limits: {header_fields: %s}", "1", "0"},
		{"limits.header_bytes", "limits: {header_bytes: %s}", "1", "0"},
		{"drain_timeout", "drain_timeout: %s", "0s", "-1ms"},
		{"report.aggregate.max_rows", "report: {aggregate: {max_rows: %s}}", strconv.Itoa(maxReportRows), strconv.Itoa(maxReportRows + 1)},
		{"dkim.min_rsa_bits", "dkim: {min_rsa_bits: %s}", strconv.Itoa(dkim.Options{}.WithDefaults().MinRSABits), strconv.Itoa(dkim.Options{}.WithDefaults().MinRSABits - 1)},
		{"dkim.min_rsa_bits", "dkim: {min_rsa_bits: %s}", strconv.Itoa(dkim.MaxRSABits), strconv.Itoa(dkim.MaxRSABits + 1)},
		{"authserv_id", "authserv_id: '%s'", "AZaz09-_.x", "x["},
		{"authserv_id", "authserv_id: '%s'", long + "." + long + "." + long + "." + long, long + "." + long + "." + long + "." + long + ".a"},
		{"listen[0]", "listen: ['unix:%s']", "/" + strings.Repeat("x", maxUnixPath-1), "/" + strings.Repeat("x", maxUnixPath)},
		{"dmarc.organizational_domain", "dmarc: {organizational_domain: '%s'}", string(dmarc.TreeWalk), "tree"},
		{"dmarc.organizational_domain", "dmarc: {organizational_domain: psl, psl_file: '%s'}", "/x", ""},
	} {
		edge(t, tt.key, tt.format, tt.good, tt.bad)
	}
}

// edge checks that the first value of a key is allowed, and that the error of the second names the key.
func edge(t *testing.T, key, format, good, bad string) {
	t.Helper()
	if _, err := Parse("x", []byte(fmt.Sprintf(format, good)+"\n")); err != nil {
		t.Errorf("%.80s: %v", fmt.Sprintf(format, good), err)
	}
	if _, err := Parse("x", []byte(fmt.Sprintf(format, bad)+"\n")); err == nil || !strings.Contains(err.Error(), key+": ") {
		t.Errorf("%.80s: %v", fmt.Sprintf(format, bad), err)
	}
}

// TestBounds checks the least and the largest value of each bound, also those that no key can write.
func TestBounds(t *testing.T) {
	for name, tt := range map[string]struct {
		check     func(*checker, int)
		good, bad []int
	}{
		"between":      {func(k *checker, n int) { k.between("x", n, 3, 5) }, []int{3, 4, 5}, []int{2, 6}},
		"at least one": {func(k *checker, n int) { k.atLeastOne("x", int64(n)) }, []int{1, 2}, []int{0, -1}},
		"positive":     {func(k *checker, n int) { k.positive("x", Duration(n)) }, []int{1, 2}, []int{0, -1}},
		"not negative": {func(k *checker, n int) { k.notNegative("x", Duration(n)) }, []int{0, 1}, []int{-1}},
		"clock skew":   {func(k *checker, n int) { k.clockSkew(Duration(n)) }, []int{0, int(maxClockSkew)}, []int{-1, int(maxClockSkew) + 1}},
	} {
		for i, n := range append(slices.Clone(tt.good), tt.bad...) {
			k := &checker{}
			if tt.check(k, n); len(k.list) != 0 != (i >= len(tt.good)) {
				t.Errorf("%s: %d: %v", name, n, k.list)
			}
		}
	}
}

// TestRulesWithoutID: a rule without an id is not said to have the id of another.
func TestRulesWithoutID(t *testing.T) {
	_, err := Parse("x", []byte("policy: {overrides: [{when: {author: [a.example]}, then: reject}, {when: {author: [b.example]}, then: reject}]}\n"))
	if err == nil || strings.Count(err.Error(), "is not an id") != 2 || strings.Contains(err.Error(), "earlier") {
		t.Errorf("%v", err)
	}
}

// TestAsked checks which settings make the daemon look up consent.
func TestAsked(t *testing.T) {
	for _, tt := range []struct {
		r    Recipients
		want bool
	}{
		{Recipients{Default: policy.In}, false}, {Recipients{Default: policy.Out}, true},
		{Recipients{Default: policy.In, File: "/x"}, true}, {Recipients{Default: policy.In, Socketmap: "unix:/x:y"}, true},
	} {
		if got := tt.r.Asked(); got != tt.want {
			t.Errorf("%+v: %t", tt.r, got)
		}
	}
}

// TestFullNameTakesTheFirst checks lines of the hosts file with several full names, and with one name only.
func TestFullNameTakesTheFirst(t *testing.T) {
	for hosts, want := range map[string]string{
		"192.0.2.1 mx1.a.example mx1.b.example mx1\n": "mx1.a.example",
		"192.0.2.1 mx1 mx1.a.example mx1.b.example\n": "mx1.a.example",
		"192.0.2.1 mx1.a.example\n":                   "mx1",
		"192.0.2.1 mx1 b\n":                           "mx1",
		"192.0.2.1 mx1 b\n192.0.2.1 x.example mx1\n":  "x.example",
		"192.0.2.1 mx1 b.example MX1.c.example\n":     "MX1.c.example",
		"192.0.2.1 mx1 mx1 mx1.d.example.\n":          "mx1.d.example",
		"192.0.2.1 mx1. mx1.d.example.\n":             "mx1.d.example",
		"192.0.2.1 mx1\n192.0.2.1 x.example mx1\n":    "x.example",
		"192.0.2.1\n192.0.2.1 x.example mx1\n":        "x.example",
	} {
		if got := fullName("mx1", strings.NewReader(hosts)); got != want {
			t.Errorf("%q: %s, want %s", hosts, got, want)
		}
	}
}
