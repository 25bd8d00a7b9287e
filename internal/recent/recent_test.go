package recent

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// clock returns a function for Options.Now. Each call of the function returns a time one
// second later.
func clock() func() time.Time {
	var mu sync.Mutex
	now := epoch
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func evaluation(queueID, domain, client string) *msgauth.Evaluation {
	return &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr(client), HELO: "h"},
		Envelope: msgauth.Envelope{QueueID: queueID, MailFrom: "<x@y.example>", Recipients: []string{"<r@here.example>"}},
		From:     author.From{AuthorDomain: dns.Name(domain)},
		Cost:     map[msgauth.Mechanism]msgauth.Cost{msgauth.SPF: {Lookups: 3}},
	}
}

// decided returns the decision with this evaluation and this verdict.
func decided(e *msgauth.Evaluation, v policy.Verdict) *judge.Decision {
	return &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}
}

func queueIDs(list []*Entry) string {
	var ids []string
	for _, d := range list {
		ids = append(ids, d.QueueID)
	}
	return strings.Join(ids, " ")
}

func TestSearch(t *testing.T) {
	r := New(Options{Entries: 4, Now: clock()})
	r.Decided(decided(evaluation("Q0", "bank.example", "192.0.2.1"), policy.Verdict{ID: "GONE"}), 0)
	r.Decided(decided(evaluation("Q1", "bank.example", "192.0.2.1"), policy.Verdict{ID: "AB12", Enforced: true}), time.Second)
	r.Decided(decided(evaluation("Q2", "shop.example", "2001:db8::1"), policy.Verdict{ID: "CD34"}), 0)
	r.Decided(&judge.Decision{Session: msgauth.Session{Client: netip.MustParseAddr("10.0.0.1")}, Envelope: msgauth.Envelope{QueueID: "Q3"},
		Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
	r.Decided(decided(evaluation("Q4", "bank.example", "192.0.2.2"), policy.Verdict{ID: "EF56"}), 0)
	for _, tt := range []struct {
		name string
		q    Query
		want string
		more bool
	}{
		{"all that fit, the newest first", Query{}, "Q4 Q3 Q2 Q1", false},
		{"as many as asked for", Query{Limit: 2}, "Q4 Q3", true},
		{"exactly as many as there are", Query{Limit: 4}, "Q4 Q3 Q2 Q1", false},
		{"by queue id", Query{QueueID: "Q2"}, "Q2", false},
		{"a queue id is not a pattern", Query{QueueID: "q2"}, "", false},
		{"by the quoted ID, as typed from a bounce", Query{ID: "ab12"}, "Q1", false},
		{"an entry that was replaced", Query{ID: "GONE"}, "", false},
		{"by author", Query{Author: "bank.example"}, "Q4 Q1", false},
		{"by client", Query{Client: netip.MustParseAddr("::ffff:192.0.2.1")}, "Q1", false},
		{"by client of another family", Query{Client: netip.MustParseAddr("2001:db8::1")}, "Q2", false},
		{"by author and client", Query{Author: "bank.example", Client: netip.MustParseAddr("192.0.2.2")}, "Q4", false},
		{"a match beyond the limit", Query{Author: "bank.example", Limit: 1}, "Q4", true},
	} {
		if got, more := r.Search(tt.q); queueIDs(got) != tt.want || more != tt.more {
			t.Errorf("%s: %q, %t", tt.name, queueIDs(got), more)
		}
	}
	got, _ := r.Search(Query{QueueID: "Q1"})
	if d := got[0]; d.Mode != policy.Enforce || d.Took != time.Second || !d.Time.Equal(epoch.Add(2*time.Second)) || d.Truncated ||
		d.Evaluation.Cost[msgauth.SPF].Lookups != 3 {
		t.Errorf("decision: %+v", d)
	}
	if got, _ = r.Search(Query{QueueID: "Q2"}); got[0].Mode != policy.Monitor {
		t.Errorf("mode of a verdict that was not enforced: %s", got[0].Mode)
	}
	if got, _ = r.Search(Query{QueueID: "Q3"}); got[0].Evaluation != nil || got[0].Session.Client != netip.MustParseAddr("10.0.0.1") ||
		got[0].Verdict.Reason != policy.ReasonTrusted {
		t.Errorf("skipped message: %+v", got[0])
	}
}

var large = strings.Repeat("s", 1<<16)

// fill sets every string, list and map that can be reached from v to a large value.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(large)
	case reflect.Pointer:
		if depth < 8 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := 3
		if depth < 3 {
			n = 300
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.SetString("spf")
		fill(value, depth+1)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// octets returns the memory taken by everything that can be reached from v, in octets.
// It calls `text` with each string.
func octets(v reflect.Value, text func(string)) (n int) {
	switch v.Kind() {
	case reflect.String:
		text(v.String())
		return len(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int(v.Elem().Type().Size()) + octets(v.Elem(), text)
	case reflect.Slice:
		n = v.Cap() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			n += octets(v.Index(i), text)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			n += int(it.Value().Type().Size()) + octets(it.Value(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += octets(v.Field(i), text)
		}
	}
	return n
}

// TestDecisionIsBounded checks that the copy of a decision stays within maxDecisionBytes if
// every text and list of the decision is large. It fills the fields by reflection, so new
// fields are tested too.
func TestDecisionIsBounded(t *testing.T) {
	var e msgauth.Evaluation
	var v policy.Verdict
	fill(reflect.ValueOf(&e).Elem(), 0)
	fill(reflect.ValueOf(&v).Elem(), 0)
	r := New(Options{Entries: 1})
	r.Decided(decided(&e, v), 0)
	got, _ := r.Search(Query{})
	size := octets(reflect.ValueOf(got[0]), func(s string) {
		if len(s) > maxTextBytes+len("...") {
			t.Errorf("a text of %d octets", len(s))
		}
	})
	// The entry and its verdict share the text of the ID, but octets has counted it twice.
	if size -= len(got[0].ID); size > maxDecisionBytes+1024 || !got[0].Truncated {
		t.Errorf("%d octets, truncated %t", size, got[0].Truncated)
	}
	if got[0].Evaluation.Session.HELO == "" || got[0].Verdict.ID == "" {
		t.Error("HELO or ID is missing, although the first texts must fit")
	}
	if _, err := json.Marshal(got[0]); err != nil {
		t.Error(err)
	}
	r.Decided(&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: v}, 0)
	if got, _ = r.Search(Query{}); octets(reflect.ValueOf(got[0]), func(string) {})-len(got[0].ID) > maxDecisionBytes+1024 {
		t.Error("a message that was not evaluated is larger")
	}
}

// TestDecisionKeepsNothingAlive checks that no text of an entry shares memory with the
// message.
func TestDecisionKeepsNothingAlive(t *testing.T) {
	header := strings.Repeat("x", 1000)
	e := evaluation("Q", "bank.example", "192.0.2.1")
	e.Session.HELO, e.Envelope.Recipients = header[1:9], []string{header[10:20]}
	e.MailFrom = spf.Check{Record: header[100:200], Trace: []spf.Step{{Term: header[200:300]}}}
	r := New(Options{Entries: 1})
	r.Decided(decided(e, policy.Verdict{Evidence: []string{header[300:400]}}), 0)
	e.Envelope.Recipients[0], e.MailFrom.Trace[0].Term = "changed", "changed"
	got, _ := r.Search(Query{})
	mine := map[byte]bool{}
	octets(reflect.ValueOf(got[0]), func(s string) {
		if s != "" && s[0] == 'x' {
			mine[s[0]] = true
		}
		if overlaps(s, header) {
			t.Errorf("%d octets of the header are kept", len(s))
		}
	})
	if !mine['x'] || got[0].Evaluation.MailFrom.Trace[0].Term != header[200:300] {
		t.Error("the texts are not there")
	}
}

// TestRingIsBounded checks that a Ring stays within maxBytes: large decisions replace older
// ones although slots are free.
func TestRingIsBounded(t *testing.T) {
	r := New(Options{Entries: MaxEntries + 1})
	if len(r.slots) != MaxEntries {
		t.Errorf("%d slots", len(r.slots))
	}
	large := evaluation("Q", "bank.example", "192.0.2.1")
	for i := range 60 {
		large.Envelope.Recipients = append(large.Envelope.Recipients, fmt.Sprint(i, strings.Repeat("r", 1000)))
	}
	for i := range 2000 {
		large.Envelope.QueueID = fmt.Sprint("Q", i)
		r.Decided(decided(large, policy.Verdict{}), 0)
		if r.bytes > maxBytes || r.count == 0 {
			t.Fatalf("after %d: %d octets, %d entries", i+1, r.bytes, r.count)
		}
	}
	if r.count > maxBytes/60_000 || r.bytes < maxBytes-maxDecisionBytes {
		t.Errorf("%d entries, %d octets", r.count, r.bytes)
	}
	found, _ := r.Search(Query{})
	sum := 0
	for _, sealed := range r.newestFirst() {
		sum += len(sealed)
	}
	for i, d := range found {
		if want := fmt.Sprint("Q", 1999-i); d.QueueID != want {
			t.Fatalf("place %d is %s, want %s", i, d.QueueID, want)
		}
	}
	if sum != r.bytes {
		t.Errorf("%d octets are counted, %d are there", r.bytes, sum)
	}
}

func TestConcurrently(t *testing.T) {
	r := New(Options{Entries: 10})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				r.Decided(decided(evaluation(fmt.Sprint(i, j), "bank.example", "192.0.2.1"), policy.Verdict{}), 0)
				if found, _ := r.Search(Query{}); len(found) == 0 || len(found) > 10 {
					t.Errorf("%d entries", len(found))
				}
			}
		})
	}
	wg.Wait()
}

