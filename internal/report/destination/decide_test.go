package destination

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/testkit/nameserver"
)

var now = time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)

const today = report.Day(20786) // 2026-11-29

// wanted has the facts about a domain that gets its report.
func wanted() Facts {
	return Facts{
		Job:  report.Job{Policy: report.Policy{Domain: "shop.example"}, Messages: 10, Causes: 8, Spam: 2},
		Seen: report.Seen{PassDays: 3, FirstPass: today - 7, AnyDays: 3, FirstAny: today - 7},
		Suppression: func(context.Context, string) (report.Suppression, error) {
			return report.Suppression{}, report.ErrUnknown
		},
	}
}

// base is a domain with its own mail server, and a provider that processes reports.
const base = `
_dmarc.shop.example TXT "v=DMARC1; p=none; rua=mailto:rua@shop.example"
shop.example MX 10 mx.shop.example
esp.example MX 10 mx.esp.example
`

// record returns base with another rua.
func record(rua string) string {
	return strings.Replace(base, "mailto:rua@shop.example", rua, 1)
}

func decide(t *testing.T, zone string, s Settings, f Facts) Decision {
	t.Helper()
	d, err := Decide(t.Context(), nameserver.Zone(t, zone), s, f, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show returns the word of a decision and of each destination.
func show(d Decision) string {
	word := func(w report.Word) string {
		if w == "" {
			return "send"
		}
		return string(w)
	}
	out := word(d.Word) + ":"
	for _, x := range d.Destinations {
		name := x.Address
		if name == "" {
			name = x.URI
		}
		out += " " + name + "=" + word(x.Word)
	}
	return out
}

func TestRulesAboutTheReport(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*Settings, *Facts)
		zone   string
		want   string
		says   string // in the reason, or if the report is sent in a rule's evidence
	}{
		{"sent", func(*Settings, *Facts) {}, base, "send: rua@shop.example=send", "passed DMARC on 3 of the last 30 days, first on 2026-11-22"},
		{"off", func(s *Settings, _ *Facts) { s.Send = false }, base, "off:", "send: false"},
		{"never, the policy domain", func(s *Settings, _ *Facts) { s.Never = []string{"Shop.example"} }, base, "never:", "Shop.example"},
		{"never, a domain above", func(s *Settings, _ *Facts) { s.Never = []string{".example"} }, base, "never:", ".example"},
		{"never, another domain", func(s *Settings, _ *Facts) {
			s.Never = []string{"hop.example", ".hop.example", "example", ".shop.example"}
		}, base, "send: rua@shop.example=send", ""},
		{"never, odd entries", func(s *Settings, _ *Facts) { s.Never = []string{"", ".", "@", "..", "@."} }, base, "send: rua@shop.example=send", ""},
		{"never, the destination", func(s *Settings, _ *Facts) { s.Never = []string{"RUA@shop.example"} }, base, "never: rua@shop.example=never", "RUA@shop.example"},
		{"never, the destination's domain", func(s *Settings, _ *Facts) { s.Never = []string{"@shop.example"} }, base, "never: rua@shop.example=never", "@shop.example"},
		{"loop", func(_ *Settings, f *Facts) { f.Job.Causes = 0 }, base, "loop:", "none of the 10 messages"},
		{"loop, our own address", func(s *Settings, _ *Facts) { s.Own = []string{"dmarc@isp.example", "Rua@shop.example"} }, base, "loop: rua@shop.example=loop", "our own reports"},
		{"loop, our own address with a token", func(s *Settings, _ *Facts) { s.Own = []string{"rua@shop.example"} }, record("mailto:Rua+7-abc@shop.example"), "loop: Rua+7-abc@shop.example=loop", "our own reports"},
		{"half is spam", func(_ *Settings, f *Facts) { f.Job.Spam = 5 }, base, "send: rua@shop.example=send", "5 of the 10"},
		{"more than half is spam", func(_ *Settings, f *Facts) { f.Job.Spam = 6 }, base, "spam:", "6 of the 10"},
		{"the only message is spam", func(_ *Settings, f *Facts) { f.Job.Messages, f.Job.Causes, f.Job.Spam = 1, 1, 1 }, base, "spam:", "1 of the 1"},
		{"the record is gone", func(*Settings, *Facts) {}, "shop.example MX 10 mx.shop.example", "not_requested:", "has no DMARC record now"},
		{"only a record above it", func(_ *Settings, f *Facts) { f.Job.Policy.Domain = "a.shop.example" }, base, "not_requested:", "has no DMARC record now"},
		{"two records", func(*Settings, *Facts) {}, base + `_dmarc.shop.example TXT "v=DMARC1; p=none; rua=mailto:b@shop.example"`, "not_requested:", "no DMARC record"},
		{"no rua now", func(*Settings, *Facts) {}, `_dmarc.shop.example TXT "v=DMARC1; p=none"`, "not_requested:", "no usable rua"},
		{"a broken rua", func(*Settings, *Facts) {}, record("rua at shop"), "not_requested:", "no usable rua"},
		{"the record times out", func(*Settings, *Facts) {}, base + "! _dmarc.shop.example TXT timeout", "waiting:", "the record of shop.example could not be looked up: timeout"},
		{"the record is a loop of aliases", func(*Settings, *Facts) {}, "_dmarc.shop.example CNAME _dmarc.shop.example", "not_requested:", "loop"},
		{"the domain above times out", func(*Settings, *Facts) {}, base + "! _dmarc.example TXT timeout", "send: rua@shop.example=send", ""},
		{"no record here, and the domain above times out", func(*Settings, *Facts) {}, "shop.example MX 10 a.shop.example\n! _dmarc.example TXT timeout", "not_requested:", "no DMARC record now"},
		{"null MX", func(*Settings, *Facts) {}, strings.Replace(base, "10 mx.shop.example", "0 .", 1), "undeliverable: rua@shop.example=undeliverable", "null MX"},
		{"no MX, an address", func(*Settings, *Facts) {}, strings.Replace(base, "MX 10 mx.shop.example", "AAAA 2001:db8::1", 1), "send: rua@shop.example=send", ""},
		{"no MX, no address", func(*Settings, *Facts) {}, strings.Replace(base, "MX 10 mx.shop.example", "TXT x", 1), "undeliverable: rua@shop.example=undeliverable", "neither a mail server nor an address"},
		{"no such domain", func(*Settings, *Facts) {}, record("mailto:a@none.shop.example"), "undeliverable: a@none.shop.example=undeliverable", "none.shop.example does not exist"},
		{"MX is a loop of aliases", func(*Settings, *Facts) {}, record("mailto:a@sub.shop.example") + "sub.shop.example CNAME sub.shop.example\n", "undeliverable: a@sub.shop.example=undeliverable", "mail servers of sub.shop.example could not be looked up: loop"},
		{"one never, one unusable", func(s *Settings, _ *Facts) { s.Never = []string{"rua@shop.example"} }, record("mailto:rua@shop.example,https://shop.example/"),
			"unusable: rua@shop.example=never https://shop.example/=unusable", "https://shop.example/: not a mailto URI"},
		{"both never", func(s *Settings, _ *Facts) { s.Never = []string{"@shop.example"} }, record("mailto:a@shop.example,mailto:b@shop.example"),
			"never: a@shop.example=never b@shop.example=never", "@shop.example"},
		{"MX times out", func(*Settings, *Facts) {}, base + "! shop.example MX timeout", "waiting: rua@shop.example=waiting", "mail servers of shop.example could not be looked up: timeout"},
		{"A fails", func(*Settings, *Facts) {}, strings.Replace(base, "MX 10 mx.shop.example", "TXT x", 1) + "! shop.example A servfail", "waiting: rua@shop.example=waiting", "address of shop.example"},
	} {
		t.Run(c.why, func(t *testing.T) {
			s, f := Settings{Send: true}, wanted()
			c.change(&s, &f)
			d := decide(t, c.zone, s, f)
			if got := show(d); got != c.want {
				t.Errorf("got %s, want %s\n%+v", got, c.want, d.Rules)
			}
			text := d.Reason
			if d.Word == "" {
				text = fmt.Sprint(d.Rules)
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("%q does not say %q", text, c.says)
			}
			if (d.Word == "") != (d.Reason == "") {
				t.Errorf("word %q with reason %q", d.Word, d.Reason)
			}
			for _, r := range d.Rules {
				if applies := r.Word == d.Word; applies != (r.State == RuleApplies) && d.Word != report.Waiting {
					t.Errorf("%s: the rule %s %s", d.Word, r.Word, r.State)
				}
			}
		})
	}
}

