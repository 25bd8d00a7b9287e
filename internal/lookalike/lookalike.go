// Package lookalike finds authors who look like the owner of a watched domain without being it: by a
// domain whose characters look like those of the watched one (the skeletons of UTS #39), by the watched
// domain or its brand inside another name, or by the display name. It is pure: it needs no DNS.
//
// Nothing here proves a fraud. A subsidiary, a partner or a namesake looks alike too.
package lookalike

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
)

// Bounds on what is watched, and on what is read of a message.
const (
	// MaxLists is the largest number of lists. Each has three time series.
	MaxLists = 20
	// MaxDomains is the largest number of domains of all lists together.
	MaxDomains = 1000
	// MaxNames is the largest number of display names of all lists together.
	MaxNames = 1000
	// MaxNameLen is the length of the longest display name that can be watched, in octets.
	MaxNameLen = 100
	// maxDisplay is how many octets of a display name are looked at. No mail program shows more.
	maxDisplay = 256
	// maxDisplays is how many display names of a message are looked at.
	maxDisplays = 4
	// maxBrands is the number of parts of a domain that are compared with the brands. A domain has at most
	// 127.
	maxBrands = 32
)

// The lengths of brands, in characters, from which a brand is looked for. Shorter ones are parts of many
// words.
const (
	brandAlone  = 4 // as a whole label, or between hyphens
	brandInside = 6 // at the beginning or the end of a label
	brandDomain = 3 // for the whole domain within another, as in bank-example.test
)

// List is a list of watched domains.
type List struct {
	Name string // of the list, a word
	// Domains are watched with the names below them. A name that begins with a dot, such as .go.jp, stands
	// for the names below only.
	Domains []string
	// Names are display names that only the domains of the list should have.
	Names []string
	// Lookalikes says whether authors who look alike are looked for.
	Lookalikes bool
}

// Kind says in what an author looks like a watched domain.
type Kind string

// The kinds.
const (
	KindDomain Kind = "domain" // the domain looks the same
	KindInside Kind = "inside" // the watched domain is a part of another, as in bank.example.test
	KindBrand  Kind = "brand"  // a label is or contains the watched domain's own label, as in bank-login.test
	KindName   Kind = "name"   // the display name has the watched domain or name
)

// Finding says what a message has to do with a watched domain.
type Finding struct {
	List string `json:"list"` // the name of the list
	// Of is the entry of the list: a domain, or a display name.
	Of string `json:"of"`
	// Lookalike says in what the author looks like it: domain, inside, brand or name. It is missing if the
	// Author Domain is a watched one.
	Lookalike Kind `json:"lookalike,omitempty"`
}

// Matcher knows the lists. It is safe for concurrent use.
type Matcher struct {
	*folder
	exact    map[dns.Name]Finding // domains of lists, with the names below them
	below    map[dns.Name]Finding // .go.jp: only the names below
	whole    map[string]Finding   // skeletons of registered domains, without hyphens
	inside   map[string]Finding   // skeletons with dots between all parts
	brands   map[string]Finding
	names    map[string]Finding // skeletons of display names
	deep     int                // the most parts of a key of inside
	lengths  []int              // of the brands that are long enough to be looked for inside, in octets
	words    int                // the most words of a display name
	nameLens []int              // the lengths of the display names without spaces, in octets
}

// New returns a Matcher, or nil if there is nothing to watch.
func New(lists []List) (*Matcher, error) {
	if len(lists) == 0 {
		return nil, nil
	}
	if len(lists) > MaxLists {
		return nil, fmt.Errorf("lookalike: %d lists; there may be %d", len(lists), MaxLists)
	}
	m := &Matcher{folder: newFolder(), exact: map[dns.Name]Finding{}, below: map[dns.Name]Finding{}, whole: map[string]Finding{},
		inside: map[string]Finding{}, brands: map[string]Finding{}, names: map[string]Finding{}}
	domains, names := 0, 0
	for _, l := range lists {
		if domains, names = domains+len(l.Domains), names+len(l.Names); domains > MaxDomains || names > MaxNames {
			return nil, fmt.Errorf("lookalike: there may be %d domains and %d display names in all lists", MaxDomains, MaxNames)
		}
		for _, entry := range l.Domains {
			if err := m.addDomain(l, entry); err != nil {
				return nil, err
			}
		}
		for _, name := range l.Names {
			if err := m.addName(l, name); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(m.lengths)
	slices.Sort(m.nameLens)
	m.lengths, m.nameLens = slices.Compact(m.lengths), slices.Compact(m.nameLens)
	return m, nil
}

// put adds an entry, unless an earlier list has it.
func put[K comparable](to map[K]Finding, key K, f Finding) {
	if _, ok := to[key]; !ok {
		to[key] = f
	}
}

func (m *Matcher) addDomain(l List, entry string) error {
	text, tree := strings.CutPrefix(entry, ".")
	name, err := dns.ParseName(text)
	if err != nil || name == "" {
		return fmt.Errorf("lookalike: %q is not a domain", entry)
	}
	f := Finding{List: l.Name, Of: entry}
	if tree {
		put(m.below, name, f)
	} else {
		put(m.exact, name, f)
	}
	if !l.Lookalikes {
		return nil
	}
	skeleton, registered := m.domain(name), suffix.Registered(name)
	if registered == "" && tree || utf8.RuneCountInString(firstLabel(skeleton)) >= brandDomain {
		key := strings.ReplaceAll(skeleton, "-", ".")
		put(m.inside, key, f)
		m.deep = max(m.deep, strings.Count(key, ".")+1)
	}
	if registered == "" {
		return nil // a public suffix has no brand, and every domain below it has its end
	}
	own := m.domain(registered)
	put(m.whole, strings.ReplaceAll(own, "-", ""), f)
	brand := strings.ReplaceAll(firstLabel(own), "-", "")
	if n := utf8.RuneCountInString(brand); n >= brandAlone || n >= 2 && !isASCII(brand) {
		put(m.brands, brand, f)
		if n >= brandInside || n >= 3 && !isASCII(brand) {
			m.lengths = append(m.lengths, len(brand))
		}
	}
	return nil
}

func firstLabel(skeleton string) string {
	label, _, _ := strings.Cut(skeleton, ".")
	return label
}

func (m *Matcher) addName(l List, name string) error {
	words := strings.Fields(m.text(name))
	key := strings.Join(words, "")
	switch {
	case len(name) > MaxNameLen:
		return fmt.Errorf("lookalike: the name %q is longer than %d octets", name, MaxNameLen)
	case utf8.RuneCountInString(key) < 2 || isASCII(key) && len(key) < brandAlone:
		return fmt.Errorf("lookalike: the name %q is too short: %d letters are needed, or 2 of kana or kanji", name, brandAlone)
	}
	put(m.names, key, Finding{List: l.Name, Of: name})
	if isASCII(key) {
		m.words = max(m.words, len(words))
	} else {
		m.nameLens = append(m.nameLens, len(key))
	}
	return nil
}
