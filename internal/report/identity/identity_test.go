package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

const good = `
dmarc.isp.example TXT "v=spf1 ip4:192.0.2.25 -all"
_dmarc.dmarc.isp.example TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
dmarc.isp.example MX 10 mx.isp.example.
`

func TestCheck(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := "s1._domainkey.dmarc.isp.example TXT \"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public) + "\"\n"
	ours := Options{Domain: "dmarc.isp.example", Bounce: "dmarc-bounce", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}}
	for _, tt := range []struct {
		name, zone       string
		change           func(*Options)
		aligned, unknown bool
		want             []string // "subject grade text"; after "!", what must not be there
	}{
		{"all is well", good + key, func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public }, true, false, []string{
			"dmarc good", "!dmarc warning", "spf good SPF passes for 192.0.2.25, by ip4:192.0.2.25", "dkim good the key", "bounces good"}},
		{"SPF alone", good, func(*Options) {}, true, false, []string{"dkim warning"}},
		{"no DMARC", strings.ReplaceAll(good, "_dmarc", "_other"), func(*Options) {}, false, false, []string{"dmarc fault", "spf good"}},
		{"asks for reports", strings.ReplaceAll(good, "p=reject", "p=reject; rua=mailto:a@isp.example"), func(*Options) {}, true, false,
			[]string{"dmarc warning the record of dmarc.isp.example asks for reports"}},
		{"one address of two", good, func(o *Options) { o.Addresses = append(o.Addresses, netip.MustParseAddr("2001:db8::1")) }, false, false,
			[]string{"spf good SPF passes for 192.0.2.25", "spf fault SPF does not pass for 2001:db8::1: fail by -all"}},
		{"one address of two, and DKIM", good + key, func(o *Options) {
			o.Addresses = append(o.Addresses, netip.MustParseAddr("2001:db8::1"))
			o.Selector, o.Signs, o.Public = "s1", true, public
		}, true, false, []string{"spf fault", "dkim good"}},
		{"no SPF", strings.ReplaceAll(good, "v=spf1", "v=none"), func(*Options) {}, false, false, []string{"spf fault dmarc.isp.example has no SPF record"}},
		{"broken SPF", strings.ReplaceAll(good, "ip4:192.0.2.25", "ip9:x"), func(*Options) {}, false, false, []string{"spf fault the SPF record of dmarc.isp.example cannot be used"}},
		{"no address", good, func(o *Options) { o.Addresses = nil }, false, false, []string{"spf warning"}},
		{"another key", good + key, func(o *Options) { o.Selector, o.Signs, o.Public, o.Addresses = "s1", true, other, nil }, false, false,
			[]string{"dkim fault the key at s1._domainkey.dmarc.isp.example is another"}},
		{"no key", good, func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public }, true, false, []string{"dkim fault there is no usable key"}},
		{"unreadable key file", good + key, func(o *Options) { o.Selector, o.Signs = "s1", true }, true, false, []string{"dkim warning there is a key at", "can"}},
		{"the MTA signs", good + key, func(o *Options) { o.Selector = "s1" }, true, false, []string{"dkim warning there is a key at"}},
		{"broken DNS of the key", good + "! s1._domainkey.dmarc.isp.example TXT servfail\n", func(o *Options) { o.Selector, o.Signs, o.Public, o.Addresses = "s1", true, public, nil },
			false, true, []string{"dkim fault the key record s1._domainkey.dmarc.isp.example cannot be looked up"}},
		{"broken DNS of the key, and SPF", good + "! s1._domainkey.dmarc.isp.example TXT servfail\n", func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public },
			true, false, []string{"dkim fault the key record"}},
		{"a selector that makes the name too long", good, func(o *Options) { o.Selector, o.Addresses = dns.Name(strings.Repeat("x.", 120)+"x"), nil }, false, false,
			[]string{"dkim fault the name of the key record is too long", "!cannot be looked up", "!no usable key"}},
		{"a key that was revoked", good + "s1._domainkey.dmarc.isp.example TXT \"v=DKIM1; p=\"\n", func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public }, true, false,
			[]string{"dkim fault there is no usable key at"}},
		{"a record that is not a key, beside ours", good + "s1._domainkey.dmarc.isp.example TXT \"v=DKIM1; p=*\"\n" + key, func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public },
			true, false, []string{"dkim good"}},
		{"another key beside ours", good + "s1._domainkey.dmarc.isp.example TXT \"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(other) + "\"\n" + key,
			func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public }, true, false, []string{"dkim good"}},
		{"the MTA signs, with a key that we know", good + key, func(o *Options) { o.Selector, o.Public, o.Addresses = "s1", public, nil }, false, false,
			[]string{"dkim warning there is a key at s1._domainkey.dmarc.isp.example, and whether your mail server signs"}},
		{"no selector, and no SPF", good, func(o *Options) { o.Addresses = nil }, false, false, []string{"dkim warning this program does not sign"}},
		{"SPF is not known for one address", good + "! a.isp.example * timeout\n", func(o *Options) {
			o.Addresses = append(o.Addresses, netip.MustParseAddr("192.0.2.26"))
		}, false, false, []string{"spf fault SPF does not pass for 192.0.2.26"}},
		{"only an address to bounce to", strings.ReplaceAll(good, " MX 10 mx.isp.example.", " A 192.0.2.25"), func(*Options) {}, true, false, []string{"bounces good"}},
		{"only an IPv6 address to bounce to", strings.ReplaceAll(good, " MX 10 mx.isp.example.", " AAAA 2001:db8::1"), func(*Options) {}, true, false, []string{"bounces good"}},
		{"nowhere to bounce to", strings.ReplaceAll(good, " MX 10 mx", " TXT mx"), func(*Options) {}, true, false, []string{"bounces fault"}},
		{"broken DNS of the policy, and SPF", strings.ReplaceAll(good, "_dmarc.", "other.") + "! _dmarc.dmarc.isp.example TXT servfail\n", func(*Options) {}, false, true,
			[]string{"dmarc fault the DMARC record of dmarc.isp.example cannot be looked up", "spf good"}},
		{"no DNS", "! dmarc.isp.example * timeout\n! _dmarc.dmarc.isp.example * timeout\n", func(*Options) {}, false, true,
			[]string{"dmarc fault the DMARC record of dmarc.isp.example cannot be looked up", "spf fault", "bounces warning"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z, err := zone.Parse(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			o := ours
			tt.change(&o)
			r := Check(t.Context(), z, o)
			var all strings.Builder
			for _, f := range r.Findings {
				all.WriteString(string(f.Subject) + " " + string(f.Grade) + " " + f.Text + "\n")
				if (f.Do == "") != (f.Grade == Good) {
					t.Errorf("what to do: %+v", f)
				}
			}
			if r.Aligned != tt.aligned || r.Unknown != tt.unknown {
				t.Errorf("aligned %t, unknown %t:\n%s", r.Aligned, r.Unknown, &all)
			}
			for _, want := range tt.want {
				text, without := strings.CutPrefix(want, "!")
				if strings.Contains(all.String(), text) == without {
					t.Errorf("want %q:\n%s", want, &all)
				}
			}
		})
	}
}

