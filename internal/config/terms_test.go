package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sekimori/internal/dmarc"
	"sekimori/internal/lookalike"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// TestTerms has, for each condition on a value, one that it allows, and one that only this condition refuses.
func TestTerms(t *testing.T) {
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+", ", n), ", ") }
	for _, tt := range []struct {
		key, format string
		good        string
		bad         []string
	}{
		{"report.mail.bounce", "report: {mail: {bounce: '%s'}}", strings.Repeat("a", maxBounceLocal), []string{strings.Repeat("a", maxBounceLocal+1), "a+b", "", ".a", "a.", "a..b", "a b", "\u0161"}},
		{"report.mail.from", "report: {mail: {from: '%s'}}", strings.Repeat("a", 64), []string{strings.Repeat("a", 65), "a+b", ""}},
		{"report.mail.dkim.selector", "report: {mail: {dkim: {key_file: /x, selector: '%s'}}}", "a.b", []string{"a b", "a..b", strings.Repeat("a", 64)}},
		{"report.mail.dkim", "report: {mail: {dkim: {%s}}}", "selector: a, key_file: /x", []string{"selector: a", "key_file: /x"}},
		{"report.mail.user", "report: {mail: {tls: required, server: 'h.example:25', %s}}", "user: u, password_file: /x", []string{"user: u", "password_file: /x"}},
		{"report.mail.tls", "report: {mail: {server: 'h.example:25', user: u, password_file: /x, tls: %s}}", TLSOpportunistic, []string{TLSNone}},
		{"report.mail.tls", "report: {mail: {tls: %s}}", TLSNone, []string{"starttls"}},
		{"report.mail.bounces", "report: {mail: {bounces: '%s'}}", "", []string{"lmtp"}},
		{"report.organization", `report: {organization: "%s"}`, "\u00c4 B~", []string{`a\x7f`, `a\x1f`, " a", "a "}},
		{"report.contact", "report: {contact: '%s'}", "a@isp.example", []string{"isp.example", "@isp.example", "a@", "a@isp..example", ".@isp.example"}},
		{"report.contact_info", "report: {contact_info: '%s'}", "isp.example", []string{"https://", "://isp.example"}},
		{"report.aggregate.interval", "report: {aggregate: {spread: 0s, interval: %s}}", "1h", []string{"30m", "5h", "48h"}},
		{"report.aggregate.spread", "report: {aggregate: {spread: %s}}", "24h", []string{"24h1ms", "-1ms"}},
		{"report.aggregate.rate", "report: {aggregate: {rate: %s}}", "1000", []string{"1001", "0"}},
		{"report.aggregate.rate_per_host", "report: {aggregate: {rate_per_host: %s}}", "1000", []string{"1001", "0"}},
		{"report.aggregate.max_destinations", "report: {aggregate: {max_destinations: %s}}", "20", []string{"21", "0"}},
		{"report.aggregate.spam_sign[0]", `report: {aggregate: {spam_sign: ["%s"]}}`, "!~: a b~", []string{"X Spam", "", ": x", `X\x7f`, "X: \u00e9", `X: a\x1fb`}},
		{"report.failure.per_domain", "report: {failure: {per_domain: %s}}", "1000000", []string{"1000001", "0"}},
		{"report.failure.total", "report: {failure: {total: %s}}", "1000000", []string{"1000001", "0"}},
		{"policy.recipients.socketmap", "policy: {recipients: {socketmap: '%s'}}", "unix:/x:n", []string{"unix::n", "unix:/x:", "inet:h:1 :n", "inet:h:\t1:n", "tcp:/x:n", "unix"}},
		{"policy.recipients.timeout", "policy: {recipients: {timeout: %s}}", "5s", []string{"5001ms", "0s"}},
		{"policy.recipients.cache_ttl", "policy: {recipients: {cache_ttl: %s}}", "0s", []string{"-1ms"}},
		{"policy.ramp.percent", "policy: {ramp: {percent: %s}}", "0", []string{"-1", "101"}},
		{"policy.reply.contact", `policy: {reply: {contact: "%s"}}`, "a b~", []string{"\u00e9", `a\x1fb`, " a", "a "}},
		{"policy.reply.url", `policy: {reply: {url: "%s"}}`, "http://isp.example/~", []string{"ftp://isp.example/", "https:///x", "isp.example", "https://isp.example/\u00e9", "https://isp.example/a b", "https://isp.example/%%zz"}},
		{"headers.subject", `headers: {subject: "%s"}`, strings.Repeat("\u3042", maxSubjectStamp), []string{strings.Repeat("a", maxSubjectStamp+1), "  ", `a\tb`, `a\u200bb`}},
		{"watch[0].name", "watch: [{domains: [a.example], name: '%s'}]", strings.Repeat("z9_-", 8), []string{strings.Repeat("a", maxWatchName+1), "", "A", "a b"}},
		{"dns.hedge", "dns: {servers: [192.0.2.1, 192.0.2.2], timeout: 2s, hedge: %s}", "1999ms", []string{"2s", "-1ms", "0s", "x"}},
		{"dns.hedge", "dns: {hedge: 1s, servers: [%s]}", "192.0.2.1, 192.0.2.2", []string{"192.0.2.1"}},
		{"dns.hedge", "dns: {servers: [192.0.2.1], hedge: %s}", "off", []string{"1s"}},
		{"dns.servers", "dns: {servers: [%s]}", many(maxServers, "192.0.2.1"), []string{many(maxServers+1, "192.0.2.1")}},
		{"dns.servers[0]", "dns: {servers: ['%s']}", "tls://[::1]:1#a.example", []string{"192.0.2.1:0", "192.0.2.1#a.example", "tls://192.0.2.1#", "tls://192.0.2.1#a", "a.example"}},
		{"dns.message_budget", "dns: {message_budget: %s}", "4m", []string{"4m0.001s", "0s"}},
		{"dns.timeout", "dns: {timeout: %s}", "1ms", []string{"0s"}},
		{"dns.spf_ahead", "dns: {spf_ahead: %s}", "50", []string{"51", "-1"}},
		{"dns.cache.min_ttl", "dns: {cache: {max_ttl: 1h, min_ttl: %s}}", "1h", []string{"1h0.001s", "-1ms"}},
		{"dns.cache.max_ttl", "dns: {cache: {min_ttl: 0s, max_ttl: %s}}", "1ms", []string{"0s"}},
		{"dns.cache.failure_ttl", "dns: {cache: {failure_ttl: %s}}", "5m", []string{"5m0.001s", "-1ms"}},
		{"dns.cache.negative_ttl", "dns: {cache: {negative_ttl: %s}}", "0s", []string{"-1ms"}},
		{"dns.cache.stale", "dns: {cache: {stale: %s}}", "0s", []string{"-1ms"}},
		{"dns.cache.size", "dns: {cache: {size: %s}}", "0", []string{"-1"}},
		{"history.keep", "history: {keep: %s}", "9600h", []string{"9600h0.001s", "23h59m"}},
		{"history.keep", "history: {keep: %s}", "24h", []string{"23h59m59.999s"}},
		{"history.size", "history: {size: %s}", "16777216", []string{"16777215"}},
		{"ledger.group", "ledger: {group: '%s'}", "!" + strings.Repeat("~", maxGroup-1), []string{strings.Repeat("a", maxGroup+1), "a b", "\u00e9"}},
		{"ledger.max_domains", "ledger: {max_domains: %s}", "1", []string{"0"}},
		{"store.url", "store: {url: '%s'}", "postgresql://h/d", []string{"mysql://h/d", "postgres://h/", "postgres://h", "postgres://u:p@h/d", "postgres://h/d?password=x",
			"postgres://h/d?sslpassword=x", "sqlite:/x?y", "sqlite:/x#y", "sqlite:/x%%20", "sqlite://x", "sqlite:", "postgres://h:x/d"}},
		{"store.password_file", "store: {url: 'postgres://h/d', password_file: '%s'}", "/x", []string{"x"}},
		{"store.password_file", "store: {password_file: /x, url: '%s'}", "postgres://h/d", []string{"", "sqlite:/x"}},
		{"bimi.mark_types", "bimi: {%s}", "enabled: false, mark_types: []", []string{"enabled: true, mark_types: []"}},
		{"bimi.mark_types", "bimi: {enabled: true, mark_types: [], require_certificate: %s}", "false", []string{"true"}},
		{"bimi.roots[0]", "bimi: {roots: ['%s']}", "x", []string{""}},
		{"limits.memory", "limits: {memory: %s}", "0", []string{"-1"}},
		{"listen[0]", "listen: [{address: 'unix:/x'%s}]", ", mode: 0600, group: g", nil},
		{"listen[0]", "listen: [{address: 'systemd:x'%s}]", "", []string{", mode: 0600", ", group: g"}},
		{"listen[0]", "listen: ['%s']", "inet:1@127.0.0.1", []string{"inet:x@127.0.0.1", "inet6:::1:1", "inet:h/x:1", "inet:h:65536"}},
		{"listen[0].mode", "listen: [{address: 'unix:/x', mode: %s}]", "0777", []string{"01000", "0", "0o0"}},
		{"policy.overrides[0]", "policy: {overrides: [{file: /x%s}]}", "", []string{", id: a", ", owner: x", ", reason: x", ", expires: 2027-01-01", ", then: accept"}},
		{"policy.overrides[0].id", "policy: {overrides: [{when: {author: [b.example]}, then: reject, id: '%s'}]}", "a" + strings.Repeat("-", 63), []string{"a" + strings.Repeat("-", 64), "", ".a", "a b"}},
		{"policy.overrides[1].id", "policy: {overrides: [{id: a, when: {author: [a.example]}, then: reject}, {id: %s, when: {author: [b.example]}, then: reject}]}", "b", []string{"a"}},
		{"policy.overrides[0].when.client", "trusted: {networks: [10.0.0.0/16]}\npolicy: {overrides: [{id: a, when: {client: [%s]}, then: reject}]}", "10.0.0.0/15",
			[]string{"10.0.0.0/16", "10.0.1.0/24, 10.0.2.0/24"}},
		{"policy.overrides[0].when.client", "trusted: {networks: [10.0.0.0/16]}\npolicy: {overrides: [{id: a, when: {client: [%s]}, then: reject}]}", "10.0.1.0/24, 10.1.0.0/24", nil},
		{"trusted.relays[0]", "trusted: {relays: [{by: [a.example]%s}]}", ", network: 192.0.2.1", []string{""}},
		{"geo.country", "geo: {country: '%s'}", "", []string{"x"}},
	} {
		if tt.bad == nil {
			tt.bad = []string{tt.good}
			if _, err := Parse("x", []byte(strings.Replace(tt.format, "%s", tt.good, 1)+"\n")); err != nil {
				t.Errorf("%s: %q: %v", tt.format, tt.good, err)
			}
			continue
		}
		for _, bad := range tt.bad {
			edge(t, tt.key, tt.format, tt.good, bad)
		}
	}
}

