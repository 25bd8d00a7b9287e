package resolver

import (
	"fmt"
	"net"
	"net/netip"

	codec "github.com/miekg/dns"
)

// ResolvConf is the file that names the system's servers.
const ResolvConf = "/etc/resolv.conf"

const defaultPort = "53"

// ServersFromResolvConf returns the name servers of a resolv.conf(5) as
// host:port. Without any it is the local machine, as that page says.
func ServersFromResolvConf(path string) ([]string, error) {
	conf, err := codec.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1"}
	}
	return normalizeServers(conf.Servers)
}

func serverAddrs(configured []string) ([]string, error) {
	if len(configured) == 0 {
		return ServersFromResolvConf(ResolvConf)
	}
	return normalizeServers(configured)
}

// normalizeServers makes each host:port. Host names are refused: asking for
// them would need a server.
func normalizeServers(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		if ip, err := netip.ParseAddr(s); err == nil {
			out = append(out, net.JoinHostPort(ip.String(), defaultPort))
			continue
		}
		ap, err := netip.ParseAddrPort(s)
		if err != nil || ap.Port() == 0 {
			return nil, fmt.Errorf("resolver: server %q is not an IP address with an optional port", s)
		}
		out = append(out, ap.String())
	}
	return out, nil
}
