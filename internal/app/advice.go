package app

import (
	"fmt"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// Advice lists what is allowed in a configuration but is probably a mistake. "config
// check" prints it, and the daemon logs it when the configuration comes into effect.
func Advice(cfg *config.Config) []string {
	var out []string
	if text := nameAdvice(cfg.AuthservID, config.HostName()); text != "" {
		out = append(out, text)
	}
	out = append(out, networkAdvice(cfg.Trusted.Networks)...)
	return append(out, serverAdvice(cfg.DNS, resolver.ResolvConf)...)
}

// nameAdvice warns about an authserv-id without a dot. host is the name of this host.
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