// TestReportFor checks what selects reports, and how it is kept.
func TestReportFor(t *testing.T) {
	for text, want := range map[string]ReportFor{
		"Example.com": "example.com", ".Example.com": ".example.com", "@Example.com": "@example.com", "a.B@Example.com": "a.B@example.com",
		"\u4f8b\u3048.jp": "xn--r8jz45g.jp", "": "", "@": "", ".": "", "a@": "", "a..b@example.com": "", "a b@example.com": "", "exa mple.com": "", ".@example.com": "",
		"a@b@example.com": "",
	} {
		var got ReportFor
		if err := got.UnmarshalText([]byte(text)); (err == nil) != (want != "") || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]SpamSign{"X-Spam": {"X-Spam", ""}, "X-Spam:": {"X-Spam", ""}, "X-Spam:  YES ": {"X-Spam", "YES"}} {
		var got SpamSign
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		var again SpamSign
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%q is printed as %q", text, got)
		}
	}
	var d OptionalDomain = "x.example"
	if err := d.UnmarshalText(nil); err != nil || d != "" {
		t.Errorf("no domain: %q, %v", d, err)
	}
}

// TestWrittenValues checks values with a form of their own: how they are read, and how they are written again.
func TestWrittenValues(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1B": 1, "1 kB": 1000, "1MB": 1e6, "1GB": 1e9, "1TB": 1e12, "1KiB": 1 << 10, "3MiB": 3 << 20, "1GiB": 1 << 30, "1TiB": 1 << 40, "1025": 1025, "-1KiB": -1024,
		"9223372036854775807": 1<<63 - 1, "8388607TiB": 8388607 << 40, "-8388608TiB": -1 << 63,
	} {
		var s, again Size
		if err := s.UnmarshalText([]byte(text)); err != nil || int64(s) != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written as %s", text, s)
		}
	}
	for text, want := range map[string]string{"8388608TiB": "too large", "-8388609TiB": "too large", "9223372036854775808": "not a size", "": "not a size", "MiB": "not a size", "1.5MiB": "not a size", "1 M": "not a size"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v", text, s, err)
		}
	}
	for s, want := range map[Size]string{0: "0", 1: "1", 1023: "1023", 1 << 10: "1KiB", 1<<20 + 1<<10: "1025KiB", 1 << 30: "1GiB", 5 << 40: "5TiB"} {
		if got := s.String(); got != want {
			t.Errorf("%d is written as %s, want %s", int64(s), got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 10 * time.Minute: "10m", 70 * time.Second: "1m10s", time.Hour: "1h", 20 * time.Hour: "20h", 90 * time.Minute: "1h30m",
		time.Hour + time.Second: "1h0m1s", 100 * time.Millisecond: "100ms",
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%s is written as %s, want %s", d, got, want)
		}
	}
}

