package readers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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

// TestAvailable checks that mailauth is looked for in the folder that the environment names, and that the error names
// what is missing.
func TestAvailable(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SEKIMORI_TEST_MAILAUTH", dir)
	names := func() (found []string, missing string) {
		readers, err := Available()
		for _, r := range readers {
			found = append(found, r.Name)
		}
		return found, fmt.Sprint(err)
	}
	if found, missing := names(); !slices.Contains(found, "go-msgauth") || slices.Contains(found, "mailauth") ||
		!strings.Contains(missing, "mailauth is not installed (npm install --prefix "+dir+" mailauth)") {
		t.Errorf("found %q, %s", found, missing)
	}
	if err := os.MkdirAll(filepath.Join(dir, "node_modules/mailauth"), 0o700); err != nil {
		t.Fatal(err)
	}
	if found, missing := names(); !slices.Contains(found, "mailauth") || strings.Contains(missing, "npm") {
		t.Errorf("found %q, %s", found, missing)
	}
	t.Setenv("SEKIMORI_TEST_MAILAUTH", "")
	if found, missing := names(); !slices.Contains(found, "mailauth") && !strings.Contains(missing, "npm install --prefix "+mailauthDir+" mailauth") {
		t.Errorf("found %q, %s", found, missing)
	}
}

// TestScript checks what becomes of the output of a script, here of the shell.
func TestScript(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for name, tt := range map[string]struct {
		text string
		want []Seen
		err  string
	}{
		"two answers": {`echo '[{"results":[["spf","pass"],["dkim","none"]],"spf":"pass"},{"error":"no"}]'`,
			[]Seen{{Results: []naive.Result{{Method: "spf", Value: "pass"}, {Method: "dkim", Value: "none"}}, SPF: "pass"}, {Error: "no"}}, ""},
		"what it gets": {`read x; [ "$x $1" = '["a","b"] arg' ] && echo '[{},{}]'`, []Seen{{}, {}}, ""},
		"too few":      {`echo '[{}]'`, nil, "sh: 1 answers to 2 fields: "},
		"too many":     {`echo '[{},{},{}]'`, nil, "sh: 3 answers to 2 fields: "},
		"no JSON":      {`echo '[{},{}'`, nil, "sh: 0 answers to 2 fields: unexpected end of JSON input"},
		"other types":  {`echo '[{"spf":3},{}]'`, nil, "sh: 2 answers to 2 fields: json: cannot unmarshal number"},
		"it fails":     {`echo '[{},{}]'; echo oh >&2; exit 3`, nil, "sh: exit status 3: oh\n"},
	} {
		got, err := script(tt.text, "sh", "arg")([]string{"a", "b"})
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "none"))
	if _, err := script("echo '[]'", "sh")(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nowhere to write the script: %v", err)
	}
}

func TestGoMsgauth(t *testing.T) {
	got, err := goMsgauth([]string{"x; spf=pass; dkim=fail; dmarc=none; iprev=pass; arc=fail; bimi=skipped; dkim-adsp=unknown; auth=pass", "x; spf"})
	want := []naive.Result{{Method: "spf", Value: "pass"}, {Method: "dkim", Value: "fail"}, {Method: "dmarc", Value: "none"},
		{Method: "iprev", Value: "pass"}, {Method: "arc", Value: "fail"}, {Method: "bimi", Value: "skipped"}, {Method: "dkim-adsp", Value: "unknown"}, {Method: "*authres.AuthResult"}}
	if err != nil || len(got) != 2 || !slices.Equal(got[0].Results, want) || got[0].Error != "" || got[1].Error == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCheck gives one field to a reader that sees what the row says.
func TestCheck(t *testing.T) {
	spf, bimi := naive.Result{Method: "spf", Value: "a"}, naive.Result{Method: "bimi", Value: "b"}
	one, both := []naive.Result{spf}, []naive.Result{spf, bimi}
	const sees = "R sees "
	for name, tt := range map[string]struct {
		r     Reader
		value string
		seen  Seen
		want  []naive.Result
		wrong []string
	}{
		"right":                       {Reader{}, "", Seen{Results: one}, one, nil},
		"other results":               {Reader{}, "", Seen{Results: one}, both, []string{"R sees [{spf a}] , want [{spf a} {bimi b}]:\nvalue"}},
		"an error":                    {Reader{}, "", Seen{Results: one, Error: "bad"}, one, []string{"R sees [{spf a}] bad, want [{spf a}]:\nvalue"}},
		"ASCII only":                  {Reader{ASCII: true}, "\u00e9", Seen{Error: "bad"}, one, nil},
		"ASCII only, but other":       {Reader{ASCII: true}, "\u00e9", Seen{}, one, []string{sees}},
		"ASCII only, an ASCII value":  {Reader{ASCII: true}, "~", Seen{Error: "bad"}, one, []string{sees}},
		"UTF-8":                       {Reader{}, "\u00e9", Seen{Error: "bad"}, one, []string{sees}},
		"without BIMI":                {Reader{NoBIMI: true}, "", Seen{}, both, nil},
		"without BIMI, but another":   {Reader{NoBIMI: true}, "", Seen{Results: one}, both, []string{sees}},
		"without BIMI, an error":      {Reader{NoBIMI: true}, "", Seen{Error: "bad"}, both, []string{sees}},
		"without BIMI, there is none": {Reader{NoBIMI: true}, "", Seen{}, one, []string{sees}},
		"with BIMI":                   {Reader{}, "", Seen{}, both, []string{sees}},
		"counts it":                   {Reader{}, "", Seen{Results: one, SPF: "a"}, one, nil},
		"counts another":              {Reader{}, "", Seen{Results: one, SPF: "b"}, one, []string{"R counts spf=b, want a:\nvalue"}},
		"counts what is not there":    {Reader{}, "", Seen{SPF: "b"}, nil, nil},
	} {
		tt.r.Name = "R"
		tt.r.Read = func([]string) ([]Seen, error) { return []Seen{tt.seen}, nil }
		failing := Reader{Name: "F", Read: func([]string) ([]Seen, error) { return make([]Seen, 1), errors.New("cannot run") }}
		got := Check([]Reader{failing, tt.r}, []string{"value" + tt.value}, []naive.Field{{Results: tt.want}})
		want := append([]string{"F: cannot run"}, tt.wrong...)
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
