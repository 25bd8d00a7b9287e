package storetest

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/policy"
)

// RunHistory runs the tests of [history.Store]. Each has a store of its own.
func RunHistory(t *testing.T, open func(testing.TB) history.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, history.Store)
	}{
		{"Find", testFindHistory},
		{"FindNothing", testFindNothing},
		{"Pages", testHistoryPages},
		{"Times", testHistoryTimes},
		{"Disorder", testHistoryDisorder},
		{"Reasons", testHistoryReasons},
		{"Verdicts", testHistoryVerdicts},
		{"Hosts", testHistoryHosts},
		{"Hints", testHistoryHints},
		{"Twice", testAddHistoryTwice},
		{"AtOnce", testAddHistoryAtOnce},
		{"TwiceAtOnce", testAddHistoryTwiceAtOnce},
		{"Hostile", testHostileHistory},
		{"ExpireByAge", testExpireHistoryByAge},
		{"ExpireBySize", testExpireHistoryBySize},
		{"AddAfterExpire", testAddAfterExpire},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Record is what a test keeps in the history.
type Record struct {
	ID, Queue      string
	Author, Sender dns.Name
	Client         netip.Addr
	Path           string // of the envelope sender
	Verdict        policy.Action
	Reason         policy.Reason
	At             time.Time
}

// Row returns the row of the record.
func (r *Record) Row() history.Row {
	row := history.Row{Time: r.At, Hint: history.HintOf(r.Author, r.Sender, r.Path)}
	for _, k := range []history.KeyIn{
		history.IDKey(r.ID), history.QueueKey(r.Queue), history.AuthorKey(r.Author), history.SenderKey(r.Sender), history.ClientKey(r.Client),
		history.OutcomeKey(r.Verdict, r.Reason),
	} {
		row.Keys[k.Column] = k.Key
	}
	return row
}

// record returns the record with a number. Each is a second after the one before it.
func record(n int) Record {
	verdicts := []policy.Action{policy.Reject, policy.Tag, policy.Quarantine}
	reasons := []policy.Reason{policy.ReasonReject, policy.ReasonAligned, policy.ReasonIndirect, policy.ReasonRule}
	return Record{
		ID: fmt.Sprintf("ID%06d", n), Queue: fmt.Sprintf("4dQZ%08d", n), Author: dns.Name(fmt.Sprintf("a%d.example", n%10)),
		Sender: dns.Name(fmt.Sprintf("s%d.example", n%7)), Path: fmt.Sprintf("x%d@s%d.example", n%5, n%7), Reason: reasons[n%len(reasons)], Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 50)}), Verdict: verdicts[n%3],
		At: Noon().Add(time.Duration(n) * time.Second),
	}
}

// text returns what stands in for the JSON of a record.
func (r *Record) text() string { return r.ID + "/" + r.Queue }

// blocksOf packs records, of which each day must be together.
func blocksOf(records []Record) (blocks []history.Block) {
	for len(records) > 0 {
		n := 1
		for n < len(records) && n < history.MaxBlockRows && history.DayOf(records[n].At) == history.DayOf(records[0].At) {
			n++
		}
		var b history.Block
		var lines []string
		for _, r := range records[:n] {
			b.Rows = append(b.Rows, r.Row())
			lines = append(lines, r.text())
		}
		b.Data = []byte(strings.Join(lines, "\n")) // the store does not look into it
		blocks, records = append(blocks, b), records[n:]
	}
	return blocks
}

func records(first, end int) (all []Record) {
	for n := first; n < end; n++ {
		all = append(all, record(n))
	}
	return all
}

func addHistory(t *testing.T, s history.Store, id string, all []Record) {
	t.Helper()
	ok(t, s.AddHistory(t.Context(), Noon(), history.Batch{ID: id, Host: "mx1.example", Blocks: blocksOf(all)}))
}

// find returns the texts of the records that a query selects.
func find(t *testing.T, s history.Store, q history.Query) (texts []string) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	hits, err := s.FindHistory(t.Context(), q)
	ok(t, err)
	return read(t, s, hits)
}

func read(t *testing.T, s history.Store, hits []history.Hit) (texts []string) {
	t.Helper()
	for _, h := range hits {
		host, data, err := s.HistoryBlock(t.Context(), h.Block)
		ok(t, err)
		lines := bytes.Split(data, []byte("\n"))
		if host != "mx1.example" || h.Index >= len(lines) {
			t.Fatalf("%+v: host %q, %d records", h, host, len(lines))
		}
		texts = append(texts, string(lines[h.Index]))
	}
	return texts
}

