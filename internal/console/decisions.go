package console

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/explain"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/status"
)

const (
	// maxSearchBytes limits the text of a search, in octets. A domain name has at most 253.
	maxSearchBytes = 512
	// maxRows is the largest number of decisions on one page.
	maxRows = 100
)

// search selects decisions.
type search struct {
	Text    string        // see matches; "" selects all decisions
	Verdict policy.Action // "" selects decisions of every verdict
	before  time.Time     // if set, only decisions before this time are selected

	client netip.Addr
	author dns.Name
}

func parseSearch(q url.Values) (search, *problem) {
	s := search{Text: strings.TrimSpace(q.Get("q")), Verdict: policy.Action(q.Get("verdict"))}
	if len(s.Text) > maxSearchBytes {
		s.Text = ""
		return s, &problem{
			http.StatusBadRequest, "That is too long to be a queue ID, a domain or an address.",
			"Write at most " + strconv.Itoa(maxSearchBytes) + " octets.",
		}
	}
	if s.Verdict != "" && !slices.Contains(policy.Actions, s.Verdict) {
		return s, &problem{http.StatusBadRequest, "There is no such verdict.", "Choose one from the list."}
	}
	if nano, err := strconv.ParseInt(q.Get("before"), 10, 64); err == nil {
		s.before = time.Unix(0, nano)
	}
	// An error is ignored, because a text that is neither an address nor a domain may still
	// be an ID.
	s.client, _ = netip.ParseAddr(s.Text)
	s.author, _ = dns.ParseName(s.Text)
	return s, nil
}

// matches reports whether the search selects the decision d. If s.Text is not "", it
// must be the queue ID, the explanation ID or the client address of d, or the author
// domain of d must be s.Text or a subdomain of it.
func (s *search) matches(d *recent.Head) bool {
	if s.Verdict != "" && s.Verdict != d.Action || !s.before.IsZero() && !d.Time.Before(s.before) {
		return false
	}
	return s.Text == "" || s.Text == d.QueueID || strings.EqualFold(s.Text, d.ID) ||
		s.client.IsValid() && s.client.Unmap() == d.Client.Unmap() ||
		s.author != "" && (d.AuthorDomain == s.author || strings.HasSuffix(string(d.AuthorDomain), "."+string(s.author)))
}

// found is the data of the page that lists decisions.
type found struct {
	Search   search
	Verdicts []policy.Action
	Rows     []*recent.Entry
	Older    string // path of the page with older decisions; "" if there are none
	All      bool   // no search was made, so every decision is selected
}

var off = &problem{http.StatusNotFound, "Decisions are not remembered here.", "Set admin.recent to the number of messages to remember."}

func (c *Console) decisions(r *http.Request, _ *status.Status) (any, *problem) {
	ring := c.o.Decisions()
	if ring == nil {
		return nil, off
	}
	s, p := parseSearch(r.URL.Query())
	if p != nil {
		return nil, p
	}
	f := found{Search: s, Verdicts: policy.Actions, All: s.Text == "" && s.Verdict == ""}
	var more bool
	if f.Rows, more = ring.Find(s.matches, maxRows); more {
		last := strconv.FormatInt(f.Rows[maxRows-1].Time.UnixNano(), 10)
		f.Older = "/decisions?" + url.Values{"q": {s.Text}, "verdict": {string(s.Verdict)}, "before": {last}}.Encode()
	}
	return f, nil
}

// one is the data of the page that shows one decision.
type one struct {
	*recent.Entry
	Summary  string
	Sections []explain.Section
	HELO     string
	MailFrom string
	Relay    netip.Addr // the relay that handed the message on; not valid if there was none
}

// decision shows the newest decision with the given queue ID or explanation ID. If the
// request has the parameter "at", it shows the decision that was made at that time.
func (c *Console) decision(r *http.Request, _ *status.Status) (any, *problem) {
	ring := c.o.Decisions()
	if ring == nil {
		return nil, off
	}
	q := r.URL.Query()
	query := recent.Query{QueueID: q.Get("queue_id"), ID: q.Get("id")}
	at, err := strconv.ParseInt(q.Get("at"), 10, 64)
	if err != nil && query == (recent.Query{}) {
		return nil, &problem{http.StatusBadRequest, "Which decision?", "Choose one from the list of decisions, or search for its queue ID."}
	}
	matches, _ := ring.Find(func(h *recent.Head) bool {
		return query.Matches(h) && (err != nil || h.Time.UnixNano() == at)
	}, 1)
	if len(matches) == 0 {
		return nil, &problem{
			http.StatusNotFound, "This decision is no longer remembered.",
			"The daemon remembers as many decisions as admin.recent says. The log has all of them.",
		}
	}
	d := matches[0]
	x := explain.Remembered(d)
	o := one{Entry: d, Summary: x.Summary, Sections: x.Sections()}
	switch {
	case d.Evaluation != nil:
		o.Relay = d.Evaluation.Session.Relay
		o.HELO, o.MailFrom = d.Evaluation.Session.HELO, d.Evaluation.Envelope.MailFrom
	case d.Session != nil && d.Envelope != nil:
		o.Relay = d.Session.Relay
		o.HELO, o.MailFrom = d.Session.HELO, d.Envelope.MailFrom
	}
	return o, nil
}
