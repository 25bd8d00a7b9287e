package author

import (
	"testing"

	"sekimori/internal/testkit/octets"
)

// TestDamaged says what Parse makes of fields that are damaged: a quote, a bracket or a parenthesis that is
// lost must not let another author in.
func TestDamaged(t *testing.T) {
	octets.Golden(t, "testdata/damaged.txt", []string{
		` "b@e.test" <a@g.test>`,
		` "x <b@e.test>, y" <a@g.test> (c)`,
		"a@g.test (b (c\\) d),\r\n\t<e@g.test>",
		` =?utf-8?Q?=3Cb=40e.test=3E?= <a@g.test>`,
		` =?utf-8?B?PGJAZS50ZXN0Pg?= x <a@g.test>`,
		` =?utf-8?q?foo?bar=?utf-8?b?PGJAZS50ZXN0Pg?= <a@g.test>`,
		` Doe, [J] @ x: "y" <a@g.test>`,
		" \x1b$B4X@<\x1b(B <a@g.test>",
		" \x83@\x81[ <a@g.test>",
		` "Doe, <"a b"@g.test>;`,
		` 'a@g.test' <a@g.test>`,
		" a@例え.example (x＠e.test)",
	}, func(value string) string { return outcome(Parse([]string{value})) })
}

// pieces are what a field is made of.
var pieces = []string{
	`"`, "(", ")", "<", ">", "@", ",", `\`, " ", "a", "e.test", "<a@g.test>",
	":", ";", "[", "]", ".", "\r\n ", "=?utf-8?Q?", "?=", "=3C", "=3E", "=40", "=22", "?", "_", "b@e.test", "a@g.test", "g", ".test", "\x1b$B", "\x1b(B", "\xff",
	"＠", "。", "'", "=?utf-8?B?PGJAZS50ZXN0Pg?=", "=?utf-8?b?QGUudGVzdA?=", "\x00", "\t", "x", "=?hz?Q?", "=?cp037?Q?", "\u200b", "=?utf-7?Q?", "\n", "|",
}

// TestShortFields checks every short sequence of pieces around an author, as FuzzParse does: if Parse accepts
// the field, no other mail program may see another domain.
func TestShortFields(t *testing.T) {
	const structure = 12 // the first of the pieces, which decide what the others are
	for word := range octets.Words(3, pieces[:structure]...) {
		checkParse(t, word+" <a@g.test>")
	}
	for word := range octets.Words(2, pieces...) {
		for _, place := range [][2]string{{" ", " <a@g.test>"}, {`"`, `" <a@g.test>`}, {"a@g.test (", ")"}, {"<a@g.test>", ""}, {"<", "a@g.test>"},
			{"=?utf-8?Q?", "?= <a@g.test>"}, {"a", "@g.test"}, {"a@g.test", ""}} {
			checkParse(t, place[0]+word+place[1])
		}
	}
}

// FuzzPieces checks fields that are made of pieces.
func FuzzPieces(f *testing.F) {
	for _, c := range fromCases(f) {
		for _, v := range c.values {
			f.Add(octets.Program(v, pieces...))
		}
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		value := octets.Chosen(program, pieces...)
		checkParse(t, value)
		checkParse(t, value+" <a@g.test>")
	})
}
