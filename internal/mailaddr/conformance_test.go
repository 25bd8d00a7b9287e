package mailaddr

import (
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// espooferFrom are the rows whose From says anything but <admin@legitimate.com>.
var espooferFrom = map[string]string{
	"server_a8":              "error multiple_fields",
	"server_a9":              "ok legitimate.com", // " From:" on top belongs to no field
	"server_a10":             "error multiple_fields",
	"server_a11":             "error multiple_fields",
	"server_a12":             "ok attack.com", // which publishes no policy: never a pass
	"server_a13":             "ok attack.com",
	"server_a14":             "error multiple_domains",
	"server_a15":             "error malformed",
	"server_a16":             "error ambiguous",
	"server_a17":             "error ambiguous",
	"server_a18":             "error multiple_domains",
	"server_a19":             "error malformed",
	"client_a1":              "error multiple_fields",
	"client_a2":              "ok example.com", // two mailboxes, one domain
	"client_a3":              "ok example.com",
	"extra_6e":               "error multiple_domains",
	"extra_6f":               "error missing",
	"extra_comment_realaddr": "error ambiguous",
}

// espooferPath are the rows whose MAIL FROM is no plain <any@domain>.
var espooferPath = map[string]string{
	"server_a2":       "refused",
	"server_a5":       "refused",
	"server_a6":       "refused",
	"server_a7":       "'any@attack.com",
	"extra_6f":        "<>",
	"extra_helo_null": "<>",
}

func TestConformanceEspoofer(t *testing.T) {
	_, cases := suites.Espoofer(t)
	passed := 0
	for _, c := range cases {
		ok := t.Run(c.ID, func(t *testing.T) {
			want, special := espooferFrom[c.ID]
			if !special {
				want = "ok legitimate.com | <admin@legitimate.com>"
			}
			if got := outcome(ParseFrom(fromValues(c.From))); got != want && !strings.HasPrefix(got, want+" ") {
				t.Errorf("%s: %q gives %s, want %s", c.Idea, c.From, got, want)
			}
			want, special = espooferPath[c.ID]
			if !special {
				want = strings.Trim(c.MailFrom, "<>")
			}
			p, err := ParsePath(c.MailFrom)
			if got := p.String(); err == nil && got != want || err != nil && want != "refused" {
				t.Errorf("%s: %q gives %s, %v, want %s", c.Idea, c.MailFrom, got, err, want)
			}
		})
		if ok {
			passed++
		}
	}
	suites.Log(t, "espoofer in process (From and MAIL FROM)", passed, len(cases), "")
	if len(cases) != 28 {
		t.Errorf("%d cases, want 28", len(cases))
	}
}

// fromValues splits header octets as an MTA does: a line that begins with white
// space goes on with the field before it, if there is one.
func fromValues(header string) []string {
	var fields, values []string
	for line := range strings.SplitSeq(strings.TrimSuffix(header, "\r\n"), "\r\n") {
		switch continues := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"); {
		case !continues:
			fields = append(fields, line)
		case len(fields) > 0:
			fields[len(fields)-1] += "\r\n" + line
		}
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		if strings.EqualFold(strings.TrimSpace(name), "from") {
			values = append(values, value)
		}
	}
	return values
}
