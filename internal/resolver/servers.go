package resolver

import (
	"fmt"
	"net/netip"

	codec "github.com/miekg/dns"
)

// ResolvConf is the file that names the system's servers.
const ResolvConf = "/etc/resolv.conf"

const dnsPort = 53

// ServersFromResolvConf returns the name servers of a resolv.conf(5). Without
// any it is the local machine, as that page says.
func ServersFromResolvConf(path string) ([]netip.AddrPort, error) {
	conf, err := codec.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1"}
	}
	return parseServers(conf.Servers)
}

func serverAddrs(configured []string) ([]netip.AddrPort, error) {
	if len(configured) == 0 {
		return ServersFromResolvConf(ResolvConf)
	}
	return parseServers(configured)
}

// parseServers reads addresses. Host names are refused: asking for them would
// need a server.
func parseServers(list []string) ([]netip.AddrPort, error) {
	out := make([]netip.AddrPort, 0, len(list))
	for _, s := range list {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.AddrPortFrom(ip, dnsPort))
			continue
		}
		ap, err := netip.ParseAddrPort(s)
		if err != nil || ap.Port() == 0 {
			return nil, fmt.Errorf("resolver: server %q is not an IP address with an optional port", s)
		}
		out = append(out, ap)
	}
	return out, nil
}

// newUpstream returns the server at addr, an address with its port.
func newUpstream(addr netip.AddrPort, trustAD bool) *upstream {
	local := addr.Addr().Unmap().IsLoopback()
	return &upstream{addr: addr.String(), remote: !local, trusted: local || trustAD}
}
