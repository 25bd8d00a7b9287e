package survey

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed page.html
var files embed.FS

// Lang is the language of the HTML page.
type Lang string

// The languages.
const (
	English  Lang = "en"
	Japanese Lang = "ja"
)

// words of the page in both languages.
var words = map[Lang]map[string]string{
	English: {
		"title": "Sender authentication of domains", "made": "Made %s by sekimori survey", "publish": "Domains that publish SPF, DMARC and BIMI",
		"base": "Share of the domains with an MX record", "policies": "DMARC policies", "policybase": "Share of the domains with an MX record, by their own record",
		"table": "All numbers", "measure": "Measure", "class": "Class", "domains": "Domains", "faults": "Mistakes in records", "fault": "Fault", "examples": "Such as",
		"other": "other", "all": "all", "none": "none", "quarantine": "quarantine", "reject": "reject", "nothing": "no record",
		"note": "A share is one of the domains of the measure in brackets. A domain counts for DMARC if it has a record of its own that receivers can use. " +
			"Domains whose name servers did not answer are left out of all shares. Forged mail (spoofing) is stopped by quarantine and reject only.",
	},
	Japanese: {
		"title": "送信ドメイン認証の普及状況", "made": "%s 作成（sekimori survey）", "publish": "SPF・DMARC・BIMIを公表しているドメイン",
		"base": "MXレコードのあるドメインに占める割合", "policies": "DMARCポリシー", "policybase": "MXレコードのあるドメインに占める割合（自ドメインのレコードによる）",
		"table": "集計表", "measure": "項目", "class": "種別", "domains": "ドメイン数", "faults": "レコードの誤り", "fault": "誤り", "examples": "例",
		"other": "その他", "all": "全体", "none": "none（監視のみ）", "quarantine": "隔離（quarantine）", "reject": "拒否（reject）", "nothing": "レコードなし",
		"note": "割合は括弧内の項目のドメイン数に対するもの。受信側が利用できる自ドメインのDMARCレコードがあるドメインをDMARCありとした。" +
			"DNSの応答がなかったドメインはすべての割合から除いた。なりすましメールを止めるのは隔離と拒否だけである。",
	},
}

// bar is a bar of a chart, of one or several parts.
type bar struct {
	Y     int
	Label string
	Parts []part
	Text  string // behind the bar
	TextX float64
}

type part struct {
	X, Width float64
	Kind     string // CSS class
	Title    string
}

// chart is a bar chart. Its unit is a pixel of the SVG.
type chart struct {
	Title, Sub string
	Height     int
	Left       int
	Bars       []bar
	Legend     []part
	Grid       []gridLine
}

type gridLine struct {
	X    float64
	Text string
}

// Sizes of a chart.
const (
	chartLeft  = 150
	chartWidth = 460 // of a bar of 100 %
	barHeight  = 16
	barStep    = 22
	chartTop   = 20
	legendStep = 150
)

func newChart(title, sub string) *chart {
	c := &chart{Title: title, Sub: sub, Left: chartLeft}
	for _, share := range []int{0, 25, 50, 75, 100} {
		c.Grid = append(c.Grid, gridLine{X: chartLeft + chartWidth*float64(share)/100, Text: fmt.Sprintf("%d %%", share)})
	}
	return c
}

// add adds a bar. The shares of its parts are in the order of the legend.
func (c *chart) add(label, text string, gap int, shares ...share) {
	b := bar{Y: chartTop + c.Height + gap, Label: label, Text: text}
	x := float64(chartLeft)
	for _, s := range shares {
		width := s.of * chartWidth
		b.Parts = append(b.Parts, part{X: x, Width: width, Kind: s.kind, Title: s.title + " " + percent(s.of)})
		x += width
	}
	b.TextX = x + 6
	c.Bars = append(c.Bars, b)
	c.Height += barStep + gap
}

type share struct {
	of          float64
	kind, title string
}

func (c *chart) legend(names ...share) *chart {
	for i, n := range names {
		c.Legend = append(c.Legend, part{X: float64(chartLeft + i*legendStep), Kind: n.kind, Title: n.title})
	}
	return c
}

