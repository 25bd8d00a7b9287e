package console

import (
	"net/http"

	"sekimori/internal/farm"
	"sekimori/internal/status"
)

// hosts is the data of the page about the daemons that share the store. It has no Hosts without a store.
type hosts struct {
	*status.Hosts
	Rows []hostRow
}

// hostRow is the row of one host.
type hostRow struct {
	farm.Shown
	Sum     int64 // messages of the last minute
	Shares  []share
	Remarks []string
	Bad     bool // one of the remarks is trouble
}

func (c *Console) hosts(*http.Request, *status.Status) (any, *problem) {
	if c.o.Hosts == nil {
		return hosts{}, nil
	}
	h := hosts{Hosts: c.o.Hosts()}
	if h.Hosts == nil {
		return hosts{}, nil
	}
	for _, one := range h.Hosts.Hosts {
		h.Rows = append(h.Rows, hostRow{
			Shown: one, Sum: status.Sum(one.Messages), Shares: shares(one.Messages, verdictClass), Remarks: status.Remarks(one),
			Bad: one.Stale || one.Twin || one.NotReady != "" || one.DNS.Servers > 0 && one.DNS.Up == 0,
		})
	}
	return h, nil
}
