package milter_test

import (
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/smtp"
)

func TestCustom(t *testing.T) {
	for _, tc := range []struct {
		why   string
		reply milter.Reply
		sent  string
		code  int
		log   string
	}{
		{"a refusal", milter.Custom(smtp.New(550, "5.7.1", "no")), "y550 5.7.1 no", 550, "550 5.7.1 no"},
		{"temporary", milter.Custom(smtp.New(451, "4.7.24", "later")), "y451 4.7.24 later", 451, "451 4.7.24 later"},
		{"MTAs read a reply as a format", milter.Custom(smtp.New(550, "5.7.1", "100% of %d")), "y550 5.7.1 100%% of %%d", 550, "550 5.7.1 100% of %d"},
		{"the longest, before doubling", milter.Custom(smtp.New(550, "5.7.1", strings.Repeat("%", 600))),
			"y550 5.7.1 " + strings.Repeat("%", 994) + "...", 550, "550 5.7.1 " + strings.Repeat("%", 497) + "..."},
		{"classes differ", milter.Custom(smtp.New(550, "4.7.1", "x")), "r", 0, "reject"},
		{"classes differ", milter.Custom(smtp.New(451, "5.7.1", "x")), "t", 0, "tempfail"},
		{"a success", milter.Custom(smtp.New(250, "", "x")), "t", 0, "tempfail"},
		{"not a class", milter.Custom(smtp.New(599, "6.1.1", "x")), "r", 0, "reject"},
		{"no text", milter.Custom(smtp.New(550, "5.7.1", "")), "r", 0, "reject"},
		{"a text that New has not made safe", milter.Custom(smtp.Reply{Code: 550, Enhanced: "5.7.1", Text: "a\r\n250 ok"}), "r", 0, "reject"},
		{"the zero reply", milter.Custom(smtp.Reply{}), "t", 0, "tempfail"},
		{"go on", milter.Continue, "c", 0, "continue"},
		{"no reply", "", "", 0, "continue"},
		{"accept", milter.Accept, "a", 0, "accept"},
		{"discard", milter.Discard, "d", 0, "discard"},
		{"not a reply", "nonsense", "nonsense", 0, "tempfail"},
		{"a code without digits", "y", "y", 0, "tempfail"},
		{"a code of letters", "yabc x", "yabc x", 0, "tempfail"},
	} {
		sent, _, _ := strings.Cut(string(tc.reply), "\x00") // after a NUL there may be a note for the log
		if sent != tc.sent || tc.reply.Code() != tc.code || tc.reply.String() != tc.log {
			t.Errorf("%s: %q, code %d, log %q", tc.why, string(tc.reply), tc.reply.Code(), tc.reply.String())
		}
	}
}

// FuzzCustom checks that a Custom reply is always one well-formed line, or a plain Reject or
// Tempfail.
func FuzzCustom(f *testing.F) {
	f.Add(550, "5.7.1", "100% \r\n250 ok")
	f.Add(451, "", "5.7.1 mixed")
	f.Fuzz(func(t *testing.T, code int, enhanced, text string) {
		for _, r := range []smtp.Reply{smtp.New(code, enhanced, text), {Code: code, Enhanced: enhanced, Text: text}} {
			got := milter.Custom(r)
			if got.Code() == 0 {
				if s := got.String(); s != "reject" && s != "tempfail" {
					t.Errorf("%q", s)
				}
				continue
			}
			line := string(got[1:])
			if len(strings.ReplaceAll(line, "%%", "%")) > 510 || strings.Contains(strings.ReplaceAll(line, "%%", ""), "%") {
				t.Errorf("%q", line)
			}
			for i := range len(line) {
				if line[i] < ' ' || line[i] > '~' {
					t.Errorf("%q", line)
				}
			}
			if line[4] != line[0] || line[3] != ' ' {
				t.Errorf("%q is malformed to Postfix", line)
			}
		}
	})
}