// TestMatches has each field of a Query with a Head that it selects and one that it does not.
func TestMatches(t *testing.T) {
	h := Head{Time: epoch, QueueID: "Q", ID: "AB", Client: netip.MustParseAddr("192.0.2.1"), AuthorDomain: "bank.example", Sender: "<A@b.example>",
		Action: policy.Reject, Reason: policy.ReasonRule, Host: "mx1"}
	for _, tt := range []struct {
		q    Query
		want bool
	}{
		{Query{}, true},
		{Query{QueueID: "Q"}, true}, {Query{QueueID: "q"}, false},
		{Query{ID: "ab"}, true}, {Query{ID: "ac"}, false},
		{Query{Author: "bank.example"}, true}, {Query{Author: "shop.example"}, false},
		{Query{Client: netip.MustParseAddr("::ffff:192.0.2.1")}, true}, {Query{Client: netip.MustParseAddr("192.0.2.2")}, false},
		{Query{Sender: "a@B.example"}, true}, {Query{Sender: "<a@b.example>"}, true}, {Query{Sender: "c@b.example"}, false}, {Query{Sender: "<>"}, false},
		{Query{Verdict: policy.Reject}, true}, {Query{Verdict: policy.Accept}, false},
		{Query{Reason: policy.ReasonRule}, true}, {Query{Reason: policy.ReasonReject}, false},
		{Query{Host: "mx1"}, true}, {Query{Host: "mx2"}, false},
		{Query{From: epoch}, true}, {Query{From: epoch.Add(1)}, false},
		{Query{Until: epoch.Add(1)}, true}, {Query{Until: epoch}, false},
	} {
		if tt.q.Matches(&h) != tt.want {
			t.Errorf("%+v: %t", tt.q, !tt.want)
		}
	}
	mapped := Head{Client: netip.MustParseAddr("::ffff:192.0.2.1")}
	if q := (Query{Client: h.Client}); !q.Matches(&mapped) {
		t.Error("a client that came as an IPv4-mapped address is not found")
	}
}