func TestEstablished(t *testing.T) {
	for _, c := range []struct {
		why  string
		seen report.Seen
		s    Settings
		want string // in the evidence
	}{
		{"passed on 3 days, the first 7 days ago", report.Seen{PassDays: 3, FirstPass: today - 7}, Settings{}, "established: passed DMARC on 3 of the last 30 days, first on 2026-11-22"},
		{"passed on 2 days", report.Seen{PassDays: 2, FirstPass: today - 20}, Settings{}, "not established: it passed DMARC on 2 of the last 30 days, first on 2026-11-09 (3 days are needed"},
		{"the first 6 days ago", report.Seen{PassDays: 6, FirstPass: today - 6}, Settings{}, "not established: it passed DMARC on 6"},
		{"seen on 7 days, the first 14 days ago", report.Seen{AnyDays: 7, FirstAny: today - 14}, Settings{}, "established: was seen on 7 of the last 30 days, first on 2026-11-15"},
		{"seen on 6 days", report.Seen{AnyDays: 6, FirstAny: today - 20}, Settings{}, "not established: it passed DMARC on no day of the last 30 (3 days are needed, the first 7 days ago); it was seen on 6"},
		{"the first 13 days ago", report.Seen{AnyDays: 13, FirstAny: today - 13}, Settings{}, "not established"},
		{"a user wrote to it", report.Seen{Wrote: today - 80}, Settings{Correspondents: true}, "established: a user wrote to it, last on 2026-09-10"},
		{"a user wrote to it, but that does not count", report.Seen{Wrote: today - 80}, Settings{}, "not established"},
		{"nobody wrote to it", report.Seen{}, Settings{Correspondents: true}, "no user wrote to it"},
		{"always", report.Seen{}, Settings{Always: []string{"shop.example"}}, "established: the list always has shop.example"},
		{"always, a domain above", report.Seen{}, Settings{Always: []string{".Example"}}, "established: the list always has .Example"},
		{"always, another domain", report.Seen{}, Settings{Always: []string{"@shop.example", "rua@shop.example", "example", ".shop.example"}}, "not established"},
	} {
		f := wanted()
		f.Seen, c.s.Send = c.seen, true
		d := decide(t, base, c.s, f)
		want := report.Word("")
		if strings.HasPrefix(c.want, "not established") || strings.Contains(c.want, "no user") {
			want = report.WithheldNotEstablished
		}
		i := slices.IndexFunc(d.Rules, func(r Rule) bool { return r.Word == report.WithheldNotEstablished })
		if d.Word != want || !strings.Contains(d.Rules[i].Evidence, c.want) || want == "" && strings.HasPrefix(d.Rules[i].Evidence, "not") {
			t.Errorf("%s: word %q, %q", c.why, d.Word, d.Rules[i].Evidence)
		}
	}
}

