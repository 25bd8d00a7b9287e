package config

// moved maps paths that older versions or other filters have to the paths that
// the keys have here. A change that renames or moves a key adds the old path.
var moved = map[string]string{
	"authservid":        "authserv_id",
	"dns.nameservers":   "dns.servers",
	"ignore_hosts":      "trusted.networks",
	"policy.exceptions": "policy.overrides",
	"socket":            "listen",
	"trusted_networks":  "trusted.networks",
}
