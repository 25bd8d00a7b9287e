package console

import (
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
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
	Reason  policy.Reason // "" selects decisions for every reason
	Host    string        // whose daemon decided; "" selects those of every host
	Day     string        // YYYY-MM-DD, in the time zone of the daemon; "" selects all days
	before  time.Time     // if set, only decisions before this time are selected
	from    time.Time     // if set, only decisions from this time on are selected

	client netip.Addr
	domain dns.Name // of the author or of the envelope sender
	sender string   // of the envelope, without angle brackets
}

func parseSearch(q url.Values, here *time.Location) (search, *problem) {
	s := search{Text: strings.TrimSpace(q.Get("q")), Verdict: policy.Action(q.Get("verdict")), Day: strings.TrimSpace(q.Get("day")),
		Reason: policy.Reason(q.Get("reason")), Host: strings.TrimSpace(q.Get("host"))}
	if len(s.Text) > maxSearchBytes {
		s.Text = ""
		return s, &problem{
			http.StatusBadRequest, "That is too long to be a queue ID, a domain or an address.",
			"Write at most " + strconv.Itoa(maxSearchBytes) + " octets.",
		}
	}
	if len(s.Host) > maxSearchBytes {
		s.Host = ""
		return s, &problem{http.StatusBadRequest, "That is too long to be the name of a host.", "The page Hosts lists the names."}
	}
	if s.Reason != "" && !slices.Contains(policy.Reasons, s.Reason) {
		return s, &problem{http.StatusBadRequest, "There is no such reason.", "Choose one from the list."}
	}
	if s.Verdict != "" && !slices.Contains(policy.Actions, s.Verdict) {
		return s, &problem{http.StatusBadRequest, "There is no such verdict.", "Choose one from the list."}
	}
	if s.Day != "" {
		var err error
		if s.from, err = time.ParseInLocation(time.DateOnly, s.Day, here); err != nil {
			s.Day = ""
			return s, &problem{http.StatusBadRequest, "That is not a day.", "Write it as 2026-11-29."}
		}
		s.before = s.from.AddDate(0, 0, 1)
	}
	if nano, err := strconv.ParseInt(q.Get("before"), 10, 64); err == nil && (s.before.IsZero() || time.Unix(0, nano).Before(s.before)) {
		s.before = time.Unix(0, nano)
	}
	// An error is ignored, because a text that is neither an address nor a domain may still
	// be an ID.
	s.client, _ = netip.ParseAddr(s.Text)
	if strings.Contains(s.Text, "@") || s.Text == recent.NullSender {
		s.sender = recent.BarePath(s.Text)
	}
	// dns.ParseName would take a whole envelope sender for a domain, and the store would be asked for that.
	if rest := strings.TrimPrefix(s.Text, "@"); !strings.Contains(rest, "@") && s.sender != recent.NullSender {
		s.domain, _ = dns.ParseName(rest)
	}
	return s, nil
}

// matches reports whether the search selects the decision d. If s.Text is not "", it must be one
// of these: the queue ID, the explanation ID, the client address, the envelope sender, or the
// author domain, the domain of the envelope sender, or a domain above one of these. "@" before a
// domain excludes the author domain.
func (s *search) matches(d *recent.Head) bool {
	if s.Verdict != "" && s.Verdict != d.Action || s.Reason != "" && s.Reason != d.Reason || s.Host != "" && s.Host != d.Host || !s.before.IsZero() && !d.Time.Before(s.before) || d.Time.Before(s.from) {
		return false
	}
	return s.Text == "" || s.Text == d.QueueID || strings.EqualFold(s.Text, d.ID) ||
		s.client.IsValid() && s.client.Unmap() == d.Client.Unmap() ||
		s.sender != "" && strings.EqualFold(s.sender, recent.BarePath(d.Sender)) ||
		s.domain != "" && (s.sender == "" && d.AuthorDomain.Under(s.domain) || recent.SenderDomain(d.Sender).Under(s.domain))
}

// query returns the query of the store. What it selects must also match.
func (s *search) query() history.Query {
	q := history.Query{Verdict: s.Verdict, Reason: s.Reason, Host: s.Host, From: s.from, Until: s.before}
	if s.Text == "" {
		return q
	}
	q.Any = []history.KeyIn{history.IDKey(s.Text), history.QueueKey(s.Text)}
	switch {
	case s.client.IsValid():
		q.Any = append(q.Any, history.ClientKey(s.client))
	case s.sender != "" && s.domain != "": // "@" before a domain
		q.Any = append(q.Any, history.SenderKey(s.domain))
	case s.sender != "":
		q.Any = append(q.Any, history.SenderPathKey(recent.SenderDomain(s.sender), s.sender))
	case s.domain != "":
		q.Any = append(q.Any, history.AuthorKey(s.domain), history.SenderKey(s.domain))
	}
	return q
}

// row is a decision in the list.
type row struct {
	*recent.Entry
	Mark template.URL // the picture of the author's mark, or ""
}

// found is the data of the page that lists decisions.
type found struct {
	Search   search
	Verdicts []policy.Action
	Reasons  []policy.Reason
	Names    []string // of the hosts that share the store, if there are several
	Rows     []row
	Older    string // path of the page with older decisions; "" if there are none
	All      bool   // no search was made, so every decision is selected
	History  bool   // the store is searched too
	Hosts    bool   // some are of other hosts
	Error    string // why the store could not be searched
}

var off = &problem{http.StatusNotFound, "Decisions are not remembered here.", "Set admin.recent to the number of messages to remember, or set a store (store.url)."}

// finder returns what finds decisions. ok is false if there are none.
func (c *Console) finder() (f archive.Finder, ok bool) {
	f.Ring, f.Host = c.o.Decisions(), c.o.Host
	if c.o.History != nil {
		f.Reader = c.o.History()
	}
	return f, f.Ring != nil || f.Reader != nil
}

func (c *Console) decisions(r *http.Request, _ *status.Status) (any, *problem) {
	finder, ok := c.finder()
	if !ok {
		return nil, off
	}
	s, p := parseSearch(r.URL.Query(), c.o.Now().Location())
	if p != nil {
		return nil, p
	}
	f := found{Search: s, Verdicts: policy.Actions, Reasons: policy.Reasons, Names: c.hostNames(), History: finder.Reader != nil,
		All: s.Text == "" && s.Verdict == "" && s.Reason == "" && s.Host == "" && s.Day == ""}
	all, err := finder.Find(r.Context(), s.query(), s.matches, maxRows)
	if err != nil {
		f.Error = err.Error()
	}
	for _, d := range all.Entries {
		f.Rows = append(f.Rows, row{d, c.markOf(d.Evaluation)})
		f.Hosts = f.Hosts || d.Host != ""
	}
	if all.More {
		before := strconv.FormatInt(all.Next.UnixNano(), 10)
		f.Older = "/decisions?" + url.Values{"q": {s.Text}, "verdict": {string(s.Verdict)}, "reason": {string(s.Reason)}, "host": {s.Host}, "day": {s.Day}, "before": {before}}.Encode()
	}
	return f, nil
}

// hostNames returns the names of the hosts that share the store, or nil if there is only one.
func (c *Console) hostNames() (names []string) {
	if c.o.Hosts == nil {
		return nil
	}
	if h := c.o.Hosts(); h != nil {
		for _, one := range h.Hosts {
			names = append(names, one.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return nil
	}
	return names
}
