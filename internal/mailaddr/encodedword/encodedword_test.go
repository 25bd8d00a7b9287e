package encodedword

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestDecodings checks the texts that Decodings passes to judge: first the text that most clients
// see, and then the texts of other clients.
func TestDecodings(t *testing.T) {
	for _, tt := range []struct {
		why, text string
		strict    bool
		usual     string   // the text that most clients show
		judged    []string // the texts that all clients see
		refusal   string
	}{
		{"no word", "plain ? text", false, "", nil, ""},
		{"quoted-printable", "=?utf-8?Q?J=C3=A4ne_D?= <", false, "Jäne D <", []string{"Jäne D <", "Jäne D <", "Jäne D <"}, ""},
		{"base64", "=?UTF-8?B?SsOkbmU=?=", false, "Jäne", []string{"Jäne", "Jäne", "Jäne"}, ""},
		{"a language", "=?utf-8*de?Q?a?=", false, "a", []string{"a", "a", "a"}, ""},
		{"white space between words goes", "=?utf-8?Q?a?= \t=?utf-8?Q?b?= c", false, "ab c", []string{"ab c", "ab c", "ab c"}, ""},
		{"a charset that is not known is judged by its octets", "=?x-any?Q?a=40b?=", false, "=?x-any?Q?a=40b?=", []string{"a@b", "a@b", "a@b"}, ""},
		{"readers end a word with a question mark in it in different places", "=?utf-8?Q?a?b?=", false, "", []string{"a?b", "a?b"}, ""},
		{"a word without an end, for readers that need none", "=?utf-8?Q?a b", false, "", []string{"a b"}, ""},
		{"a word within a word", "=?utf-8?Q?=3D=3Futf-8=3FQ=3Fa=3F=3D?=", false, "=?utf-8?Q?a?=", []string{
			"=?utf-8?Q?a?=", "a", "=?utf-8?Q?a?=", "a", "=?utf-8?Q?a?=", "a"}, ""},
		{"UTF-7", "=?utf-7?Q?a?=", false, "", nil, hidingCharset},
		{"EBCDIC", "=?cp037?Q?=81?=", false, "=?cp037?Q?=81?=", []string{"a", "a", "a"}, ""},
		{"EBCDIC, strictly", "=?cp037?Q?=81?=", true, "", nil, hidingCharset},
		{"a line break", "=?utf-8?Q?a=0Ab?=", false, "", nil, hiddenControl},
	} {
		usual, judged := "", []string(nil)
		refusal := Decodings(tt.text, tt.strict, func(d Decoded) string {
			if usual == "" && d.Usual {
				usual = d.Display
			}
			judged = append(judged, d.Judged)
			return ""
		})
		if usual != tt.usual || refusal != tt.refusal || strings.Join(judged, "|") != strings.Join(tt.judged, "|") {
			t.Errorf("%s: most see %q, judged %q, refusal %q", tt.why, usual, judged, refusal)
		}
	}
	if got := Decodings("=?utf-8?Q?a?=", false, func(Decoded) string { return "no" }); got != "no" {
		t.Errorf("the refusal of the caller: %q", got)
	}
}

// TestWordDepth checks encoded words within encoded words, up to the limit and beyond it.
func TestWordDepth(t *testing.T) {
	text := "News"
	for depth := range maxWordDepth + 3 {
		refusal := Decodings(text, false, func(Decoded) string { return "" })
		if want := depth <= maxWordDepth; want != (refusal == "") {
			t.Errorf("depth %d: %q", depth, refusal)
		}
		text = "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
	}
}
