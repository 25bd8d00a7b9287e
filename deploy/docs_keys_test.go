package deploy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sekimori/configs"
	"sekimori/internal/config"
)

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	keyPath  = regexp.MustCompile(`^(trusted|dns|dkim|dmarc|arc|policy|admin|headers|log|limits|store|report|ledger|history|geo|stats)(\.[a-z_]+)+$`)
	fragment = regexp.MustCompile(`^[a-z_]+: \{.*\}$`)
)

// knownKeys returns the paths of all configuration keys, such as dns.servers.
func knownKeys(t *testing.T) map[string]bool {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal(configs.Reference, &all); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	var walk func(at string, keys map[string]any)
	walk = func(at string, keys map[string]any) {
		for key, value := range keys {
			known[at+key] = true
			if below, ok := value.(map[string]any); ok {
				walk(at+key+".", below)
			}
		}
	}
	walk("", all)
	return known
}

// TestPagesNameKeysThatThereAre checks two things in the documentation pages. Every configuration
// key that is named in backquotes exists. The daemon accepts every piece of configuration that is
// shown in backquotes.
func TestPagesNameKeysThatThereAre(t *testing.T) {
	known := knownKeys(t)
	keys, fragments := 0, 0
	for _, name := range pages(t) {
		if strings.HasSuffix(name, "changelog.md") || strings.HasSuffix(name, "json.md") {
			continue // the changelog names keys that no longer exist, and json.md names keys of JSON output
		}
		for _, m := range codeSpan.FindAllStringSubmatch(prose(readFile(t, "../"+name)), -1) {
			switch code := m[1]; {
			case code == "policy.dmarc": // this is a property in Authentication-Results, not a key
			case keyPath.MatchString(code):
				keys++
				if !known[code] {
					t.Errorf("%s names the key %s, which there is not", name, code)
				}
			case fragment.MatchString(code) && !strings.Contains(code, "..."):
				if section, _, _ := strings.Cut(code, ":"); !known[section] {
					continue
				}
				fragments++
				if _, err := config.Parse(name, []byte(code+"\nmode: enforce\n")); err != nil {
					t.Errorf("%s shows %q: %v", name, code, err)
				}
			}
		}
	}
	if keys < 100 || fragments < 10 {
		t.Errorf("%d keys and %d fragments only were looked at", keys, fragments)
	}
}
