package stats

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

// maxCountries is how many countries the page shows; the others are added up. All are in the other formats.
const maxCountries = 15

// Table is a table of the page. The cells of a row are as many as the columns; the first is its head.
type Table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// Narrow reports whether the table has room beside a chart.
func (t Table) Narrow() bool { return len(t.Columns) <= 3 }

// Section is a part of the page: charts and a table about the same.
type Section struct {
	Title  string
	Charts []template.HTML
	Table  Table
}

// Fact is a number at the top of the page.
type Fact struct{ Number, What string }

// page is what the template shows.
type page struct {
	Lang     Lang
	Policy   string // the Content-Security-Policy
	CSS      template.CSS
	Title    string
	Month    string
	Made     []string
	Facts    []Fact
	Sections []Section
	How      string
	Notes    []string
}

// MonthName returns the name of the month in a language, such as "November 2026".
func (m *Month) MonthName(l Lang) string {
	t, err := time.Parse("2006-01", m.Month)
	switch {
	case err != nil:
		return m.Month
	case l == Japanese:
		return fmt.Sprintf("%d年%d月", t.Year(), t.Month())
	}
	return t.Format("January 2006")
}

// HTML writes the month as one page with charts. It has no script, loads nothing, and says so in a
// Content-Security-Policy. version is that of the program.
func (m *Month) HTML(out io.Writer, l Lang, version string, now time.Time) error {
	if !slices.Contains(Langs, l) {
		return fmt.Errorf("stats: %q is not a language; write en or ja", l)
	}
	css := ChartCSS() + embedded("page.css")
	sum := sha256.Sum256([]byte(css))
	p := page{
		Lang: l, CSS: template.CSS(css), Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'", //nolint:gosec // it is our own style sheet
		Title: l.word("title"), Month: m.MonthName(l),
		Made:  append([]string{fmt.Sprintf(l.word("made"), m.MonthName(l), m.From, m.To, now.UTC().Format(time.DateOnly), version)}, m.Remarks(l)...),
		Facts: m.Facts(l), Sections: m.Sections(l), How: l.word("how"), Notes: m.Notes(l),
	}
	t, err := template.New("page").Parse(embedded("page.html"))
	if err == nil {
		err = t.Execute(out, p)
	}
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	return nil
}

// Remarks says what a reader must know of this month, such as that it is not over.
func (m *Month) Remarks(l Lang) (out []string) {
	if !m.Whole {
		out = append(out, l.word("part"))
	}
	if m.Group != "" {
		out = append(out, fmt.Sprintf(l.word("group"), m.Group))
	}
	if m.Messages == 0 {
		out = append(out, l.word("empty"))
	}
	return out
}

// Notes says how the numbers were counted.
func (m *Month) Notes(l Lang) []string {
	out := []string{l.word("note_messages"), l.word("note_auth"), l.word("note_domains")}
	if m.Dropped > 0 {
		out = append(out, fmt.Sprintf(l.word("note_dropped"), grouped(m.Dropped)))
	}
	return out
}

// Facts returns the numbers that matter most.
func (m *Month) Facts(l Lang) []Fact {
	all := m.Classes[len(m.Classes)-1]
	of := func(n int64) string { return percent(n, m.Messages) }
	find := func(counts []Count, word string) (n int64) {
		for _, c := range counts {
			if c.Word == word {
				n = c.Messages
			}
		}
		return n
	}
	return []Fact{
		{grouped(m.Messages), l.word("evaluated")},
		{of(find(m.DMARC, "pass")), l.word("dmarc_pass")},
		{of(find(m.DMARC, "fail")), l.word("dmarc_fail")},
		{of(m.Unauthenticated.Messages), l.word("unauthenticated")},
		{percent(all.DMARC, all.Domains), l.word("with_dmarc")},
		{grouped(find(m.Applied, "reject")), l.word("rejected")},
		{grouped(find(m.Applied, "quarantine")), l.word("quarantined")},
	}
}

// Sections returns the charts and tables of the month, for the page and for the console.
func (m *Month) Sections(l Lang) []Section {
	out := []Section{m.spf(l), m.results(l, "dkim", "best", m.DKIM), m.dmarc(l), m.classes(l), m.done(l)}
	if len(m.Countries) > 0 {
		out = append(out, m.countries(l))
	}
	return append(out, m.days(l))
}

func (m *Month) spf(l Lang) Section { return m.results(l, "spf", "ofall", m.SPF) }

// results is the section of the results of a mechanism.
func (m *Month) results(l Lang, key, sub string, counts []Count) Section {
	c := Chart{Title: l.word(key), Sub: l.word(sub), Bare: key != "dmarc"}
	t := Table{Title: l.word(key), Columns: []string{l.word("result"), l.word("messages"), l.word("share")}}
	for _, x := range counts {
		colour := Mid
		switch x.Word {
		case "pass":
			colour = Good
		case "fail":
			colour = Bad
		case "none":
			colour = Other
		}
		value := percent(x.Messages, m.Messages)
		c.Bars = append(c.Bars, Bar{x.Word, value, []Slice{{colour, x.Share, x.Word + " " + value}}})
		t.Rows = append(t.Rows, []string{x.Word, grouped(x.Messages), value})
	}
	return Section{l.word(key), []template.HTML{c.HTML()}, t}
}