// TestWhatToDo checks the lines that an operator is told to publish.
func TestWhatToDo(t *testing.T) {
	small, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why     string
		address string
		public  crypto.PublicKey
		want    string
		strings int // quoted strings of the key record
	}{
		{"IPv4", "192.0.2.25", small, "v=spf1 ip4:192.0.2.25 -all", 1},
		{"IPv4 as IPv6 sees it", "::ffff:192.0.2.25", small, "v=spf1 ip4:192.0.2.25 -all", 1},
		{"IPv6 and a key of several strings", "2001:db8::1", large.Public(), "v=spf1 ip6:2001:db8::1 -all", 2},
		{"a key that cannot be read", "2001:db8::1", nil, "publish the public key at s1._domainkey.dmarc.isp.example", 0},
	} {
		z, err := zone.Parse("_dmarc.dmarc.isp.example TXT \"v=DMARC1; p=reject\"\n")
		if err != nil {
			t.Fatal(err)
		}
		r := Check(t.Context(), z, Options{Domain: "dmarc.isp.example", Bounce: "b", Selector: "s1", Signs: true, Public: tt.public,
			Addresses: []netip.Addr{netip.MustParseAddr(tt.address)}})
		var all []string
		for _, f := range r.Findings {
			all = append(all, f.Do)
		}
		text := strings.Join(all, "\n")
		if !strings.Contains(text, tt.want) {
			t.Errorf("%s: lacks %q:\n%s", tt.why, tt.want, text)
		}
		published := false
		for _, do := range all {
			key, ok := strings.CutPrefix(do, "publish s1._domainkey.dmarc.isp.example TXT ")
			if !ok {
				continue
			}
			published = true
			parts := strings.Split(strings.Trim(key, `"`), `" "`)
			if len(parts) != tt.strings || !strings.HasPrefix(parts[0], "v=DKIM1;") || slices.ContainsFunc(parts, func(s string) bool { return len(s) > 255 }) {
				t.Errorf("%s: %q", tt.why, parts)
			}
		}
		if published != (tt.strings > 0) {
			t.Errorf("%s: the key record is told: %t", tt.why, published)
		}
	}
}

