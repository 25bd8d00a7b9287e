package config

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/configs"
	"sekimori/internal/bimi"
	"sekimori/internal/config/strict"
	"sekimori/internal/dmarc"
	"sekimori/internal/history"
	"sekimori/internal/label"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// full is a configuration that sets every key. Except for policy.none, each
// value differs from the default.
const full = `
listen:
  - inet:0.0.0.0:9000
  - {address: "unix:/run/sekimori/milter.sock", mode: 0600, group: postfix}
  - "systemd:milter"
authserv_id: mx.example.jp
authserv_id_also: [mx1.example.jp, old]
mode: monitor
trusted:
  networks: [192.0.2.0/24, "2001:db8::1"]
  authenticated: false
  relays: [198.51.100.7, {network: "2001:db8:2::/64", by: [MX2.example.jp, .filter.example]}]
dns:
  servers: ["127.0.0.1", "[::1]:5353", "2001:db8::53", tls://192.0.2.1#Dns.Example]
  timeout: 1s
  hedge: 50ms
  trust_ad: true
  spf_ahead: 0
  message_budget: 5s
  cache: {size: 0, max_ttl: 1h, min_ttl: 0s, negative_ttl: 1m, failure_ttl: 1s, stale: 0}
dkim:  {max_signatures: 5, min_rsa_bits: 2048, body_length: fail, clock_skew: 1m30s}
dmarc: {organizational_domain: psl, psl_file: /etc/psl.dat}
arc:   {trusted_sealers: [Lists.Example, "bücher.example"]}
bimi:
  enabled: true
  require_certificate: false
  require_dkim: false
  header: location
  mark_types: [Government Mark, Registered Mark]
  roots: [/etc/marks/root.pem]
  pilot: true
  ct_logs: [/etc/marks/log.pem]
  wait: 500ms
  always: [Partner.Example, .partner.example]
policy:
  reject: always
  quarantine: tag
  learned: use
  none: tag
  no_policy: quarantine
  spf_fail: reject
  temperror: accept
  temperror_unknown: tempfail
  invalid_from: quarantine
  overrides:
    - id: alumni
      owner: postmaster@example.jp
      reason: ticket 123
      expires: 2027-06-30
      when:
        client: [198.51.100.0/24, "2001:db8:1::/48"]
        client_name: [.Alumni.example]
        dkim: [alumni.example]
        arc_sealer: [alumni.example]
        spf: [alumni.example]
        author: [bücher.example, .example.com]
        published: [reject, quarantine]
        dmarc: [fail]
        traits: [forwarded, srs]
      then: accept
    - {file: /etc/sekimori/more.yaml}
    - {id: forced, when: {author: [big.example]}, then: {policy: reject}}
  reply: {contact: postmaster@example.jp, url: "https://example.jp/mail"}
  ramp: {percent: 50, domains: {Bank.example: 25, shop.example: 0}}
  recipients: {default: out, file: /etc/optin, socketmap: "inet:[::1]:9999:consent", timeout: 1s, cache_ttl: 0s, mixed: split}
watch: [{name: banks, domains: [Bank.Example, .go.jp], names: [みずほ銀行], lookalikes: true}]
shadow: /etc/sekimori/next.yaml
store: {url: "postgres://u@db.example/mail?sslmode=verify-full", password_file: /etc/sekimori/db, spool: {dir: /var/spool/x, size: 2GiB}}
ledger: {group: inbound, max_domains: 5000}
history: {keep: 48h, what: all, size: 1GiB, recipients: true}
geo: {country: /var/lib/GeoIP/GeoLite2-Country.mmdb}
stats: {classes: [.co.jp, go.jp]}
report:
  keep: 24h
  organization: Example ISP
  domain: DMARC.isp.example
  contact: postmaster@isp.example
  contact_info: https://isp.example/dmarc
  mail:
    server: smarthost.example:587
    tls: required
    user: reports
    password_file: /etc/sekimori/smtp
    from: reports
    bounce: bounces
    bounces: {address: "unix:/run/sekimori/bounces.sock", mode: 0660, group: postfix}
    dkim: {selector: s1, key_file: /etc/sekimori/s1.pem}
  aggregate:
    send: true
    interval: 6h
    spread: 1h
    rate: 20
    rate_per_host: 2
    max_rows: 5000
    max_destinations: 3
    envelope_to: true
    correspondents: true
    always: [Partner.example, .partner.example]
    never: [Spam.example, .spam.example, "@mailbox.example", rua@reports.example]
    spam_sign: ["X-Spam-Flag: YES", X-Spam]
    dnsbl: [dbl.example.org]
  failure: {send: true, domains: [partner.example], subject: true, per_domain: 5, total: 50}
admin:  {listen: "", web_config: /etc/web.yaml, recent: 5, pprof: true, try: false}
headers: {received_spf: true, mailfrom: address, verdict: true, subject: "[SPOOF?]", style: rspamd}
log:    {format: text, level: debug, privacy: local-parts}
limits: {max_sessions: 1, idle_timeout: 1h30m, header_fields: 2, header_bytes: 10MB, recipients: 3, shown_wait: 1s, memory: 0}
drain_timeout: 90s
`

