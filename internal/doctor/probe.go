package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net/netip"
	"strings"
	"sync"
	"time"

	codec "github.com/miekg/dns"
)

// Server is a DNS server to probe.
type Server struct {
	Shown string // as it is configured
	Addr  netip.AddrPort
	TLS   bool
	Name  string // the name in the certificate
}

// known are names that have had MX and TXT records for decades. Two of them have long TXT answers.
var known = []string{"gmail.com.", "microsoft.com.", "apple.com."}

const (
	// tries is how often the root is asked over UDP. The median of the times is judged.
	tries = 3
	// ednsSize is the size of a UDP answer that the daemon asks for.
	ednsSize = 1232
)

// Probe tries a DNS server. Every question waits at most timeout.
func Probe(ctx context.Context, s Server, timeout time.Duration) *Probes {
	p := &Probes{Server: s.Shown, TLS: s.TLS, Invented: map[string]Asked{}}
	a := asker{server: s, timeout: timeout}
	var wg sync.WaitGroup
	if !s.TLS {
		p.UDP = make([]Asked, tries)
		for i := range p.UDP {
			wg.Go(func() { p.UDP[i] = a.ask(ctx, "udp", ".", codec.TypeNS) })
		}
	}
	wg.Go(func() { p.TCP = a.ask(ctx, "tcp", ".", codec.TypeNS) })
	wg.Wait() // the times of these answers are judged, so nothing else is asked meanwhile
	p.Known = make([]Known, len(known))
	var mu sync.Mutex
	for _, suffix := range []string{"invalid.", "com."} {
		for _, typ := range []uint16{codec.TypeA, codec.TypeTXT} {
			// Text returns at least 26 letters and digits, so nobody has this name.
			name := "sekimori-" + strings.ToLower(rand.Text()) + "." + suffix
			wg.Go(func() {
				got := a.ask(ctx, "", name, typ)
				mu.Lock()
				defer mu.Unlock()
				p.Invented[codec.TypeToString[typ]+" of "+name] = got
			})
		}
	}
	for i, name := range known {
		k := &p.Known[i]
		k.Name = strings.TrimSuffix(name, ".")
		wg.Go(func() { k.MX = a.ask(ctx, "", name, codec.TypeMX) })
		wg.Go(func() { k.TXT = a.ask(ctx, "", name, codec.TypeTXT) })
		wg.Go(func() { k.TCP = a.ask(ctx, "tcp", name, codec.TypeTXT) })
	}
	wg.Wait()
	return p
}

type asker struct {
	server  Server
	timeout time.Duration
}

// ask sends one query with EDNS. network is "udp" or "tcp"; "" means the one that the daemon uses
// first. A server that does not understand EDNS is asked again without it.
func (a asker) ask(ctx context.Context, network, name string, typ uint16) Asked {
	c := &codec.Client{Net: network, Timeout: a.timeout}
	switch {
	case a.server.TLS:
		c.Net, c.TLSConfig = "tcp-tls", &tls.Config{ServerName: a.server.Name, MinVersion: tls.VersionTLS12}
	case network == "":
		c.Net = "udp"
	}
	m := new(codec.Msg).SetQuestion(name, typ)
	m.SetEdns0(ednsSize, false)
	begin := time.Now()
	r, _, err := c.ExchangeContext(ctx, m, a.server.Addr.String())
	if err == nil && (r.Rcode == codec.RcodeFormatError || r.Rcode == codec.RcodeNotImplemented) {
		m.Extra = nil
		r, _, err = c.ExchangeContext(ctx, m, a.server.Addr.String())
	}
	if err != nil {
		return Asked{Err: err}
	}
	out := Asked{Rcode: codec.RcodeToString[r.Rcode], Truncated: r.Truncated, EDNS: r.IsEdns0() != nil, Took: time.Since(begin)}
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == typ {
			out.Records++
		}
	}
	return out
}
