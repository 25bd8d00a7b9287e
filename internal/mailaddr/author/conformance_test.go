package author

import (
	"strings"
	"testing"

	"sekimori/internal/mailaddr"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/testkit/suites"
)

// espooferFrom has the cases of espoofer whose From field is not <admin@legitimate.com>, and what
// Parse must return for it.
var espooferFrom = map[string]string{
	"server_a8":              "error multiple_fields",
	"server_a9":              "ok legitimate.com", // the line " From:" at the top is not a header field
	"server_a10":             "error multiple_fields",
	"server_a11":             "error multiple_fields",
	"server_a12":             "ok attack.com", // attack.com has no DMARC policy, so DMARC cannot pass
	"server_a13":             "ok attack.com",
	"server_a14":             "error multiple_domains",
	"server_a15":             "error malformed",
	"server_a16":             "error ambiguous",
	"server_a17":             "error ambiguous",
	"server_a18":             "error multiple_domains",
	"server_a19":             "error malformed",
	"client_a1":              "error multiple_fields",
	"client_a2":              "ok example.com", // two mailboxes of one domain
	"client_a3":              "ok example.com",
	"extra_6e":               "error multiple_domains",
	"extra_6f":               "error missing",
	"extra_comment_realaddr": "error ambiguous",
}

// espooferPath has the cases of espoofer whose MAIL FROM is not a plain <any@domain>, and what
// ParsePath must return for it.
var espooferPath = map[string]string{
	"server_a2":       "refused",
	"server_a5":       "refused",
	"server_a6":       "refused",
	"server_a7":       "'any@attack.com",
	"extra_6f":        "<>",
	"extra_helo_null": "<>",
}

func TestConformanceEspoofer(t *testing.T) {
	cases := suites.Espoofer(t)
	passed := 0
	for _, c := range cases {
		ok := t.Run(c.ID, func(t *testing.T) {
			want, special := espooferFrom[c.ID]
			if !special {
				want = "ok legitimate.com | <admin@legitimate.com>"
			}
			if got := outcome(Parse(fromValues(c.From))); got != want && !strings.HasPrefix(got, want+" ") {
				t.Errorf("%s: %q gives %s, want %s", c.Idea, c.From, got, want)
			}
			want, special = espooferPath[c.ID]
			if !special {
				want = strings.Trim(c.MailFrom, "<>")
			}
			p, err := mailaddr.ParsePath(c.MailFrom)
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

// fromValues returns the values of all From fields. It also finds a field that has white space
// before the colon.
func fromValues(header string) (values []string) {
	fields, _ := signer.Split([]byte(header))
	for _, f := range fields {
		if strings.EqualFold(strings.TrimSpace(f.Name), "from") {
			values = append(values, f.Value)
		}
	}
	return values
}
