package config

import (
	"slices"
	"strconv"
	"strings"

	"sekimori/internal/dns"
)

// Geo says where countries are looked up.
type Geo struct {
	Country string `yaml:"country"` // path of a file of the MaxMind DB format; "" to count no countries
}

// Stats configures the monthly statistics.
type Stats struct {
	Classes []string `yaml:"classes"` // suffixes by which author domains are counted, such as co.jp
}

// MaxClasses is the largest number of classes. A page with more is of no use to
// a reader.
const MaxClasses = 50

// Suffixes returns the classes as names.
func (s Stats) Suffixes() (out []dns.Name) {
	for _, class := range s.Classes {
		if name, ok := Suffix(class); ok {
			out = append(out, name)
		}
	}
	return out
}

// Suffix reads a class: a suffix, which may begin with a dot and may have one
// label.
func Suffix(class string) (dns.Name, bool) {
	const host = "x."
	name, err := dns.ParseHostname(host + strings.TrimPrefix(class, "."))
	if err != nil {
		return "", false
	}
	return name[len(host):], true
}

func (k *checker) stats(s Stats) {
	if len(s.Classes) > MaxClasses {
		k.add("stats.classes", "there are %d; name at most %d", len(s.Classes), MaxClasses)
	}
	var seen []dns.Name
	for i, class := range s.Classes {
		path := "stats.classes[" + strconv.Itoa(i) + "]"
		name, ok := Suffix(class)
		switch {
		case !ok:
			k.add(path, "%q is not a domain; write a suffix, such as co.jp", class)
		case slices.Contains(seen, name):
			k.add(path, "%q is listed twice", class)
		}
		seen = append(seen, name)
	}
}

func (k *checker) geo(g Geo) {
	if g.Country != "" && !strings.HasPrefix(g.Country, "/") {
		k.add("geo.country", "%q: write the whole path; it begins with /", g.Country)
	}
}
