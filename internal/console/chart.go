package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/policy"
)

// stack is the order of the verdicts in a bar, from the bottom to the top. The verdicts
// that matter most stand at the bottom, because parts that begin on the base line are
// easiest to compare.
var stack = []policy.Action{policy.Reject, policy.Quarantine, policy.TempFail, policy.Tag, policy.Accept, policy.Skip}

// Sizes in the units of the SVG. The page stretches the SVG to its own width.
const (
	chartHeight = 120
	barPitch    = 10 // from the left side of one bar to the left side of the next
	barWidth    = 8
)

// chart is the data of a bar chart of messages by verdict over time.
type chart struct {
	Width, Height int
	Columns       []column
	Peak          int64 // number of messages in the highest bar
	Summary       string
	From, To      time.Time
	Totals        []share
}

type column struct {
	Title string
	Parts []rect
}

type rect struct {
	Class      string
	X, W, Y, H float64
}

// span is a period that a chart can show. `slots` is the number of bars. `width` is how
// many samples of the history each bar covers.
type span struct {
	Word, Label, Bar string
	slots, width     int
}

var spans = []span{
	{"1h", "last hour", "minute", 60, 1},
	{"24h", "last 24 hours", "quarter of an hour", 96, 15},
}

func verdictChart(bars []bar, s span) chart {
	c := chart{Width: s.slots * barPitch, Height: chartHeight}
	var total counts
	for _, b := range bars {
		c.Peak = max(c.Peak, b.counts.sum())
		total = total.plus(b.counts)
	}
	totals := map[string]int64{}
	for i, a := range policy.Actions {
		totals[string(a)] = total[i]
	}
	c.Totals = shares(totals, verdictClass)
	words := make([]string, len(c.Totals))
	for i, t := range c.Totals {
		words[i] = fmt.Sprintf("%d %s", t.Count, t.Word)
	}
	c.Summary = fmt.Sprintf("Messages by verdict, %s: %s", s.Label, cmp.Or(strings.Join(words, ", "), "none"))
	if len(bars) == 0 {
		return c
	}
	c.From, c.To = bars[0].from, bars[len(bars)-1].to
	for i, b := range bars {
		if b.counts.sum() > 0 {
			c.Columns = append(c.Columns, c.column(b, (s.slots-len(bars)+i)*barPitch))
		}
	}
	return c
}

func (c *chart) column(b bar, x int) column {
	col := column{Title: clock(b.from) + " to " + clock(b.to)}
	y := float64(chartHeight)
	for _, a := range stack {
		n := b.counts[slices.Index(policy.Actions, a)]
		if n == 0 {
			continue
		}
		h := float64(n) / float64(c.Peak) * chartHeight
		y -= h
		col.Parts = append(col.Parts, rect{Class: verdictClass(string(a)), X: float64(x), W: barWidth, Y: max(0, y), H: h})
		col.Title += fmt.Sprintf(", %d %s", n, a)
	}
	return col
}

// share is the count of one result, with its percentage of the counts of all results.
type share struct {
	Word    string
	Class   string
	Count   int64
	Percent float64
	Start   float64 // percentage where the part of the bar begins: the sum of the earlier shares
}

// shares returns the results whose count is not zero, the largest count first.
func shares(m map[string]int64, class func(string) string) []share {
	var total int64
	var out []share
	for word, n := range m {
		if n > 0 {
			total += n
			out = append(out, share{Word: cmp.Or(word, "-"), Class: class(word), Count: n})
		}
	}
	slices.SortFunc(out, func(a, b share) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Word, b.Word)) })
	start := 0.0
	for i := range out {
		out[i].Percent = 100 * float64(out[i].Count) / float64(total)
		out[i].Start = start
		start += out[i].Percent
	}
	return out
}

// verdictClass returns the CSS class of a verdict. An unknown word gets the class v-skip,
// so that no other text is written as a class name.
func verdictClass(word string) string {
	if slices.Contains(policy.Actions, policy.Action(word)) {
		return "v-" + word
	}
	return "v-skip"
}

// resultClass returns the CSS class of a result of a mechanism or of a DNS query.
func resultClass(word string) string {
	switch word {
	case "pass", "noerror":
		return "v-accept"
	case "fail", "servfail", "refused", "malformed":
		return "v-reject"
	case "softfail", "policy", "quarantine", "permerror":
		return "v-quarantine"
	case "temperror", "timeout":
		return "v-tempfail"
	case "neutral", "nodata", "nxdomain":
		return "v-tag"
	}
	return "v-skip"
}

// publishedClass returns the CSS class of a published DMARC policy.
func publishedClass(word string) string {
	switch word {
	case "reject", "quarantine":
		return "v-" + word
	case "none":
		return "v-tag"
	}
	return "v-skip"
}
