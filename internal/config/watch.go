package config

import (
	"strconv"
	"strings"

	"sekimori/internal/lookalike"
	"sekimori/internal/printable"
)

// Watch is a list of domains that are watched: how much of their mail passes,
// and who looks like them.
type Watch struct {
	Name       string    `yaml:"name"`       // of the list; the label of its metrics
	Domains    []Pattern `yaml:"domains"`    // example.com with the names below it, or .example.com for the names below only
	Names      []string  `yaml:"names"`      // display names that only authors of these domains should have
	Lookalikes bool      `yaml:"lookalikes"` // whether authors who look like these domains get the trait lookalike
}

// maxWatchName is the length of the longest name of a list, in octets. It is
// a label of metrics, and a word in the message's label.
const maxWatchName = 32

// WatchLists returns the lists in the form that package lookalike takes.
func (c *Config) WatchLists() []lookalike.List {
	var out []lookalike.List
	for _, w := range c.Watch {
		l := lookalike.List{Name: w.Name, Names: w.Names, Lookalikes: w.Lookalikes}
		for _, d := range w.Domains {
			l.Domains = append(l.Domains, string(d))
		}
		out = append(out, l)
	}
	return out
}

func (k *checker) watch(c *Config) {
	seen := map[string]bool{}
	for i, w := range c.Watch {
		path := "watch[" + strconv.Itoa(i) + "]"
		switch {
		case w.Name == "" || len(w.Name) > maxWatchName || strings.Trim(w.Name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "":
			k.add(path+".name", "%q: write 1 to %d lower-case letters, digits, hyphens and underscores", w.Name, maxWatchName)
		case seen[w.Name]:
			k.add(path+".name", "%q is the name of two lists", w.Name)
		}
		seen[w.Name] = true
		if len(w.Domains) == 0 {
			k.add(path+".domains", "name at least one domain")
		}
		if len(w.Names) > 0 && !w.Lookalikes {
			k.add(path+".names", "display names are compared only with lookalikes: true")
		}
	}
	if _, err := lookalike.New(c.WatchLists()); err != nil {
		k.add("watch", "%s", printable.Value(strings.TrimPrefix(err.Error(), "lookalike: ")))
	}
}
