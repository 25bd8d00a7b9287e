package webfetch

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Guard decides whether a connection to an address may be made. The error says why not.
type Guard func(netip.AddrPort) error

// ErrAddress is wrapped by the error of a guard that refuses an address.
var ErrAddress = errors.New("webfetch: the address is not one of the public internet")

// special lists the networks that are not the public internet (the special-purpose registries of IANA,
// RFC 6890). Of IPv6 it lists what lies in 2000::/3; nothing outside of that is public.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this host, RFC 1122
	netip.MustParsePrefix("10.0.0.0/8"),      // private, RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT, RFC 6598
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback, RFC 1122
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local, RFC 3927; metadata of clouds
	netip.MustParsePrefix("172.16.0.0/12"),   // private, RFC 1918
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments, RFC 6890
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation, RFC 5737
	netip.MustParsePrefix("192.88.99.0/24"),  // relays of 6to4, RFC 7526
	netip.MustParsePrefix("192.168.0.0/16"),  // private, RFC 1918
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks, RFC 2544
	netip.MustParsePrefix("198.51.100.0/24"), // documentation, RFC 5737
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation, RFC 5737
	netip.MustParsePrefix("224.0.0.0/3"),     // multicast, reserved, broadcast
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, RFC 2928: Teredo, ORCHID, benchmarks
	netip.MustParsePrefix("2001:db8::/32"),   // documentation, RFC 3849
	netip.MustParsePrefix("2002::/16"),       // 6to4, RFC 3056
	netip.MustParsePrefix("3fff::/20"),       // documentation, RFC 9637
}

// unicast has the public addresses of IPv6 (RFC 4291 §2.4). nat64 is the prefix of RFC 6052 §2.1, by
// which a host without IPv4 reaches an IPv4 address.
var (
	unicast = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
)

// public reports whether an address belongs to the public internet. IPv4-mapped addresses do not: no
// name server has a reason to give one.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.Is6() && !unicast.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Public returns the guard that lets only addresses of the public internet pass, and none of the given
// networks.
func Public(except []netip.Prefix) Guard {
	return func(to netip.AddrPort) error {
		a := to.Addr()
		if nat64.Contains(a) {
			b := a.As16()
			a = netip.AddrFrom4([4]byte(b[12:])) // that is where the connection leads
		}
		if !public(a) {
			return fmt.Errorf("%w: %s", ErrAddress, a)
		}
		if i := slices.IndexFunc(except, func(p netip.Prefix) bool { return p.Contains(a) }); i >= 0 {
			return fmt.Errorf("%w: %s is in %s, one of the trusted networks", ErrAddress, a, except[i])
		}
		return nil
	}
}
