package survey

import (
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
)

// Measure names a number of domains in the result.
type Measure string

// The measures that other code uses by name. The list "measures" has all of them.
const (
	Domains Measure = "domains"
	WithMX  Measure = "mx"
	SPF     Measure = "spf"
	DMARC   Measure = "dmarc"
	BIMI    Measure = "bimi"
)

// measure is a measure, the measure of which it is a share, and its name in both languages.
type measure struct {
	id     Measure
	of     Measure
	en, ja string
	counts func(e *Entry) bool // for of "mx" and below, it is only asked about domains with an MX record
}

func isOwn(get func(e *Entry) string, value string) func(*Entry) bool {
	return func(e *Entry) bool { return e.Own && get(e) == value }
}

func tagP(e *Entry) string  { return e.P }
func tagSP(e *Entry) string { return e.SP }
func tagNP(e *Entry) string { return e.NP }

func spfSays(what string) func(*Entry) bool { return func(e *Entry) bool { return e.SPF == what } }

// hasSPF reports whether the domain has an SPF record that receivers can use.
func hasSPF(e *Entry) bool { return e.SPF != "" && e.SPF != broken }

// measures has every measure, in the order of the tables.
var measures = [...]measure{
	{Domains, "", "domains", "ドメイン数", func(*Entry) bool { return true }},
	{"missing", Domains, "does not exist", "存在しない", func(e *Entry) bool { return e.Missing }},
	{"unknown", Domains, "not known: a lookup failed", "不明（DNS応答なし）", func(e *Entry) bool { return len(e.Unknown) > 0 }},
	{"null_mx", Domains, "takes no mail: null MX", "メールを受け取らない（Null MX）", func(e *Entry) bool { return e.Mail == domaincheck.MailNull }},
	{"no_mx", Domains, "no MX record", "MXレコードなし", func(e *Entry) bool { return e.Mail == domaincheck.MailNone && !e.Missing && len(e.Unknown) == 0 }},
	{WithMX, Domains, "with MX", "MXレコードあり", func(e *Entry) bool { return e.Mail == domaincheck.MailMX }},

	{SPF, WithMX, "SPF", "SPF", hasSPF},
	{"spf_broken", WithMX, "SPF broken", "SPFレコードの誤り", spfSays(broken)},
	{"spf_fail", SPF, "-all", "-all", spfSays("fail")},
	{"spf_softfail", SPF, "~all", "~all", spfSays("softfail")},
	{"spf_neutral", SPF, "?all or none", "?all または なし", spfSays("neutral")},
	{"spf_pass", SPF, "+all", "+all", spfSays("pass")},

	{DMARC, WithMX, "DMARC", "DMARC", func(e *Entry) bool { return e.Own }},
	{"dmarc_broken", WithMX, "DMARC broken", "DMARCレコードの誤り", func(e *Entry) bool { return e.Bad }},
	{"dmarc_parent", WithMX, "DMARC of a parent only", "上位ドメインのDMARCのみ", func(e *Entry) bool { return e.Parent }},
	{"enforcing", WithMX, "quarantine or reject in effect", "隔離・拒否が有効", func(e *Entry) bool { return e.Policy == "quarantine" || e.Policy == "reject" }},
	{"spf_and_dmarc", WithMX, "SPF and DMARC", "SPFとDMARCの両方", func(e *Entry) bool { return hasSPF(e) && e.Own }},
	{"p_none", DMARC, "p=none", "p=none（監視のみ）", isOwn(tagP, "none")},
	{"p_quarantine", DMARC, "p=quarantine", "p=quarantine（隔離）", isOwn(tagP, "quarantine")},
	{"p_reject", DMARC, "p=reject", "p=reject（拒否）", isOwn(tagP, "reject")},
	{"sp_none", DMARC, "sp=none", "sp=none", isOwn(tagSP, "none")},
	{"sp_quarantine", DMARC, "sp=quarantine", "sp=quarantine", isOwn(tagSP, "quarantine")},
	{"sp_reject", DMARC, "sp=reject", "sp=reject", isOwn(tagSP, "reject")},
	{"np_none", DMARC, "np=none", "np=none", isOwn(tagNP, "none")},
	{"np_quarantine", DMARC, "np=quarantine", "np=quarantine", isOwn(tagNP, "quarantine")},
	{"np_reject", DMARC, "np=reject", "np=reject", isOwn(tagNP, "reject")},
	{"testing", DMARC, "t=y (trial)", "t=y（試行）", func(e *Entry) bool { return e.Own && e.Testing }},
	{"rua", DMARC, "aggregate reports (rua)", "集計レポート（rua）", func(e *Entry) bool { return e.Own && e.RUA }},
	{"ruf", DMARC, "failure reports (ruf)", "失敗レポート（ruf）", func(e *Entry) bool { return e.Own && e.RUF }},
	{BIMI, WithMX, "BIMI", "BIMI", func(e *Entry) bool { return e.BIMI }},
}

