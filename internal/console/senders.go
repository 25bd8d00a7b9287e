package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/senders"
	"sekimori/internal/status"
)

// What the page shows of one sender. The command has more.
const (
	senderKeys     = 16
	senderNetworks = 16
)

// senderDays are the periods that the form offers.
var senderDays = []int{7, 30, 90, ledger.KeepDays}

// sendersPage is the data of the page of senders.
type sendersPage struct {
	*senders.List // nil without a store
	Form          daysForm
	Domain        dns.Name // in detail; "" for a list
	Detailed      []senderRow
	Read          time.Time
}

// daysForm is what was asked for.
type daysForm struct {
	Days    int
	Choices []int
}

// senderRow is a sender in detail.
type senderRow struct {
	senders.Sender
	MoreKeys, MoreNetworks int // that are not shown
}

func (c *Console) senders(r *http.Request, _ *status.Status) (any, *problem) {
	if c.o.Memory == nil {
		return sendersPage{}, nil
	}
	query := r.URL.Query()
	o := senders.Options{Broken: query.Get("broken") != "", Limit: senders.DefaultLimit}
	var p *problem
	if o.Days, p = daysOf(r, 30); p != nil {
		return nil, p
	}
	if text := strings.TrimSpace(query.Get("domain")); text != "" {
		var err error
		if o.Domain, err = senders.ParseDomain(text); err != nil {
			return nil, &problem{http.StatusBadRequest, "There is no such sender.", sentence(err)}
		}
	}
	list, at, p := ask(c, r, fmt.Sprintf("senders %d %t %s", o.Days, o.Broken, o.Domain), func(ctx context.Context) (*senders.List, error) {
		return c.o.Memory.Senders(ctx, o)
	})
	if p != nil {
		return nil, p
	}
	page := sendersPage{List: list, Form: daysForm{o.Days, choices(o.Days, senderDays)}, Domain: o.Domain, Read: at}
	if o.Domain != "" || o.Broken {
		for _, s := range list.Senders {
			row := senderRow{Sender: s, MoreKeys: max(0, len(s.Signers)-senderKeys), MoreNetworks: max(0, len(s.Networks)-senderNetworks)}
			row.Signers, row.Networks = s.Signers[:len(s.Signers)-row.MoreKeys], s.Networks[:len(s.Networks)-row.MoreNetworks]
			page.Detailed = append(page.Detailed, row)
		}
	}
	return page, nil
}

// daysOf returns how many days a request asks for.
func daysOf(r *http.Request, usual int) (int, *problem) {
	text := r.URL.Query().Get("days")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > ledger.KeepDays {
		return 0, &problem{http.StatusBadRequest, "There is no answer for so many days.", fmt.Sprintf("The number of days is 1 to %d.", ledger.KeepDays)}
	}
	return n, nil
}

// choices returns the periods to choose from, and the chosen one among them.
func choices(chosen int, all []int) (out []int) {
	for _, n := range all {
		if chosen < n && (len(out) == 0 || chosen > out[len(out)-1]) {
			out = append(out, chosen)
		}
		out = append(out, n)
	}
	return out
}
