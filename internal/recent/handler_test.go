package recent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
	r.Decided(decided(evaluation("Q2", "xn--bcher-kva.example", "192.0.2.1"), policy.Verdict{ID: "CD34", Reason: policy.ReasonRule}), 0)
	for _, tt := range []struct {
		query string
		code  int
		want  string // expected queue ids, or a part of the error text
	}{
		{"", 200, "Q2 Q1"},
		{"limit=1", 200, "Q2 more"},
		{"queue_id=Q1", 200, "Q1"},
		{"id=ab12&client=192.0.2.1&author=bank.example&limit=500", 200, "Q1"},
		{"author=B%C3%BCcher.example", 200, "Q2"},
		{"queue_id=Q3", 200, ""},
		{"reason=rule", 200, "Q2"},
		{"reason=rule&verdict=tag", 200, ""},
		{"reason=nonsense", 400, "no such reason"},
		{"host=mx1.example", 200, ""},
		{"from=2026-11-22T00:00:02Z", 200, "Q2"},
		{"until=2026-11-22T00:00:02.5Z", 200, "Q2 Q1"},
		{"until=2026-11-22T09:00:02%2B09:00", 200, "Q1"},
		{"day=2026-11-22", 200, "Q2 Q1"},
		{"day=2026-11-23", 200, ""},
		{"day=2026-11-22&until=2026-11-22T00:00:02Z", 200, "Q1"},
		{"day=2026-11-22&until=2026-11-24T00:00:02Z&from=2026-11-01T00:00:00Z", 200, "Q2 Q1"},
		{"from=2026-11-22", 400, "from"},
		{"until=yesterday", 400, "until"},
		{"day=2026-11-31", 400, "day"},
		{"limit=0", 400, "limit"},
		{"limit=501", 400, "limit"},
		{"limit=x", 400, "limit"},
		{"limit=", 400, "limit"},
		{"client=here", 400, "client"},
		{"author=a..b", 400, "author"},
		{"queue=Q1", 400, "unknown parameter"},
		{"id=a&id=b", 400, "once"},
		{"id=" + strings.Repeat("x", maxValueBytes), 200, ""},
		{"id=" + strings.Repeat("x", maxValueBytes+1), 400, "512"},
		{"id=%zz", 400, "query"},
	} {
		code, body := ask(t, r, tt.query)
		if code != tt.code {
			t.Errorf("%s: %d %s", tt.query, code, body)
		}
		if tt.code != 200 {
			var refusal map[string]string
			if err := json.Unmarshal([]byte(body), &refusal); err != nil || !strings.Contains(refusal["error"], tt.want) {
				t.Errorf("%s: %s lacks %q", tt.query, body, tt.want)
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