// wanted returns the texts of the records for which f is true, the newest first.
func wanted(all []Record, f func(*Record) bool) (texts []string) {
	for i := range all {
		if f(&all[i]) {
			texts = append(texts, all[i].text())
		}
	}
	slices.Reverse(texts)
	return texts
}

func testFindHistory(t *testing.T, s history.Store) {
	all := records(0, 300)
	addHistory(t, s, "a", all[:200])
	addHistory(t, s, "b", all[200:])
	for _, tt := range []struct {
		name string
		q    history.Query
		want func(*Record) bool
	}{
		{"everything", history.Query{}, func(*Record) bool { return true }},
		{"an id in lower case", history.Query{Any: []history.KeyIn{history.IDKey("id000042")}}, func(r *Record) bool { return r.ID == "ID000042" }},
		{"a queue id", history.Query{Any: []history.KeyIn{history.QueueKey("4dQZ00000250")}}, func(r *Record) bool { return r.Queue == "4dQZ00000250" }},
		{"a client", history.Query{Any: []history.KeyIn{history.ClientKey(netip.MustParseAddr("::ffff:192.0.2.3"))}}, func(r *Record) bool { return r.Client.As4()[3] == 3 }},
		{"an author", history.Query{Any: []history.KeyIn{history.AuthorKey("a3.example")}}, func(r *Record) bool { return r.Author == "a3.example" }},
		{"author or sender", history.Query{Any: []history.KeyIn{history.AuthorKey("a3.example"), history.SenderKey("s3.example")}},
			func(r *Record) bool { return r.Author == "a3.example" || r.Sender == "s3.example" }},
		{"a verdict", history.Query{Verdict: policy.Tag}, func(r *Record) bool { return r.Verdict == policy.Tag }},
		{"author and verdict", history.Query{Verdict: policy.Tag, Any: []history.KeyIn{history.AuthorKey("a3.example")}},
			func(r *Record) bool { return r.Author == "a3.example" && r.Verdict == policy.Tag }},
	} {
		same(t, tt.name, find(t, s, tt.q), wanted(all, tt.want))
	}
	same(t, "the newest two", find(t, s, history.Query{Limit: 2}), wanted(all[298:], func(*Record) bool { return true }))
}

func testFindNothing(t *testing.T, s history.Store) {
	everything := history.Query{Any: []history.KeyIn{history.IDKey(""), history.QueueKey(""), history.ClientKey(netip.Addr{}), history.AuthorKey("")}}
	from := history.Query{From: Noon(), Until: Noon().Add(time.Hour)}
	for _, q := range []history.Query{{}, everything, from} {
		same(t, "in an empty store", find(t, s, q), []string(nil))
	}
	// Records without an id are not found by the key of no id.
	addHistory(t, s, "a", []Record{{At: Noon(), Verdict: policy.Skip}})
	same(t, "by no id", find(t, s, everything), []string(nil))
	same(t, "by the null sender", len(find(t, s, history.Query{Any: []history.KeyIn{history.SenderKey("")}})), 1)
	_, data, err := s.HistoryBlock(t.Context(), history.BlockID{Day: history.DayOf(Noon()), ID: 12345})
	if err != nil || data != nil {
		t.Errorf("a block that does not exist: %q, %v", data, err)
	}
	_, data, err = s.HistoryBlock(t.Context(), history.BlockID{Day: -1, ID: 12345})
	if err != nil || data != nil {
		t.Errorf("a block of a day that does not exist: %q, %v", data, err)
	}
}

// testHistoryPages reads the hits page by page, over several days.
func testHistoryPages(t *testing.T, s history.Store) {
	all := records(0, 300)
	for i := range all {
		all[i].At = Noon().Add(time.Duration(i/3) * time.Hour) // three at a time
	}
	addHistory(t, s, "a", all[:150])
	addHistory(t, s, "b", all[150:])
	for _, any := range [][]history.KeyIn{nil, {history.AuthorKey("a3.example"), history.AuthorKey("a4.example"), history.SenderKey("s1.example")}} {
		want := find(t, s, history.Query{Any: any})
		var got []string
		for q := (history.Query{Any: any, Limit: 7}); ; {
			hits, err := s.FindHistory(t.Context(), q)
			ok(t, err)
			got = append(got, read(t, s, hits)...)
			if len(hits) < q.Limit {
				break
			}
			q.After = &hits[len(hits)-1]
		}
		same(t, "all pages", got, want)
	}
	same(t, "records", len(find(t, s, history.Query{})), 300)
}

