package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sekimori/internal/readiness"
	"sekimori/internal/status"
)

// readinessDomains is how many author domains the page shows. JSON has all.
const readinessDomains = 50

var readinessDays = []int{7, 14, 30, 90}

// readinessPage is the data of the page that says whether policies may be enforced.
type readinessPage struct {
	*readiness.Report // nil without a store
	Form              daysForm
	Class             string // of the verdict
	Answer            string // the verdict as a sentence
	Parts             []share
	Domains           []readiness.Domain
	Rules             string // those to add first, as YAML
	RuleLines         int
	Hidden            int // domains that are not shown
	Read              time.Time
}

func (c *Console) readiness(r *http.Request, _ *status.Status) (any, *problem) {
	if c.o.Memory == nil {
		return readinessPage{}, nil
	}
	report, at, p := c.ready(r)
	if p != nil {
		return nil, p
	}
	page := readinessPage{
		Report: report, Form: daysForm{report.Days, choices(report.Days, readinessDays)}, Class: answerClass(report.Verdict), Answer: capital(report.Reason.Text),
		Domains: report.Domains[:min(len(report.Domains), readinessDomains)], Rules: strings.TrimSpace(report.YAML()), Read: at,
	}
	page.Hidden = len(report.Domains) - len(page.Domains)
	page.RuleLines = min(24, strings.Count(page.Rules, "\n")+1)
	parts, classes := map[string]int64{}, map[string]string{}
	for _, x := range report.ByLooks {
		word := x.Looks.In(readiness.English)
		parts[word], classes[word] = x.Messages, looksClass(x.Looks)
	}
	page.Parts = shares(parts, func(word string) string { return classes[word] })
	return page, nil
}

// ready returns the report that the request asks for.
func (c *Console) ready(r *http.Request) (*readiness.Report, time.Time, *problem) {
	days, p := daysOf(r, 14)
	if p != nil {
		return nil, time.Time{}, p
	}
	return ask(c, r, fmt.Sprintf("readiness %d", days), func(ctx context.Context) (*readiness.Report, error) { return c.o.Memory.Readiness(ctx, days) })
}

// readinessHTML returns the report as a page to be printed or handed on.
func (c *Console) readinessHTML(r *http.Request) (*download, *problem) {
	lang := readiness.Language(r.URL.Query().Get("lang"))
	switch {
	case !slices.Contains(readiness.Languages, lang):
		return nil, noLanguage()
	case c.o.Memory == nil:
		return nil, noStore()
	}
	report, _, p := c.ready(r)
	if p != nil {
		return nil, p
	}
	d := &download{name: fmt.Sprintf("sekimori-readiness-%s.%s.html", report.To, lang), contentType: "text/html; charset=utf-8"}
	if err := report.HTML(&d.data, lang); err != nil {
		return nil, &problem{http.StatusInternalServerError, "The file cannot be made.", sentence(err)}
	}
	return d, nil
}

// answerClass returns the CSS class of a verdict.
func answerClass(v readiness.Verdict) string {
	switch v {
	case readiness.Enforce:
		return "good"
	case readiness.Rules:
		return "plain"
	case readiness.Wait:
	}
	return ""
}

// looksClass returns the CSS class of what mail looks like.
func looksClass(l readiness.Looks) string {
	switch l {
	case readiness.Author:
		return "v-tag"
	case readiness.Forwarded:
		return "v-accept"
	case readiness.Spoof:
		return "v-reject"
	case readiness.Unclear:
	}
	return "v-quarantine"
}