func fullConfig() *Config {
	addr := netip.MustParseAddrPort
	return &Config{
		Listen: []Listener{
			{Address: "inet:0.0.0.0:9000"},
			{Address: "unix:/run/sekimori/milter.sock", Mode: 0o600, Group: "postfix"},
			{Address: "systemd:milter"},
		},
		AuthservID: "mx.example.jp", AuthservIDAlso: []string{"mx1.example.jp", "old"},
		Mode: policy.Monitor,
		Trusted: Trusted{
			Networks: []Network{{netip.MustParsePrefix("192.0.2.0/24")}, {netip.MustParsePrefix("2001:db8::1/128")}},
			Relays: []Relay{
				{Network: Network{netip.MustParsePrefix("198.51.100.7/32")}},
				{Network: Network{netip.MustParsePrefix("2001:db8:2::/64")}, By: []Pattern{"mx2.example.jp", ".filter.example"}},
			},
		},
		DNS: DNS{
			Servers: []Server{
				{AddrPort: addr("127.0.0.1:53")}, {AddrPort: addr("[::1]:5353")}, {AddrPort: addr("[2001:db8::53]:53")},
				{AddrPort: addr("192.0.2.1:853"), TLS: true, Name: "dns.example"},
			},
			Timeout:       Duration(time.Second),
			Hedge:         Hedge(50 * time.Millisecond),
			TrustAD:       true,
			MessageBudget: Duration(5 * time.Second),
			Cache:         Cache{MaxTTL: Duration(time.Hour), NegativeTTL: Duration(time.Minute), FailureTTL: Duration(time.Second)},
		},
		DKIM:  DKIM{MaxSignatures: 5, MinRSABits: 2048, BodyLength: "fail", ClockSkew: Duration(90 * time.Second)},
		DMARC: DMARC{OrganizationalDomain: dmarc.PSL, PSLFile: "/etc/psl.dat"},
		ARC:   ARC{TrustedSealers: []Domain{"lists.example", "xn--bcher-kva.example"}},
		BIMI: BIMI{Enabled: true, Header: label.MarkLocation, MarkTypes: []bimi.MarkType{bimi.GovernmentMark, bimi.RegisteredMark},
			Roots: []string{"/etc/marks/root.pem"}, Pilot: true, CTLogs: []string{"/etc/marks/log.pem"}, Wait: Duration(500 * time.Millisecond),
			Always: []Pattern{"partner.example", ".partner.example"}},
		Policy: Policy{Reject: "always", Quarantine: "tag", Learned: "use", None: "tag", NoPolicy: "quarantine", SPFFail: "reject",
			TempError: "accept", TempErrorUnknown: "tempfail", InvalidFrom: "quarantine", Overrides: []Override{
				{
					ID: "alumni", Owner: "postmaster@example.jp", Reason: "ticket 123", Expires: Date{time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)},
					When: When{
						Client:     []Network{{netip.MustParsePrefix("198.51.100.0/24")}, {netip.MustParsePrefix("2001:db8:1::/48")}},
						ClientName: []Pattern{".alumni.example"}, DKIM: []Pattern{"alumni.example"}, ARCSealer: []Pattern{"alumni.example"},
						SPF: []Pattern{"alumni.example"}, Author: []Pattern{"xn--bcher-kva.example", ".example.com"},
						Published: []dmarc.Policy{"reject", "quarantine"}, DMARC: []dmarc.Result{"fail"}, Traits: []trait.Trait{"forwarded", "srs"},
					},
					Then: Then{Action: "accept"},
				},
				{File: "/etc/sekimori/more.yaml"},
				{ID: "forced", When: When{Author: []Pattern{"big.example"}}, Then: Then{Policy: "reject"}},
			},
			Reply:      Reply{Contact: "postmaster@example.jp", URL: "https://example.jp/mail"},
			Ramp:       Ramp{Percent: 50, Domains: map[Domain]int{"bank.example": 25, "shop.example": 0}},
			Recipients: Recipients{Default: "out", File: "/etc/optin", Socketmap: "inet:[::1]:9999:consent", Timeout: Duration(time.Second), Mixed: MixedSplit}},
		Watch:  []Watch{{Name: "banks", Domains: []Pattern{"bank.example", ".go.jp"}, Names: []string{"みずほ銀行"}, Lookalikes: true}},
		Shadow: "/etc/sekimori/next.yaml",
		Store: Store{URL: "postgres://u@db.example/mail?sslmode=verify-full", PasswordFile: "/etc/sekimori/db",
			Spool: Spool{Dir: "/var/spool/x", Size: 2 << 30}},
		Ledger:  Ledger{Group: "inbound", MaxDomains: 5000},
		Geo:     Geo{Country: "/var/lib/GeoIP/GeoLite2-Country.mmdb"},
		Stats:   Stats{Classes: []string{".co.jp", "go.jp"}},
		History: History{Keep: Duration(48 * time.Hour), What: history.All, Size: 1 << 30, Recipients: true},
		Report: Report{
			Keep: Duration(24 * time.Hour), Organization: "Example ISP", Domain: "dmarc.isp.example", Contact: "postmaster@isp.example",
			ContactInfo: "https://isp.example/dmarc",
			Mail: ReportMail{Server: "smarthost.example:587", TLS: TLSRequired, User: "reports", PasswordFile: "/etc/sekimori/smtp", From: "reports",
				Bounce: "bounces", Bounces: Listener{Address: "unix:/run/sekimori/bounces.sock", Mode: 0o660, Group: "postfix"},
				DKIM: ReportDKIM{Selector: "s1", KeyFile: "/etc/sekimori/s1.pem"}},
			Aggregate: Aggregate{Send: true, Interval: Duration(6 * time.Hour), Spread: Duration(time.Hour), Rate: 20, RatePerHost: 2, MaxRows: 5000,
				MaxDestinations: 3, EnvelopeTo: true, Correspondents: true, Always: []Pattern{"partner.example", ".partner.example"},
				Never:    []ReportFor{"spam.example", ".spam.example", "@mailbox.example", "rua@reports.example"},
				SpamSign: []SpamSign{{"X-Spam-Flag", "YES"}, {"X-Spam", ""}}, DNSBL: []Domain{"dbl.example.org"}},
			Failure: Failure{Send: true, Domains: []Pattern{"partner.example"}, Subject: true, PerDomain: 5, Total: 50},
		},
		Admin:   Admin{WebConfig: "/etc/web.yaml", Recent: 5, Pprof: true},
		Headers: Headers{ReceivedSPF: true, MailFrom: "address", Verdict: true, Subject: "[SPOOF?]", Style: "rspamd"},
		Log:     Log{Format: "text", Level: "debug", Privacy: "local-parts"},
		Limits: Limits{MaxSessions: 1, IdleTimeout: Duration(90 * time.Minute), HeaderFields: 2, HeaderBytes: 10e6, Recipients: 3,
			ShownWait: Duration(time.Second), Memory: 0},
		DrainTimeout: Duration(90 * time.Second),
	}
}