func TestExternal(t *testing.T) {
	long := dns.Name(strings.Repeat(strings.Repeat("a", 60)+".", 3) + "shop.example")
	const agree = "shop.example._report._dmarc.esp.example TXT "
	ext := record("mailto:rua@esp.example")
	for _, c := range []struct {
		why, zone, want, says string
	}{
		{"agreed", ext + agree + `"v=DMARC1"`, "send: rua@esp.example=send", "agreed at shop.example._report._dmarc.esp.example"},
		{"a semicolon at the end", ext + agree + `"v=DMARC1;"`, "send: rua@esp.example=send", ""},
		{"wildcard", ext + `*._report._dmarc.esp.example TXT "v=DMARC1;"`, "send: rua@esp.example=send", ""},
		{"several strings", ext + agree + `"v=DM" "ARC1" "; x=y"`, "send: rua@esp.example=send", ""},
		{"among other records", ext + agree + "\"hello\"\n" + agree + `"v=DMARC1"`, "send: rua@esp.example=send", ""},
		{"through an alias", ext + "shop.example._report._dmarc.esp.example CNAME yes.esp.example\nyes.esp.example TXT \"v=DMARC1\"", "send: rua@esp.example=send", ""},
		{"no record", ext, "unverified: rua@esp.example=unverified", "no DMARC record at shop.example._report._dmarc.esp.example"},
		{"another record", ext + agree + `"v=spf1 -all"`, "unverified: rua@esp.example=unverified", ""},
		{"version in the wrong case", ext + agree + `"v=dmarc1"`, "unverified: rua@esp.example=unverified", ""},
		{"space before the version", ext + agree + `" v=DMARC1"`, "unverified: rua@esp.example=unverified", ""},
		{"for the organizational domain of others", ext + `example._report._dmarc.esp.example TXT "v=DMARC1"`, "unverified: rua@esp.example=unverified", ""},
		{"temporary failure", ext + "! shop.example._report._dmarc.esp.example TXT servfail", "waiting: rua@esp.example=waiting", "could not be looked up: servfail"},
		{"a loop of aliases", ext + "shop.example._report._dmarc.esp.example CNAME shop.example._report._dmarc.esp.example", "unverified: rua@esp.example=unverified", "loop"},
		{"the tree walk of the destination fails", ext + "! _dmarc.esp.example TXT timeout", "waiting: rua@esp.example=waiting", "organizational domain of esp.example could not be looked up: timeout"},
		{"the tree walk of the destination is a loop", ext + "_dmarc.esp.example CNAME _dmarc.esp.example", "unverified: rua@esp.example=unverified", "organizational domain of esp.example could not be looked up: loop"},
		{"the tree walk of the policy domain fails", ext + "! _dmarc.example TXT timeout", "waiting: rua@esp.example=waiting", "organizational domain of shop.example could not be looked up: timeout"},
		{"the tree walk of the policy domain is a loop", ext + "_dmarc.example CNAME _dmarc.example", "unverified: rua@esp.example=unverified", "organizational domain of shop.example could not be looked up: loop"},
		{"one later, the other now", record("mailto:rua@esp.example,mailto:rua@shop.example") + "! shop.example._report._dmarc.esp.example TXT servfail",
			"send: rua@esp.example=waiting rua@shop.example=send", ""},

		{"another address", ext + agree + `"v=DMARC1; rua=mailto:shop@esp.example"`, "send: shop@esp.example=send", ""},
		{"two other addresses", ext + agree + `"v=DMARC1; rua=mailto:a@esp.example,mailto:b@esp.example"`, "send: a@esp.example=send b@esp.example=send", ""},
		{"more addresses than are allowed", ext + agree + `"v=DMARC1; rua=mailto:a@esp.example,mailto:b@esp.example,mailto:c@esp.example,mailto:d@esp.example,mailto:e@esp.example,mailto:f@esp.example"`,
			"send: a@esp.example=send b@esp.example=send c@esp.example=send d@esp.example=send e@esp.example=send", ""},
		{"both replaced by one", record("mailto:a@esp.example,mailto:b@esp.example") + agree + `"v=DMARC1; rua=mailto:c@esp.example"`,
			"send: c@esp.example=send b@esp.example=unverified", ""},
		{"replaced by itself", ext + agree + `"v=DMARC1; rua=mailto:rua@esp.example"`, "send: rua@esp.example=send", ""},
		{"two records agree, the second has addresses", ext + agree + "\"v=DMARC1\"\n" + agree + `"v=DMARC1; rua=mailto:b@esp.example"`, "send: b@esp.example=send", ""},
		{"two records agree, the first has addresses", ext + agree + "\"v=DMARC1; rua=mailto:a@esp.example\"\n" + agree + `"v=DMARC1"`, "send: a@esp.example=send", ""},
		{"two records agree, both have addresses", ext + agree + "\"v=DMARC1; rua=mailto:a@esp.example\"\n" + agree + `"v=DMARC1; rua=mailto:b@esp.example"`, "send: a@esp.example=send", ""},
		{"two records agree, the first is broken", ext + agree + "\"v=DMARC1; rua=esp\"\n" + agree + `"v=DMARC1; rua=mailto:b@esp.example"`, "unverified: rua@esp.example=unverified", "not a list of URIs"},
		{"another host", ext + agree + `"v=DMARC1; rua=mailto:victim@bank.example"`, "unverified: rua@esp.example=unverified", "another host, bank.example"},
		{"another host beside its own", ext + agree + `"v=DMARC1; rua=mailto:a@esp.example,mailto:victim@bank.example"`, "unverified: rua@esp.example=unverified", ""},
		{"a host below it", ext + agree + `"v=DMARC1; rua=mailto:a@in.esp.example"`, "unverified: rua@esp.example=unverified", ""},
		{"not mailto", ext + agree + `"v=DMARC1; rua=https://esp.example/"`, "unverified: rua@esp.example=unverified", "not a mailto URI"},
		{"a broken URI", ext + agree + `"v=DMARC1; rua=esp"`, "unverified: rua@esp.example=unverified", "not a list of URIs"},
		{"an address with CR LF", ext + agree + `"v=DMARC1; rua=mailto:a%0d%0aBcc:b@esp.example"`, "unverified: rua@esp.example=unverified", ""},

		{"same organization", record("mailto:rua@reports.shop.example") + "reports.shop.example MX 10 mx.shop.example", "send: rua@reports.shop.example=send", "same organization, shop.example"},
		{"a subdomain that is an organization of its own", record("mailto:rua@tenant.shop.example") + `_dmarc.tenant.shop.example TXT "v=DMARC1; p=none; psd=n"`,
			"unverified: rua@tenant.shop.example=unverified", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			d := decide(t, c.zone, Settings{Send: true}, wanted())
			if got := show(d); got != c.want {
				t.Errorf("got %s, want %s\n%+v", got, c.want, d.Destinations)
			}
			if !strings.Contains(fmt.Sprint(d.Destinations), c.says) {
				t.Errorf("%+v does not say %q", d.Destinations, c.says)
			}
		})
	}
	t.Run("name too long", func(t *testing.T) {
		f := wanted()
		f.Job.Policy.Domain = long
		d := decide(t, "_dmarc."+string(long)+` TXT "v=DMARC1; p=none; psd=n; rua=mailto:a@`+strings.Repeat("b", 60)+`.esp.example"`, Settings{Send: true}, f)
		if d.Word != report.WithheldUnverified || !strings.Contains(d.Reason, "too long") {
			t.Errorf("%s: %s", show(d), d.Reason)
		}
	})
	t.Run("by the suffix list", func(t *testing.T) {
		psl, err := dmarc.LoadPSL(strings.NewReader("example\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := Settings{Send: true, Discovery: dmarc.Options{Method: dmarc.PSL, PSL: psl}}
		d := decide(t, record("mailto:rua@reports.shop.example,mailto:rua@esp.example")+"reports.shop.example MX 10 mx.shop.example", s, wanted())
		if got := show(d); got != "send: rua@reports.shop.example=send rua@esp.example=unverified" {
			t.Error(got)
		}
	})
}

func TestFailureReports(t *testing.T) {
	f := wanted()
	f.Kind = Failure
	zone := `_dmarc.shop.example TXT "v=DMARC1; p=none; rua=mailto:rua@shop.example; ruf=mailto:ruf@esp.example"
shop.example._report._dmarc.esp.example TXT "v=DMARC1; rua=mailto:x@bank.example; ruf=mailto:other@esp.example"
esp.example MX 10 mx.esp.example`
	if got := show(decide(t, zone, Settings{Send: true}, f)); got != "send: other@esp.example=send" {
		t.Error(got)
	}
	d := decide(t, strings.Replace(zone, "p=none", "p=none; psd=y", 1), Settings{Send: true}, f)
	if d.Word != report.WithheldNotRequested || !strings.Contains(d.Reason, "psd=y") {
		t.Errorf("%s: %s", show(d), d.Reason)
	}
	if got := show(decide(t, base, Settings{Send: true}, f)); got != "not_requested:" {
		t.Error(got)
	}
}

func TestManyURIs(t *testing.T) {
	var uris []string
	for i := range dmarc.MaxURIs {
		uris = append(uris, fmt.Sprintf("mailto:u%d@shop.example", i))
	}
	bad := []string{"https://shop.example/", "mailto:a%0d%0aBcc:b@shop.example", "mailto:a@shop.example%2Cb@bank.example", "mailto:a@shop.example?bcc=c@bank.example", "mailto:A@shop.example"}
	text := func(all []string) string { // in strings of at most 255 octets
		s := strings.Join(all, ",")
		var b strings.Builder
		for s != "" {
			n := min(len(s), 200)
			fmt.Fprintf(&b, `" "%s`, s[:n])
			s = s[n:]
		}
		return b.String()
	}
	d := decide(t, record(text(uris)), Settings{Send: true}, wanted())
	if len(d.Destinations) != dmarc.MaxURIs || d.Word != "" {
		t.Fatalf("%d destinations, %s", len(d.Destinations), show(d))
	}
	for i, x := range d.Destinations {
		if (x.Word == "") != (i < UsualDestinations) || i >= UsualDestinations && (x.Word != report.WithheldUnusable || !strings.Contains(x.Detail, "only the first 5")) {
			t.Errorf("%d: %+v", i, x)
		}
	}
	d = decide(t, record(text(bad)), Settings{Send: true}, wanted())
	if got := show(d); got != "send: https://shop.example/=unusable mailto:a%0d%0aBcc:b@shop.example=unusable mailto:a@shop.example%2Cb@bank.example=unusable a@shop.example=send A@shop.example=unusable" {
		t.Error(got)
	}
	d = decide(t, record(text(bad[:3])), Settings{Send: true}, wanted())
	if d.Word != report.WithheldUnusable || strings.ContainsAny(d.Reason, "\r\n") {
		t.Errorf("%s: %q", show(d), d.Reason)
	}
	if d := decide(t, record(text(uris)), Settings{Send: true, MaxDestinations: 1000}, wanted()); len(d.Destinations) != dmarc.MaxURIs || d.Destinations[MaxDestinations-1].Word != "" || d.Destinations[MaxDestinations].Word != report.WithheldUnusable {
		t.Errorf("MaxDestinations does not bound: %s", show(d))
	}
	for _, r := range d.Rules {
		if len(r.Evidence) > 2000 {
			t.Errorf("%s: evidence of %d octets", r.Word, len(r.Evidence))
		}
	}
}

func TestListed(t *testing.T) {
	lists := Settings{Send: true, DNSBL: []dns.Name{"dbl.example", "other.example"}}
	two := record("mailto:rua@shop.example,mailto:rua@esp.example") + "shop.example._report._dmarc.esp.example TXT \"v=DMARC1\"\n"
	for _, c := range []struct{ why, zone, want string }{
		{"on no list", two, "send: rua@shop.example=send rua@esp.example=send"},
		{"the policy domain", two + "shop.example.dbl.example A 127.0.1.2", "listed: rua@shop.example=listed rua@esp.example=listed"},
		{"a destination, on the second list", two + "esp.example.other.example A 127.0.1.2", "send: rua@shop.example=send rua@esp.example=listed"},
		{"the list refuses", two + "shop.example.dbl.example A 127.255.255.254", "send: rua@shop.example=send rua@esp.example=send"},
		{"the list was given up", two + "*.dbl.example A 192.0.2.1", "send: rua@shop.example=send rua@esp.example=send"},
		{"a list fails", two + "! esp.example.dbl.example A timeout", "send: rua@shop.example=send rua@esp.example=waiting"},
		{"one list fails, another has it", two + "! shop.example.dbl.example A timeout\nshop.example.other.example A 127.0.0.2", "listed: rua@shop.example=listed rua@esp.example=listed"},
		{"a list is a loop", two + "esp.example.dbl.example CNAME esp.example.dbl.example", "send: rua@shop.example=send rua@esp.example=send"},
	} {
		if got := show(decide(t, c.zone, lists, wanted())); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
	}
}

func TestSuppressed(t *testing.T) {
	two := record("mailto:RUA@shop.example,mailto:b@shop.example")
	until := now.Add(time.Hour)
	for _, c := range []struct {
		why   string
		entry report.Suppression
		want  string
	}{
		{"the address", report.Suppression{Target: "rua@shop.example", Until: until, By: report.ByBounce, Reason: "no such user"}, "send: RUA@shop.example=suppressed b@shop.example=send"},
		{"the domain", report.Suppression{Target: "@shop.example", Until: until, By: report.ByOperator}, "suppressed: RUA@shop.example=suppressed b@shop.example=suppressed"},
		{"it ended", report.Suppression{Target: "@shop.example", Until: now}, "send: RUA@shop.example=send b@shop.example=send"},
		{"only strikes", report.Suppression{Target: "rua@shop.example", Strikes: 1}, "send: RUA@shop.example=send b@shop.example=send"},
	} {
		f := wanted()
		f.Suppression = func(_ context.Context, target string) (report.Suppression, error) {
			if target == c.entry.Target {
				return c.entry, nil
			}
			return report.Suppression{}, report.ErrUnknown
		}
		d := decide(t, two, Settings{Send: true}, f)
		if got := show(d); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
		if d.Word != "" && !strings.Contains(d.Reason, "until 2026-11-29 04:00 UTC by operator") {
			t.Error(d.Reason)
		}
	}
	broken := errors.New("disk full")
	f := wanted()
	f.Suppression = func(context.Context, string) (report.Suppression, error) { return report.Suppression{}, broken }
	if _, err := Decide(t.Context(), nameserver.Zone(t, two), Settings{Send: true}, f, now); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestAllRules checks that a person can see every rule, also of a report that is withheld.
func TestAllRules(t *testing.T) {
	f := wanted()
	f.Seen = report.Seen{}
	f.All = true
	d := decide(t, base, Settings{}, f)
	if got := show(d); got != "off: rua@shop.example=send" {
		t.Error(got)
	}
	var words []report.Word
	for _, r := range d.Rules {
		words = append(words, r.Word)
		applies := r.Word == report.WithheldOff || r.Word == report.WithheldNotEstablished
		if applies != (r.State == RuleApplies) || r.State == RuleSkipped || r.Evidence == "" {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(words, report.Withheld) {
		t.Errorf("rules %q", words)
	}
	if d := decide(t, "shop.example MX 10 mx.shop.example", Settings{Send: true}, f); show(d) != "not_established:" {
		t.Errorf("a domain without a record: %s", show(d))
	}
	f.All = false
	for _, r := range decide(t, base, Settings{}, f).Rules[1:] {
		if r.State != RuleSkipped {
			t.Errorf("checked although sending is off: %+v", r)
		}
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := Decide(ctx, nameserver.Zone(t, base), Settings{Send: true}, wanted(), now); !errors.Is(err, context.Canceled) {
		t.Errorf("got %s, %v", show(d), err)
	}
}

// TestMaxQueries counts the queries for the worst record: as many destinations as are allowed, each at
// a host of its own with a long name, and no mail server.
func TestMaxQueries(t *testing.T) {
	var uris []string
	zones := []dns.Name{}
	text := ""
	for i := range MaxDestinations + 5 {
		host := fmt.Sprintf("a.b.c.d.e.f.g.h.h%d.example", i)
		uris = append(uris, "mailto:r@"+host)
		text += fmt.Sprintf("%s AAAA 2001:db8::1\n*._report._dmarc.%s TXT \"v=DMARC1\"\n", host, host)
	}
	for i := range MaxZones + 3 {
		zones = append(zones, dns.Name(fmt.Sprintf("list%d.example", i)))
	}
	f := wanted()
	f.Job.Policy.Domain = "a.b.c.d.e.f.g.h.shop.example"
	text += `_dmarc.a.b.c.d.e.f.g.h.shop.example TXT "v=DMARC1; p=none; rua=`
	for _, u := range uris {
		text += u + `," "`
	}
	z := nameserver.Zone(t, text+`"`)
	d, err := Decide(t.Context(), z, Settings{Send: true, MaxDestinations: 1000, DNSBL: zones}, f, now)
	if err != nil || d.Word != "" {
		t.Fatalf("%s, %v, %s", show(d), err, d.Reason)
	}
	if n := len(z.Queries()); n > MaxQueries || n < MaxQueries-10 {
		t.Errorf("%d queries, MaxQueries is %d", n, MaxQueries)
	}
}
