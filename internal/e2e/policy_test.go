package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// policyCases are messages judged with policy rules, a ramp or a candidate policy in the
// configuration.
var policyCases = []struct {
	name, why string
	settings  settings
	files     map[string]string // content of files, by key; the key in the settings is replaced by the path of the file
	client    peer
	from      string // the From address; MAIL FROM has the same domain and another local part
	message   mail   // its From is set from the line above
	fate      fate
	reply     string
	comment   string // text that the comment of the dmarc result must contain
	log       []string
	counted   []string // metric series that must have the value 1
}{
	{
		name: "a rule accepts", why: "the client's network is evidence enough for the one that relays for us",
		settings: settings{"policy": "{overrides: [{id: our-relay, when: {client: [192.0.2.64/28], author: [bank.example], dmarc: [fail]}, then: accept}]}"},
		client:   spoofer, from: "@bank.example",
		fate: delivered, comment: "(accept: rule, override local_policy: rule our-relay, spoofing: author_spf_fail)",
		log:     []string{"verdict", "accept", "applied", "accept", "rule", "our-relay", "override", "local_policy", "dmarc", "fail", "spoofing", "author_spf_fail"},
		counted: []string{`messages_total{verdict="accept"}`, `override_rule_hits_total{rule="our-relay"}`, `dmarc_override_total{reason="local_policy"}`},
	},
	{
		name: "a rule accepts by the client's name", why: "the daemon verifies the name by iprev and does not ask Postfix for it",
		settings: settings{"policy": "{overrides: [{id: by-name, when: {client_name: [.news.example]}, then: accept}]}"},
		client:   newsMX, from: "@bank.example",
		fate: delivered, comment: "override trusted_forwarder: rule by-name",
		log:     []string{"verdict", "accept", "rule", "by-name", "iprev", "pass", "override", "trusted_forwarder"},
		counted: []string{`override_rule_hits_total{rule="by-name"}`},
	},
	{
		name: "a rule accepts another client's mail only", why: "a rule that does not match changes nothing",
		settings: settings{"policy": "{overrides: [{id: by-name, when: {client_name: [.news.example]}, then: accept}]}"},
		client:   spoofer, from: "@bank.example",
		fate: refused, reply: "^550 " + spoofText("bank.example")[1:],
		log:     []string{"verdict", "reject", "reason", "dmarc_reject"},
		counted: []string{`messages_total{verdict="reject"}`},
	},
	{
		name: "a rule of a file rejects", why: "a domain that publishes no policy, and mail of it that nothing authenticates",
		settings: settings{"policy": "{overrides: [{file: RULES}]}"},
		files: map[string]string{"RULES": "- {id: force-plain, when: {author: [plain.example, .plain.example], published: [none, absent]},\n" +
			"   then: {policy: reject}}\n"},
		client: spoofer, from: "@plain.example",
		fate: refused, reply: `^550 5\.7\.1 Email rejected per local policy for plain\.example \(\w+\)$`,
		log:     []string{"verdict", "reject", "rule", "force-plain", "dmarc", "none", "override", "local_policy"},
		counted: []string{`override_rule_hits_total{rule="force-plain"}`},
	},
	{
		name: "a rule rejects what passes", why: "a client that the postmaster does not want, whoever it speaks for",
		settings: settings{"policy": "{overrides: [{id: unwanted, when: {client: [192.0.2.10]}, then: reject}]}"},
		client:   bankMX, from: "@bank.example",
		fate: refused, reply: `^550 5\.7\.1 Email rejected per local policy \(\w+\)$`,
		log:     []string{"verdict", "reject", "rule", "unwanted", "dmarc", "pass"},
		counted: []string{`override_rule_hits_total{rule="unwanted"}`},
	},
	{
		name: "ramp at 0 percent", why: "a reject becomes a quarantine",
		settings: settings{"policy": "{ramp: {percent: 0}}"}, client: spoofer, from: "@bank.example",
		fate: held, comment: "(quarantine: ramp, override local_policy: ramp: 0 percent are enforced, spoofing: author_spf_fail)",
		log:     []string{"verdict", "quarantine", "reason", "ramp", "override", "local_policy"},
		counted: []string{`ramp_relaxed_total`, `messages_total{verdict="quarantine"}`},
	},
	{
		name: "ramp at 0 percent, quarantine", why: "a quarantine becomes a label",
		settings: settings{"policy": "{ramp: {percent: 0}}"}, client: spoofer, from: "@shop.example",
		fate: delivered, comment: "(tag: ramp, override local_policy: ramp: 0 percent are enforced",
		log:     []string{"verdict", "tag", "reason", "ramp"},
		counted: []string{`ramp_relaxed_total`, `messages_total{verdict="tag"}`},
	},
	{
		name: "ramp at 100 percent", why: "for this domain the ramp is over",
		settings: settings{"policy": "{ramp: {percent: 0, domains: {bank.example: 100}}}"}, client: spoofer, from: "@bank.example",
		fate: refused, reply: "^550 " + spoofText("bank.example")[1:],
		log:     []string{"verdict", "reject", "reason", "dmarc_reject"},
		counted: []string{`messages_total{verdict="reject"}`},
	},
	{
		name: "evidence for indirect mail", why: "the label names it",
		client: spoofer, from: "@bank.example", message: mail{extra: []string{"List-Id: <l.plain.example>"}},
		settings: settings{"policy": "{reject: quarantine}", "shadow": "SHADOW"}, files: map[string]string{"SHADOW": "policy: {reject: always}\n"},
		fate: held, comment: "spoofing: author_spf_fail, indirect: list)",
		log:     []string{"indirect", "list", "spoofing", "author_spf_fail"},
		counted: []string{`shadow_total{live="quarantine",shadow="reject"}`},
	},
}

func TestPolicy(t *testing.T) {
	for _, c := range policyCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for name, text := range c.files {
				path := filepath.Join(t.TempDir(), name+".yaml")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				for key, value := range c.settings {
					c.settings[key] = strings.ReplaceAll(value, name, path)
				}
			}
			m := newMX(t, plain, c.settings)
			from, to := unique(c.from), recipient()
			c.message.from = "someone" + c.from
			r := m.post(t, c.client, from, to, c.message.bytes())
			d := m.expect(t, r, to, c.fate, c.reply, c.why)
			if label := strings.Join(strings.Fields(strings.Join(d.ours(), " ")), " "); c.fate != refused && !strings.Contains(label, c.comment) {
				t.Errorf("the label has no %q:\n%s", c.comment, label)
			}
			m.evaluated(t, "mail_from", "<"+from+">").want(t, c.log...)
			for _, series := range c.counted {
				if got := m.metric(t, "sekimori_"+series); got != 1 {
					t.Errorf("%s is %v, want 1", series, got)
				}
			}
		})
	}
}
