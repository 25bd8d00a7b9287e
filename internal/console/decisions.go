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
	domain dns.Name // of the author or of the envelope sender
	sender string   // of the envelope, without angle brackets
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
	s.domain, _ = dns.ParseName(strings.TrimPrefix(s.Text, "@"))
	if strings.Contains(s.Text, "@") || s.Text == nullSender {
		s.sender = bare(s.Text)
	}
	return s, nil
}

// nullSender is the envelope sender of a bounce.
const nullSender = "<>"

// bare returns a path of MAIL FROM without the angle brackets. The null path stays as it is.
func bare(path string) string {
	if path == "" || path == nullSender {
		return nullSender
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">")
}

// matches reports whether the search selects the decision d. If s.Text is not "", it must be one
// of these: the queue ID, the explanation ID, the client address, the envelope sender, or the
// author domain, the domain of the envelope sender, or a domain above one of these. "@" before a
// domain excludes the author domain.
func (s *search) matches(d *recent.Head) bool {
	if s.Verdict != "" && s.Verdict != d.Action || !s.before.IsZero() && !d.Time.Before(s.before) {
		return false
	}
	return s.Text == "" || s.Text == d.QueueID || strings.EqualFold(s.Text, d.ID) ||
		s.client.IsValid() && s.client.Unmap() == d.Client.Unmap() ||
		s.sender != "" && strings.EqualFold(s.sender, bare(d.Sender)) ||
		s.domain != "" && (s.sender == "" && d.AuthorDomain.Under(s.domain) || senderDomain(d.Sender).Under(s.domain))
}

// senderDomain returns the domain of an envelope sender, or "" if it has none.
func senderDomain(sender string) dns.Name {
	path := bare(sender)
	// The last "@" counts: a quoted local part may have others (RFC 5321 §4.1.2).
	n, err := dns.ParseName(path[strings.LastIndexByte(path, '@')+1:])
	if err != nil || !strings.Contains(path, "@") {
		return ""
	}
	return n
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
	Rows     []row
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
	matches, more := ring.Find(s.matches, maxRows)
	for _, d := range matches {
		f.Rows = append(f.Rows, row{d, c.markOf(d.Evaluation)})
	}
	if more {
		last := strconv.FormatInt(matches[maxRows-1].Time.UnixNano(), 10)
		f.Older = "/decisions?" + url.Values{"q": {s.Text}, "verdict": {string(s.Verdict)}, "before": {last}}.Encode()
	}
	return f, nil
}