// TestAddressesAreBounded checks that only the first addresses are checked.
func TestAddressesAreBounded(t *testing.T) {
	z, err := zone.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Domain: "dmarc.isp.example", Bounce: "b"}
	for range addressesChecked + 5 {
		o.Addresses = append(o.Addresses, netip.MustParseAddr("192.0.2.25"))
	}
	checked := 0
	for _, f := range Check(t.Context(), z, o).Findings {
		if f.Subject == SPF {
			checked++
		}
	}
	if checked != addressesChecked {
		t.Errorf("%d addresses were checked", checked)
	}
}

// TestFindings checks all findings of a check, in their order: whatever is wrong says what to do, and nothing is told twice.
func TestFindings(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := "s1._domainkey.dmarc.isp.example TXT \"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public) + "\"\n"
	signs := func(o *Options) { o.Selector, o.Signs, o.Public = "s1", true, public }
	two := func(o *Options) { o.Addresses = append(o.Addresses, netip.MustParseAddr("192.0.2.26")) }
	away := "! dmarc.isp.example TXT servfail\n"
	for _, tt := range []struct {
		why, zone        string
		change           func(*Options)
		want             string
		aligned, unknown bool
	}{
		{"all is well", good + key, signs, "dmarc good, spf good, dkim good, bounces good", true, false},
		{"the mail server signs", good, func(*Options) {}, "dmarc good, spf good, dkim warning, bounces good", true, false},
		{"no DMARC record", strings.ReplaceAll(good, "_dmarc", "_other") + key, signs, "dmarc fault, spf good, dkim good, bounces good", false, false},
		{"asks for reports", strings.ReplaceAll(good, "p=reject", "p=reject; rua=mailto:a@isp.example"), func(*Options) {},
			"dmarc good, dmarc warning, spf good, dkim warning, bounces good", true, false},
		{"no SPF record, and two addresses", strings.ReplaceAll(good, "v=spf1", "v=none"), two, "dmarc good, spf fault, dkim warning, bounces good", false, false},
		{"a bad SPF record, and two addresses", strings.ReplaceAll(good, "ip4:192.0.2.25", "ip9:x"), two, "dmarc good, spf fault, dkim warning, bounces good", false, false},
		{"SPF passes for none of two addresses", strings.ReplaceAll(good, "192.0.2.25", "192.0.2.1"), two, "dmarc good, spf fault, spf fault, dkim warning, bounces good", false, false},
		{"SPF passes for the second of two addresses", strings.ReplaceAll(good, "192.0.2.25", "192.0.2.26"), two, "dmarc good, spf fault, spf good, dkim warning, bounces good", false, false},
		{"no answer for SPF", good + away, func(*Options) {}, "dmarc good, spf fault, dkim warning, bounces good", false, true},
		{"no answer for SPF of two addresses", good + away, two, "dmarc good, spf fault, spf fault, dkim warning, bounces good", false, true},
		{"no answer for SPF, and a signature", good + away + key, signs, "dmarc good, spf fault, dkim good, bounces good", true, false},
		{"no answer for the key", good + "! s1._domainkey.dmarc.isp.example TXT servfail\n", signs, "dmarc good, spf good, dkim fault, bounces good", true, false},
		{"no answer for the mail server", good + "! dmarc.isp.example MX servfail\n", func(*Options) {}, "dmarc good, spf good, dkim warning, bounces warning", true, false},
		{"no mail server", strings.ReplaceAll(good, " MX 10 mx", " TXT mx"), func(*Options) {}, "dmarc good, spf good, dkim warning, bounces fault", true, false},
		{"no address", good, func(o *Options) { o.Addresses = nil }, "dmarc good, spf warning, dkim warning, bounces good", false, false},
		{"another key", good + strings.ReplaceAll(key, "p=", "p=AAAA"), signs, "dmarc good, spf good, dkim fault, bounces good", true, false},
		{"no key at all, and the mail server signs", good, func(o *Options) { o.Selector = "s1" }, "dmarc good, spf good, dkim fault, bounces good", true, false},
		{"a private key that cannot be read", good + key, func(o *Options) { o.Selector, o.Signs = "s1", true }, "dmarc good, spf good, dkim warning, bounces good", true, false},
	} {
		z, err := zone.Parse(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Domain: "dmarc.isp.example", Bounce: "dmarc-bounce+", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")}}
		tt.change(&o)
		r := Check(t.Context(), z, o)
		var got []string
		for _, f := range r.Findings {
			got = append(got, string(f.Subject)+" "+string(f.Grade))
			if (f.Do == "") != (f.Grade == Good) {
				t.Errorf("%s: %s says to do %q", tt.why, f.Text, f.Do)
			}
		}
		if list := strings.Join(got, ", "); list != tt.want || r.Aligned != tt.aligned || r.Unknown != tt.unknown {
			t.Errorf("%s: aligned %t, unknown %t, %s; want %s", tt.why, r.Aligned, r.Unknown, list, tt.want)
		}
	}
}
