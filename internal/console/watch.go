package console

import (
	"net/http"

	"sekimori/internal/status"
	"sekimori/internal/watchlist"
)

// watch is the data of the page about the watch lists.
type watch struct {
	On    bool // there is a list
	Lists []watchRow
}

// watchRow is one list.
type watchRow struct {
	watchlist.List
	Shares []share // of the last week
	More   int     // how many domains are not shown
}

// watchDomains is how many domains of a list are shown.
const watchDomains = 20

func (c *Console) watch(*http.Request, *status.Status) (any, *problem) {
	if c.o.Watch == nil {
		return watch{}, nil
	}
	var w watch
	for _, l := range c.o.Watch() {
		row := watchRow{List: l, Shares: shares(map[string]int64{"pass": l.Week.Pass, "fail": l.Week.Fail, "lookalike": l.Week.Lookalike}, watchClass)}
		if n := len(l.Domains); n > watchDomains {
			row.Domains, row.More = l.Domains[:watchDomains], n-watchDomains
		}
		w.Lists = append(w.Lists, row)
	}
	w.On = len(w.Lists) > 0
	return w, nil
}

// watchClass returns the CSS class of what is counted of a list.
func watchClass(word string) string {
	if word == "lookalike" {
		return "v-quarantine"
	}
	return resultClass(word)
}
