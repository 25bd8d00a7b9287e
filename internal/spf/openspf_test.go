package spf

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sekimori/internal/dns/dnstest"
)

// TestConformanceOpenSPF runs the suite of openspf.org as the module of the second opinion
// carries it, so that it runs on a clone without the shared data.
func TestConformanceOpenSPF(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(moduleDir(t, "blitiri.com.ar/go/spf"), "testdata", "rfc7208-tests.yml"))
	if err != nil {
		t.Skipf("the suite is not in the module cache: %v", err)
	}
	passed, total := 0, 0
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var doc struct {
			Tests    map[string]yamlTest         `yaml:"tests"`
			ZoneData map[string][]map[string]any `yaml:"zonedata"`
		}
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		zone := yamlZone(t, doc.ZoneData)
		for id, test := range doc.Tests {
			total++
			if runRow(t, zone, "openspf", test.row(t, id)) {
				passed++
			}
		}
	}
	logSuite(t, "rfc7208 of the module,", passed, total, 0)
	if total != 203 {
		t.Errorf("%d rows, want 203", total)
	}
}

// moduleDir is where the module cache has a dependency of this test.
func moduleDir(t *testing.T, path string) string {
	t.Helper()
	cache := os.Getenv("GOMODCACHE")
	if cache == "" {
		root := filepath.SplitList(os.Getenv("GOPATH"))
		if len(root) == 0 {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Skip(err)
			}
			root = []string{filepath.Join(home, "go")}
		}
		cache = filepath.Join(root[0], "pkg", "mod")
	}
	// A test binary does not know the versions it was built from.
	mod, err := os.ReadFile(filepath.Join(repoRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(fields) > 1 && fields[0] == path {
			return filepath.Join(cache, filepath.FromSlash(path)+"@"+fields[1])
		}
	}
	t.Fatalf("go.mod does not require %s", path)
	return ""
}

type yamlTest struct {
	HELO        string  `yaml:"helo"`
	Host        string  `yaml:"host"`
	MailFrom    string  `yaml:"mailfrom"`
	Result      any     `yaml:"result"` // one, or a list
	Explanation *string `yaml:"explanation"`
}

func (y yamlTest) row(t *testing.T, id string) suiteTest {
	t.Helper()
	if _, err := netip.ParseAddr(y.Host); err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return suiteTest{ID: id, HELO: y.HELO, IP: y.Host, MailFrom: y.MailFrom, Expect: stringsOf(y.Result), Explanation: y.Explanation}
}

// stringsOf reads a YAML value that is a string or a list of them.
func stringsOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := []string{}
		for _, s := range v {
			if text, ok := s.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return []string{}
}

// yamlZone turns zone data into dnstest's JSON form. SPF stands for TXT where
// a name has no TXT of its own; TXT: NONE is a name that has none at all.
func yamlZone(t *testing.T, data map[string][]map[string]any) *dnstest.Zone {
	t.Helper()
	out := map[string][]map[string]any{}
	for name, records := range data {
		out[name] = []map[string]any{}
		hasTXT := slices.ContainsFunc(records, func(r map[string]any) bool { return r["TXT"] != nil })
		for _, r := range records {
			for typ, value := range r {
				switch {
				case typ == "TIMEOUT":
					out[name] = append(out[name], map[string]any{"type": "*", "rcode": "TIMEOUT"})
				case typ == "CNAMELOOP":
					out[name] = append(out[name], map[string]any{"type": "CNAME", "data": name})
				case typ == "SPF" && hasTXT, value == "NONE":
				case typ == "SPF" || typ == "TXT":
					out[name] = append(out[name], map[string]any{"type": "TXT", "data": stringsOf(value)})
				default:
					out[name] = append(out[name], map[string]any{"type": typ, "data": value})
				}
			}
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := dnstest.FromConformance(raw)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}
