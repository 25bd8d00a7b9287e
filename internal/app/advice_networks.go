package app

import (
	"fmt"
	"net/netip"
	"slices"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// The prefix lengths of the widest networks that one organization can have. Package policy uses the
// same limits for rules of policy.overrides.
const (
	widestTrusted4 = 8
	widestTrusted6 = 19
)

// notRouted are wide networks that are not routed on the Internet. A stranger cannot send from
// them, so they may be trusted.
var notRouted = []netip.Prefix{
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), // RFC 4193, RFC 4291 §2.5.6
}

// networkAdvice warns about trusted networks that are so wide that they include strangers.
func networkAdvice(networks []config.Network) []string {
	var out []string
	for i, n := range networks {
		widest, wide := tooWide(n)
		if !wide {
			continue
		}
		out = append(out, fmt.Sprintf("trusted.networks[%d]: %s is wider than /%d: mail that strangers send from there is not evaluated at all; "+
			"name the networks that are yours", i, n.Prefix, widest))
	}
	return out
}

// tooWide reports whether n is wider than the network of one organization, and returns the prefix
// length of the widest such network. A network that is not routed is not too wide.
func tooWide(n config.Network) (widest int, wide bool) {
	widest = widestTrusted6
	if n.Addr().Is4() {
		widest = widestTrusted4
	}
	inside := func(p netip.Prefix) bool { return p.Bits() <= n.Bits() && p.Contains(n.Addr()) }
	return widest, n.Bits() < widest && !slices.ContainsFunc(notRouted, inside)
}

// relayAdvice warns about relays that include strangers, and about those that have no effect
// because they are trusted.
func relayAdvice(t config.Trusted) []string {
	var out []string
	for i, r := range t.Relays {
		n := r.Network
		if widest, wide := tooWide(n); wide {
			out = append(out, fmt.Sprintf("trusted.relays[%d]: %s is wider than /%d: strangers who connect from there choose the client "+
				"that SPF is evaluated for; name the addresses of the relay", i, n, widest))
		}
		if slices.ContainsFunc(t.Networks, func(own config.Network) bool { return own.Bits() <= n.Bits() && own.Contains(n.Addr()) }) {
			out = append(out, fmt.Sprintf("trusted.relays[%d]: %s is in trusted.networks, so its mail is not evaluated at all; "+
				"take it out of one of the two", i, n))
		}
	}
	return out
}

// serverAdvice warns if the configuration leaves the DNS servers to a resolv.conf that names no
// server.
func serverAdvice(d config.DNS, resolvConf string) []string {
	if len(d.Servers) > 0 || !resolver.ResolvConfEmpty(resolvConf) {
		return nil
	}
	return []string{fmt.Sprintf("dns.servers: not given, and %s names no server either: "+
		"127.0.0.1:53 is asked, as resolv.conf(5) says; name your resolvers", resolvConf)}
}
