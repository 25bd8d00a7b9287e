package milter_test

import (
	"strings"
	"testing"

	"sekimori/internal/milter"
)

func TestFormatReply(t *testing.T) {
	for _, tc := range []struct {
		why      string
		code     int
		enhanced string
		lines    []string
		want     string // "" for an error
	}{
		{"plain", 550, "5.7.1", []string{"no"}, "550 5.7.1 no"},
		{"temporary", 451, "4.7.24", []string{"later"}, "451 4.7.24 later"},
		{"several lines", 550, "5.7.1", []string{"a", "b", "c"}, "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c"},
		{"no enhanced code", 550, "", []string{"no enhanced"}, "550 no enhanced"},
		{"a per cent sign is doubled", 550, "5.7.1", []string{"100% of %d"}, "550 5.7.1 100%% of %%d"},
		{"line breaks cannot end the reply", 550, "5.7.1", []string{"a\r\n250 ok\x00"}, "550 5.7.1 a??250 ok?"},
		{"only ASCII", 550, "5.7.1", []string{"für\x7f\x1b\xff"}, "550 5.7.1 f?r???"},
		{"a tab is a space", 550, "5.7.1", []string{"a\tb"}, "550 5.7.1 a b"},
		{"no text", 550, "5.7.1", nil, "550 5.7.1 Message refused"},
		{"an empty line", 550, "", []string{""}, "550 "},
		{"Postfix would take the number for an enhanced code", 550, "", []string{"100 is too much"}, "550 5.0.0 100 is too much"},
		{"or this one for a mixed reply", 550, "", []string{"4.7.1 mixed"}, "550 5.0.0 4.7.1 mixed"},
		{"which fits", 550, "", []string{"5.7.1 fits"}, "550 5.7.1 fits"},
		{"not a refusal", 354, "", []string{"go"}, ""},
		{"acceptance is no refusal", 250, "2.0.0", []string{"ok"}, ""},
		{"no code", 0, "", []string{"x"}, ""},
		{"above all codes", 600, "", []string{"x"}, ""},
		{"classes differ", 550, "4.7.1", []string{"mixed"}, ""},
		{"classes differ", 451, "5.7.1", []string{"mixed"}, ""},
		{"two numbers", 550, "5.7", []string{"x"}, ""},
		{"four numbers", 550, "5.7.1.1", []string{"x"}, ""},
		{"long number", 550, "5.7.1234", []string{"x"}, ""},
		{"empty number", 550, "5..1", []string{"x"}, ""},
		{"text in the enhanced code", 550, "5.7.1\r\n", []string{"x"}, ""},
		{"cut at 510", 550, "5.7.1", []string{strings.Repeat("x", 600)}, "550 5.7.1 " + strings.Repeat("x", 500)},
		{"cut before doubling", 550, "5.7.1", []string{strings.Repeat("%", 600)}, "550 5.7.1 " + strings.Repeat("%", 1000)},
	} {
		got, err := milter.FormatReply(tc.code, tc.enhanced, tc.lines...)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q %v, want %q", tc.why, got, err, tc.want)
		}
	}
	got, err := milter.FormatReply(550, "5.7.1", make([]string, 100)...)
	if n := strings.Count(got, "\r\n") + 1; err != nil || n != 32 || !strings.Contains(got, "\r\n550 5.7.1 ") {
		t.Errorf("%d lines of 100", n)
	}
}

func TestCustomFallsBack(t *testing.T) {
	for _, tc := range []struct {
		reply milter.Reply
		code  int
		text  string
	}{
		{milter.Custom(550, "5.7.1", "100%"), 550, "550 5.7.1 100%"},
		{milter.Custom(550, "4.7.1", "x"), 0, "reject"},
		{milter.Custom(451, "5.7.1", "x"), 0, "tempfail"},
		{milter.Custom(250, "", "x"), 0, "tempfail"},
		{milter.Custom(599, "6.1.1", "x"), 0, "reject"},
		{milter.Continue, 0, "continue"}, {"", 0, "continue"}, {milter.Accept, 0, "accept"},
		{milter.Discard, 0, "discard"}, {"nonsense", 0, "tempfail"}, {"y", 0, "tempfail"}, {"yabc x", 0, "tempfail"},
	} {
		if tc.reply.Code() != tc.code || tc.reply.String() != tc.text {
			t.Errorf("%q: %d %q, want %d %q", string(tc.reply), tc.reply.Code(), tc.reply.String(), tc.code, tc.text)
		}
	}
}

func FuzzFormatReply(f *testing.F) {
	f.Add(550, "5.7.1", "100% \r\n250 ok")
	f.Add(451, "", "5.7.1 mixed")
	f.Fuzz(func(t *testing.T, code int, enhanced, text string) {
		got, err := milter.FormatReply(code, enhanced, text, text)
		if err != nil {
			return
		}
		lines := strings.Split(got, "\r\n")
		if len(lines) != 2 {
			t.Fatalf("%q", got)
		}
		for _, line := range lines {
			sent := strings.ReplaceAll(line, "%%", "")
			if len(strings.ReplaceAll(line, "%%", "%")) > 510 || strings.Contains(sent, "%") {
				t.Errorf("%q", line)
			}
			for i := range len(line) {
				if line[i] < ' ' || line[i] > '~' {
					t.Errorf("%q", line)
				}
			}
			if len(line) > 4 && line[4] >= '0' && line[4] <= '9' && line[4] != line[0] {
				t.Errorf("%q is malformed to Postfix", line)
			}
		}
	})
}
