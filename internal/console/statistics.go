package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/stats"
	"sekimori/internal/status"
)

// longTable is the number of rows from which a table of the statistics is shown only on demand.
const longTable = 13

// statistics is the data of the page of the monthly statistics.
type statistics struct {
	*stats.Month // nil without a store
	Name         string
	Remarks      []string
	Facts        []stats.Fact
	Sections     []stats.Section
	Notes        []string
	Months       []monthChoice
	Read         time.Time
	Long         int
}

// monthChoice is a month that can be chosen.
type monthChoice struct {
	Value, Name string
	Chosen      bool
}

func (c *Console) statistics(r *http.Request, _ *status.Status) (any, *problem) {
	if c.o.Memory == nil {
		return statistics{}, nil
	}
	m, at, p := c.month(r)
	if p != nil {
		return nil, p
	}
	return statistics{
		Month: m, Name: m.MonthName(stats.English), Remarks: m.Remarks(stats.English), Facts: m.Facts(stats.English), Sections: m.Sections(stats.English),
		Notes: m.Notes(stats.English), Months: months(m.Month, c.o.Now()), Read: at, Long: longTable,
	}, nil
}

// month returns the month that the request asks for: that of today, if it names none.
func (c *Console) month(r *http.Request) (*stats.Month, time.Time, *problem) {
	text := r.URL.Query().Get("month")
	if text == "" {
		text = "this"
	}
	month, err := stats.ParseMonth(text, c.o.Now())
	if err != nil {
		return nil, month, &problem{http.StatusBadRequest, "There are no statistics of this month.", sentence(err)}
	}
	return ask(c, r, "month "+month.Format("2006-01"), func(ctx context.Context) (*stats.Month, error) { return c.o.Memory.Month(ctx, month) })
}

// months returns the months of which the store has something, the newest first.
func months(chosen string, now time.Time) (all []monthChoice) {
	m, err := stats.ParseMonth("this", now)
	for ; err == nil; m, err = stats.ParseMonth(m.AddDate(0, -1, 0).Format("2006-01"), now) {
		value := m.Format("2006-01")
		all = append(all, monthChoice{value, m.Format("January 2006"), value == chosen})
	}
	return all
}

// sentence returns an error as a sentence.
func sentence(err error) string {
	return capital(printable.Value(err.Error()))
}

// capital writes the first letter in upper case, and a full stop behind the last.
func capital(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// statisticsHTML returns the month as a page to be printed or handed on.
func (c *Console) statisticsHTML(r *http.Request) (*download, *problem) {
	lang := stats.Lang(r.URL.Query().Get("lang"))
	if !slices.Contains(stats.Langs, lang) {
		return nil, noLanguage()
	}
	return c.statisticsFile(r, fmt.Sprintf("%s.html", lang), "text/html; charset=utf-8", func(m *stats.Month, out *bytes.Buffer) error {
		return m.HTML(out, lang, c.o.Status().Version, c.o.Now())
	})
}

func (c *Console) statisticsCSV(r *http.Request) (*download, *problem) {
	return c.statisticsFile(r, "csv", "text/csv; charset=utf-8", func(m *stats.Month, out *bytes.Buffer) error { return m.CSV(out) })
}

func (c *Console) statisticsFile(r *http.Request, ending, contentType string, write func(*stats.Month, *bytes.Buffer) error) (*download, *problem) {
	if c.o.Memory == nil {
		return nil, noStore()
	}
	m, _, p := c.month(r)
	if p != nil {
		return nil, p
	}
	d := &download{name: "sekimori-" + m.Month + "." + ending, contentType: contentType}
	if err := write(m, &d.data); err != nil {
		return nil, &problem{http.StatusInternalServerError, "The file cannot be made.", sentence(err)}
	}
	return d, nil
}

func noStore() *problem {
	return &problem{http.StatusNotFound, "There is no store.", "store.url is empty, so nothing is remembered."}
}

func noLanguage() *problem {
	return &problem{http.StatusBadRequest, "There is no page in this language.", "lang is en or ja."}
}

// download is a file that the browser saves.
type download struct {
	name, contentType string
	data              bytes.Buffer
}

// file returns a handler that gives a file, or a page that says why not.
func (c *Console) file(give func(*http.Request) (*download, *problem)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, p := give(r)
		if p != nil {
			c.page("problem", "Download", func(*http.Request, *status.Status) (any, *problem) { return nil, p }).ServeHTTP(w, r)
			return
		}
		secure(w.Header())
		w.Header().Set("Content-Type", d.contentType)
		// The browser saves the file and does not show it. So the file may have a style sheet of its own.
		w.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
		_, _ = w.Write(d.data.Bytes()) // an error means that the client has closed the connection
	})
}
