package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestGoodInput checks that the words and forms that reference.yaml describes
// are accepted.
func TestGoodInput(t *testing.T) {
	words := map[string][]string{
		"mode: %s":                                         {"enforce", "monitor"},
		"dkim: {body_length: %s}":                          {"covered", "accept", "fail"},
		"dmarc: {organizational_domain: %s}":               {"treewalk"},
		"dmarc: {psl_file: /x, organizational_domain: %s}": {"treewalk", "psl"},
		"policy: {reject: %s}":                             {"always", "corroborated", "quarantine"},
		"policy: {quarantine: %s}":                         {"hold", "tag"},
		"policy: {none: %s}":                               {"tag"},
		"policy: {no_policy: %s}":                          {"tag", "quarantine", "reject"},
		"policy: {spf_fail: %s}":                           {"tag", "quarantine", "reject"},
		"policy: {temperror: %s}":                          {"accept", "tempfail"},
		"policy: {temperror_unknown: %s}":                  {"accept", "tempfail"},
		"policy: {invalid_from: %s}":                       {"reject", "quarantine", "tag"},
		"policy: {reply: {contact: %s}}":                   {"''", "postmaster@isp.example", "'help desk, +81 3 0000 0000'"},
		"policy: {reply: {url: %s}}":                       {"''", "https://isp.example/mail?a=b%20c", "'http://[::1]/'", "https://a.example/" + strings.Repeat("b", 126)},
		"log: {format: %s}":                                {"json", "text"},
		"log: {level: %s}":                                 {"debug", "info", "warn", "error"},
		"headers: {received_spf: %s}":                      {"true", "false"},
		"dkim: {max_signatures: %s}":                       {"1", "50"},
		"dkim: {min_rsa_bits: %s}":                         {"1024", "8192"},
		"dkim: {clock_skew: %s}":                           {"0s", "0", "5m", "24h"},
		"bimi: {%s}":                                       {"enabled: true", "header: both", "header: location", "header: indicator", "wait: 2s", "wait: 0", "mark_types: [Registered Mark]", "always: [a.example, .a.example]", "roots: [/x], ct_logs: [/y]"},
		"watch: %s":                                        {"[]", "[{name: a, domains: [a.example]}]", "[{name: a-b_1, domains: [.a.example], lookalikes: true, names: [東京]}]"},
		"authserv_id: %s":                                  {"mx.example.jp", "MX_1", "localhost", "'123'"},
		"admin: {listen: %s}":                              {"''", "'[::1]:8892'", "':8892'", "localhost:0"},
		"admin: {recent: %s}":                              {"0", "1", "100000"},
		"drain_timeout: %s":                                {"0s", "0", "1h"},
		"dns: {cache: {size: %s}}":                         {"0", "1048576", "1GiB", "'10 MB'"},
		"dns: {cache: {failure_ttl: %s}}":                  {"0s", "5m"},
		"dns: {servers: %s}":                               {"[]", "[127.0.0.1]", "['::1', '192.0.2.1:5353']"},
		"trusted: {networks: %s}":                          {"[]", "[192.0.2.1, 10.0.0.0/8, '::/0']"},
		"trusted: {authenticated: %s}":                     {"true", "false"},
		"report: {%s}":                                     {"aggregate: {}", "failure: {}", "aggregate: , failure: ~", "domain: ''", "domain: isp.example"},
		"store: {url: %s}":                                 {"''", "sqlite:/var/lib/x.db", "postgres://u@h/d", "postgresql:///d?host=/run/postgresql"},
		"report: {aggregate: {spread: 1h, interval: %s}}":  {"24h", "12h", "8h", "6h", "4h", "3h", "2h", "1h", "90m"},
		"report: {aggregate: {never: [%s]}}":               {"a.example", ".a.example", "'@a.example'", "a@a.example"},
		"report: {mail: {bounces: %s}}":                    {"''", "'unix:/run/x'", "'inet:127.0.0.1:24'", "{address: 'unix:/x', group: postfix}"},
		"report: {mail: {tls: %s}}":                        {"opportunistic", "required", "none"},
		"report: {mail: {server: 'localhost:25', user: u, password_file: /x, tls: %s}}": {"opportunistic", "required"},
		"listen: ['%s']": {"inet:127.0.0.1:0", "inet:8891@127.0.0.1", "inet6:[::1]:8891", "inet6:8891@[::1]",
			"inet::8891", "unix:/run/x", "local:/run/x", "systemd:", "systemd:milter"},
		"listen: [{address: 'unix:/x', %s}]": {"mode: 0660", "mode: 0o660", "mode: '0660'", "group: postfix", "group: 113",
			"mode: 0600, group: g", "mode: ~"},
		"listen:\n- address: unix:/x\n  mode: %s": {"0666"},
	}
	for format, values := range words {
		for _, v := range values {
			if _, err := Parse("x", []byte(fmt.Sprintf(format, v)+"\n")); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestEditors checks that line ends, a byte order mark, comments and white
// space make no difference.
func TestEditors(t *testing.T) {
	for reason, in := range map[string]string{
		"CRLF":                      strings.ReplaceAll(full, "\n", "\r\n"),
		"byte order mark":           "\ufeff" + full,
		"no line end":               strings.TrimSpace(full),
		"document marks":            "---\n" + full + "...\n",
		"trailing space and blanks": strings.ReplaceAll(full, "\n", "  \n\n"),
		"comments":                  strings.ReplaceAll(full, "\n", " # 設定\n"),
	} {
		c, err := Parse("x", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		if got, want := c.Hash(), fullConfig().Hash(); got != want {
			t.Errorf("%s: something is read otherwise", reason)
		}
	}
}

// TestPlaces checks line and column of a mistake in different contexts.
func TestPlaces(t *testing.T) {
	for _, c := range []struct{ reason, in, want string }{
		{"CRLF", "# a\r\nlog:\r\n  level: x\r\n", "x:3:10: log.level:"},
		{"comments and blank lines", "\n# 設定\n\nlog: # here\n  # there\n  level: x\n", "x:6:10: log.level:"},
		{"wide characters on the line", "log: {format: \"語語語\", level: x}\n", "x:1:15: log.format:"},
		{"quoted value", "log:\n  level: \"x\"\n", "x:2:10: log.level:"},
		{"block text", "log:\n  level: |\n    x\n", "x:2:10: log.level: a block of text where there should be text"},
		{"key far from its section", "log:\n  format: json\n\n\n  level: x\n", "x:5:10: log.level:"},
		{"missing key: its section's place", "dmarc:\n  organizational_domain: psl\n", "x:2:26: dmarc.organizational_domain:"},
		{"directive", "%YAML 1.2\n---\nmode: monitor\nlog: {level: x}\n", "x:1:1: YAML directives"},
	} {
		_, err := Parse("x", []byte(c.in))
		if err == nil || !strings.HasPrefix(err.Error(), "config: "+c.want) {
			t.Errorf("%s: got %v, want %s", c.reason, err, c.want)
		}
	}
}