func testHistoryTimes(t *testing.T, s history.Store) {
	all := records(0, 100)
	for i := range all {
		all[i].At = Noon().Add(time.Duration(i) * 25 * time.Minute)
	}
	addHistory(t, s, "a", all)
	midnight := Noon().Add(12 * time.Hour)
	for _, tt := range []struct{ from, until time.Time }{
		{Noon(), midnight}, {midnight, midnight.Add(24 * time.Hour)}, {midnight, time.Time{}}, {time.Time{}, midnight}, {Noon().Add(50 * time.Minute), Noon().Add(75 * time.Minute)},
		{Noon().Add(time.Nanosecond), Noon().Add(25*time.Minute + time.Nanosecond)}, {Noon().Add(48 * time.Hour), Noon().Add(72 * time.Hour)}, {Noon().Add(-time.Hour), Noon()},
	} {
		for name, by := range map[string]struct {
			any []history.KeyIn
			of  func(*Record) bool
		}{
			"everything": {nil, func(*Record) bool { return true }},
			"an author":  {[]history.KeyIn{history.AuthorKey("a3.example")}, func(r *Record) bool { return r.Author == "a3.example" }},
			"two ids":    {[]history.KeyIn{history.IDKey("ID000002"), history.QueueKey("4dQZ00000040")}, func(r *Record) bool { return r.ID == "ID000002" || r.ID == "ID000040" }},
		} {
			q := history.Query{From: tt.from, Until: tt.until, Any: by.any}
			same(t, fmt.Sprintf("%s from %v until %v", name, tt.from, tt.until), find(t, s, q), wanted(all, func(r *Record) bool {
				return !r.At.Before(tt.from) && (tt.until.IsZero() || r.At.Before(tt.until)) && by.of(r)
			}))
		}
	}
}

// testHistoryReasons searches by the reason of the verdict, alone and with other things, also that of most mail.
func testHistoryReasons(t *testing.T, s history.Store) {
	all := records(0, 300)
	for i := range all {
		if i%2 == 0 {
			all[i].Verdict, all[i].Reason = policy.Accept, policy.ReasonAligned
		}
		all[i].At = Noon().Add(time.Duration(i) * 10 * time.Minute) // three days
	}
	all[7].Verdict, all[7].Reason = policy.TempFail, policy.ReasonUnlabelled
	addHistory(t, s, "a", all)
	// What an earlier version kept has no reason in its columns, so it may have each.
	old := history.Row{Time: Noon().AddDate(0, 0, 3), Keys: history.Keys{history.ByVerdict: (&history.Query{Verdict: policy.Reject, Reason: "x"}).Outcomes()[1]}}
	ok(t, s.AddHistory(t.Context(), Noon(), history.Batch{ID: "old", Host: "mx1.example", Blocks: []history.Block{{Rows: []history.Row{old}, Data: []byte("old")}}}))
	for _, v := range []policy.Action{"", policy.Reject, policy.TempFail, policy.Accept} {
		for _, r := range []policy.Reason{policy.ReasonAligned, policy.ReasonReject, policy.ReasonUnlabelled, policy.ReasonForged} {
			for _, author := range []dns.Name{"", "a3.example"} {
				for _, limit := range []int{1000, 5} {
					q := history.Query{Verdict: v, Reason: r, Limit: limit, From: Noon().Add(time.Hour)}
					if author != "" {
						q.Any = []history.KeyIn{history.AuthorKey(author)}
					}
					want := wanted(all, func(one *Record) bool {
						return (v == "" || v == one.Verdict) && r == one.Reason && (author == "" || author == one.Author) && !one.At.Before(q.From)
					})
					if author == "" && (v == "" || v == policy.Reject) {
						want = append([]string{"old"}, want...)
					}
					same(t, fmt.Sprintf("%s because of %s, author %q", v, r, author), find(t, s, q), append([]string(nil), want[:min(limit, len(want))]...))
				}
			}
		}
	}
}

// testHistoryVerdicts searches by verdict alone: one of more rows than the index is read for, some of fewer, that of
// most mail, and one that never occurs.
func testHistoryVerdicts(t *testing.T, s history.Store) {
	all := records(0, history.FewOutcomes+300)
	for i := range all {
		all[i].At = Noon().Add(time.Duration(i) * 20 * time.Second)
		all[i].Verdict = policy.Reject
		switch {
		case i%100 == 5:
			all[i].Verdict = policy.Quarantine
		case i%10 == 6:
			all[i].Verdict, all[i].Reason = policy.Accept, policy.ReasonAligned
		}
	}
	all[7].Verdict = policy.TempFail
	addHistory(t, s, "a", all)
	for _, v := range []policy.Action{policy.Reject, policy.Quarantine, policy.Accept, policy.TempFail, policy.Skip} {
		for _, host := range []string{"", "mx1.example", "mx2.example"} {
			q := history.Query{Verdict: v, Host: host, From: all[6].At, Until: all[1000].At, Limit: 1000}
			want := wanted(all[6:1000], func(r *Record) bool { return r.Verdict == v && host != "mx2.example" })
			same(t, fmt.Sprintf("%s of %q", v, host), find(t, s, q), want)
			q.Limit = 2
			hits, err := s.FindHistory(t.Context(), q)
			ok(t, err)
			if len(hits) == 2 {
				q.After = &hits[1]
				same(t, fmt.Sprintf("the second page of %s", v), find(t, s, q), want[2:min(4, len(want))])
			}
		}
	}
}

