package app

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// Advice lists the settings of a configuration that are allowed but probably mistakes. "config
// check" prints them, and the daemon logs them when the configuration comes into effect.
func Advice(cfg *config.Config) []string {
	var out []string
	if text := nameAdvice(cfg.AuthservID, config.HostName()); text != "" {
		out = append(out, text)
	}
	out = append(out, networkAdvice(cfg.Trusted.Networks)...)
	out = append(out, relayAdvice(cfg.Trusted)...)
	if text := adminAdvice(cfg.Admin); text != "" {
		out = append(out, text)
	}
	return append(out, serverAdvice(cfg.DNS, resolver.ResolvConf)...)
}

// adminAdvice returns a warning if other hosts may read the admin address without a password, or "".
func adminAdvice(a config.Admin) string {
	host, _, err := net.SplitHostPort(a.Listen)
	if addr, _ := netip.ParseAddr(host); err != nil || addr.IsLoopback() || host == "localhost" || a.WebConfig != "" {
		return ""
	}
	return fmt.Sprintf("admin.listen: whoever reaches %s can read senders, recipients and decisions there without a password; "+
		"listen on 127.0.0.1, or set admin.web_config", a.Listen)
}

// nameAdvice returns a warning if the authserv-id has no dot, or if it is empty and the name of
// this host, which then replaces it, has no dot. It returns "" if there is nothing to warn about.
func nameAdvice(id, host string) string {
	const why = "if the MTA does not send its name, results in the MTA's full name could be forged; " +
		"write the name that the MTA calls itself, such as mx.example.jp"
	switch {
	case strings.Contains(id, "."), id == "" && strings.Contains(host, "."):
		return ""
	case id != "":
		return fmt.Sprintf("authserv_id: %q has no dot and is not a full host name: %s", id, why)
	case host == "":
		return "authserv_id: this host has no name, so only the name that the MTA sends (its macro j) is used; " +
			"write the name that the MTA calls itself, such as mx.example.jp"
	}
	return fmt.Sprintf("authserv_id: not given, and the name of this host, %q, has no dot: "+
		"the name that the MTA sends (its macro j) is used if it has one; %s", host, why)
}