// Measures lists every measure, in the order of the tables.
func Measures() []Measure {
	out := make([]Measure, len(measures))
	for i, m := range measures {
		out[i] = m.id
	}
	return out
}

// Class is the result for the domains of one class.
type Class struct {
	Name string `json:"class"` // such as go.jp; "other" for domains of no class, "all" for the sum
	// Counts has the number of domains for each measure.
	Counts map[Measure]int `json:"counts"`
}

// Share returns the share of a measure in the measure that it is a part of.
func (c *Class) Share(m Measure) float64 {
	i := slices.IndexFunc(measures[:], func(x measure) bool { return x.id == m })
	if i < 0 || c.Counts[measures[i].of] == 0 {
		return 0
	}
	return float64(c.Counts[m]) / float64(c.Counts[measures[i].of])
}

// FaultCount says how many domains with an MX record have a fault.
type FaultCount struct {
	Word     domaincheck.Word `json:"word"`
	Domains  int              `json:"domains"`
	Examples []string         `json:"examples"` // the first by the alphabet
}

// maxExamples is the number of examples for each fault.
const maxExamples = 5

// Result is the outcome of a survey.
type Result struct {
	// Asked is the number of DNS questions of this run. Earlier is the number of domains that an earlier
	// run had judged.
	Asked   int64 `json:"asked"`
	Earlier int   `json:"earlier"`
	// Invalid has lines of the input that are not domain names, the first ten.
	Invalid []string     `json:"invalid,omitempty"`
	All     Class        `json:"all"`
	Classes []Class      `json:"classes"`
	Faults  []FaultCount `json:"faults"` // of the domains with an MX record, the most frequent first
}

// Names of classes that are not suffixes.
const (
	ClassOther = "other"
	ClassAll   = "all"
)

// tally counts entries. It is not safe for concurrent use.
type tally struct {
	suffixes []dns.Name
	classes  map[string]*Class
	faults   map[domaincheck.Word]*FaultCount
}

func newTally(suffixes []dns.Name) *tally {
	t := &tally{suffixes: suffixes, classes: map[string]*Class{}, faults: map[domaincheck.Word]*FaultCount{}}
	for _, name := range append([]string{ClassAll, ClassOther}, texts(suffixes)...) {
		t.classes[name] = &Class{Name: name, Counts: map[Measure]int{}}
	}
	return t
}

func texts(names []dns.Name) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// classOf returns the longest suffix that the domain is below.
func (t *tally) classOf(domain dns.Name) string {
	best := ""
	for _, s := range t.suffixes {
		if domain != s && domain.Under(s) && len(s) > len(best) {
			best = string(s)
		}
	}
	if best == "" {
		return ClassOther
	}
	return best
}

func (t *tally) add(e *Entry) {
	for _, class := range []string{ClassAll, t.classOf(dns.Name(e.Domain))} {
		c := t.classes[class].Counts
		for _, m := range measures {
			general := m.of == "" || m.of == Domains
			if (general || e.Mail == domaincheck.MailMX && len(e.Unknown) == 0) && m.counts(e) && (m.id != WithMX || len(e.Unknown) == 0) {
				c[m.id]++
			}
		}
	}
	if e.Mail != domaincheck.MailMX || len(e.Unknown) > 0 {
		return
	}
	for _, w := range e.Faults {
		f := t.faults[w]
		if f == nil {
			f = &FaultCount{Word: w}
			t.faults[w] = f
		}
		f.Domains++
		f.Examples = append(f.Examples, e.Domain)
		slices.Sort(f.Examples) // so that the examples do not depend on the order of the answers
		f.Examples = f.Examples[:min(len(f.Examples), maxExamples)]
	}
}

// result returns the sums.
func (t *tally) result() *Result {
	r := &Result{All: *t.classes[ClassAll], Classes: []Class{}, Faults: []FaultCount{}}
	for _, name := range append(texts(t.suffixes), ClassOther) {
		if c := t.classes[name]; name != ClassOther || c.Counts[Domains] > 0 && len(t.suffixes) > 0 {
			r.Classes = append(r.Classes, *c)
		}
	}
	for _, f := range t.faults {
		r.Faults = append(r.Faults, *f)
	}
	slices.SortFunc(r.Faults, func(a, b FaultCount) int {
		if a.Domains != b.Domains {
			return b.Domains - a.Domains
		}
		return strings.Compare(string(a.Word), string(b.Word))
	})
	return r
}
