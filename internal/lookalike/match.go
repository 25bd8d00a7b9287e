package lookalike

import (
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/printable"
)

// domain returns the skeleton of a domain, with its dots and hyphens.
func (m *Matcher) domain(n dns.Name) string { return string(m.skeleton(nil, n.Unicode())) }

// text returns the skeleton of a display name. Everything between words is a space.
func (m *Matcher) text(s string) string {
	b := m.skeleton(nil, s)
	for i, c := range b {
		if c == '.' || c == '-' {
			b[i] = ' '
		}
	}
	return string(b)
}

// Match says what a message has to do with the lists, or returns nil. author is the Author Domain, and
// displays are the display names of the field From. m may be nil.
func (m *Matcher) Match(author dns.Name, displays []string) *Finding {
	if m == nil || author == "" {
		return nil
	}
	if f, ok := m.watched(author); ok {
		return &f
	}
	f, ok := m.domainLooksLike(author)
	for i := 0; i < len(displays) && i < maxDisplays && !ok; i++ {
		f, ok = m.displayLooksLike(printable.Clip(displays[i], maxDisplay))
	}
	if !ok {
		return nil
	}
	return &f
}

// watched returns the entry that the domain is, or lies below.
func (m *Matcher) watched(author dns.Name) (Finding, bool) {
	for n := author; n != ""; n = n.Parent() {
		if f, ok := m.exact[n]; ok {
			return f, true
		}
		if f, ok := m.below[n]; ok && n != author {
			return f, true
		}
	}
	return Finding{}, false
}

func (f Finding) as(k Kind) (Finding, bool) {
	f.Lookalike = k
	return f, true
}

func (m *Matcher) domainLooksLike(author dns.Name) (Finding, bool) {
	var buffer [2 * dns.MaxNameLen]byte
	text := author.Unicode()
	skeleton := string(m.skeleton(buffer[:0], text))
	public, _ := suffix.Of(author)
	labels := author.Labels() - public.Labels() // those that are not of the public suffix
	own := lastLabels(skeleton, public.Labels()+1)
	if labels > 0 {
		if f, ok := m.whole[strings.ReplaceAll(own, "-", "")]; ok {
			return f.as(KindDomain)
		}
	}
	if f, ok := m.contains(skeleton); ok {
		return f.as(KindInside)
	}
	looked := 0
	for label, rest := "", skeleton; labels > 0 && looked < maxBrands; labels-- {
		label, rest, _ = strings.Cut(rest, ".")
		if f, ok := m.brandIn(label, &looked); ok {
			return f.as(KindBrand)
		}
	}
	return Finding{}, false
}

// lastLabels returns the last labels of a skeleton.
func lastLabels(skeleton string, count int) string {
	at := len(skeleton)
	for ; count > 0 && at >= 0; count-- {
		at = strings.LastIndexByte(skeleton[:at], '.')
	}
	return skeleton[at+1:]
}

// contains looks for a watched domain in a skeleton, at boundaries of labels and at hyphens. The skeleton
// of .go.jp must have something before it.
func (m *Matcher) contains(skeleton string) (Finding, bool) {
	dotted := strings.ReplaceAll(skeleton, "-", ".")
	for rest, more, first := dotted, true, true; more; first = false {
		end := 0
		for range m.deep {
			next := strings.IndexByte(rest[end:], '.')
			if next < 0 {
				next = len(rest) - end
			}
			end += next
			if f, ok := m.inside[rest[:end]]; ok && (!first || f.Of[0] != '.') {
				return f, true
			}
			if end == len(rest) {
				break
			}
			end++ // behind the dot
		}
		_, rest, more = strings.Cut(rest, ".")
	}
	return Finding{}, false
}

// brandIn looks for a brand in one label: as the whole, between hyphens, or at its beginning or end.
// looked counts what was compared.
func (m *Matcher) brandIn(label string, looked *int) (Finding, bool) {
	joined := strings.ReplaceAll(label, "-", "")
	if f, ok := m.brands[joined]; ok {
		return f, true
	}
	if len(joined) < len(label) {
		for part := range strings.SplitSeq(label, "-") {
			if f, ok := m.brands[part]; ok {
				return f, true
			}
			if *looked++; *looked >= maxBrands {
				return Finding{}, false
			}
		}
	}
	for _, n := range m.lengths {
		if n >= len(joined) {
			break
		}
		if f, ok := m.brands[joined[:n]]; ok {
			return f, true
		}
		if f, ok := m.brands[joined[len(joined)-n:]]; ok {
			return f, true
		}
	}
	*looked++
	return Finding{}, false
}

// displayLooksLike looks for a watched domain or name in a display name.
func (m *Matcher) displayLooksLike(display string) (Finding, bool) {
	skeleton := string(m.skeleton(nil, display))
	for field := range strings.SplitSeq(skeleton, " ") {
		if strings.IndexByte(field, '.') < 0 {
			continue
		}
		if f, ok := m.contains("x." + strings.Trim(field, ".-")); ok { // "x", so that "mof.go.jp" and "@go.jp" count
			return f.as(KindName)
		}
	}
	words := strings.FieldsFunc(skeleton, func(r rune) bool { return r == ' ' || r == '.' || r == '-' })
	joined := strings.Join(words, "")
	if f, ok := m.brands[joined]; ok {
		return f.as(KindName)
	}
	if f, ok := m.phrase(words); ok {
		return f.as(KindName)
	}
	return m.window(joined)
}

// phrase looks for a watched name among the words. Names in the letters of ASCII must be whole words.
func (m *Matcher) phrase(words []string) (Finding, bool) {
	for i := range words {
		key := ""
		for n := 0; n < m.words && i+n < len(words); n++ {
			key += words[i+n]
			if f, ok := m.names[key]; ok {
				return f, true
			}
		}
	}
	return Finding{}, false
}

// window looks for a watched name that is not ASCII anywhere in the text: Japanese has no spaces between
// words.
func (m *Matcher) window(text string) (Finding, bool) {
	if isASCII(text) {
		return Finding{}, false
	}
	for i := range text { // at the beginning of each character
		for _, n := range m.nameLens {
			if i+n > len(text) {
				break
			}
			if f, ok := m.names[text[i:i+n]]; ok && !isASCII(text[i:i+n]) {
				return f.as(KindName)
			}
		}
	}
	return Finding{}, false
}
