package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		`{"a":[{"type":"MX","data":"x"}]}`, `{"a":[{"type":"TXT","data":7}]}`, `{"a":[{"type":"PTR","data":7}]}`, `{"a":[{"type":"MX","data":[1,"a..b"]}]}`, `{"a":[{"type":"A","rcode":"NOTIMP"}]}`,
	} {
		if _, err := Zone(json.RawMessage(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestPrivateUse(t *testing.T) {
	for _, bad := range []string{`{"a":[{"type":"TXT","data":"\uf780"}]}`, `{"a":[{"type":"TXT","data":"` + "\uf7ff" + `"}]}`} {
		if _, err := Zone(json.RawMessage(bad)); !errors.Is(err, errPrivateUse) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestHideOctets has each bound of the escapes, and what stands before and after one.
func TestHideOctets(t *testing.T) {
	for in, want := range map[string]string{
		`\udc80\udc80x`: `\uf780\uf780x`, `\udcff`: `\uf7ff`, `\uDC80`: `\uf780`, `\udc7f`: `\udc7f`, `\udd00`: `\udd00`,
		`\ud83d\ude00\udc80`: `\ud83d\ude00\uf780`, `\ud800\udc00\udc80`: `\ud800\udc00\uf780`, `\udbff\udfff\udc80`: `\udbff\udfff\uf780`,
		`\ud83d\udc80`: `\ud83d\udc80`, `\udbff\udc80`: `\udbff\udc80`, `\ud7ff\udc80`: `\ud7ff\uf780`, `\udc00\udc80`: `\udc00\uf780`,
		`\ud83d\ud83d\udc80`: `\ud83d\ud83d\udc80`, `\ud800\ue000\udc80`: `\ud800\ue000\uf780`, `\ud83dxxxxxx\udc80`: `\ud83dxxxxxx\uf780`,
		`\ud83d\udbff\udc80`: `\ud83d\udbff\udc80`, `\ud83d`: `\ud83d`,
		`x\udc80`: `x\uf780`, `\\udc80`: `\\udc80`, `\n\udc80`: `\n\uf780`, `\u0041\udc80`: `\u0041\uf780`, `\udc8`: `\udc8`, `\uzzzz`: `\uzzzz`, `\xdc80`: `\xdc80`, `\`: `\`,
		`\uf77f\uf800`: `\uf77f\uf800`, "\uf77f\uf800": "\uf77f\uf800",
		`\uf780`: "", `\uf7ff`: "", `\ud83d\uf780`: "", "\uf780": "", "\uf7ff": "",
	} {
		got, err := hideOctets([]byte(in))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	if got := showOctets("a\uf77f\uf780\uf7ff\uf800"); got != "a\uf77f\x80\xff\uf800" {
		t.Errorf("shown: %q", got)
	}
}

func TestMasterName(t *testing.T) {
	for in, want := range map[string]string{
		"": ".", ".": ".", "A.example": "a.example.", "a.example.": "a.example.", "a..example": "", strings.Repeat("a", 64): "",
		"\uf780B.example": `\128B.example.`, "\uf7ff.example.": `\255.example.`, "\uf780..example": "", "\uf780" + strings.Repeat("a", 63): "",
		"az`{09/:-_*+": "az\\096\\12309\\047\\058-_*\\043.",
	} {
		if got, err := masterName(in); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
	if got := escaped("AZ@[ \"", " "); got != `AZ\064\091 \034` {
		t.Errorf("escaped: %s", got)
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