// testHistoryHosts searches what one host decided, alone and with other things.
func testHistoryHosts(t *testing.T, s history.Store) {
	all := records(0, 300)
	hostOf := func(n int) string { return fmt.Sprintf("mx%d.example", n/50%2+1) }
	for n := 0; n < len(all); n += 50 {
		ok(t, s.AddHistory(t.Context(), Noon(), history.Batch{ID: fmt.Sprint(n), Host: hostOf(n), Blocks: blocksOf(all[n : n+50])}))
	}
	for _, host := range []string{"mx1.example", "mx2.example", "mx3.example", "\x00\\ \xff"} {
		for _, any := range [][]history.KeyIn{nil, {history.AuthorKey("a3.example")}, {history.IDKey("ID000042"), history.QueueKey("4dQZ00000060")}} {
			for _, limit := range []int{1000, 2} {
				q := history.Query{Host: host, Any: any, Limit: limit}
				want := wanted(all, func(r *Record) bool {
					n := int(r.At.Sub(Noon()) / time.Second)
					return hostOf(n) == host && (any == nil || any[0].Column == history.ByAuthor && r.Author == "a3.example" || any[0].Column == history.ByID && (n == 42 || n == 60))
				})
				hits, err := s.FindHistory(t.Context(), q)
				ok(t, err)
				var got []string
				for _, h := range hits {
					of, data, err := s.HistoryBlock(t.Context(), h.Block)
					ok(t, err)
					same(t, "host", of, host)
					got = append(got, string(bytes.Split(data, []byte("\n"))[h.Index]))
				}
				same(t, fmt.Sprintf("%q, %d keys", host, len(any)), got, append([]string(nil), want[:min(limit, len(want))]...))
			}
		}
	}
	same(t, "of a host and a reason", len(find(t, s, history.Query{Host: "mx1.example", Reason: policy.ReasonRule})), len(wanted(all, func(r *Record) bool {
		return r.Reason == policy.ReasonRule && r.At.Sub(Noon())/time.Second/50%2 == 0
	})))
}

// testHistoryHints: of the mail of a registered domain, that of other subdomains and senders is passed over.
func testHistoryHints(t *testing.T, s history.Store) {
	all := records(0, 100)
	for i := range all {
		all[i].Author = dns.Name([]string{"bank.example", "news.bank.example", "x.news.bank.example", "shop.bank.example"}[i%4])
		all[i].Sender, all[i].Path = "bounce.example", []string{"a@bounce.example", "b@bounce.example", "c@bounce.example"}[i%3]
	}
	addHistory(t, s, "a", all)
	old := history.Row{Time: Noon().Add(time.Hour), Keys: all[0].Row().Keys} // of an earlier version
	ok(t, s.AddHistory(t.Context(), Noon(), history.Batch{ID: "old", Host: "mx1.example", Blocks: []history.Block{{Rows: []history.Row{old}, Data: []byte("old")}}}))
	for name, tt := range map[string]struct {
		key  history.KeyIn
		want func(*Record) bool
	}{
		"a domain and those below it":      {history.AuthorKey("bank.example"), func(*Record) bool { return true }},
		"a subdomain and those below it":   {history.AuthorKey("news.bank.example"), func(r *Record) bool { return r.Author == "news.bank.example" || r.Author == "x.news.bank.example" }},
		"only the registered domain":       {history.AuthorOnlyKey("bank.example"), func(r *Record) bool { return r.Author == "bank.example" }},
		"an envelope sender":               {history.SenderPathKey("bounce.example", "B@bounce.example"), func(r *Record) bool { return r.Path == "b@bounce.example" }},
		"the domain of envelope senders":   {history.SenderKey("bounce.example"), func(*Record) bool { return true }},
		"a domain below that of a sender":  {history.SenderKey("x.bounce.example"), func(*Record) bool { return false }},
		"another domain beside the author": {history.AuthorKey("mail.bank.example"), func(*Record) bool { return false }},
	} {
		same(t, name, find(t, s, history.Query{Any: []history.KeyIn{tt.key}}), append([]string{"old"}, wanted(all, tt.want)...))
	}
}