func TestSenderDomain(t *testing.T) {
	for path, want := range map[string][2]string{
		"":                     {"<>", ""},
		"<>":                   {"<>", ""},
		"<a@B.example>":        {"a@B.example", "b.example"},
		"a@b.example":          {"a@b.example", "b.example"},
		`<"x@y"@b.example>`:    {`"x@y"@b.example`, "b.example"},
		"<postmaster>":         {"postmaster", ""},
		"<postmaster.example>": {"postmaster.example", ""},
		"<a@b..example>":       {"a@b..example", ""},
		"<@b.example>":         {"@b.example", "b.example"},
	} {
		if got := [2]string{BarePath(path), string(SenderDomain(path))}; got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// TestHead: an Entry is found by the same Head as the decision that it was made of.
func TestHead(t *testing.T) {
	d := ordinary()
	skipped := &judge.Decision{Session: d.Session, Envelope: d.Envelope, Verdict: d.Verdict}
	s := NewSealer()
	for _, d := range []*judge.Decision{d, skipped, {}} {
		sealed := s.Seal(d, epoch, 0)
		if got, want := s.Open(sealed).Head(), open(s.codecs, sealed).head; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	e := Entry{Host: "mx1"}
	if got := e.Head(); got != (Head{Host: "mx1"}) {
		t.Errorf("%+v", got)
	}
}

// TestFindIsBounded asks for as much memory as some entries take, and for an octet less.
func TestFindIsBounded(t *testing.T) {
	r := New(Options{Entries: 10, Now: clock()})
	for range 3 {
		r.Decided(ordinary(), 0)
	}
	weight := open(r.sealer.codecs, r.newestFirst()[0]).weight
	if got := octets(reflect.ValueOf(r.sealer.Open(r.newestFirst()[0])), func(string) {}); weight < got*3/4 || weight > got*3/2 {
		t.Errorf("the weight is %d, the entry takes %d octets", weight, got)
	}
	all := func(*Head) bool { return true }
	for _, tt := range []struct {
		limit, most, want int
		more              bool
	}{
		{0, 0, 3, false}, {1, 0, 1, true}, {2, 0, 2, true}, {3, 0, 3, false}, {4, 0, 3, false},
		{0, 3 * weight, 3, false}, {0, 3*weight - 1, 2, true}, {0, 2 * weight, 2, true}, {0, weight, 1, true}, {0, weight - 1, 0, true}, {0, 1, 0, true},
		{1, 2 * weight, 1, true}, {2, weight, 1, true},
	} {
		if found, more := r.find(all, tt.limit, tt.most); len(found) != tt.want || more != tt.more {
			t.Errorf("limit %d, %d octets: %d entries, more %t", tt.limit, tt.most, len(found), more)
		}
	}
}

// TestSlots: a Ring has at least one slot, and it forgets only when it is over maxBytes.
func TestSlots(t *testing.T) {
	for entries, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, MaxEntries: MaxEntries, MaxEntries + 1: MaxEntries} {
		if got := len(New(Options{Entries: entries}).slots); got != want {
			t.Errorf("%d entries: %d slots, want %d", entries, got, want)
		}
	}
	half := strings.Repeat("x", maxBytes/2)
	for last, want := range map[string]int{half: 2, half + "x": 1, half[1:]: 2} {
		r := New(Options{Entries: 3})
		r.add(half)
		if r.add(last); r.count != want || len(r.newestFirst()) != want || r.newestFirst()[0] != last {
			t.Errorf("%d octets more: %d entries", len(last), r.count)
		}
	}
}

// TestSender checks that a decision is found by its envelope sender, whether the message was
// evaluated or not.
func TestSender(t *testing.T) {
	r := New(Options{Entries: 10, Now: clock()})
	e := evaluation("Q1", "bank.example", "192.0.2.1")
	e.Envelope.MailFrom = "<a@bank.example>"
	r.Decided(decided(e, policy.Verdict{}), 0)
	r.Decided(&judge.Decision{Envelope: msgauth.Envelope{QueueID: "Q2", MailFrom: "<b@bank.example>"}}, 0)
	for sender, want := range map[string]string{"<a@bank.example>": "Q1", "<b@bank.example>": "Q2", "<c@bank.example>": ""} {
		found, _ := r.Find(func(h *Head) bool { return h.Sender == sender }, 0)
		if got := queueIDs(found); got != want {
			t.Errorf("%s: %q, want %q", sender, got, want)
		}
	}
}
