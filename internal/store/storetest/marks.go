package storetest

import (
	"bytes"
	"testing"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/report"
)

// testMarks is about what [bimi.Store] promises. Every store implements it, too.
func testMarks(t *testing.T, s report.Store) {
	ctx := t.Context()
	marks, is := s.(bimi.Store)
	if !is {
		t.Fatal("the store keeps no marks")
	}
	get := func(key bimi.MarkKey, at time.Time) string {
		t.Helper()
		got, err := marks.Mark(ctx, key, at)
		ok(t, err)
		return string(got)
	}
	a, b := bimi.MarkKey{1}, bimi.MarkKey{31: 1}
	large := bytes.Repeat([]byte{0, 0xff, '\\', '\''}, 30_000)
	same(t, "a mark of an empty store", get(a, Noon()), "")
	ok(t, marks.PutMark(ctx, a, Noon().Add(time.Hour), []byte("one")))
	ok(t, marks.PutMark(ctx, b, Noon().Add(2*time.Hour), large))
	same(t, "a mark", get(a, Noon()), "one")
	same(t, "a large mark", get(b, Noon()), string(large))
	same(t, "a mark just in time", get(a, Noon().Add(time.Hour-time.Second)), "one")
	same(t, "a mark whose time is over", get(a, Noon().Add(time.Hour)), "")
	ok(t, marks.PutMark(ctx, a, Noon().Add(3*time.Hour), []byte("two")))
	same(t, "the mark that replaced it", get(a, Noon().Add(2*time.Hour)), "two")
	atOnce(t, 4, func(int) error { return marks.PutMark(ctx, a, Noon().Add(3*time.Hour), []byte("three")) })
	ok(t, s.Expire(ctx, Noon().Add(150*time.Minute), time.Hour))
	same(t, "a mark that was forgotten", get(b, Noon()), "")
	same(t, "a mark that was not", get(a, Noon()), "three")
}
