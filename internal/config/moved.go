package config

// moved says where keys went that an older version, or another filter, has
// under another name. Whoever renames or moves a key adds its old path here.
var moved = map[string]string{
	"authservid":        "authserv_id",
	"dns.nameservers":   "dns.servers",
	"ignore_hosts":      "trusted.networks",
	"policy.exceptions": "policy.overrides",
	"socket":            "listen",
	"trusted_networks":  "trusted.networks",
}
