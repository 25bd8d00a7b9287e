package history

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/declared"
)

// TestTemporary checks which results are a temporary error that is not only this host's impatience.
func TestTemporary(t *testing.T) {
	for reason, want := range map[spf.Reason]bool{spf.ReasonDNS: true, spf.ReasonTimeLimit: false, spf.ReasonDNSBudget: false} {
		c := spf.Check{Result: spf.TempError, Reason: reason}
		for i, e := range []msgauth.Evaluation{{MailFrom: c}, {HELO: c}, {MailFrom: c, HELO: spf.Check{Result: spf.Pass}}} {
			if got := temporary(&e); got != want {
				t.Errorf("%s, %d: %t", reason, i, got)
			}
		}
	}
	temp := dkim.Signature{Result: dkim.TempError}
	late := dkim.Signature{Result: dkim.TempError, NotWaited: true}
	for _, tt := range []struct {
		why  string
		e    msgauth.Evaluation
		want bool
	}{
		{"nothing", msgauth.Evaluation{}, false},
		{"another result for the same reason", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.PermError, Reason: spf.ReasonDNS}}, false},
		{"the second signature", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass}, temp}}, true},
		{"a signature that was not waited for, and another", msgauth.Evaluation{DKIM: []dkim.Signature{late, temp}}, true},
		{"signatures that were not waited for", msgauth.Evaluation{DKIM: []dkim.Signature{late, late}}, false},
		{"a failure that was not waited for", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Fail}}}, false},
		{"DMARC", msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultTempError}}, true},
		{"DMARC permerror", msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultPermError}}, false},
	} {
		if got := temporary(&tt.e); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

// TestColumnsOfKeys checks that each key is one of its own column, and that equal texts in different columns have
// different keys.
func TestColumnsOfKeys(t *testing.T) {
	keys := []KeyIn{IDKey("192.0.2.1"), QueueKey("192.0.2.1"), AuthorKey("192.0.2.1"), SenderKey("192.0.2.1"), ClientKey(netip.MustParseAddr("192.0.2.1")), OutcomeKey("192.0.2.1", "192.0.2.1")}
	seen := map[int32]bool{}
	for i, k := range keys {
		if int(k.Column) != i || k.Key == 0 || seen[k.Key] {
			t.Errorf("column %d: %+v", i, k)
		}
		seen[k.Key] = true
	}
	if len(keys) != Columns {
		t.Errorf("%d columns", Columns)
	}
	for _, k := range []KeyIn{ClientKey(netip.Addr{}), SenderKey(""), OutcomeKey("", "")} {
		if want, ok := map[Column]bool{ByClient: true, BySender: false, ByVerdict: false}[k.Column]; !ok || (k.Key == 0) != want {
			t.Errorf("%+v", k)
		}
	}
	if got, want := ClientKey(netip.MustParseAddr("192.0.2.1")).Key, int32(132538593); got != want {
		t.Errorf("the key of a client is %d; the store has %d", got, want)
	}
	seen = map[int32]bool{}
	halves := map[int32]policy.Action{}
	for _, a := range policy.Actions {
		for _, r := range policy.Reasons {
			k := OutcomeKey(a, r).Key
			if other, there := halves[k>>OutcomeBits]; seen[k] || k == 0 || there && other != a || k>>OutcomeBits != (&Query{Verdict: a}).VerdictHalf() {
				t.Errorf("%s because of %s has the key %d", a, r, k)
			}
			seen[k], halves[k>>OutcomeBits] = true, a
		}
	}
}

// TestOutcomes: which keys a query for a verdict or a reason selects.
func TestOutcomes(t *testing.T) {
	reject, tag := OutcomeKey(policy.Reject, policy.ReasonReject).Key, OutcomeKey(policy.Tag, policy.ReasonReject).Key
	one := (&Query{Verdict: policy.Reject, Reason: policy.ReasonReject}).Outcomes()
	if want := []int32{reject, oldVerdict(policy.Reject)}; !slices.Equal(one, want) {
		t.Errorf("%v, want %v", one, want)
	}
	if all := (&Query{Reason: policy.ReasonReject}).Outcomes(); len(all) != 2*len(policy.Actions) || !slices.Contains(all, reject) || !slices.Contains(all, tag) || !slices.Contains(all, oldVerdict(policy.Tag)) {
		t.Errorf("%v", all)
	}
	for _, tt := range []struct {
		q  Query
		ok bool
	}{
		{Query{Verdict: policy.Reject}, true}, {Query{Verdict: policy.Reject, From: time.Unix(1, 0), Host: "h"}, true}, {Query{}, false}, {Query{Verdict: policy.Accept}, false},
		{Query{Verdict: policy.Reject, Reason: policy.ReasonReject}, false}, {Query{Verdict: policy.Reject, Any: []KeyIn{IDKey("X")}}, false},
	} {
		first, last, ok := tt.q.RareVerdict()
		if ok != tt.ok || ok && (first > reject || last < reject || first>>OutcomeBits != last>>OutcomeBits || last-first != 1<<OutcomeBits-1) {
			t.Errorf("%+v: %x to %x, %t", tt.q, first, last, ok)
		}
	}
}

// TestKeyOfSum checks that the first octets of the hash are the key, and that no text has the key of no text.
func TestKeyOfSum(t *testing.T) {
	for sum, want := range map[[sha256.Size]byte]int32{{}: 1, {31: 1}: 1, {3: 1}: 1, {3: 2, 4: 9}: 2, {1, 2, 3, 4}: 0x01020304, {0xff, 0xff, 0xff, 0xff}: -1} {
		if got := fromSum(sum); got != want {
			t.Errorf("%x: %d, want %d", sum, got, want)
		}
	}
}

// TestNewest checks the order of hits, that none comes twice, and how many remain.
func TestNewest(t *testing.T) {
	at := func(n int) Hit { return Hit{Time: time.Unix(int64(n), 0), Index: n} }
	compare := func(a, b Hit) int { return cmp.Compare(a.Index, b.Index) }
	for limit, want := range map[int]string{0: "[]", 2: "[3 2]", 3: "[3 2 1]", 9: "[3 2 1]"} {
		got := []int{}
		for _, h := range Newest([]Hit{at(2), at(3), at(1), at(3), at(2)}, limit, compare) {
			got = append(got, h.Index)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("at most %d: %v, want %s", limit, got, want)
		}
	}
}

// TestBatchBounds checks how many rows a block of a batch may have, and which keys can be read.
func TestBatchBounds(t *testing.T) {
	for rows, ok := range map[int]bool{0: false, 1: true, MaxBlockRows: true, MaxBlockRows + 1: false} {
		b := Batch{ID: "x", Blocks: []Block{{Rows: make([]Row, rows), Data: []byte("d")}}}
		got, err := Decode(Encode(&b))
		if (err == nil) != ok || ok && len(got.Blocks[0].Rows) != rows {
			t.Errorf("%d rows: %v", rows, err)
		}
	}
	for key, ok := range map[int64]bool{1<<31 - 1: true, 1 << 31: false, -1 << 31: true, -1<<31 - 1: false} {
		e := encoder(magic)
		e.text("x")
		e.text("host")
		for _, n := range []int64{1, 1, 0, key} { // a block with a row, its time, and its first key
			e.number(n)
		}
		for range Columns - 1 {
			e.number(0)
		}
		e.number(0) // the hint
		e.text("data")
		if b, err := Decode(sealed(e)); (err == nil) != ok {
			t.Errorf("key %d: %+v, %v", key, b, err)
		}
	}
	e := encoder(magic)
	e.text("x")
	e.text("host")
	e.number(1)
	e.number(0)
	if b, err := Decode(sealed(e)); err == nil {
		t.Errorf("a block of no rows, and nothing more: %+v", b)
	}
	for n, ok := range map[int64]bool{0: true, -1: false, 1: false} { // blocks, of which there is none
		e := encoder(magic)
		e.text("x")
		e.text("host")
		e.number(n)
		if _, err := Decode(sealed(e)); (err == nil) != ok {
			t.Errorf("%d blocks: %v", n, err)
		}
	}
}

// TestPackedBounds checks how many records the text of a block may say that it has, and that a text that would be too
// large is packed as the lines themselves.
func TestPackedBounds(t *testing.T) {
	for n, ok := range map[string]bool{"0": false, "1": true, "64": true, "65": false, "x": false, "": false, "-1": false} {
		records := 0
		_, _ = fmt.Sscan(n, &records)
		text := columnsMark + n + "\n" + strings.Repeat("x\n", max(records, 1))
		text += strings.Repeat("1\n", max(records, 1))
		if got, err := fromColumns([]byte(text), every); (err == nil) != ok || ok && len(got) != records {
			t.Errorf("%s records: %q, %v", n, got, err)
		}
	}
	values := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]\n" }
	// The text has the shape, a line feed more for each value, and the mark.
	overhead := len(columnsMark + "1\n")
	for n := range 3 {
		count := (maxUnpacked-overhead-len("[]\n")+1)/4 + n - 1
		text := toColumns([]byte(values(count)))
		size := overhead + len(values(count)) + 2*count
		if packed := strings.HasPrefix(string(text), columnsMark); packed != (size <= maxUnpacked) {
			t.Errorf("%d values would have %d octets of %d: in columns: %t", count, size, maxUnpacked, packed)
		}
	}
	if lines := []byte("{}"); !slices.Equal(toColumns(lines), lines) {
		t.Error("a line without an end is packed in columns")
	}
}

// TestNotInColumns has lines that may not be JSON. They are packed as they are.
func TestNotInColumns(t *testing.T) {
	for _, line := range []string{`{`, `[`, `}`, `]`, `{"a":1}}`, `"a`, `{"a`, `{"a":"b`, `"a"x`, `{"a":"b"c}`, `["a":1]`, `"a":1`, `[{"a":1]`} {
		text := line + "\n"
		if got := toColumns([]byte(text)); string(got) != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	// After an object in an array, the values are again those of the array.
	lines := `[{"a":1},2,{"a":3},4]` + "\n"
	if got, want := string(toColumns([]byte(lines))), columnsMark+"1\n"+`[{"a":0},0,{"a":0},0]`+"\n1\n3\n2\n4\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestShortestText unpacks texts that no Packer makes of records.
func TestShortestText(t *testing.T) {
	p, u := packer(t)
	for text, want := range map[string]int{"": 0, "x": 0, "\n": 1, "\n\n": 2} {
		if got, err := u.Unpack(p.encoder.EncodeAll([]byte(text), nil), every); len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestWhats(t *testing.T) { declared.Type(t, "What", Whats) }
