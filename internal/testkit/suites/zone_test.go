package suites

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestZone(t *testing.T) {
	const zoneText = `{
	  "Example.COM": [{"type":"TXT","data":["v=spf1 ","\udc80\u00e9\ud83d\ude00\\udc80"]}, {"type":"TXT","data":"whole"},
	                  {"type":"MX","data":[10,"mail.example.com"]}, {"type":"MX","data":[0,""]}, {"type":"*","rcode":"TIMEOUT"}],
	  "a.example.com": [{"type":"A","data":"192.0.2.1"}, {"type":"AAAA","rcode":"SERVFAIL"}],
	  "c.example.com": [{"type":"CNAME","data":"A.example.com."}, {"type":"*","rcode":"TIMEOUT"}],
	  "empty.example.com": [],
	  "o\udcffX.example.com": [{"type":"SPF","data":[]}],
	  "a..example.com": [{"type":"A","data":"192.0.2.1"}]
	}`
	z, err := Zone(json.RawMessage(zoneText))
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name dns.Name
		typ  dns.Type
		want string
	}{
		{"example.com", dns.TypeTXT, fmt.Sprintf("NOERROR example.com 5m0s %q %q", "v=spf1 \x80é😀\\udc80", "whole")},
		{"example.com", dns.TypeMX, "NOERROR example.com 5m0s 10:mail.example.com 0:"},
		{"example.com", dns.TypeA, "timeout"},
		{"a.example.com", dns.TypeA, "NOERROR a.example.com 5m0s 192.0.2.1"},
		{"a.example.com", dns.TypeAAAA, "servfail"},
		{"c.example.com", dns.TypeA, "NOERROR a.example.com 5m0s 192.0.2.1"},
		{"o\xffx.example.com", dns.TypeA, "NOERROR o\xffx.example.com 1m0s"},
		{"empty.example.com", dns.TypeA, "NOERROR empty.example.com 1m0s"},
		{"nothere.example.com", dns.TypeA, "NXDOMAIN nothere.example.com 1m0s"},
	}
	for _, c := range cases {
		if got := nameserver.Show(z.Lookup(t.Context(), c.name, c.typ)); got != c.want {
			t.Errorf("%q %s: got %s, want %s", c.name, c.typ, got, c.want)
		}
	}
	for _, bad := range []string{
		`[]`, `{"a":[{"type":"LOC","data":""}]}`, `{"a":[{"type":"A","data":"x"}]}`, `{"a":[{"type":"A","data":"2001:db8::1"}]}`,
		`{"a":[{"type":"A","data":["192.0.2.1"]}]}`,
		`{"a":[{"type":"MX","data":"x"}]}`, `{"a":[{"type":"TXT","data":7}]}`, `{"a":[{"type":"A","rcode":"NOTIMP"}]}`,
		`{"a":[{"type":"TXT","data":"\uf780"}]}`, `{"a":[{"type":"TXT","data":"` + "\uf7ff" + `"}]}`,
	} {
		if _, err := Zone(json.RawMessage(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// TestZonesLoad parses every zone of the shared data, because the tests of other packages need all
// of them.
func TestZonesLoad(t *testing.T) {
	root := Path(t, ".")
	zones := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, z := range findZones(raw) {
			if _, err := Zone(z); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			zones++
		}
		return nil
	})
	if err != nil || zones < 100 {
		t.Fatalf("%d zones, %v", zones, err)
	}
}

func findZones(raw json.RawMessage) []json.RawMessage {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	var out []json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		for k, v := range object {
			if k == "zone" {
				out = append(out, v)
			} else {
				out = append(out, findZones(v)...)
			}
		}
	} else if json.Unmarshal(raw, &array) == nil {
		for _, v := range array {
			out = append(out, findZones(v)...)
		}
	}
	return out
}

func FuzzZone(f *testing.F) {
	f.Add(`{"a":[{"type":"TXT","data":["\udc80","\ud83d\ude00"]},{"type":"MX","data":[1,"b"]},{"type":"*","rcode":"TIMEOUT"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		z, err := Zone(json.RawMessage(text))
		if err != nil {
			return
		}
		_, _ = z.Lookup(t.Context(), "a", dns.TypeTXT)
	})
}
