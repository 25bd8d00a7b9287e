package readers

import (
	"os"
	"strings"
	"testing"

	"sekimori/internal/testkit/naive"
)

// installed returns the readers that are installed. In CI, the test fails if one is missing.
func installed(t *testing.T) []Reader {
	t.Helper()
	found, missing := Available()
	switch {
	case missing != nil && os.Getenv("CI") == "true":
		t.Fatal(missing)
	case missing != nil:
		t.Logf("without %v", missing)
	}
	return found
}

func field(spf string) string {
	return " mx.here.example;\r\n spf=" + spf +
		";\r\n dkim=none;\r\n dmarc=fail header.from=bank.example policy.dmarc=reject;\r\n arc=none;\r\n iprev=pass policy.iprev=192.0.2.66"
}

func result(spf string) naive.Field {
	return naive.Field{Results: []naive.Result{{Method: "spf", Value: spf}, {Method: "dkim", Value: "none"}, {Method: "dmarc", Value: "fail"},
		{Method: "arc", Value: "none"}, {Method: "iprev", Value: "pass"}}}
}

// TestForms checks that every reader finds the right results in every form of value that our field
// can have.
func TestForms(t *testing.T) {
	var values []string
	var want []naive.Field
	add := func(spf string) {
		values = append(values, field(spf))
		word, _, _ := strings.Cut(spf, " ")
		want = append(want, result(word))
	}
	for _, word := range []string{"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"} {
		add(word)
		add(word + " smtp.mailfrom=x.example")
	}
	for _, value := range []string{
		"a.b+c@x.example", "a!b#c$d%e&f*g-h@x.example", "a{b}|c~d^e`f@x.example", `"a/b?c@x.example"`, `"o'brien@x.example"`, `"[192.0.2.1]"`,
		`"[IPv6:2001:db8::1]"`, "x_y.example", "localhost", `"root@localhost"`, "xn--r8jz45g.example",
		"例え.example", "用户@例え.example", "e\u0301@例え.example",
	} {
		add("fail smtp.mailfrom=" + value)
	}
	add("fail smtp.helo=h.example")
	add(`permerror reason="syntax" smtp.mailfrom=x.example`)
	add(`fail reason="SPF not aligned (strict), No valid DKIM" smtp.mailfrom=x.example`)
	add("fail (quarantine: dmarc_indirect, override mailing_list: looks like indirect mail) smtp.mailfrom=x.example")
	add("fail smtp.mailfrom=x.example (p=reject dis=none)")
	for _, wrong := range Check(installed(t), values, want) {
		t.Error(wrong)
	}
}

// TestFooled checks that the readers find wrong results in fields of the form that older versions
// of sekimori wrote. If they did not, TestForms could not fail and would prove nothing.
func TestFooled(t *testing.T) {
	for _, r := range installed(t) {
		old := ""
		switch r.Name {
		case "SpamAssassin":
			old = `fail smtp.mailfrom="; spf=pass@x.example"`
		case "go-msgauth":
			old = `fail smtp.mailfrom="x; dmarc=pass; y@x.example"`
		case "mailauth":
			old = "fail smtp.mailfrom=o'brien@x.example"
		case "Mail::AuthenticationResults":
			old = `fail smtp.mailfrom="\"; dmarc=pass; x=\"@x.example"`
		default:
			continue
		}
		if got := Check([]Reader{r}, []string{field(old)}, []naive.Field{result("fail")}); len(got) == 0 {
			t.Errorf("%s reads the old form as it is meant", r.Name)
		} else {
			t.Log(got[0])
		}
	}
}