func TestParseFull(t *testing.T) {
	got, err := Parse("full.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	forgetPlaces(got)
	if want := fullConfig(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	// The values must differ from the defaults. Otherwise the test would not
	// notice a key that is not read.
	checkAllChanged(t, reflect.ValueOf(*got), reflect.ValueOf(*Default()), "")
}

func checkAllChanged(t *testing.T, got, def reflect.Value, path string) {
	t.Helper()
	for i := range got.NumField() {
		at := strict.Join(path, got.Type().Field(i).Tag.Get("yaml"))
		switch at {
		case "arc", "policy.none":
			continue // these keys are not checked
		}
		if got.Field(i).Kind() == reflect.Struct && at != "report.mail.bounces" {
			checkAllChanged(t, got.Field(i), def.Field(i), at)
		} else if reflect.DeepEqual(got.Field(i).Interface(), def.Field(i).Interface()) {
			t.Errorf("%s has its default in this test", at)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, in := range []string{"", "\n", "# nothing\n", "---\n", "~\n", "{}\n", "--- # one\n...\n", "dns:\npolicy:\nlisten:\nmode:\n",
		"\ufeff# with a byte order mark\n"} {
		got, err := Parse("x", []byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q: got %+v", in, got)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults are invalid: %v", err)
	}
}

// TestPartialSection checks that the other keys of a section keep their
// defaults if only one key is set.
func TestPartialSection(t *testing.T) {
	got, err := Parse("x", []byte("dns: {cache: {stale: 2h}}\ntrusted: {authenticated: false}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DNS.Cache.Stale = Duration(2 * time.Hour)
	want.Trusted.Authenticated = false
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// forgetPlaces removes from the rules the information about where they were
// read.
func forgetPlaces(c *Config) {
	for i := range c.Policy.Overrides {
		c.Policy.Overrides[i].from, c.Policy.Overrides[i].path = nil, ""
	}
}

// forgetEmpty replaces the empty lists that a file has by the nil of Default.
func forgetEmpty(c *Config) {
	r := &c.Report
	c.BIMI.Roots, c.BIMI.CTLogs, c.BIMI.Always = nil, nil, nil
	if len(c.Stats.Classes) == 0 {
		c.Stats.Classes = nil
	}
	if len(c.Watch) == 0 {
		c.Watch = nil
	}
	r.Aggregate.Always, r.Aggregate.Never, r.Aggregate.SpamSign, r.Aggregate.DNSBL, r.Failure.Domains = nil, nil, nil, nil, nil
}

func TestPrint(t *testing.T) {
	for _, c := range []*Config{Default(), fullConfig()} {
		var b bytes.Buffer
		if err := c.Print(&b); err != nil {
			t.Fatal(err)
		}
		got, err := Parse("printed", b.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if hash := got.Hash(); hash != c.Hash() || len(hash) != 16 {
			t.Errorf("hash of what was printed is %s, want %s", hash, c.Hash())
		}
		// Print writes a missing list as an empty one, so this difference is
		// removed.
		forgetPlaces(got)
		if len(c.Policy.Overrides) == 0 {
			got.Policy.Overrides, got.Policy.Ramp.Domains = nil, nil
		}
		if len(c.ARC.TrustedSealers) == 0 {
			got.ARC.TrustedSealers = nil
		}
		if len(c.AuthservIDAlso) == 0 {
			got.AuthservIDAlso = nil
		}
		if len(c.DNS.Servers) == 0 {
			got.DNS.Servers = nil
		}
		if len(c.Trusted.Relays) == 0 {
			got.Trusted.Relays = nil
		}
		if !c.Report.Sends() {
			forgetEmpty(got)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, want %+v, from\n%s", got, c, b.String())
		}
	}
	if Default().Hash() == fullConfig().Hash() {
		t.Error("two configurations have one hash")
	}
}

// TestSharedHash: what every host has of its own makes no difference, and all else does.
func TestSharedHash(t *testing.T) {
	base := func() *Config {
		c := Default()
		c.Store.URL, c.Store.PasswordFile = "postgres://u@db.example/x", "/etc/a"
		return c
	}
	for name, change := range map[string]func(*Config){
		"listen": func(c *Config) { c.Listen = []Listener{{Address: "unix:/x"}} }, "admin": func(c *Config) { c.Admin.Listen = "192.0.2.1:1" },
		"name": func(c *Config) { c.AuthservID = "mx2.example" }, "path": func(c *Config) { c.Store.PasswordFile = "/etc/b" },
		"DNS":   func(c *Config) { c.DNS.Servers = []Server{{AddrPort: netip.MustParseAddrPort("192.0.2.53:53")}} },
		"spool": func(c *Config) { c.Store.Spool.Dir = "/spool" }, "store": func(c *Config) { c.Store.URL = "postgres://u@10.0.0.1/x" },
		"bounces": func(c *Config) { c.Report.Mail.Bounces = Listener{Address: "inet:127.0.0.1:24"} },
	} {
		c := base()
		if change(c); c.SharedHash() != base().SharedHash() || c.Hash() == base().Hash() {
			t.Errorf("%s makes a difference", name)
		}
	}
	for name, change := range map[string]func(*Config){
		"mode": func(c *Config) { c.Mode = policy.Monitor }, "a path or none": func(c *Config) { c.Policy.Recipients.File = "/etc/recipients" },
		"try": func(c *Config) { c.Admin.Try = false }, "policy": func(c *Config) { c.Policy.Ramp.Percent = 50 }, "history": func(c *Config) { c.History.Size++ },
	} {
		c := base()
		if change(c); c.SharedHash() == base().SharedHash() {
			t.Errorf("%s makes no difference", name)
		}
	}
}

func TestPrintMasksSecrets(t *testing.T) {
	for _, c := range []struct{ store, want string }{
		{"postgres://u:s3cret@db.example/reports?sslmode=require", "postgres://u:***@db.example/reports?sslmode=require"},
		{"postgres://u:s3cret/@x@db.example/reports", "postgres://u:***@db.example/reports"},
		{"postgres://db.example/reports?user=u&password=s3cret&x=y", "postgres://db.example/reports?user=u&password=***&x=y"},
		{"host=db user=u password=s3cret", "host=db user=u password=***"},
		{"postgres://u@db.example/reports", "postgres://u@db.example/reports"},
		{"sqlite:/var/lib/sekimori/reports.db", "sqlite:/var/lib/sekimori/reports.db"},
	} {
		cfg := Default()
		cfg.Store.URL = c.store
		var b strings.Builder
		if err := cfg.Print(&b); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); strings.Contains(got, "s3cret") || !strings.Contains(got, c.want) {
			t.Errorf("%s is printed as\n%s", c.store, got)
		}
		if cfg.Store.URL != c.store {
			t.Error("Print changed the configuration")
		}
		_, err := Parse("x", []byte("store:\n  url: '"+c.store+"'\n"))
		if strings.Contains(c.store, "s3cret") && (err == nil || strings.Contains(err.Error(), "s3cret") ||
			!strings.Contains(err.Error(), "store.password_file") || strings.Count(err.Error(), "store.url: ") != 1) {
			t.Errorf("%s: no error, or it shows the secret, or does not say what to do: %v", c.store, err)
		}
	}
}

func TestTrustedContains(t *testing.T) {
	trusted := fullConfig().Trusted
	for addr, want := range map[string]bool{
		"192.0.2.77": true, "::ffff:192.0.2.77": true, "192.0.3.1": false, "2001:db8::1": true, "2001:db8::2": false, "2001:db8::1%eth0": true,
	} {
		if got := trusted.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %t", addr, got)
		}
	}
	if trusted.Contains(netip.Addr{}) {
		t.Error("no address at all is trusted")
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		in   string
		into interface {
			UnmarshalText([]byte) error
		}
		want string // as printed; "" if refused
	}{
		{"0", new(Size), "0"}, {"1", new(Size), "1"}, {"64MiB", new(Size), "64MiB"}, {"65536 KiB", new(Size), "64MiB"}, {"1GB", new(Size), "1000000000"},
		{"-1", new(Size), "-1"}, {"1kB", new(Size), "1000"}, {"7B", new(Size), "7"}, {"3TiB", new(Size), "3TiB"}, {"", new(Size), ""}, {"MiB", new(Size), ""},
		{"1.5MiB", new(Size), ""}, {"9000000TiB", new(Size), ""}, {"-9000000TiB", new(Size), ""}, {"1 apple", new(Size), ""},
		{"24h", new(Duration), "24h"}, {"90m", new(Duration), "1h30m"}, {"330s", new(Duration), "5m30s"}, {"0", new(Duration), "0s"}, {"10m", new(Duration), "10m"},
		{"20s", new(Duration), "20s"}, {"1h0m1s", new(Duration), "1h0m1s"}, {"2", new(Duration), ""}, {"2x", new(Duration), ""}, {"", new(Duration), ""},
		{"::1", new(Network), "::1"}, {"10.0.0.0/8", new(Network), "10.0.0.0/8"}, {"::ffff:192.0.2.1", new(Network), "192.0.2.1"},
		{"192.0.2.1/32", new(Network), "192.0.2.1"},
		{"10.0.0.1/8", new(Network), ""}, {"::ffff:192.0.2.0/120", new(Network), ""}, {"fe80::1%eth0", new(Network), ""},
		{"localhost", new(Network), ""}, {"10.0.0.0/33", new(Network), ""},
		{"127.0.0.1", new(Server), "127.0.0.1:53"}, {"127.0.0.1:5353", new(Server), "127.0.0.1:5353"}, {"::1", new(Server), "[::1]:53"},
		{"[::1]", new(Server), "[::1]:53"},
		{"[::1]:54", new(Server), "[::1]:54"}, {"fe80::1%eth0", new(Server), "[fe80::1%eth0]:53"}, {"localhost", new(Server), ""},
		{"127.0.0.1:0", new(Server), ""}, {"127.0.0.1:dns", new(Server), ""},
		{"tls://9.9.9.9:853#dns.quad9.net", new(Server), "tls://9.9.9.9:853#dns.quad9.net"},
		{"tls://::1#a.example", new(Server), "tls://[::1]:853#a.example"}, {"tls://[::1]:54", new(Server), "tls://[::1]:54"},
		{"tls://", new(Server), ""}, {"tls://dns.example", new(Server), ""}, {"tls://192.0.2.1#", new(Server), ""},
		{"tls://192.0.2.1#-", new(Server), ""}, {"tls://192.0.2.1:0#a.example", new(Server), ""},
		{"192.0.2.1#a.example", new(Server), ""}, {"udp://192.0.2.1", new(Server), ""}, {"tls://192.0.2.1#a.example#b", new(Server), ""},
		{"0660", new(FileMode), "0660"}, {"0o600", new(FileMode), "0600"}, {"777", new(FileMode), "0777"}, {"0", new(FileMode), ""},
		{"1777", new(FileMode), ""}, {"0668", new(FileMode), ""}, {"rw", new(FileMode), ""},
	} {
		err := c.into.UnmarshalText([]byte(c.in))
		if (err == nil) != (c.want != "") {
			t.Errorf("%T %q: %v", c.into, c.in, err)
			continue
		}
		if c.want == "" {
			continue
		}
		text, err := c.into.(interface{ MarshalText() ([]byte, error) }).MarshalText()
		if err != nil || string(text) != c.want {
			t.Errorf("%T %q: printed as %q, %v; want %q", c.into, c.in, text, err, c.want)
		}
	}
}

func TestExample(t *testing.T) {
	c, err := Parse("sekimori.yaml", configs.Example)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Mode = policy.Monitor // the example must not reject mail by accident
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the example differs from the defaults in more than the mode: %+v", c)
	}
}
