package setup

import (
	"fmt"
	"net/netip"
	"strings"

	"sekimori/internal/config"
)

// parseNetworks reads the value of mynetworks, without references to other parameters. It returns
// the networks, and the items that cannot be written into trusted.networks.
func parseNetworks(value string) (networks []netip.Prefix, strange []string) {
	for _, item := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		p, err := parseNetwork(item)
		if err != nil {
			strange = append(strange, item)
			continue
		}
		networks = append(networks, p)
	}
	return networks, strange
}

// parseNetwork reads one network as Postfix writes it: 192.0.2.0/24, 192.0.2.1, [2001:db8::]/32 or
// [::ffff:127.0.0.0]/104.
func parseNetwork(item string) (netip.Prefix, error) {
	plain := strings.NewReplacer("[", "", "]", "").Replace(item)
	p, err := netip.ParsePrefix(plain)
	if err != nil {
		addr, err := netip.ParseAddr(plain)
		if err != nil || addr.Zone() != "" {
			return p, fmt.Errorf("setup: %q is not an address", item)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if !p.IsValid() || p != p.Masked() || p.Bits() == 0 {
		return p, fmt.Errorf("setup: %q is not a network that can be trusted", item)
	}
	return p, nil
}

// missing returns the networks that are not yet trusted.
func missing(networks []netip.Prefix, trusted []config.Network) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(trusted))
	for _, t := range trusted {
		all = append(all, t.Prefix)
	}
	var out []netip.Prefix
	for _, n := range networks {
		if !covered(n, all) {
			out, all = append(out, n), append(all, n)
		}
	}
	return out
}

// covered reports whether one of the networks in all contains n.
func covered(n netip.Prefix, all []netip.Prefix) bool {
	for _, t := range all {
		if t.Bits() <= n.Bits() && t.Contains(n.Addr()) {
			return true
		}
	}
	return false
}
