package recent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sekimori/internal/policy"
)

func ask(t *testing.T, r *Ring, query string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/decisions?"+query, http.NoBody))
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: content type %q", query, got)
	}
	return w.Code, w.Body.String()
}

func TestHandler(t *testing.T) {
	r := New(Options{Entries: 10, Now: clock()})
	r.Decided(decided(evaluation("Q1", "bank.example", "192.0.2.1"), policy.Verdict{ID: "AB12"}), 0)
	second := decided(evaluation("Q2", "xn--bcher-kva.example", "192.0.2.1"), policy.Verdict{ID: "CD34", Action: policy.Tag, Reason: policy.ReasonRule})
	second.Envelope.MailFrom = "<b@y.example>"
	r.Decided(second, 0)
	once := func(key string) string { return `recent: "` + key + `" must be there once, with 1 to 512 octets` }
	for _, tt := range []struct {
		query string
		code  int
		want  string // expected queue ids, or the error text
	}{
		{"", 200, "Q2 Q1"},
		{"limit=1", 200, "Q2 more 2026-11-22T00:00:02Z"},
		{"limit=1&until=2026-11-22T00:00:02Z", 200, "Q1"},
		{"limit=2", 200, "Q2 Q1"},
		{"queue_id=Q1", 200, "Q1"},
		{"id=ab12&client=192.0.2.1&author=bank.example&limit=500", 200, "Q1"},
		{"author=B%C3%BCcher.example", 200, "Q2"},
		{"queue_id=Q3", 200, ""},
		{"id=Q1", 200, ""},
		{"client=192.0.2.2", 200, ""},
		{"sender=b@y.example", 200, "Q2"},
		{"sender=x%40y.example", 200, "Q1"},
		{"reason=rule", 200, "Q2"},
		{"verdict=tag", 200, "Q2"},
		{"reason=rule&verdict=reject", 200, ""},
		{"host=mx1.example", 200, ""},
		{"from=2026-11-22T00:00:02Z", 200, "Q2"},
		{"until=2026-11-22T00:00:02.5Z", 200, "Q2 Q1"},
		{"until=2026-11-22T09:00:02%2B09:00", 200, "Q1"},
		{"day=2026-11-22", 200, "Q2 Q1"},
		{"day=2026-11-23", 200, ""},
		{"day=2026-11-21", 200, ""},
		{"day=2026-11-21&until=2026-11-24T00:00:02Z", 200, ""},
		{"day=2026-11-23&from=2026-11-01T00:00:00Z", 200, ""},
		{"day=2026-11-22&from=2026-11-22T00:00:02Z", 200, "Q2"},
		{"day=2026-11-22&until=2026-11-22T00:00:02Z", 200, "Q1"},
		{"day=2026-11-22&until=2026-11-24T00:00:02Z&from=2026-11-01T00:00:00Z", 200, "Q2 Q1"},
		{"id=" + strings.Repeat("x", maxValueBytes), 200, ""},
		{"verdict=nonsense", 400, "recent: verdict: no such verdict"},
		{"reason=nonsense", 400, "recent: reason: no such reason"},
		{"from=2026-11-22", 400, `recent: from: parsing time "2026-11-22" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"`},
		{"until=yesterday", 400, `recent: until: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`},
		{"day=2026-11-31", 400, `recent: day: parsing time "2026-11-31": day out of range`},
		{"limit=0", 400, "recent: limit: not between 1 and 500"},
		{"limit=501", 400, "recent: limit: not between 1 and 500"},
		{"limit=x", 400, `recent: limit: strconv.Atoi: parsing "x": invalid syntax`},
		{"limit=", 400, once("limit")},
		{"client=here", 400, `recent: client: "here" is not an IP address`},
		{"author=a..b", 400, "recent: author: dns: name has an empty label"},
		{"queue=Q1", 400, `recent: unknown parameter "queue"; known are queue_id, id, author, client, sender, verdict, reason, host, day, from, until and limit`},
		{"id=a&id=b", 400, once("id")},
		{"id=" + strings.Repeat("x", maxValueBytes+1), 400, once("id")},
		{"id=%zz", 400, `recent: query: invalid URL escape "%zz"`},
	} {
		code, body := ask(t, r, tt.query)
		if code != tt.code {
			t.Errorf("%s: %d %s", tt.query, code, body)
		}
		if tt.code != 200 {
			var refusal map[string]string
			if err := json.Unmarshal([]byte(body), &refusal); err != nil || refusal["error"] != tt.want {
				t.Errorf("%s: %s, want %s", tt.query, refusal["error"], tt.want)
			}
			continue
		}
		var a Answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || !strings.Contains(body, `"decisions":[`) {
			t.Fatalf("%s: %v: %s", tt.query, err, body)
		}
		got := queueIDs(a.Decisions)
		if a.More {
			got += " more"
		}
		if !a.Next.IsZero() {
			got += " " + a.Next.Format(time.RFC3339Nano)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.query, got, tt.want)
		}
	}
}

// TestAnswerIsBounded checks that an answer leaves out decisions when the answer would
// become too large.
func TestAnswerIsBounded(t *testing.T) {
	r := New(Options{Entries: 500})
	e := evaluation("Q", "bank.example", "192.0.2.1")
	for range 50 {
		e.Envelope.Recipients = append(e.Envelope.Recipients, strings.Repeat("r", 1000))
	}
	for range 200 {
		r.Decided(decided(e, policy.Verdict{}), 0)
	}
	a := r.answer(Query{Limit: maxLimit})
	if n := len(a.Decisions); !a.More || n < 50 || n > maxAnswerBytes/50_000 {
		t.Errorf("%d decisions, more %t", n, a.More)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("queue_id=Q1&limit=3")
	f.Add("client=::1&author=a.example&id=%ff")
	f.Add("limit=-1;x")
	r := New(Options{Entries: 1})
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err == nil && (q.Limit < 1 || q.Limit > maxLimit) {
			t.Errorf("limit %d", q.Limit)
		}
		if err == nil {
			r.Search(q)
		}
	})
}
