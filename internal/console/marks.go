package console

import (
	"encoding/base64"
	"html/template"
	"net/http"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/indicators"
	"sekimori/internal/msgauth"
	"sekimori/internal/status"
)

// maxMarks is the largest number of marks on the page of known marks. Each has a picture of up to 45 KB.
const maxMarks = 100

// A certificate, or a root, that ends within this time is pointed out. The alerts have the same times.
const (
	certificateSoon = 30 * 24 * time.Hour
	rootSoon        = 90 * 24 * time.Hour
)

// Marks are the marks of authors (BIMI) and the roots of their certificates.
type Marks struct {
	Known []indicators.Known
	Roots []indicators.Root
}

// marks is the data of the page of known marks.
type marks struct {
	On    bool
	Rows  []markRow
	Roots []rootRow
	More  bool // there are more marks than the page shows
}

// markRow is the row of one mark.
type markRow struct {
	indicators.Known
	Picture template.URL // "" if the mark may not be shown
	Soon    bool         // the certificate ends soon
	Why     string       // why it may not be shown
}

type rootRow struct {
	indicators.Root
	Soon bool
}

func (c *Console) marks(_ *http.Request, s *status.Status) (any, *problem) {
	if c.o.Marks == nil || s.Marks == nil {
		return marks{}, nil
	}
	known := c.o.Marks(maxMarks + 1)
	m := marks{On: true, More: len(known.Known) > maxMarks}
	now := c.o.Now()
	for _, k := range known.Known[:min(len(known.Known), maxMarks)] {
		row := markRow{Known: k, Picture: pictureOf(k.Answer.Mark), Why: whyNot(k.Answer)}
		if m := k.Answer.Mark; m != nil && m.Certified {
			row.Soon = m.NotAfter.Before(now.Add(certificateSoon))
		}
		m.Rows = append(m.Rows, row)
	}
	for _, r := range known.Roots {
		m.Roots = append(m.Roots, rootRow{r, r.Ends.Before(now.Add(rootSoon))})
	}
	return m, nil
}

// whyNot returns the last thing that was found wrong with a mark.
func whyNot(a bimi.Answer) string {
	if a.Result == bimi.Pass {
		return ""
	}
	for i := len(a.Checks) - 1; i >= 0; i-- {
		if !a.Checks[i].OK {
			return a.Checks[i].Detail
		}
	}
	return a.Reason
}

// pictureOf returns the picture of a mark as a data: URI, for an element img. A browser draws such a
// picture without scripts and without fetching anything. The picture was checked before, too.
func pictureOf(m *bimi.Mark) template.URL {
	if m == nil {
		return ""
	}
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(m.SVG)) //nolint:gosec // base64 cannot end the attribute
}

// markOf returns the picture of the mark that a message showed, or "" if it showed none, or if it is no
// longer in memory, or another one is.
func (c *Console) markOf(e *msgauth.Evaluation) template.URL {
	if c.o.Mark == nil || e == nil || e.BIMI == nil || e.BIMI.Result != bimi.Pass {
		return ""
	}
	b := e.BIMI
	m := c.o.Mark(bimi.Query{Domain: b.Domain, Selector: b.Selector, Location: b.Location, Evidence: b.Evidence})
	if m == nil || m.Hash() != b.Hash {
		return ""
	}
	return pictureOf(m)
}
