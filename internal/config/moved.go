package config

// moved maps key paths of older versions and of other filters to the present
// paths. It is used for hints in errors. When a key is renamed or moved, its
// old path must be added here.
var moved = map[string]string{
	"authservid":        "authserv_id",
	"dns.nameservers":   "dns.servers",
	"ignore_hosts":      "trusted.networks",
	"policy.exceptions": "policy.overrides",
	"report.store":      "store.url",
	"socket":            "listen",
	"trusted_networks":  "trusted.networks",
}
