package upstream

import (
	"fmt"
	"net/netip"
	"strings"

	codec "github.com/miekg/dns"
)

// ResolvConf is the file that names the system's servers.
const ResolvConf = "/etc/resolv.conf"

const (
	dnsPort = 53
	tlsPort = 853 // RFC 7858 §3.1
	// maxSystemServers is how many name servers a resolv.conf(5) file may have (MAXNS).
	maxSystemServers = 3
)

// ServersFromResolvConf returns the name servers of a resolv.conf(5) file. If the file has none, it
// returns the address of the local machine, as resolv.conf(5) says.
func ServersFromResolvConf(path string) ([]netip.AddrPort, error) {
	servers, err := systemServers(path)
	out := make([]netip.AddrPort, len(servers))
	for i, s := range servers {
		out[i] = s.addr
	}
	return out, err
}

func systemServers(path string) ([]endpoint, error) {
	servers, err := namedServers(path)
	if err == nil && len(servers) == 0 {
		return parseServers([]string{"127.0.0.1"})
	}
	return servers, err
}

// namedServers returns the name servers in a resolv.conf(5) file.
func namedServers(path string) ([]endpoint, error) {
	conf, err := codec.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	servers, err := parseServers(conf.Servers[:min(len(conf.Servers), maxSystemServers)])
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	return servers, nil
}

// ResolvConfEmpty reports whether a resolv.conf(5) file can be read and has no server, so that the
// local machine is asked.
func ResolvConfEmpty(path string) bool {
	servers, err := namedServers(path)
	return err == nil && len(servers) == 0
}

func configuredServers(cfg ClientConfig) ([]endpoint, error) {
	if len(cfg.Servers) == 0 {
		return systemServers(cfg.ResolvConf)
	}
	return parseServers(cfg.Servers)
}

// endpoint says at which address and how a server is asked.
type endpoint struct {
	addr netip.AddrPort
	tls  bool
	name string // the name for which the certificate must be valid; only with tls
}

// String returns s in the form in which it is configured.
func (s endpoint) String() string {
	if !s.tls {
		return s.addr.String()
	}
	out := tlsScheme + s.addr.String()
	if s.name != s.addr.Addr().WithZone("").String() {
		out += "#" + s.name
	}
	return out
}

const tlsScheme = "tls://"

// parseServers reads ADDRESS, ADDRESS:PORT and tls://ADDRESS[:PORT][#NAME]. It refuses
// host names, because looking them up would need a server.
func parseServers(list []string) ([]endpoint, error) {
	out := make([]endpoint, 0, len(list))
	for _, text := range list {
		rest, overTLS := strings.CutPrefix(text, tlsScheme)
		s, port := endpoint{tls: overTLS}, uint16(dnsPort)
		if overTLS {
			port = tlsPort
			rest, s.name, _ = strings.Cut(rest, "#")
		}
		if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")); err == nil {
			s.addr = netip.AddrPortFrom(ip, port)
		} else if s.addr, err = netip.ParseAddrPort(rest); err != nil || s.addr.Port() == 0 {
			return nil, fmt.Errorf("resolver: server %q is not an IP address with an optional port, nor tls://ADDRESS[:PORT][#NAME]", text)
		}
		if overTLS && s.name == "" {
			s.name = s.addr.Addr().WithZone("").String()
		}
		out = append(out, s)
	}
	return out, nil
}

// newServer returns a server for the endpoint s.
func newServer(s endpoint, cfg ClientConfig) *server {
	if s.tls {
		addr := s.addr.String()
		return &server{addr: addr, shown: s.String(), from: s, trusted: true, secure: newSecure(addr, s.name, cfg.RootCAs)}
	}
	local := s.addr.Addr().Unmap().IsLoopback()
	return &server{addr: s.addr.String(), shown: s.String(), from: s, remote: !local, trusted: local || cfg.TrustAD}
}
