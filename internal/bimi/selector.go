package bimi

import (
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/taglist"
)

// SelectorField is the header field in which an author names the selector of the assertion record.
const SelectorField = "BIMI-Selector"

// DefaultSelector is the selector if there is no BIMI-Selector.
const DefaultSelector = "default"

// maxSelectorField is the length of the longest BIMI-Selector field that is read, in octets. A
// selector has at most 253.
const maxSelectorField = 998

// ParseSelector returns the selector that the value of a BIMI-Selector field names, in lower case.
// It returns "" if the field is malformed and must be ignored.
func ParseSelector(value string) string {
	if len(value) > maxSelectorField {
		return ""
	}
	value = message.Unfold(value)
	if !isRecord(strings.TrimLeft(value, " \t")) {
		return ""
	}
	var room [4]taglist.Tag
	tags, err := taglist.Append(room[:0], value)
	if err != nil {
		return ""
	}
	selector, _ := tags.Get("s")
	if !isSubdomain(selector) {
		return ""
	}
	return strings.ToLower(selector)
}

// isSubdomain reports whether s is a sub-domain of RFC 5321 §4.1.2, or several with dots between
// them: labels of letters, digits and hyphens that neither begin nor end with a hyphen.
func isSubdomain(s string) bool {
	if len(s) > dns.MaxNameLen {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > dns.MaxLabelLen || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// LocalPartSelector returns the selector for the record of a local part, or "" if the local part has
// none: lower case, without what follows a "+", with a hyphen in place of "_" and ".".
func LocalPartSelector(local string) string {
	local, _, _ = strings.Cut(local, "+")
	if len(local) > 2*dns.MaxLabelLen {
		return ""
	}
	b := make([]byte, 0, len(local))
	for i := 0; i < len(local); i++ {
		c := local[i]
		switch {
		case c == '_' || c == '.' || c == '-':
			if len(b) > 0 && b[len(b)-1] != '-' {
				b = append(b, '-')
			}
		case isAlnum(c):
			b = append(b, c)
		default:
			return ""
		}
	}
	selector := strings.ToLower(strings.TrimSuffix(string(b), "-"))
	if selector == "" || len(selector) > dns.MaxLabelLen {
		return ""
	}
	return selector
}

// wants returns the selector of the local part's own record, if lps= of r says that it may have one.
func (r *Record) wants(local string) (selector string, ok bool) {
	if !r.ByLocalPart {
		return "", false
	}
	if selector = LocalPartSelector(local); selector == "" {
		return "", false
	}
	listed := false
	for prefix := range strings.SplitSeq(r.Prefixes, ",") {
		prefix = strings.Trim(prefix, " \t")
		if prefix == "" {
			continue
		}
		listed = true
		if strings.HasPrefix(selector, prefixOf(prefix)) {
			return selector, true
		}
	}
	return selector, !listed
}

// prefixOf brings a prefix of lps= into the form of a selector. A hyphen at its end stays, because
// "shop-" must not match "shopping".
func prefixOf(prefix string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(prefix))
}
