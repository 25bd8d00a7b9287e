package dmarc

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"sekimori/internal/taglist"
)

// Policy is what a Domain Owner asks receivers to do with mail that fails
// (§4.7). "" means that none is published.
type Policy string

// The policies.
const (
	PolicyNone       Policy = "none"
	PolicyQuarantine Policy = "quarantine"
	PolicyReject     Policy = "reject"
)

// lower returns the policy one step milder than p, which t=y asks for (§4.7).
func (p Policy) lower() Policy {
	switch p {
	case PolicyReject:
		return PolicyQuarantine
	case PolicyQuarantine:
		return PolicyNone
	}
	return p
}

// Enforces reports whether p is quarantine or reject.
func (p Policy) Enforces() bool { return p.strictness() > 1 }

// strictness returns a number that grows from "" (not known) to reject.
func (p Policy) strictness() int {
	return slices.Index([]Policy{"", PolicyNone, PolicyQuarantine, PolicyReject}, p)
}

// Mode is how exactly an identifier must match the Author Domain (§4.4).
type Mode string

// The alignment modes. In a record, adkim and aspf have r for relaxed and s for
// strict.
const (
	Relaxed Mode = "relaxed"
	Strict  Mode = "strict"
)

// The values of the psd tag (§4.7).
const (
	PSDYes     = "y"
	PSDNo      = "n"
	PSDUnknown = "u"
)

// Bounds on a record.
const (
	// MaxRecordLen is the length of the longest record that is read, in octets.
	// Records in use have less than 1 KiB.
	MaxRecordLen = 16 << 10
	// MaxURIs is the maximum number of URIs in a record for one kind of report.
	MaxURIs = 100
)

// The errors of ParseRecord.
var (
	// ErrNotDMARC means that the text is not a DMARC record of this version and
	// must be ignored (§4.7, §4.10 step 2).
	ErrNotDMARC = errors.New("dmarc: not a DMARC record")
	// ErrDuplicateTag means that a tag is given twice, so the whole record is
	// invalid.
	ErrDuplicateTag = errors.New("dmarc: record gives a tag twice")
	// ErrRecordTooLong means that the record is longer than MaxRecordLen and was
	// not read.
	ErrRecordTooLong = errors.New("dmarc: record longer than 16384 octets")
)

// Record is a DMARC Policy Record (§4.7). Tags that are absent or invalid have
// their default value.
type Record struct {
	P     Policy   `json:"p,omitempty"`
	SP    Policy   `json:"sp,omitempty"`
	NP    Policy   `json:"np,omitempty"`
	ADKIM Mode     `json:"adkim"`
	ASPF  Mode     `json:"aspf"`
	PSD   string   `json:"psd"`
	Test  bool     `json:"t,omitempty"`
	RUA   []string `json:"rua,omitempty"` // valid URIs, without obsolete "!size"
	RUF   []string `json:"ruf,omitempty"`
	// Percent is the value of the abolished tag pct as it was written, "" if the record has none. If
	// the tag occurs twice, Percent has both values, which is not a number. DMARC ignores pct (§9.3), but
	// BIMI does not.
	Percent string   `json:"pct,omitempty"`
	FO      []string `json:"fo"` // when to send failure reports; has no effect without RUF
	// Invalid names the tags that are present but wrong in whole or in part.
	Invalid []string `json:"invalid,omitempty"`
	// Raw is the record as published. It may hold any octets.
	Raw string `json:"raw"`
}

// PolicyValid reports whether p is present and none of p, sp and np is invalid
// (§4.10.1).
func (r *Record) PolicyValid() bool {
	return r.P != "" && !r.invalid("sp") && !r.invalid("np") // P is empty if p is invalid
}

// Applies reports whether DMARC must be applied with this record. If the policy
// of a record is missing or invalid, the record stands for p=none if it asks for
// aggregate reports, and does not apply otherwise (§4.10.1).
func (r *Record) Applies() bool { return r.PolicyValid() || len(r.RUA) > 0 }

// Mode returns the alignment mode for the identifiers of a mechanism. It returns
// the default, relaxed, if there is no record (r is nil).
func (r *Record) Mode(by Mechanism) Mode {
	switch {
	case r == nil:
		return Relaxed
	case by == SPF:
		return r.ASPF
	}
	return r.ADKIM
}

func (r *Record) invalid(tag string) bool { return slices.Contains(r.Invalid, tag) }

// ParseRecord parses the text of one TXT record, whose strings the caller has
// joined (§4.5). The error is ErrNotDMARC if the text is not a DMARC record.
func ParseRecord(txt string) (*Record, error) {
	if !isDMARC(txt) {
		return nil, ErrNotDMARC
	}
	if len(txt) > MaxRecordLen {
		return nil, ErrRecordTooLong
	}
	r := &Record{ADKIM: Relaxed, ASPF: Relaxed, PSD: PSDUnknown, FO: []string{"0"}, Raw: txt}
	seen := map[string]bool{"v": true}
	_, rest, _ := strings.Cut(txt, ";") // isDMARC has already checked the tag v
	for tag, err := range taglist.All(rest) {
		if errors.Is(err, taglist.ErrNoValue) {
			continue // not a tag: ignored (§4.8)
		}
		name := strings.ToLower(tag.Name)
		if name == "pct" {
			r.addPercent(tag.Value)
		}
		parse := tagParsers[name]
		if parse == nil && name != "v" {
			continue // an unknown tag, or one of the abolished tags pct, rf and ri (§9.3)
		}
		if seen[name] {
			return nil, ErrDuplicateTag
		}
		seen[name] = true
		if err != nil || !parse(r, tag.Value) {
			r.Invalid = append(r.Invalid, name)
		}
	}
	return r, nil
}

