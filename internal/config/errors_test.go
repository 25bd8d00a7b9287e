package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sekimori/configs"
	"sekimori/internal/config/strict"
	"sekimori/internal/policy"
)

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		reason, in, want string // want begins the error, after "config: x.yaml:"
	}{
		{"unknown key", "lissten: []\n", `1:1: unknown key "lissten"; perhaps listen; known here: listen, authserv_id,`},
		{"unknown key in a section", "dns:\n  timeout: 1s\n  server: []\n", `3:3: dns: unknown key "server"; perhaps servers; known here: servers, timeout,`},
		{"unknown key in a listener", "listen: [{addr: x}]\n", `1:11: listen[0]: unknown key "addr"; known here: address, mode, group`},
		{"keys have one case", "Mode: enforce\n", `1:1: unknown key "Mode"`},
		{"a key that is a number", "1: 2\n", `1:1: a key that is not plain text`},
		{"a merge key", "<<: {mode: monitor}\n", `1:1: a key that is not plain text`},
		{"duplicate key", "mode: enforce\nmode: monitor\n", `2:1: mapping key "mode" already defined at [1:1]`},
		{"duplicate key in a section", "log: {level: info, level: warn}\n", `1:20: mapping key "level" already defined`},
		{"text for a list", "listen: inet:127.0.0.1:1\n", `1:9: listen: text where there should be a list`},
		{"list for text", "mode: [enforce]\n", `1:7: mode: a list where there should be text`},
		{"text for a section", "dns: fast\n", `1:6: dns: text where there should be a mapping`},
		{"list for a section", "dns: []\n", `1:6: dns: a list where there should be a mapping`},
		{"list for a listener", "listen: [[]]\n", `1:10: listen[0]: a list where there should be a mapping`},
		{"number for text", "mode: 5\n", `1:7: mode: a number where there should be text`},
		{"boolean for text", "mode: true\n", `1:7: mode: true or false where there should be text`},
		{"text for a boolean", "headers: {received_spf: yes}\n", `1:25: headers.received_spf: text where there should be true or false`},
		{"fraction for an integer", "dkim: {max_signatures: 1.5}\n", `1:24: dkim.max_signatures: a number where there should be a whole number`},
		{"text for an integer", "dkim: {max_signatures: many}\n", `1:24: dkim.max_signatures: text where there should be a whole number`},
		{"quoted number for an integer", "dkim: {max_signatures: \"5\"}\n", `1:24: dkim.max_signatures: text where`},
		{"octal for an integer", "dkim: {max_signatures: 0x10}\n", `1:24: dkim.max_signatures: 0x10 is not a whole number in decimal`},
		{"integer overflow", "limits: {recipients: 99999999999999999999}\n", `1:22: limits.recipients: text where there should be a whole number`},
		{"integer over 32 bits", "limits: {recipients: 4294967296}\n", `1:22: limits.recipients: 4294967296 is no`},
		{"mapping for a duration", "drain_timeout: {a: 1}\n", `1:16: drain_timeout: a mapping where there should be one value`},
		{"empty item", "trusted: {networks: [127.0.0.1, ]}\nlisten: [~]\n", `2:10: listen[0]: an empty item`},
		{"document that is a list", "- mode: enforce\n", `1:1: a list where there should be a mapping`},
		{"document that is text", "enforce\n", `1:1: text where there should be a mapping`},
		{"second document", "mode: enforce\n---\nmode: monitor\n", `3:5: a second document`},
		{"alias", "mode: &m enforce\nlog: {level: *m}\n", `1:7: mode: anchors, aliases and tags`},
		{"tag", "mode: !!str enforce\n", `1:7: mode: anchors, aliases and tags`},
		{"tab indentation", "dns:\n\ttimeout: 1s\n", `2:1: found character '	' that cannot start any token`},
		{"unbalanced bracket", "listen: [\"inet:127.0.0.1:1\"\n", `1:9: sequence end token ']' not found`},
		{"unbalanced quote", "mode: \"enforce\n", `1:7: could not find end character of double-quoted text`},
		{"reply contact over a line", "policy:\n  reply: {contact: \"a@b\\r\\n250 ok\"}\n", `2:20: policy.reply.contact: "a@b\r\n250 ok" must be printable ASCII`},
		{"reply contact with an accent", "policy: {reply: {contact: \"andré\"}}\n", `1:27: policy.reply.contact: "andré" must be`},
		{"reply contact with space around it", "policy: {reply: {contact: \" a\"}}\n", `1:27: policy.reply.contact: " a" must be`},
		{"reply URL without a scheme", "policy: {reply: {url: isp.example/mail}}\n", `1:23: policy.reply.url: "isp.example/mail" is not a URL`},
		{"reply URL of another scheme", "policy: {reply: {url: \"javascript://a/b\"}}\n", `1:23: policy.reply.url: "javascript://a/b" is not a URL`},
		{"reply URL with a space", "policy: {reply: {url: \"https://a.example/b c\"}}\n", `1:23: policy.reply.url: `},
		{"reply URL without a host", "policy: {reply: {url: \"https:///b\"}}\n", `1:23: policy.reply.url: `},
		{"reply help over the limit", "policy: {reply: {url: \"https://a.example/" + strings.Repeat("b", 128) + "\"}}\n", `1:17: policy.reply: contact and url are too long: with the words between them they have 152 octets, and at most 150`},
		{"budget no MTA waits for", "dns:\n  message_budget: 10m\n", `2:19: dns.message_budget: at most 4m`},
		{"look-ahead below 0", "dns: {spf_ahead: -1}\n", `1:18: dns.spf_ahead: -1 is not from 0 to 50`},
		{"look-ahead over the bound", "dns: {spf_ahead: 51}\n", `1:18: dns.spf_ahead: 51 is not from 0 to 50`},
		{"bad indentation", "dns:\n  timeout: 1s\n message_budget: 1s\n", `3:2: `},
		{"bad duration", "dns:\n  timeout: 2 seconds\n", `2:12: dns.timeout: "2 seconds" is not a duration`},
		{"duration without a unit", "dns: {timeout: 2}\n", `1:16: dns.timeout: "2" is not a duration; write a number and a unit`},
		{"negative duration", "dns: {timeout: -2s}\n", `1:16: dns.timeout: -2s is too short`},
		{"no duration", "limits: {idle_timeout: 0s}\n", `1:24: limits.idle_timeout: 0s is too short`},
		{"negative skew", "dkim: {clock_skew: -1s}\n", `1:20: dkim.clock_skew: -1s is not between 0s and 24h`},
		{"a skew of more than a day", "dkim: {clock_skew: 25h}\n", `1:20: dkim.clock_skew: 25h is not between 0s and 24h`},
		{"negative wait", "limits: {shown_wait: -1s}\n", `1:22: limits.shown_wait: -1s is negative`},
		{"negative duration where none is allowed", "drain_timeout: -1s\n", `1:16: drain_timeout: -1s is negative`},
		{"bad size", "dns: {cache: {size: lots}}\n", `1:21: dns.cache.size: "lots" is not a size`},
		{"negative size", "dns: {cache: {size: -1}}\n", `1:21: dns.cache.size: must not be negative`},
		{"bad network", "trusted:\n  networks:\n    - 127.0.0.0/8\n    - 10.0.0.0/33\n", `4:7: trusted.networks[1]: "10.0.0.0/33" is not a network`},
		{"host bits in a network", "trusted: {networks: [10.0.0.1/8]}\n",
			`1:22: trusted.networks[0]: "10.0.0.1/8" has bits set beyond its length; did you mean 10.0.0.0/8 or 10.0.0.1?`},
		{"bad DNS server", "dns: {servers: [localhost]}\n", `1:17: dns.servers[0]: "localhost" is not a DNS server`},
		{"TTLs crossed", "dns: {cache: {min_ttl: 2h, max_ttl: 1h}}\n", `1:24: dns.cache.min_ttl: 2h is more than dns.cache.max_ttl, 1h`},
		{"failures kept too long", "dns: {cache: {failure_ttl: 6m}}\n", `1:28: dns.cache.failure_ttl: failures may be kept for 5m at most (RFC 9520)`},
		{"no listener", "listen: []\n", `1:9: listen: name at least one address`},
		{"listener twice", "listen: ['systemd:', 'systemd:']\n", `1:22: listen[1]: "systemd:" is listed twice`},
		{"unknown listener", "listen: ['tcp:127.0.0.1:1']\n", `1:10: listen[0]: "tcp:127.0.0.1:1" is not a place to listen`},
		{"listener without a port", "listen: ['inet:127.0.0.1']\n", `1:10: listen[0]: "127.0.0.1" is not HOST:PORT`},
		{"listener with a named port", "listen: ['inet:127.0.0.1:milter']\n", `1:10: listen[0]: "127.0.0.1:milter" is not HOST:PORT`},
		{"listener with a strange host", "listen: ['inet:a b:1']\n", `1:10: listen[0]: "a b" is not a host`},
		{"relative socket", "listen: ['unix:milter.sock']\n", `1:10: listen[0]: "unix:milter.sock": the path of a unix socket begins with /`},
		{"long socket path", "listen: ['unix:/" + strings.Repeat("a", 107) + "']\n", `1:10: listen[0]: the path of a unix socket has at most 107 octets`},
		{"mode of a TCP listener", "listen: [{address: 'inet:127.0.0.1:1', mode: 0660}]\n", `1:10: listen[0]: mode and group are for unix: sockets only`},
		{"bad mode", "listen: [{address: 'unix:/a', mode: 0999}]\n", `1:37: listen[0].mode: "0999" is not a file mode`},
		{"empty group", "listen: [{address: 'unix:/a', group: ''}]\n", `1:38: listen[0].group: the name of the group is empty`},
		{"authserv-id that would need quotes", "authserv_id: 'mx.example.jp; none'\n", `1:14: authserv_id: "mx.example.jp; none" is not a host name`},
		{"authserv-id with a semicolon", "authserv_id: 'mx;x'\n", `1:14: authserv_id: "mx;x" is not a host name`},
		{"authserv-id with a character behind Z", "authserv_id: 'mx['\n", `1:14: authserv_id: "mx[" is not a host name`},
		{"authserv-id with a character behind z", "authserv_id: 'mx{'\n", `1:14: authserv_id: "mx{" is not a host name`},
		{"authserv-id with a character before 0", "authserv_id: 'mx/1'\n", `1:14: authserv_id: "mx/1" is not a host name`},
		{"authserv-id with a letter beyond ASCII", "authserv_id: 'mxé'\n", `1:14: authserv_id: "mxé" is not a host name`},
		{"authserv-id with a trailing dot", "authserv_id: mx.example.jp.\n", `1:14: authserv_id: "mx.example.jp." is not a host name`},
		{"long authserv-id", "authserv_id: " + strings.Repeat("a", 256) + "\n", `1:14: authserv_id: longer than 255 octets`},
		{"unknown mode", "mode: off\n", `1:7: mode: "off" is not known; write enforce or monitor`},
		{"unknown policy word", "policy:\n  reject: sometimes\n", `2:11: policy.reject: "sometimes" is not known; write always, corroborated or quarantine`},
		{"p=none must not be enforced, RFC 9989 §5.4", "policy: {none: reject}\n", `1:16: policy.none: "reject" is not known; write tag`},
		{"empty policy word", "policy: {temperror: ''}\n", `1:21: policy.temperror: "" is not known; write tempfail or accept`},
		{"empty policy word, unknown policy", "policy: {temperror_unknown: ''}\n", `1:29: policy.temperror_unknown: "" is not known; write tempfail or accept`},
		{"weak keys, RFC 8301", "dkim: {min_rsa_bits: 512}\n", `1:22: dkim.min_rsa_bits: 512 is not between 1024 and 8192`},
		{"no signature", "dkim: {max_signatures: 0}\n", `1:24: dkim.max_signatures: 0 is not between 1 and 50`},
		{"unknown word for l=", "dkim: {body_length: maybe}\n", `1:21: dkim.body_length: "maybe" is not known`},
		{"psl without a list", "dmarc: {organizational_domain: psl}\n", `1:32: dmarc.organizational_domain: psl needs dmarc.psl_file`},
		{"more decisions than are remembered", "admin: {recent: 100001}\n", `1:17: admin.recent: 100001 is not between 0 and 100000`},
		{"admin without a port", "admin: {listen: localhost}\n", `1:17: admin.listen: "localhost" is not HOST:PORT`},
		{"unknown log format", "log: {format: xml}\n", `1:15: log.format: "xml" is not known; write json or text`},
		{"unknown log level", "log: {level: loud}\n", `1:14: log.level: "loud" is not known; write debug, info, warn or error`},
		{"no session", "limits: {max_sessions: 0}\n", `1:24: limits.max_sessions: 0 is too small`},
		{"memory for no session", "limits: {memory: 1MiB}\n", `1:18: limits.memory: 1MiB is too small; it must be at least 16MiB, or 0 for no budget`},
		{"negative recipients", "limits: {recipients: -1}\n", `1:22: limits.recipients: -1 is too small`},
		{"a relay without a network", "trusted: {relays: [192.0.2.7, {by: [mx2.example]}]}\n", `1:31: trusted.relays[1]: name the network of the relay`},
		{"a relay with a bad network", "trusted: {relays: [mx2.example]}\n", `1:20: trusted.relays[0]: "mx2.example" is not a network`},
		{"a relay with a bad name", "trusted: {relays: [{network: 192.0.2.7, by: [mx2]}]}\n", `1:46: trusted.relays[0].by[0]: "mx2" is not a domain`},
		{"sealer without a dot", "arc: {trusted_sealers: [example]}\n", `1:25: arc.trusted_sealers[0]: "example" is not a domain`},
		{"sealer that is an address", "arc: {trusted_sealers: [lists.example, a@b.example]}\n", `1:40: arc.trusted_sealers[1]: "a@b.example" is not a domain`},
		{"consent's third class", "policy: {recipients: {default: maybe}}\n", `1:32: policy.recipients.default: "maybe" is not known; write in or out`},
		{"mixed", "policy: {recipients: {mixed: both}}\n", `1:30: policy.recipients.mixed: "both" is not known; write lenient or split`},
		{"Sendmail waits 10s at RCPT", "policy: {recipients: {timeout: 6s}}\n", `1:32: policy.recipients.timeout: at most 5s`},
		{"no time for a lookup", "policy: {recipients: {timeout: 0s}}\n", `1:32: policy.recipients.timeout: 0s is too short`},
		{"negative TTL", "policy: {recipients: {cache_ttl: -1s}}\n", `1:34: policy.recipients.cache_ttl: -1s is negative`},
		{"socketmap without a name", "policy: {recipients: {socketmap: 'unix:/x'}}\n", `1:34: policy.recipients.socketmap: "unix:/x" is not a socketmap`},
		{"socketmap with an empty name", "policy: {recipients: {socketmap: 'unix:/x:'}}\n", `1:34: policy.recipients.socketmap: "unix:/x:" is not a socketmap`},
		{"socketmap of another kind", "policy: {recipients: {socketmap: 'hash:/x:y'}}\n", `1:34: policy.recipients.socketmap: "hash:/x:y" is not a socketmap`},
		{"relative socket", "policy: {recipients: {socketmap: 'unix:x:y'}}\n",
			`1:34: policy.recipients.socketmap: "unix:x:y": the path of a unix socket begins with /`},
		{"socketmap without a port", "policy: {recipients: {socketmap: 'inet:localhost:y'}}\n", `1:34: policy.recipients.socketmap: "localhost" is not HOST:PORT`},
		{"socket path over 107 octets", "policy: {recipients: {socketmap: 'unix:/" + strings.Repeat("x", 107) + ":y'}}\n",
			`1:34: policy.recipients.socketmap: the path of a unix socket has at most 107 octets`},
		{"list without a name", "watch: [{domains: [a.example]}]\n", `1:9: watch[0].name: "": write 1 to 32 lower-case letters`},
		{"list with a long name", "watch: [{name: " + strings.Repeat("x", 33) + ", domains: [a.example]}]\n", `1:16: watch[0].name: "x`},
		{"two lists of one name", "watch: [{name: a, domains: [a.example]}, {name: a, domains: [b.example]}]\n", `1:49: watch[1].name: "a" is the name of two lists`},
		{"list without a domain", "watch: [{name: a}]\n", `1:9: watch[0].domains: name at least one domain`},
		{"names without lookalikes", "watch: [{name: a, domains: [a.example], names: [Bank of A]}]\n", `1:48: watch[0].names: display names are compared only with lookalikes: true`},
		{"short name", "watch: [{name: a, domains: [a.example], names: [ab], lookalikes: true}]\n", `1:8: watch: the name "ab" is too short`},
		{"unknown field for marks", "bimi: {header: all}\n", `1:16: bimi.header: "all" is not known; write both, location or indicator`},
		{"unknown mark type", "bimi: {mark_types: [Registered]}\n", `1:21: bimi.mark_types[0]: "Registered" is not known; write Registered Mark, `},
		{"no mark type", "bimi: {enabled: true, mark_types: []}\n", `1:35: bimi.mark_types: name at least one type`},
		{"long wait for a mark", "bimi: {wait: 3s}\n", `1:14: bimi.wait: 3s is not between 0s and 2s`},
		{"root without a name", "bimi: {roots: [/x, '']}\n", `1:20: bimi.roots[1]: name a file`},
		{"too many logs", "bimi: {ct_logs: [" + strings.Repeat("/x, ", 51) + "]}\n", `1:17: bimi.ct_logs: at most 50 files`},
		{"unknown form of MAIL FROM", "headers: {mailfrom: none}\n", `1:21: headers.mailfrom: "none" is not known; write domain or address`},
		{"unknown style", "headers: {style: exim}\n", `1:18: headers.style: "exim" is not known`},
		{"line break in a header", `headers: {subject: "a\nb"}`, `1:20: headers.subject: "a\nb" has characters that cannot be printed`},
		{"long stamp", "headers: {subject: " + strings.Repeat("x", 41) + "}", `1:20: headers.subject: at most 40 characters`},
		{"blank stamp", `headers: {subject: "  "}`, `1:20: headers.subject: has only white space`},
		{"the store's old place", "report: {store: 'sqlite:/x'}\n", `1:10: report: unknown key "store"; write store.url instead`},
		{"a store of another kind", "store: {url: 'mysql://h/d'}\n", `1:14: store.url: not the URL of a store; write sqlite:/var`},
		{"a relative file", "store: {url: 'sqlite:x.db'}\n", `1:14: store.url: behind sqlite: stands the whole path`},
		{"a file with parameters", "store: {url: 'sqlite:/x.db?mode=memory'}\n", `1:14: store.url: behind sqlite: stands the whole path`},
		{"a password in the URL", "store: {url: 'postgres://u:p@h/d'}\n", `1:14: store.url: a password here could be seen`},
		{"a password behind the URL", "store: {url: 'postgres://u@h/d?password=p'}\n", `1:14: store.url: a password here could be seen`},
		{"no database", "store: {url: 'postgres://u@h'}\n", `1:14: store.url: the URL names no database`},
		{"a password for a file", "store: {url: 'sqlite:/x', password_file: /y}\n", `1:42: store.password_file: only a store of PostgreSQL`},
		{"a relative password file", "store: {url: 'postgres://u@h/d', password_file: y}\n", `1:49: store.password_file: "y": write the whole path`},
		{"a relative spool", "store: {spool: {dir: x}}\n", `1:22: store.spool.dir: "x": write the whole path`},
		{"a group of the ledger", "ledger: {group: a b}\n", `1:17: ledger.group: "a b": write at most 63 letters`},
		{"a long group of the ledger", "ledger: {group: " + strings.Repeat("g", 64) + "}\n", `1:17: ledger.group: `},
		{"no domains in the ledger", "ledger: {max_domains: 0}\n", `1:23: ledger.max_domains: 0 is too small; it must be at least 1`},
		{"a relative file of countries", "geo: {country: x.mmdb}\n", `1:16: geo.country: "x.mmdb": write the whole path`},
		{"a class", "stats: {classes: [co.jp, 'a b']}\n", `1:26: stats.classes[1]: "a b" is not a domain; write a suffix, such as co.jp`},
		{"an empty class", "stats: {classes: ['.']}\n", `1:19: stats.classes[0]: "." is not a domain`},
		{"a class twice", "stats: {classes: [co.jp, .CO.JP]}\n", `1:26: stats.classes[1]: ".CO.JP" is listed twice`},
		{"many classes", "stats: {classes: [" + manyClasses(MaxClasses+1) + "]}\n", `1:18: stats.classes: there are 51; name at most 50`},
		{"a short history", "history: {keep: 1h}\n", `1:17: history.keep: 1h is not between 24h and 9600h`},
		{"a long history", "history: {keep: 9601h}\n", `1:17: history.keep: 9601h is not between 24h and 9600h`},
		{"a small history", "history: {size: 1MiB}\n", `1:17: history.size: 1MiB is too small`},
		{"another history", "history: {what: some}\n", `1:17: history.what: "some" is not known; write failing, all or off`},
		{"a small spool", "store: {spool: {size: 1MiB}}\n", `1:23: store.spool.size: 1MiB is too small`},
		{"an unknown key of reports", "report: {aggregate: {org_name: x}}\n", `1:22: report.aggregate: unknown key "org_name"`},
		{"sending without a store", "report: {aggregate: {send: true}}\n", `1:28: report.aggregate.send: needs store.url, the store`},
		{"failures without a contact", "store: {url: 'sqlite:/x'}\nreport: {domain: a.example, organization: x, failure: {send: true}}\n",
			`2:62: report.failure.send: needs report.contact`},
		{"an interval that a day does not have", "report: {aggregate: {interval: 7h}}\n", `1:32: report.aggregate.interval: 7h is not a divisor of 24h`},
		{"a short interval", "report: {aggregate: {spread: 0, interval: 30m}}\n", `1:43: report.aggregate.interval: 30m is not a divisor of 24h of at least 1h`},
		{"spread beyond the window", "report: {aggregate: {spread: 25h}}\n", `1:30: report.aggregate.spread: 25h is longer than`},
		{"no rate", "report: {aggregate: {rate: 0}}\n", `1:28: report.aggregate.rate: 0 is not between 1 and 1000`},
		{"no rows", "report: {aggregate: {max_rows: 0}}\n", `1:32: report.aggregate.max_rows: 0 is not between`},
		{"no destination", "report: {aggregate: {max_destinations: 0}}\n", `1:40: report.aggregate.max_destinations: 0 is not between`},
		{"21 destinations", "report: {aggregate: {max_destinations: 21}}\n", `1:40: report.aggregate.max_destinations: 21 is not between 1 and 20`},
		{"never to what", "report: {aggregate: {never: ['a b@c.example']}}\n", `1:30: report.aggregate.never[0]: "a b@c.example" is not a domain or address`},
		{"never twice", "report: {aggregate: {never: [a.example, A.example]}}\n", `1:41: report.aggregate.never[1]: "a.example" is listed twice`},
		{"a sign without a name", "report: {aggregate: {spam_sign: [': YES']}}\n", `1:34: report.aggregate.spam_sign[0]: ": YES" is not a header field`},
		{"21 signs", "report: {aggregate: {spam_sign: [a" + strings.Join(strings.Split("bcdefghijklmnopqrstu", ""), ",") + ",v,w]}}\n",
			`1:33: report.aggregate.spam_sign: 22 entries; at most 20`},
		{"a contact that is none", "report: {contact: us}\n", `1:19: report.contact: "us" is not a mail address`},
		{"contact info", "report: {contact_info: 'https://'}\n", `1:24: report.contact_info: "https://" is not a URL`},
		{"line break in the name", `report: {organization: "a\nb"}`, `1:24: report.organization: "a\nb" has control characters`},
		{"keep nothing", "report: {keep: 0}\n", `1:16: report.keep: 0s is too short`},
		{"server without a port", "report: {mail: {server: localhost}}\n", `1:25: report.mail.server: "localhost" is not HOST:PORT`},
		{"unknown TLS", "report: {mail: {tls: maybe}}\n", `1:22: report.mail.tls: "maybe" is not known`},
		{"a user without a password", "report: {mail: {user: u}}\n", `1:23: report.mail.user: user and password_file are set together`},
		{"a password in the clear", "report: {mail: {server: 'h.example:25', tls: none, user: u, password_file: /x}}\n",
			`1:46: report.mail.tls: a password is sent only over TLS`},
		{"an extension in the bounce address", "report: {mail: {bounce: a+b}}\n", `1:25: report.mail.bounce: "a+b" is not the part`},
		{"a long bounce address", "report: {mail: {bounce: abcdefghijklmnopqrstu}}\n", `1:25: report.mail.bounce: longer than 20 octets`},
		{"bounces nowhere", "report: {mail: {bounces: 'lmtp:x'}}\n", `1:26: report.mail.bounces: "lmtp:x" is not a place to listen`},
		{"a selector without a key", "report: {mail: {dkim: {selector: s1}}}\n", `1:23: report.mail.dkim: selector and key_file are set together`},
		{"a selector of two words", "report: {mail: {dkim: {selector: 's 1', key_file: /x}}}\n", `1:34: report.mail.dkim.selector: "s 1" is not a selector`},
		{"a block list with one label", "report: {aggregate: {dnsbl: [dbl]}}\n", `1:30: report.aggregate.dnsbl[0]: "dbl" is not a domain`},
		{"no failure report", "report: {failure: {total: 0}}\n", `1:27: report.failure.total: 0 is not between`},
		{"not text", "mode: \xff\n", ` the file is not UTF-8 text`},
		{"NUL", "mode: \x00\n", ` the file is not UTF-8 text`},
		{"nested brackets", strings.Repeat("[", 1<<19), ` the file is nested too deeply`},
		{"nested lists", strings.Repeat("- ", 1<<19), ` the file is nested too deeply`},
		{"huge", strings.Repeat("#", strict.MaxFile+1), ` the file is larger than 4MiB`},
	} {
		_, err := Parse("x.yaml", []byte(c.in))
		var ce *Error
		if !errors.As(err, &ce) {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		want := "config: x.yaml:" + c.want
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.reason, err, want)
		}
		if p := ce.Problems[0]; p.Line > 0 && p.Excerpt == "" {
			t.Errorf("%s: no excerpt", c.reason)
		}
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	_, err := Parse("sekimori.yaml", []byte("mode: off\nfoo: 1\ndns:\n  timeout: 2\n  servers: [x, 127.0.0.1, y]\npolicy: {reject: no, spf_fail: x}\n"))
	want := `config: sekimori.yaml:1:7: mode: "off" is not known; write enforce or monitor
  >   1 | mode: off
        |       ^
config: sekimori.yaml:2:1: unknown key "foo"; known here: listen, authserv_id, authserv_id_also, mode, trusted, dns, dkim, dmarc, arc, bimi, ` +
		`policy, watch, shadow, store, ledger, history, geo, stats, report, admin, headers, log, limits, drain_timeout
      1 | mode: off
  >   2 | foo: 1
        | ^
config: sekimori.yaml:4:12: dns.timeout: "2" is not a duration; write a number and a unit, such as 500ms, 2s, 5m or 24h
      3 | dns:
  >   4 |   timeout: 2
        |            ^
config: sekimori.yaml:5:13: dns.servers[0]: "x" is not a DNS server; write an address, such as 127.0.0.1, 127.0.0.1:5353 or [::1]:53, ` +
		`or tls://192.0.2.1#dns.example
      4 |   timeout: 2
  >   5 |   servers: [x, 127.0.0.1, y]
        |             ^
config: sekimori.yaml:5:27: dns.servers[2]: "y" is not a DNS server; write an address, such as 127.0.0.1, 127.0.0.1:5353 or [::1]:53, ` +
		`or tls://192.0.2.1#dns.example
      4 |   timeout: 2
  >   5 |   servers: [x, 127.0.0.1, y]
        |                           ^
config: sekimori.yaml:6:18: policy.reject: "no" is not known; write always, corroborated or quarantine
      5 |   servers: [x, 127.0.0.1, y]
  >   6 | policy: {reject: no, spf_fail: x}
        |                  ^
config: sekimori.yaml:6:32: policy.spf_fail: "x" is not known; write tag, quarantine or reject
      5 |   servers: [x, 127.0.0.1, y]
  >   6 | policy: {reject: no, spf_fail: x}
        |                                ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestManyProblems(t *testing.T) {
	var b strings.Builder
	for range 1000 {
		b.WriteString("- x\n")
	}
	_, err := Parse("x", []byte("dns:\n  servers:\n"+strings.ReplaceAll(b.String(), "- ", "    - ")))
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != strict.MaxProblems+1 || ce.Problems[strict.MaxProblems].Message != "and 950 more problems" {
		t.Errorf("%.300v", err)
	}
}

// TestValidate checks that Validate lists every problem, without line and
// column, because the configuration does not come from a file.
func TestValidate(t *testing.T) {
	c := Default()
	c.Mode, c.AuthservID, c.AuthservIDAlso, c.Log.Level = "", "a;b", []string{"mx.example.jp", ""}, "x"
	want := `config: authserv_id: "a;b" is not a host name; write one, such as mx.example.jp, in ASCII
