package recent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
)

// Limits for one request and its answer.
const (
	maxValueBytes = 512 // octets of a parameter; a domain name has at most 253
	maxLimit      = 500 // largest value of the parameter "limit"
	defaultLimit  = 20
	// maxAnswerBytes limits the entries of one answer, in octets of memory. The limit is
	// needed because an answer is encoded as a whole before it is sent.
	maxAnswerBytes = 4 << 20
)

// Answer is the JSON object that Handler writes.
type Answer struct {
	// Decisions are the decisions that match the query, the newest first.
	Decisions []*Entry `json:"decisions"`
	// More says that further decisions match but were left out, because of the parameter
	// "limit" or because the answer was too large.
	More bool `json:"more"`
	// Next is the time with which, as the parameter "until", the search goes on. It is absent if there are no more.
	Next time.Time `json:"next,omitzero"`
	// HistoryError says why older decisions and those of other hosts could not be searched. It is "" if
	// they were, or if there is no history.
	HistoryError string `json:"history_error,omitempty"`
}

// Handler returns the handler of the Ring's decisions. See the function Handler.
func (r *Ring) Handler() http.Handler {
	return Handler(func(_ context.Context, q Query) Answer { return r.answer(q) })
}

// Handler answers a GET request with the Answer that find returns, in JSON. The parameters queue_id,
// id, author, client, sender, verdict, reason, host, day, from, until and limit select the decisions. A parameter that is
// unknown, given twice or malformed is refused with status 400, because ignoring it would give
// the answer to a different question.
func Handler(find func(context.Context, Query) Answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q, err := parseQuery(req.URL.RawQuery)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			// An error means that the client has closed the connection, so it is ignored.
			_ = json.NewEncoder(printable.NewWriter(w)).Encode(map[string]string{"error": err.Error()})
			return
		}
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(find(req.Context(), q))
	})
}

func (r *Ring) answer(q Query) Answer {
	a := Answer{Decisions: []*Entry{}}
	found, more := r.FindBounded(q.Matches, q.Limit)
	if a.Decisions, a.More = append(a.Decisions, found...), more; more { // then at least one was found: each is far below maxAnswerBytes
		a.Next = found[len(found)-1].Time
	}
	return a
}

// CheckQuery reports what is wrong with the parameters of a request to Handler.
func CheckQuery(parameters url.Values) error {
	_, err := parseQuery(parameters.Encode())
	return err
}

func parseQuery(raw string) (q Query, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("recent: query: %w", err)
	}
	q.Limit = defaultLimit
	var day time.Time
	for key, list := range values {
		value := list[0]
		if len(list) > 1 || len(value) > maxValueBytes || value == "" {
			return q, fmt.Errorf("recent: %q must be there once, with 1 to %d octets", key, maxValueBytes)
		}
		switch key {
		case "queue_id":
			q.QueueID = value
		case "id":
			q.ID = value
		case "author":
			q.Author, err = dns.ParseName(value)
		case "client":
			if q.Client, err = netip.ParseAddr(value); err != nil {
				err = fmt.Errorf("%q is not an IP address", value)
			}
		case "sender":
			q.Sender = value
		case "verdict":
			if q.Verdict = policy.Action(value); !slices.Contains(policy.Actions, q.Verdict) {
				err = errors.New("no such verdict")
			}
		case "reason":
			if q.Reason = policy.Reason(value); !slices.Contains(policy.Reasons, q.Reason) {
				err = errors.New("no such reason")
			}
		case "host":
			q.Host = value
		case "day":
			day, err = time.Parse(time.DateOnly, value)
		case "from":
			q.From, err = time.Parse(time.RFC3339, value)
		case "until":
			q.Until, err = time.Parse(time.RFC3339, value)
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err == nil && (q.Limit < 1 || q.Limit > maxLimit) {
				err = fmt.Errorf("not between 1 and %d", maxLimit)
			}
		default:
			return q, fmt.Errorf("recent: unknown parameter %q; known are queue_id, id, author, client, sender, verdict, reason, host, day, from, until and limit", key)
		}
		if err != nil {
			return q, fmt.Errorf("recent: %s: %w", key, err)
		}
	}
	if day.IsZero() {
		return q, nil
	}
	if q.From.Before(day) {
		q.From = day
	}
	if end := day.AddDate(0, 0, 1); q.Until.IsZero() || q.Until.After(end) {
		q.Until = end
	}
	return q, nil
}
