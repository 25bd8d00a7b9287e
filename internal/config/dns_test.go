package config

import (
	"strings"
	"testing"
	"time"
)

func TestHedge(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Hedge
		said string // "" if refused
	}{
		{"off", 0, "off"}, {"100ms", Hedge(100 * time.Millisecond), "100ms"}, {"1s", Hedge(time.Second), "1s"}, {"1ns", 1, "1ns"},
		{"0", 0, ""}, {"0s", 0, ""}, {"-1s", 0, ""}, {"on", 0, ""}, {"auto", 0, ""}, {"100", 0, ""}, {"", 0, ""},
	} {
		var h Hedge
		err := h.UnmarshalText([]byte(c.in))
		if (err == nil) != (c.said != "") {
			t.Errorf("%q: %v", c.in, err)
		}
		if text, _ := h.MarshalText(); err == nil && (h != c.want || string(text) != c.said) {
			t.Errorf("%q: %d, printed as %s", c.in, h, text)
		}
	}
}

// TestDNSProblems checks that mistakes in the dns section are reported with
// line and column.
func TestDNSProblems(t *testing.T) {
	for _, c := range []struct{ reason, in, want string }{
		{"one server is not enough to hedge", "dns:\n  servers: [192.0.2.1]\n  hedge: 50ms\n", "3:10: dns.hedge: needs a second server"},
		{"two servers are enough to hedge", "dns:\n  servers: [192.0.2.1, 192.0.2.2]\n  hedge: 50ms\n", ""},
		{"the servers of resolv.conf are counted later", "dns: {hedge: 50ms}\n", ""},
		{"off needs no second server", "dns: {servers: [192.0.2.1], hedge: off}\n", ""},
		{"off as a quoted word", "dns: {servers: [192.0.2.1], hedge: 'off'}\n", ""},
		{"a hedge of 0s", "dns: {hedge: 0s}\n", `1:14: dns.hedge: "0s" is neither off nor a duration`},
		{"a hedge that is not shorter than the timeout", "dns: {hedge: 2s}\n", "1:14: dns.hedge: 2s is not less than dns.timeout, 2s"},
		{"TLS", "dns:\n  servers:\n  - tls://192.0.2.1\n  - tls://192.0.2.2:8853#dns.example\n", ""},
		{"TLS in brackets", "dns: {servers: [tls://192.0.2.1, 'tls://192.0.2.2:8853#dns.example']}\n", ""},
		{"a server that YAML reads as a mapping", "dns: {servers: [{192.0.2.1: 53}]}\n",
			"1:17: dns.servers[0]: a mapping where there should be one value; perhaps it needs quotes"},
		{"a name without TLS", "dns:\n  servers:\n    - 192.0.2.1#dns.example\n",
			`3:7: dns.servers[0]: "192.0.2.1#dns.example": only a server that is asked over TLS has a name; write tls://192.0.2.1#dns.example`},
		{"a name no certificate has", "dns: {servers: ['tls://192.0.2.1#a..b']}\n",
			`1:17: dns.servers[0]: "tls://192.0.2.1#a..b": "a..b" is not a name that a certificate could have`},
		{"TLS with a name for an address", "dns: {servers: ['tls://dns.example']}\n", `1:17: dns.servers[0]: "tls://dns.example" is not a DNS server`},
		{"the largest number of servers", "dns: {servers: [" + strings.Repeat("192.0.2.1, ", maxServers-1) + "192.0.2.9]}\n", ""},
		{"one server too many", "dns: {servers: [" + strings.Repeat("192.0.2.1, ", maxServers) + "192.0.2.9]}\n", "1:16: dns.servers: 9 servers; at most 8"},
	} {
		_, err := Parse("x", []byte(c.in))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.reason, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "x:"+c.want) {
			t.Errorf("%s: got %v, want %s", c.reason, err, c.want)
		}
	}
	negative := Default()
	negative.DNS.Hedge = -1
	if err := negative.Validate(); err == nil || !strings.Contains(err.Error(), "dns.hedge") {
		t.Errorf("a negative delay: %v", err)
	}
}