// TestWrittenOverrides checks that of a rule exactly the keys are written that are set.
func TestWrittenOverrides(t *testing.T) {
	written := func(v any) string {
		b, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for item, want := range map[string]string{
		"{file: /x}": "file: /x\n", "{id: a}": "id: a\nwhen: {}\n", "{owner: o}": "owner: o\nwhen: {}\n", "{reason: r}": "reason: r\nwhen: {}\n",
		"{expires: 2027-06-30}": "expires: \"2027-06-30\"\nwhen: {}\n", "{then: reject}": "when: {}\nthen: reject\n", "{then: {policy: none}}": "when: {}\nthen:\n  policy: none\n",
	} {
		rules, err := parseRules("x", []byte("- "+strings.Replace(item, "file", "reason", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(item, "file") {
			rules[0].File, rules[0].Reason = rules[0].Reason, ""
		}
		if got := written(rules[0]); got != want {
			t.Errorf("%s is written as %q, want %q", item, got, want)
		}
	}
	keys := reflect.TypeFor[When]()
	for i := range keys.NumField() {
		var w When
		list := reflect.MakeSlice(keys.Field(i).Type, 1, 1)
		reflect.ValueOf(&w).Elem().Field(i).Set(list)
		if key := keys.Field(i).Tag.Get("yaml"); !strings.HasPrefix(written(w), key+":") || strings.Count(written(w), ":") != 1 && key != "client" {
			t.Errorf("%s alone is written as %q", key, written(w))
		}
	}
	for text, want := range map[string]string{
		"[{address: 'unix:/x', mode: 0600}]": "- address: unix:/x\n  mode: 0600\n", "[{address: 'unix:/x', group: g}]": "- address: unix:/x\n  group: g\n", "['unix:/x']": "- unix:/x\n",
	} {
		c, err := Parse("x", []byte("listen: "+text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(written(c.Listen), `"0600"`, "0600"); got != want {
			t.Errorf("%s is written as %q, want %q", text, got, want)
		}
	}
}

// TestConverted checks that nothing that a file says of a rule or a list is lost on the way to the daemon.
func TestConverted(t *testing.T) {
	c, err := Parse("x", []byte(`
policy:
  overrides:
  - id: one
    owner: me
    reason: why
    expires: 2027-06-30
    when: {client: [192.0.2.0/24, "2001:db8::/32"], client_name: [a.example, .b.example], dkim: [c.example, d.example], arc_sealer: [e.example, f.example],
      spf: [g.example, h.example], author: [i.example, j.example], published: [none, reject], dmarc: [fail, temperror], traits: [broken_author_signature, srs]}
    then: accept
  - {id: two, when: {author: [k.example]}, then: {policy: reject}}
watch:
- {name: one, domains: [a.example, .b.example], names: [First Bank, Second], lookalikes: true}
- {name: two, domains: [c.example]}
`))
	if err != nil {
		t.Fatal(err)
	}
	pattern := func(names ...policy.Pattern) []policy.Pattern { return names }
	rules, err := c.Rules(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Rule{{
		ID: "one", Owner: "me", Reason: "why", Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC),
		When: policy.Conditions{
			Client:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			ClientName: pattern("a.example", ".b.example"), DKIM: pattern("c.example", "d.example"), ARCSealer: pattern("e.example", "f.example"),
			SPF: pattern("g.example", "h.example"), Author: pattern("i.example", "j.example"),
			Published: []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyReject}, DMARC: []dmarc.Result{dmarc.ResultFail, dmarc.ResultTempError},
			Traits: []trait.Trait{trait.BrokenAuthorSignature, trait.SRS},
		},
		Then: policy.Outcome{Action: policy.Accept},
	}, {ID: "two", When: policy.Conditions{Author: pattern("k.example")}, Then: policy.Outcome{Policy: dmarc.PolicyReject}}}
	if got := rules.Policy.Rules; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	lists := []lookalike.List{
		{Name: "one", Domains: []string{"a.example", ".b.example"}, Names: []string{"First Bank", "Second"}, Lookalikes: true}, {Name: "two", Domains: []string{"c.example"}},
	}
	if got := c.WatchLists(); !reflect.DeepEqual(got, lists) {
		t.Errorf("got  %+v\nwant %+v", got, lists)
	}
}

// TestReplyProblems: a text that is wrong and too long has one problem.
func TestReplyProblems(t *testing.T) {
	for contact, want := range map[string]string{"a": "policy.reply: contact and url are too long", "\u00e9": "policy.reply.contact: "} {
		_, err := Parse("x", []byte("policy: {reply: {contact: '"+strings.Repeat(contact, policy.MaxHelp)+"'}}\n"))
		if err == nil || strings.Count(err.Error(), "policy.reply") != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", contact, err)
		}
	}
}

// TestWarnedOnce checks that a rule that has expired gets one warning, also if an earlier rule takes the same
// messages, and that an earlier rule that has expired shadows nothing.
func TestWarnedOnce(t *testing.T) {
	for items, want := range map[string][]string{
		"{id: a, when: {author: [b.example]}, then: reject}|{id: b, expires: 2026-01-31, when: {author: [b.example]}, then: reject}":                               {"rule b has expired"},
		"{id: a, expires: 2026-01-31, when: {author: [b.example]}, then: reject}|{id: b, when: {author: [b.example]}, then: reject}":                               {"rule a has expired"},
		"{id: a, expires: 2026-02-01, when: {author: [b.example]}, then: reject}|{id: b, when: {author: [b.example]}, then: reject}":                               nil,
		"{id: a, when: {author: [b.example]}, then: reject}|{id: b, when: {author: [c.example]}, then: reject}":                                                    nil,
		"{id: a, when: {author: [b.example]}, then: reject}|{id: b, when: {author: [b.example]}, then: reject}|{id: c, when: {author: [c.example]}, then: reject}": {"rule b never matches: rule a"},
	} {
		c, err := Parse("x", []byte(overrides(strings.Split(items, "|")...)))
		if err != nil {
			t.Fatal(err)
		}
		set, err := c.Rules(LoadRules)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := set.Warnings(time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)); err != nil {
			got = err.Error()
		}
		if strings.Count(got, "warning:") != len(want) {
			t.Errorf("%s:\n%s", items, got)
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s:\n%s\nwant %s", items, got, w)
			}
		}
	}
}

// TestPlace checks that problems without a place get the one in the file, alone and among others, and that all other
// errors stay as they are.
func TestPlace(t *testing.T) {
	path := write(t, "x.yaml", "mode: monitor\nlog: {level: warn}\n")
	ours := &Error{Problems: []Problem{{Path: "log.level", Message: "ours"}}}
	placed := "config: " + path + ":2:14: log.level: ours"
	other, elsewhere, unread := errors.New("another"), &Error{Name: "y.yaml", Problems: []Problem{{Path: "log.level", Message: "theirs"}}}, &Error{Err: fs.ErrNotExist}
	for _, tt := range []struct {
		why  string
		err  error
		want []string
	}{
		{"a problem of ours", ours, []string{placed}},
		{"of another file", elsewhere, []string{elsewhere.Error()}},
		{"of a file that was not read", unread, []string{unread.Error()}},
		{"another error", other, []string{"another"}},
		{"all of them", errors.Join(other, ours, elsewhere), []string{"another", placed, elsewhere.Error()}},
		{"within others", errors.Join(errors.Join(ours, other), other), []string{placed, "another"}},
	} {
		got := Place(path, tt.err).Error()
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s\nwant %s", tt.why, got, want)
			}
		}
		if len(tt.want) == 1 && !strings.HasPrefix(got, tt.want[0]) {
			t.Errorf("%s: %s", tt.why, got)
		}
	}
	if got := Place(path+"x", ours); !errors.Is(got, ours) || got.Error() != ours.Error() {
		t.Errorf("the file cannot be read: %v", got)
	}
}

