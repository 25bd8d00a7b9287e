package spf

import (
	"net/netip"
	"slices"
)

// PrivateClient reports whether ip is an address that no client on the Internet
// can have. Such an address belongs to a host of this site, or to a NAT or a
// proxy in front of this site. The verifier then does not see the address of the
// host that sent the message, so SPF has nothing to check (RFC 7208 §2.3).
// IPv4-mapped addresses count as IPv4 (RFC 7208 §5). The zero Addr is not
// private.
//
// The networks for documentation and benchmarks count as public, because
// examples, tests and load generators use them for clients on the Internet.
func PrivateClient(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	networks := privateIPv6
	if ip.Is4() {
		networks = privateIPv4
	}
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// The networks whose addresses no client on the Internet has, from the IANA
// registries of special-purpose addresses (RFC 6890).
var (
	privateIPv4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),     // RFC 1918
		netip.MustParsePrefix("172.16.0.0/12"),  // RFC 1918; Docker's networks
		netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
		netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598, behind a provider's NAT
		netip.MustParsePrefix("169.254.0.0/16"), // RFC 3927, link-local
		netip.MustParsePrefix("127.0.0.0/8"),    // RFC 1122, loopback
		netip.MustParsePrefix("0.0.0.0/8"),      // RFC 791, "this network"
		netip.MustParsePrefix("192.0.0.0/24"),   // RFC 6890, IETF protocols such as DS-Lite
		netip.MustParsePrefix("224.0.0.0/4"),    // RFC 5771, multicast
		netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112, reserved, and the broadcast address
	}
	privateIPv6 = []netip.Prefix{
		netip.MustParsePrefix("fc00::/7"),  // RFC 4193, unique local
		netip.MustParsePrefix("fe80::/10"), // RFC 4291, link-local
		netip.MustParsePrefix("fec0::/10"), // RFC 3879, site-local, deprecated
		// This network has the unspecified address, loopback and the IPv4-compatible
		// addresses (RFC 4291). It also has the addresses that an IPv6/IPv4 translator
		// gives to IPv4 clients (RFC 6052, RFC 8215). SPF records name none of these
		// addresses. The IPv4 address inside a translated address is not used for SPF,
		// because a pass must not come from an address that the connection does not
		// have.
		netip.MustParsePrefix("::/8"),
		netip.MustParsePrefix("100::/64"), // RFC 6666, discard
		netip.MustParsePrefix("ff00::/8"), // RFC 4291, multicast
	}
)
