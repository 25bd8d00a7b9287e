package bimi

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	const logo, vmc = "https://shop.example/logo.svg", "https://shop.example/vmc.pem"
	for _, c := range []struct {
		why, in string
		want    Record
		bad     string // part of the error; "ignored" for ErrNotBIMI
	}{
		{"both URIs", "v=BIMI1; l=" + logo + "; a=" + vmc + ";", Record{Location: logo, Evidence: vmc}, ""},
		{"white space and order", "v = BIMI1 ;a=" + vmc + " ; l =\t" + logo, Record{Location: logo, Evidence: vmc}, ""},
		{"only a picture", "v=BIMI1; l=" + logo, Record{Location: logo}, ""},
		{"only a certificate", "v=BIMI1; l=; a=" + vmc, Record{Evidence: vmc}, ""},
		{"declined", "v=BIMI1; l=; a=;", Record{Declines: true}, ""},
		{"declined without a=", "v=BIMI1; l=", Record{Declines: true}, ""},
		{"preference", "v=BIMI1; l=" + logo + "; avp=Personal", Record{Location: logo, Preference: PreferPersonal}, ""},
		{"unknown preference", "v=BIMI1; l=" + logo + "; avp=logo", Record{Location: logo}, ""},
		{"p= is not avp=", "v=BIMI1; l=" + logo + "; p=personal", Record{Location: logo}, ""},
		{"local parts", "v=BIMI1; l=" + logo + "; lps=a,b", Record{Location: logo, ByLocalPart: true, Prefixes: "a,b"}, ""},
		{"all local parts", "v=BIMI1; l=" + logo + "; lps=", Record{Location: logo, ByLocalPart: true}, ""},
		{"port 443", "v=BIMI1; l=https://shop.example:443/x", Record{Location: "https://shop.example:443/x"}, ""},
		{"query", "v=BIMI1; l=https://shop.example?a=b&c=%20d", Record{Location: "https://shop.example?a=b&c=%20d"}, ""},

		{"another version", "v=BIMI2; l=" + logo, Record{}, "ignored"},
		{"lower case", "v=bimi1; l=" + logo, Record{}, "ignored"},
		{"upper-case tag", "V=BIMI1; l=" + logo, Record{}, "ignored"},
		{"longer version", "v=BIMI10; l=" + logo, Record{}, "ignored"},
		{"version not first", "l=" + logo + "; v=BIMI1", Record{}, "ignored"},
		{"leading space", " v=BIMI1; l=" + logo, Record{}, "ignored"},
		{"another record", "v=spf1 -all", Record{}, "ignored"},
		{"empty", "", Record{}, "ignored"},

		{"no l=", "v=BIMI1; a=" + vmc, Record{}, "l= is missing"},
		{"duplicate tag", "v=BIMI1; l=" + logo + "; l=" + logo, Record{}, "duplicate"},
		{"not a tag", "v=BIMI1; " + logo, Record{}, "without an equals sign"},
		{"http", "v=BIMI1; l=http://shop.example/logo.svg", Record{}, "l= is not an https URI"},
		{"data", "v=BIMI1; l=data:image/svg+xml,x", Record{}, "l= is not an https URI"},
		{"self", "v=BIMI1; l=" + logo + "; a=self", Record{}, "a= is not an https URI"},
		{"user name", "v=BIMI1; l=https://shop.example@evil.example/x", Record{}, "user name"},
		{"another port", "v=BIMI1; l=https://shop.example:8443/x", Record{}, "another port"},
		{"port with a zero", "v=BIMI1; l=https://shop.example:0443/x", Record{}, "another port"},
		{"empty port", "v=BIMI1; l=https://shop.example:/x", Record{}, "another port"},
		{"IPv4", "v=BIMI1; l=https://127.0.0.1/x", Record{}, "an address"},
		{"IPv4 as one number", "v=BIMI1; l=https://2130706433/x", Record{}, "an address"},
		{"IPv4 in hexadecimal", "v=BIMI1; l=https://0x7f.0x1/x", Record{}, "an address"},
		{"IPv4 with a dot", "v=BIMI1; l=https://127.0.0.1./x", Record{}, "an address"},
		{"IPv6", "v=BIMI1; l=https://[::1]/x", Record{}, "an address"},
		{"one label", "v=BIMI1; l=https://localhost/x", Record{}, "host name"},
		{"trailing dot", "v=BIMI1; l=https://shop.example./x", Record{}, "host name"},
		{"no host", "v=BIMI1; l=https:///x", Record{}, "l= has "},
		{"percent in the host", "v=BIMI1; l=https://shop%2eexample.example/x", Record{}, "host name"},
		{"backslash", `v=BIMI1; l=https://shop.example\@evil.example/`, Record{}, "no URI may have"},
		{"quote", `v=BIMI1; l=https://shop.example/"x`, Record{}, "no URI may have"},
		{"comma: two URIs", "v=BIMI1; l=" + logo + "," + logo, Record{}, "no URI may have"},
		{"space inside", "v=BIMI1; l=https://shop.example/a b", Record{}, "no URI may have"},
		{"U-label", "v=BIMI1; l=https://bücher.example/x", Record{}, "no URI may have"},
		{"fragment", "v=BIMI1; l=https://shop.example/x#y", Record{}, "fragment"},
		{"long URI", "v=BIMI1; l=https://shop.example/" + strings.Repeat("x", 2048-len("https://shop.example/")+1), Record{}, "2048 octets"},
		{"long record", "v=BIMI1; l=" + logo + "; x=" + strings.Repeat("x", maxRecordLen), Record{}, "16384 octets"},
	} {
		t.Run(c.why, func(t *testing.T) {
			got, err := ParseRecord(c.in)
			switch {
			case c.bad == "ignored":
				if !errors.Is(err, ErrNotBIMI) {
					t.Errorf("got %+v, %v, want ErrNotBIMI", got, err)
				}
			case c.bad != "":
				if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("got %+v, %v, want %q", got, err, c.bad)
				}
			case err != nil || got != c.want:
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	if at := "https://shop.example/" + strings.Repeat("x", 2048-len("https://shop.example/")); checkURI(at) != "" {
		t.Errorf("a URI of 2048 octets: %s", checkURI(at))
	}
}

// FuzzRecord checks that a record which is accepted has only URIs that are safe in a header field and
// name a host by https.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem; avp=brand; lps=a,b",
		"v=BIMI1; l=; a=", "v=BIMI1; l=https://a@b.c:443/;;", "v = BIMI1;l=https://[::1]/", "v=BIMI1", "v=BIMI1; l=https://1.2.3/\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ParseRecord(in)
		if err != nil {
			if !errors.Is(err, ErrNotBIMI) && !errors.Is(err, ErrRecord) {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		if !strings.HasPrefix(in, "v") || !strings.Contains(in, version) {
			t.Fatalf("%q was accepted", in)
		}
		if r.Declines != (r.Location == "" && r.Evidence == "") {
			t.Fatalf("%q: %+v", in, r)
		}
		for _, uri := range []string{r.Location, r.Evidence} {
			if uri == "" {
				continue
			}
			if len(uri) > maxURILen || !strings.EqualFold(uri[:8], "https://") {
				t.Fatalf("%q: URI %q", in, uri)
			}
			for i := range len(uri) {
				if uri[i] <= ' ' || uri[i] > '~' || strings.IndexByte(`"\;,()<>`, uri[i]) >= 0 {
					t.Fatalf("%q: URI %q", in, uri)
				}
			}
		}
		r.wants("some.local_part+x")
	})
}
