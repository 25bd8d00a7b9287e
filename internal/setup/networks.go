package setup

import (
	"net/netip"
	"slices"

	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
)

// networksOf reads the value of mynetworks, without references to other parameters. strange has the
// items that cannot be written into trusted.networks. A network of all addresses is one of them.
func networksOf(value string) (networks []netip.Prefix, strange []string) {
	networks, strange = mtaconf.Networks(value)
	networks = slices.DeleteFunc(networks, func(n netip.Prefix) bool {
		if n.Bits() == 0 {
			strange = append(strange, n.String())
		}
		return n.Bits() == 0
	})
	return networks, strange
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