config: authserv_id_also[1]: "" is not a host name; write one, such as mx.example.jp, in ASCII
config: mode: "" is not known; write enforce or monitor
config: log.level: "x" is not known; write debug, info, warn or error`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sekimori.yaml")
	if err := os.WriteFile(path, []byte("mode: monitor\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.Mode != policy.Monitor {
		t.Errorf("%+v, %v", c, err)
	}

	var ce *Error
	_, err = Load(filepath.Join(dir, "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &ce) || !strings.HasPrefix(err.Error(), "config: open ") {
		t.Errorf("missing file: %v", err)
	}
	if _, err = Load(dir); !errors.As(err, &ce) {
		t.Errorf("directory: %v", err)
	}

	if err := os.WriteFile(path, []byte("mode: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(path); err == nil || !strings.HasPrefix(err.Error(), "config: "+path+":1:7: ") {
		t.Errorf("bad file: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, strict.MaxFile+10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Load(path); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Errorf("huge file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{full, "", "a: [", "- ", "? [a]\n: b", "a: |\n  x\n", "&a a: *a", "!!x y", "%YAML 1.2\n---\n",
		"---\n---\n", "dns: {cache: {size: 1MiB}}",
		"listen: [{address: 'unix:/x', mode: 0600}]", "mode: \"\\u0000\"", "<<: {mode: x}", "a:\tb", "\t", "{", "\"", "'", "store: {url: 'postgres://u:p@h'}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("x.yaml", data)
		if err != nil {
			var ce *Error
			if !errors.As(err, &ce) || len(ce.Problems) == 0 {
				t.Errorf("%q: %v", data, err)
			}
			_ = err.Error()
			return
		}
		var b strings.Builder
		if err := c.Print(&b); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("printed", []byte(b.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if again.Hash() != c.Hash() {
			t.Errorf("%q and what is printed of it differ:\n%s", data, b.String())
		}
	})
}

// TestModeMustBeStated checks that a file without a mode is refused, and that
// the error says which line to add. A candidate configuration may leave the
// mode out.
func TestModeMustBeStated(t *testing.T) {
	for _, tt := range []struct{ why, text, at string }{
		{"empty", "", "1:1"},
		{"blanks", "\n\n\n", "1:1"},
		{"comments only", "# mode: enforce\n#\n", "2:1"},
		{"a document of nothing", "---\n...\n", "2:1"},
		{"no mode", "authserv_id: mx.here.example\nadmin: {listen: ''}\n", "2:1"},
		{"cut off behind the key", "authserv_id: mx.here.example\nmode:", "2:1"},
		{"null", "mode: ~\nauthserv_id: mx.here.example\n", "1:1"},
		{"only in a section", "authserv_id: mx.here.example\nlisten: [{address: 'unix:/x', mode: 0600}]\n", "2:1"},
		{"CRLF", "authserv_id: mx.here.example\r\n", "1:1"},
	} {
		path := write(t, "sekimori.yaml", tt.text)
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), path+":"+tt.at+`: mode: not stated; add the line "mode: monitor"`) {
			t.Errorf("%s: %v, want it at %s", tt.why, err, tt.at)
		}
		if c, err := LoadCandidate(path); err != nil || c.Mode != policy.Enforce {
			t.Errorf("%s, as a candidate: %v", tt.why, err)
		}
	}
}

// TestCutOffExample checks that the configurations that we ship are refused if
// they were cut off at any point. They have the mode in their last line.
func TestCutOffExample(t *testing.T) {
	pkg, err := os.ReadFile(filepath.Join("..", "..", "deploy", "packages", "sekimori.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"example": configs.Example, "package": pkg} {
		text = bytes.TrimRight(text, "\n")
		for n := range text {
			if _, err := parseConfig(name, text[:n], true); err == nil {
				t.Errorf("%s: accepted when cut off after %d of %d octets", name, n, len(text))
			}
		}
		if _, err := parseConfig(name, text, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownKeyHints checks the hint in the error for a key that is misplaced,
// mistyped or has an old name.
func TestUnknownKeyHints(t *testing.T) {
	for in, want := range map[string]string{
		"psl_file: /x\n":                    `unknown key "psl_file"; its place is dmarc.psl_file; `,
		"policy: {mode: enforce}\n":         `unknown key "mode"; its place is mode; `,
		"timeout: 1s\n":                     `unknown key "timeout"; its place is dns.timeout or policy.recipients.timeout; `,
		"trusted_networks: [10.0.0.0/8]\n":  `unknown key "trusted_networks"; write trusted.networks instead; `,
		"dns: {nameservers: [127.0.0.1]}\n": `unknown key "nameservers"; write dns.servers instead; `,
		"polciy: {}\n":                      `unknown key "polciy"; perhaps policy; `,
		"policy: {ovrride: []}\n":           `unknown key "ovrride"; perhaps overrides; `,
		"log: {fmt: json}\n":                `unknown key "fmt"; known here: format`,
		"wholly_other: 1\n":                 `unknown key "wholly_other"; known here: listen`,
		strings.Repeat("x", 9999) + ": 1":   `"; known here: listen`,
	} {
		if _, err := Parse("x.yaml", []byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.300v, want %s", in, err, want)
		}
	}
	known := strict.Paths(reflect.TypeFor[Config]())
	for from, to := range moved {
		if !slices.Contains(known, to) || slices.Contains(known, from) {
			t.Errorf("%s moved to %s: the one must not be a key, the other must", from, to)
		}
	}
}

// manyClasses returns a list of n classes.
func manyClasses(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("c%d.jp", i))
	}
	return strings.Join(all, ", ")
}
