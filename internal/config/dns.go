package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
)

const (
	dnsPort = 53
	tlsPort = 853 // RFC 7858 §3.1
	// maxServers is the largest number of servers. Each server adds time series
	// to the metrics, and a message does not wait long enough to ask a ninth
	// server.
	maxServers = 8
	// maxFailureTTL is the longest time for which a failure may be cached (RFC
	// 9520 §3.2).
	maxFailureTTL = 5 * time.Minute
	// maxMessageBudget is a minute less than the milter's timeout for the end
	// of a message.
	maxMessageBudget = milter.DefaultEndOfMessageTimeout - time.Minute
)

// DNS configures DNS lookups.
type DNS struct {
	Servers       []Server `yaml:"servers"`        // if empty, the servers in resolv.conf are used
	Timeout       Duration `yaml:"timeout"`        // how long one try at one server may take
	Hedge         Hedge    `yaml:"hedge"`          // after how long a second server is asked too
	TrustAD       bool     `yaml:"trust_ad"`       // trust the AD bit even if the server is on another host and is asked without TLS
	SPFAhead      int      `yaml:"spf_ahead"`      // how many questions an SPF check may ask early
	MessageBudget Duration `yaml:"message_budget"` // how long one message may wait for DNS in total
	Cache         Cache    `yaml:"cache"`
}

// Cache configures the DNS cache.
type Cache struct {
	Size        Size     `yaml:"size"` // in memory; 0 for no cache
	MaxTTL      Duration `yaml:"max_ttl"`
	MinTTL      Duration `yaml:"min_ttl"`
	NegativeTTL Duration `yaml:"negative_ttl"` // longest time for which NXDOMAIN and NODATA are kept
	FailureTTL  Duration `yaml:"failure_ttl"`  // how long a failure is kept (RFC 9520)
	Stale       Duration `yaml:"stale"`        // how long past its TTL an answer is used if servers fail (RFC 8767)
}

func defaultDNS() DNS {
	return DNS{
		Timeout:       Duration(2 * time.Second),
		SPFAhead:      msgauth.DefaultSPFAhead,
		MessageBudget: Duration(msgauth.DefaultBudget),
		Cache: Cache{
			Size:        64 << 20,
			MaxTTL:      Duration(24 * time.Hour),
			MinTTL:      Duration(5 * time.Second),
			NegativeTTL: Duration(5 * time.Minute),
			FailureTTL:  Duration(10 * time.Second),
			Stale:       Duration(time.Hour),
		},
	}
}

// Server is a DNS server, written ADDRESS or ADDRESS:PORT. A server that is
// asked over TLS is written tls://ADDRESS[:PORT]#NAME, and its certificate must
// be valid for NAME. In tls://ADDRESS[:PORT] without a name, the certificate
// must be valid for the address.
type Server struct {
	netip.AddrPort
	TLS  bool
	Name string // the name in the certificate; "" without TLS, or if the certificate is for the address
}

const tlsScheme = "tls://"

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Server) UnmarshalText(text []byte) error {
	t := string(text)
	rest, overTLS := strings.CutPrefix(t, tlsScheme)
	place, name, named := strings.Cut(rest, "#")
	port := uint16(dnsPort)
	if overTLS {
		port = tlsPort
	}
	at, _ := netip.ParseAddrPort(place) // with an error, port 0
	if addr, bare := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(place, "["), "]")); bare == nil {
		at = netip.AddrPortFrom(addr, port)
	}
	switch {
	case at.Port() == 0:
		return fmt.Errorf("%q is not a DNS server; write an address, such as 127.0.0.1, 127.0.0.1:5353 or [::1]:53, "+
			"or tls://192.0.2.1#dns.example", t)
	case named && !overTLS:
		return fmt.Errorf("%q: only a server that is asked over TLS has a name; write %s%s, or no name", t, tlsScheme, t)
	}
	if named {
		n, err := dns.ParseHostname(name)
		if err != nil {
			return fmt.Errorf("%q: %q is not a name that a certificate could have; write one, such as dns.example, after the #", t, name)
		}
		name = string(n)
	}
	*s = Server{AddrPort: at, TLS: overTLS, Name: name}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the server in the form that UnmarshalText reads.
func (s Server) String() string {
	if !s.TLS {
		return s.AddrPort.String()
	}
	out := tlsScheme + s.AddrPort.String()
	if s.Name != "" {
		out += "#" + s.Name
	}
	return out
}

// Hedge is a positive duration, or 0. The value 0 is written "off".
type Hedge Duration

const off = "off"

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hedge) UnmarshalText(text []byte) error {
	*h = 0
	if string(text) == off {
		return nil
	}
	if err := (*Duration)(h).UnmarshalText(text); err != nil || *h <= 0 {
		return fmt.Errorf("%q is neither off nor a duration of more than 0s, such as 100ms", text)
	}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (h Hedge) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// String returns "off" for 0.
func (h Hedge) String() string {
	if h == 0 {
		return off
	}
	return Duration(h).String()
}

func (k *checker) dns(c DNS) {
	k.positive("dns.timeout", c.Timeout)
	k.positive("dns.message_budget", c.MessageBudget)
	if time.Duration(c.MessageBudget) > maxMessageBudget {
		k.add("dns.message_budget", "at most %s: no MTA waits longer for the end of a message", Duration(maxMessageBudget))
	}
	if c.SPFAhead < 0 || c.SPFAhead > msgauth.MaxSPFAhead {
		k.add("dns.spf_ahead", "%d is not from 0 to %d; 0 asks no question early", c.SPFAhead, msgauth.MaxSPFAhead)
	}
	k.dnsServers(c)
	k.dnsCache(c.Cache)
}

func (k *checker) dnsServers(c DNS) {
	if len(c.Servers) > maxServers {
		k.add("dns.servers", "%d servers; at most %d", len(c.Servers), maxServers)
	}
	switch {
	case c.Hedge < 0:
		k.add("dns.hedge", "%s is negative", c.Hedge)
	case c.Hedge > 0 && len(c.Servers) == 1:
		k.add("dns.hedge", "needs a second server in dns.servers to ask; add one, or turn it off")
	case c.Hedge > 0 && Duration(c.Hedge) >= c.Timeout:
		k.add("dns.hedge", "%s is not less than dns.timeout, %s, after which the next server is asked anyway", c.Hedge, c.Timeout)
	}
}

func (k *checker) dnsCache(c Cache) {
	if c.Size < 0 {
		k.add("dns.cache.size", "must not be negative; 0 turns the cache off")
	}
	k.positive("dns.cache.max_ttl", c.MaxTTL)
	k.notNegative("dns.cache.min_ttl", c.MinTTL)
	k.notNegative("dns.cache.negative_ttl", c.NegativeTTL)
	k.notNegative("dns.cache.failure_ttl", c.FailureTTL)
	k.notNegative("dns.cache.stale", c.Stale)
	if c.MinTTL > c.MaxTTL {
		k.add("dns.cache.min_ttl", "%s is more than dns.cache.max_ttl, %s", c.MinTTL, c.MaxTTL)
	}
	if time.Duration(c.FailureTTL) > maxFailureTTL {
		k.add("dns.cache.failure_ttl", "failures may be kept for %s at most (RFC 9520)", Duration(maxFailureTTL))
	}
}