// addPercent adds a value of pct, which may be any text.
func (r *Record) addPercent(value string) {
	if r.Percent != "" {
		value = r.Percent + "," + value
	}
	r.Percent = cmp.Or(value, "empty")
}

// isDMARC reports whether txt begins with the version, v=DMARC1. Upper and lower
// case matter, except in the name of the tag (§4.7).
func isDMARC(txt string) bool {
	first, _, _ := strings.Cut(txt, ";")
	name, value, _ := strings.Cut(first, "=")
	return strings.EqualFold(strings.TrimRight(name, " \t"), "v") && trimWSP(value) == "DMARC1"
}

// tagParsers has the parser of each tag that is used here (§9.3). A parser
// returns false if the value is invalid.
var tagParsers = map[string]func(*Record, string) bool{
	"p":     func(r *Record, s string) bool { return parsePolicy(&r.P, s) },
	"sp":    func(r *Record, s string) bool { return parsePolicy(&r.SP, s) },
	"np":    func(r *Record, s string) bool { return parsePolicy(&r.NP, s) },
	"adkim": func(r *Record, s string) bool { return parseMode(&r.ADKIM, s) },
	"aspf":  func(r *Record, s string) bool { return parseMode(&r.ASPF, s) },
	"psd":   parsePSD,
	"t":     parseTest,
	"fo":    parseFO,
	"rua":   func(r *Record, s string) bool { return parseURIs(&r.RUA, s) },
	"ruf":   func(r *Record, s string) bool { return parseURIs(&r.RUF, s) },
}

func parsePolicy(p *Policy, s string) bool {
	switch v := Policy(strings.ToLower(s)); v {
	case PolicyNone, PolicyQuarantine, PolicyReject:
		*p = v
		return true
	}
	return false
}

func parseMode(m *Mode, s string) bool {
	switch strings.ToLower(s) {
	case "r":
		*m = Relaxed
	case "s":
		*m = Strict
	default:
		return false
	}
	return true
}

func parsePSD(r *Record, s string) bool {
	switch v := strings.ToLower(s); v {
	case PSDYes, PSDNo, PSDUnknown:
		r.PSD = v
		return true
	}
	return false
}

func parseTest(r *Record, s string) bool {
	s = strings.ToLower(s)
	r.Test = s == "y"
	return s == "y" || s == "n"
}

// parseFO reads "0", "1", or "d" and "s" joined by a colon. Domain owners also
// write "1:d:s", which the ABNF does not allow. For such a value FO keeps its
// default.
func parseFO(r *Record, s string) bool {
	s = strings.ToLower(s)
	if s == "0" || s == "1" {
		r.FO = []string{s}
		return true
	}
	var fo []string
	for v := range strings.SplitSeq(s, ":") {
		if v = trimWSP(v); v != "d" && v != "s" {
			return false
		}
		if !slices.Contains(fo, v) {
			fo = append(fo, v)
		}
	}
	r.FO = fo
	return true
}

// parseURIs appends the valid URIs of a comma-separated list to uris. It returns
// false if a URI is invalid, or if uris would have more than MaxURIs entries.
func parseURIs(uris *[]string, s string) bool {
	valid := true
	for uri := range strings.SplitSeq(s, ",") {
		uri = dropSize(trimWSP(uri))
		if !isURI(uri) || len(*uris) == MaxURIs {
			valid = false
			continue
		}
		*uris = append(*uris, uri)
	}
	return valid
}

// dropSize cuts off a size such as "!10m" of RFC 7489, which receivers ignore
// (§4.8).
func dropSize(uri string) string {
	i := strings.LastIndexByte(uri, '!')
	if i < 0 {
		return uri
	}
	size := uri[i+1:]
	if size != "" && strings.ContainsRune("kmgtKMGT", rune(size[len(size)-1])) {
		size = size[:len(size)-1]
	}
	if size == "" || strings.Trim(size, "0123456789") != "" {
		return uri
	}
	return uri[:i]
}

// isURI reports whether s is a scheme, a colon and at least one more character,
// with only the characters of RFC 3986. "!" is not allowed, because a record
// must have it encoded (§4.7).
func isURI(s string) bool {
	scheme, rest, _ := strings.Cut(s, ":")
	if scheme == "" || rest == "" || !isAlpha(scheme[0]) {
		return false
	}
	for i := 1; i < len(scheme); i++ {
		if c := scheme[i]; !isAlpha(c) && !isDigit(c) && strings.IndexByte("+-.", c) < 0 {
			return false
		}
	}
	for i := 0; i < len(rest); i++ {
		c := rest[i]
		if c == '%' {
			if i+2 >= len(rest) || !isHex(rest[i+1]) || !isHex(rest[i+2]) {
				return false
			}
		} else if !isAlpha(c) && !isDigit(c) && strings.IndexByte("-._~:/?#[]@$&'()*+;=", c) < 0 {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

func trimWSP(s string) string { return strings.Trim(s, " \t") }