// page is what the template shows.
type page struct {
	Lang    Lang
	W       map[string]string
	Made    string
	Charts  []*chart
	Classes []Class
	Rows    []row
	Faults  []FaultCount
}

type row struct {
	Name, Of string
	Cells    []cell
}

type cell struct {
	Count int
	Share string
}

// HTML writes the result as one page without script, with charts in SVG, that can be printed.
func (r *Result) HTML(out io.Writer, lang Lang, now time.Time) error {
	w := words[lang]
	if w == nil {
		return fmt.Errorf("survey: %q is not a language; write en or ja", lang)
	}
	p := page{Lang: lang, W: w, Made: fmt.Sprintf(w["made"], now.Format(time.DateOnly)), Faults: r.Faults}
	for _, c := range append(r.Classes[:len(r.Classes):len(r.Classes)], r.All) {
		switch c.Name {
		case ClassOther, ClassAll:
			c.Name = w[c.Name]
		}
		p.Classes = append(p.Classes, c)
	}
	p.Charts = []*chart{published(p.Classes, w), policies(p.Classes, w)}
	names := map[Measure]string{}
	for _, m := range measures {
		names[m.id] = m.en
		if lang == Japanese {
			names[m.id] = m.ja
		}
		line := row{Name: names[m.id], Of: names[m.of]}
		for _, c := range p.Classes {
			text := ""
			if m.of != "" {
				text = percent(c.Share(m.id))
			}
			line.Cells = append(line.Cells, cell{c.Counts[m.id], text})
		}
		p.Rows = append(p.Rows, line)
	}
	t, err := template.ParseFS(files, "page.html")
	if err == nil {
		err = t.Execute(out, p)
	}
	if err != nil {
		return fmt.Errorf("survey: %w", err)
	}
	return nil
}

// published is the chart of the domains that publish SPF, DMARC and BIMI.
func published(classes []Class, w map[string]string) *chart {
	c := newChart(w["publish"], w["base"]).legend(share{kind: "spf", title: "SPF"}, share{kind: "dmarc", title: "DMARC"}, share{kind: "bimi", title: "BIMI"})
	for i := range classes {
		for n, m := range []Measure{SPF, DMARC, BIMI} {
			label, gap := "", 0
			if n == 0 {
				label, gap = fmt.Sprintf("%s (%d)", classes[i].Name, classes[i].Counts[WithMX]), 8
			}
			s := classes[i].Share(m)
			c.add(label, percent(s), gap, share{s, string(m), string(m)})
		}
	}
	return c
}

// policies is the chart of the DMARC policies.
func policies(classes []Class, w map[string]string) *chart {
	kinds := []struct {
		id  Measure
		key string
	}{{"p_reject", "reject"}, {"p_quarantine", "quarantine"}, {"p_none", "none"}}
	c := newChart(w["policies"], w["policybase"])
	var legend []share
	for _, k := range kinds {
		legend = append(legend, share{kind: k.key, title: w[k.key]})
	}
	c.legend(append(legend, share{kind: "nothing", title: w["nothing"]})...)
	for i := range classes {
		var parts []share
		all := float64(max(1, classes[i].Counts[WithMX]))
		rest := 1.0
		for _, k := range kinds {
			s := float64(classes[i].Counts[k.id]) / all
			rest -= s
			parts = append(parts, share{s, k.key, w[k.key]})
		}
		parts = append(parts, share{max(0, rest), "nothing", w["nothing"]})
		c.add(fmt.Sprintf("%s (%d)", classes[i].Name, classes[i].Counts[WithMX]), percent(classes[i].Share(DMARC)), 4, parts...)
	}
	return c
}

// Positions for the template.

// Total is the height of the chart with its legend and its axis.
func (c *chart) Total() int { return c.Bottom() + 20 }

// Bottom is where the bars end.
func (c *chart) Bottom() int { return chartTop + c.Height + 4 }

// Axis is the baseline of the numbers below the bars.
func (c *chart) Axis() int { return c.Bottom() + 14 }

// LabelX is where the labels end.
func (c *chart) LabelX() int { return c.Left - 8 }

// Base is the baseline of the text of a bar.
func (b bar) Base() int { return b.Y + 12 }

// TextX is where the text of an entry of the legend begins.
func (p part) TextX() float64 { return p.X + 17 }
