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

// Bounds on a request.
const (
	maxValueBytes = 512 // octets of a parameter; a domain name has 253
	maxLimit      = 500 // decisions of one answer
	defaultLimit  = 20
	// maxAnswerBytes bounds the entries of one answer, in octets of memory, because an
	// answer is encoded in one piece.
	maxAnswerBytes = 4 << 20
)

// Answer is what Handler writes.
type Answer struct {
	// Decisions are the decisions that match, the newest first.
	Decisions []*Entry `json:"decisions"`
	// More says that more decisions match than the limit allows or one answer holds.
	More bool `json:"more"`
}

// Handler answers GET with the decisions that match the parameters queue_id, id,
// author, client and limit, as an Answer in JSON. A parameter that is unknown, given
// twice or malformed is refused (400): an answer to a different question would mislead.
func (r *Ring) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q, err := parseQuery(req.URL.RawQuery)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			// If the client is gone, the error does not matter.
			_ = json.NewEncoder(printable.NewWriter(w)).Encode(map[string]string{"error": err.Error()})
			return
		}
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(r.answer(q))
	})
}

func (r *Ring) answer(q Query) Answer {
	a := Answer{Decisions: []*Entry{}}
	found, more := r.Search(q)
	size := 0
	for _, d := range found {
		if size += d.weight; size > maxAnswerBytes {
			a.More = true
			return a
		}
		a.Decisions = append(a.Decisions, d)
	}
	a.More = more
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
