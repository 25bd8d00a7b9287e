package stats

import (
	"embed"
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"

	"sekimori/internal/printable"
)

//go:embed chart.css page.css page.html
var files embed.FS

// ChartCSS returns the style sheet of the charts: light, dark, and for paper. It styles only what is in an
// element of the class chart.
func ChartCSS() string { return embedded("chart.css") }

func embedded(name string) string {
	data, _ := files.ReadFile(name) // it is there since the program was built
	return string(data)
}

// Chart is a chart of horizontal bars. It is drawn as SVG with positions in percent, so it is as wide as
// its page, and its text keeps its size on a telephone and on paper. It needs ChartCSS, and neither scripts
// nor style attributes.
type Chart struct {
	Title  string // the accessible name
	Sub    string // what the bars are a share of
	Bare   bool   // the title is not shown, because it stands above already
	Legend []Key  // empty if a bar has one part
	Bars   []Bar
}

// Key is an entry of a legend.
type Key struct {
	Colour Colour
	Name   string
}

// Bar is a bar of several parts, of which the first is at the left.
type Bar struct {
	Label string // above the bar, at its left
	Value string // above the bar, at its right
	Parts []Slice
}

// Slice is a part of a bar or column.
type Slice struct {
	Colour Colour
	Share  float64 // of the length of the chart: 0 to 1
	Name   string  // is shown where the pointer is
}

// Colour is a class of ChartCSS.
type Colour string

// The colours, by what they mean.
const (
	Good   Colour = "k-good"   // what authenticates, or enforces
	Mid    Colour = "k-mid"    // the step before
	Weak   Colour = "k-weak"   // only watches
	Bad    Colour = "k-bad"    // fails
	Other  Colour = "k-other"  // neither
	Absent Colour = "k-absent" // nothing is there
)

// Sizes of the charts, in pixels.
const (
	barPitch     = 42 // from one bar to the next
	barBase      = 15 // from there to the baseline of the text
	barTop       = 21 // from there to the bar
	barHeight    = 13
	columnsTop   = 20 // room for the text of the scale
	columnHeight = 150
	columnsBelow = 22 // room for the days
)

// HTML returns the chart with its title and legend, as an HTML figure.
func (c *Chart) HTML() template.HTML {
	var b strings.Builder
	head(&b, c.Title, c.Sub, c.Bare, c.Legend)
	fmt.Fprintf(&b, `<svg role="img" aria-label="%s" width="100%%" height="%d">`, escape(c.summary()), len(c.Bars)*barPitch)
	for i, bar := range c.Bars {
		y := i * barPitch
		fmt.Fprintf(&b, `<text x="0" y="%d">%s</text><text class="value" x="100%%" y="%d" text-anchor="end">%s</text>`,
			y+barBase, escape(bar.Label), y+barBase, escape(bar.Value))
		fmt.Fprintf(&b, `<rect class="track" x="0" y="%d" width="100%%" height="%d"/>`, y+barTop, barHeight)
		x := 0.0
		for _, p := range bar.Parts {
			if p.Share > 0 {
				rect(&b, p, x, y+barTop, percentOf(p.Share), barHeight)
			}
			x += p.Share
		}
	}
	b.WriteString("</svg></figure>\n")
	return template.HTML(b.String()) //nolint:gosec // every text above is escaped
}

// summary returns the chart in words, for those who cannot see it.
func (c *Chart) summary() string {
	var all []string
	for _, bar := range c.Bars {
		text := bar.Label + " " + bar.Value
		if len(c.Legend) > 0 {
			for _, p := range bar.Parts {
				text += ", " + p.Name
			}
		}
		all = append(all, text)
	}
	return c.Title + ": " + strings.Join(all, "; ")
}

// Columns is a chart of columns beside each other, such as one for each day.
type Columns struct {
	Title, Sub string
	Bare       bool // as in [Chart]
	Legend     []Key
	Top        string // what the height of the chart stands for
	Columns    []Column
}

// Column is a column of several parts, of which the first is at the bottom.
type Column struct {
	Label string // below the column; "" for none
	Parts []Slice
}

// HTML returns the chart with its title and legend, as an HTML figure.
func (c *Columns) HTML() template.HTML {
	var b strings.Builder
	head(&b, c.Title, c.Sub, c.Bare, c.Legend)
	bottom := columnsTop + columnHeight
	fmt.Fprintf(&b, `<svg role="img" aria-label="%s" width="100%%" height="%d">`, escape(c.Title), bottom+columnsBelow)
	fmt.Fprintf(&b, `<text x="0" y="%d">%s</text>`, columnsTop-6, escape(c.Top))
	for _, y := range []int{columnsTop, columnsTop + columnHeight/2, bottom} {
		fmt.Fprintf(&b, `<line class="grid" x1="0" x2="100%%" y1="%d" y2="%d"/>`, y, y)
	}
	for i, col := range c.Columns {
		step := 1 / float64(len(c.Columns))
		y := float64(bottom)
		for _, p := range col.Parts {
			if height := p.Share * columnHeight; height > 0 {
				y -= height
				fmt.Fprintf(&b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`, p.Colour, percentOf((float64(i)+0.1)*step),
					decimal(y), percentOf(0.8*step), decimal(height), escape(p.Name))
			}
		}
		if col.Label != "" {
			fmt.Fprintf(&b, `<text x="%s" y="%d" text-anchor="middle">%s</text>`, percentOf((float64(i)+0.5)*step), bottom+16, escape(col.Label))
		}
	}
	b.WriteString("</svg></figure>\n")
	return template.HTML(b.String()) //nolint:gosec // every text above is escaped
}

func head(b *strings.Builder, title, sub string, bare bool, legend []Key) {
	b.WriteString("<figure class=\"chart\">\n")
	if bare {
		title = ""
	}
	if title+sub != "" {
		fmt.Fprintf(b, "<figcaption>%s<small>%s</small></figcaption>\n", escape(title), escape(sub))
	}
	if len(legend) > 0 {
		b.WriteString("<ul>")
		for _, k := range legend {
			fmt.Fprintf(b, `<li><svg width="12" height="12" aria-hidden="true"><rect class="%s" width="12" height="12"/></svg>%s</li>`, k.Colour, escape(k.Name))
		}
		b.WriteString("</ul>\n")
	}
}

func rect(b *strings.Builder, p Slice, x float64, y int, width string, height int) {
	fmt.Fprintf(b, `<rect class="%s" x="%s" y="%d" width="%s" height="%d"><title>%s</title></rect>`, p.Colour, percentOf(x), y, width, height, escape(p.Name))
}

// escape returns a text as HTML, without characters that control a terminal or the direction of text.
func escape(text string) string { return html.EscapeString(printable.Text(text)) }

func percentOf(share float64) string { return decimal(100*share) + "%" }

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', 3, 64) }
