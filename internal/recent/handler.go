package recent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"sekimori/internal/dns"
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
}

// Handler answers a GET request with an Answer in JSON. The parameters queue_id, id,
// author, client and limit select the decisions. A parameter that is unknown, given twice
// or malformed is refused with status 400, because ignoring it would give the answer to a
// different question.
func (r *Ring) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q, err := parseQuery(req.URL.RawQuery)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			// An error means that the client has closed the connection, so it is ignored.
			_ = json.NewEncoder(printable.NewWriter(w)).Encode(map[string]string{"error": err.Error()})
			return
		}
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(r.answer(q))
	})
}

func (r *Ring) answer(q Query) Answer {
	a := Answer{Decisions: []*Entry{}}
	size := 0
	for o := range r.each(q.Matches) {
		size += o.weight
		if q.Limit > 0 && len(a.Decisions) == q.Limit || size > maxAnswerBytes {
			a.More = true
			break
		}
		a.Decisions = append(a.Decisions, o.entry())
	}
	return a
}

func parseQuery(raw string) (q Query, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("recent: query: %w", err)
	}
	q.Limit = defaultLimit
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
			q.Client, err = netip.ParseAddr(value)
		case "limit":
			if q.Limit, err = strconv.Atoi(value); err == nil && (q.Limit < 1 || q.Limit > maxLimit) {
				err = fmt.Errorf("not between 1 and %d", maxLimit)
			}
		default:
			return q, fmt.Errorf("recent: unknown parameter %q; known are queue_id, id, author, client and limit", key)
		}
		if err != nil {
			return q, fmt.Errorf("recent: %s: %w", key, err)
		}
	}
	return q, nil
}
