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
	Top           int64 // number of messages at the top of the chart, at least Peak
	Levels        []int64
	Ticks         []tick
	Zone          string // time zone of the ticks
	Summary       string
	From, To      time.Time
	Totals        []share
}

// tick is a time that is written below the chart.
type tick struct {
	Label   string
	Percent float64 // distance from the left side, in percent of the width
	Anchor  string  // which part of the label is there: its start, middle or end
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
	minutes          int // from one tick to the next
}

var spans = []span{
	{"1h", "last hour", "minute", 60, 1, 10},
	{"24h", "last 24 hours", "quarter of an hour", 96, 15, 240},
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
	c.Zone, c.Ticks = zone(c.To), ticks(bars, s)
	c.Top = top(c.Peak)
	c.Levels = []int64{c.Top, c.Top / 2, 0}
	if c.Top == 1 {
		c.Levels = []int64{1, 0}
	}
	for i, b := range bars {
		if b.counts.sum() > 0 {
			c.Columns = append(c.Columns, c.column(b, (s.slots-len(bars)+i)*barPitch))
		}
	}
	return c
}

// top returns the first of 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100 and so on that is not smaller
// than peak. Half of it is a whole number, too, except of 1.
func top(peak int64) int64 {
	if peak <= 1 {
		return 1
	}
	for unit := int64(1); ; unit *= 10 {
		for _, n := range []int64{2, 4, 6, 8, 10} {
			if n*unit >= peak {
				return n * unit
			}
		}
	}
}

// apart is the smallest distance between two ticks, in percent of the width. Their labels would
// overlap on a phone if they were closer.
const apart = 14

// ticks returns the round times between the left and the right side of the chart. A bar that
// covers more time than the others, because the host slept, is as wide as the others.
func ticks(bars []bar, s span) (out []tick) {
	first := s.slots - len(bars)
	usual := time.Duration(s.width) * sampleEvery
	begin := bars[0].from.Add(-time.Duration(first) * usual)
	end := bars[len(bars)-1].to
	y, m, d := begin.Date()
	for i := 0; ; i++ {
		t := time.Date(y, m, d, 0, i*s.minutes, 0, 0, begin.Location())
		if t.After(end) {
			return out
		}
		slot := float64(first) - float64(bars[0].from.Sub(t))/float64(usual)
		for j, b := range bars {
			if !t.Before(b.from) {
				slot = float64(first+j) + min(1, float64(t.Sub(b.from))/float64(max(1, b.to.Sub(b.from))))
			}
		}
		p := 100 * slot / float64(s.slots)
		if p < 0 || len(out) > 0 && p-out[len(out)-1].Percent < apart {
			continue
		}
		anchor := "middle"
		if p < apart/2 {
			anchor = "start"
		} else if p > 100-apart/2 {
			anchor = "end"
		}
		out = append(out, tick{clock(t), p, anchor})
	}
}

func (c *chart) column(b bar, x int) column {
	col := column{Title: clock(b.from) + " to " + clock(b.to)}
	y := float64(chartHeight)
	for _, a := range stack {
		n := b.counts[slices.Index(policy.Actions, a)]
		if n == 0 {
			continue
		}
		h := float64(n) / float64(c.Top) * chartHeight
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

// publishedClass returns the CSS class of a published DMARC policy. The classes are not those of
// verdicts, because a strict policy is neither a refusal nor trouble.
func publishedClass(word string) string {
	switch word {
	case "reject", "quarantine", "none":
		return "p-" + word
	}
	return "v-skip"
}
