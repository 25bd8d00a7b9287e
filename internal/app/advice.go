package app

import (
	"fmt"
	"strings"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// Advice lists what in a sound configuration is seldom meant. "config check"
// warns of it, and so does the daemon when the configuration comes into effect.
func Advice(cfg *config.Config) []string {
	var out []string
	if text := nameAdvice(cfg.AuthservID, config.HostName()); text != "" {
		out = append(out, text)
	}
	out = append(out, networkAdvice(cfg.Trusted.Networks)...)
	return append(out, serverAdvice(cfg.DNS, resolver.ResolvConf)...)
}

// nameAdvice warns of an authserv-id without a dot. host is this host's name.
func nameAdvice(id, host string) string {
	const why = "results in the MTA's full name could then be forged if the MTA did not tell its name; write the name that the MTA calls itself, such as mx.example.jp"
	switch {
	case strings.Contains(id, "."), id == "" && strings.Contains(host, "."):
		return ""
	case id != "":
		return fmt.Sprintf("authserv_id: %q has no dot and is not a full host name: %s", id, why)
	case host == "":
		return "authserv_id: this host has no name, so that the MTA's (its macro j) is used alone; write the name that the MTA calls itself, such as mx.example.jp"
	}
	return fmt.Sprintf("authserv_id: not given, and the name of this host, %q, has no dot: the MTA's name (its macro j) is used where it has one; %s", host, why)
}