// TestReplaceFile checks the permissions and the content of a file that is replaced or made, and that an error leaves
// nothing behind.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("before, and longer"), 0o640); err != nil {
		t.Fatal(err)
	}
	for path, perm := range map[string]fs.FileMode{old: 0o640, filepath.Join(dir, "new"): 0o644} {
		if err := ReplaceFile(path, []byte("after")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		data, _ := os.ReadFile(path)
		if err != nil || info.Mode() != perm || string(data) != "after" {
			t.Errorf("%s: %v, %q, %v", path, info.Mode(), data, err)
		}
	}
	for why, path := range map[string]string{"below a file": filepath.Join(old, "x"), "in no directory": filepath.Join(dir, "none", "x"), "a directory": dir} {
		if err := ReplaceFile(path, nil); err == nil || !strings.HasPrefix(err.Error(), "config: ") {
			t.Errorf("%s: %v", why, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if left, _ := filepath.Glob(dir + ".*"); len(left) != 0 {
		t.Errorf("left behind beside the directory: %v", left)
	}
}

// TestReadFile checks which files are read, and how much of them.
func TestReadFile(t *testing.T) {
	path := write(t, "x", "12345")
	for limit, ok := range map[int64]bool{4: false, 5: true, 6: true} {
		data, err := ReadFile(path, limit)
		if (err == nil) != ok || ok && string(data) != "12345" {
			t.Errorf("at most %d octets: %q, %v", limit, data, err)
		}
	}
	if _, err := ReadFile(path+"x", 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for path, want := range map[string]error{filepath.Dir(path): errIrregular, "/dev/null": nil, path: nil, path + "x": nil} {
		if err := Regular(path); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
