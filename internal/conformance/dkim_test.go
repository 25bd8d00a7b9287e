package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/message"
)

type dkimCase struct {
	ID           string          `json:"id"`
	EML          string          `json:"eml"`
	Zone         json.RawMessage `json:"zone"`
	ExpectModern []string        `json:"expect_modern"`
	// Of opendkim-milter only.
	Connect    struct{ IP string } `json:"connect"`
	HELO       string              `json:"helo"`
	MailFrom   string              `json:"mailfrom"`
	Reply      string              `json:"eom_reply"`
	ARContains []string            `json:"ar_contains"`

	raw []byte
}

// readDKIM reads a suite and its messages.
func readDKIM(t *testing.T, name string) (cases []dkimCase) {
	t.Helper()
	file := shared(t, "dkim/"+name+".json")
	var s struct {
		Cases  []dkimCase `json:"cases"`
		Milter []dkimCase `json:"milter_cases"`
	}
	readJSON(t, file, &s)
	cases = append(s.Cases, s.Milter...)
	for i := range cases {
		var err error
		if cases[i].raw, err = os.ReadFile(filepath.Join(filepath.Dir(file), cases[i].EML)); err != nil {
			t.Fatal(err)
		}
	}
	return cases
}

// The rows t-test28 to 31 of opendkim-lib append content past l=, which
// RFC 6376 §3.4.5 lets pass; the daemon's default is stricter.
func acceptBodyLength(cfg *config.Config) { cfg.DKIM.BodyLength = string(dkim.BodyLengthAccept) }

func TestConformanceDKIM(t *testing.T) {
	for _, tt := range []struct {
		name  string
		total int
	}{{"opendkim-lib", 76}, {"go-msgauth", 5}, {"dkimpy", 4}} {
		t.Run(tt.name, func(t *testing.T) {
			suite{name: "dkim/" + tt.name + " daemon", total: tt.total, change: acceptBodyLength, rows: dkimRows(readDKIM(t, tt.name))}.run(t)
		})
	}
}

func dkimRows(cases []dkimCase) []row {
	rows := make([]row, 0, len(cases))
	for _, c := range cases {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error {
			results, err := c.send(st)
			if err != nil {
				return err
			}
			return judgeDKIM(words(results), c.ExpectModern)
		}})
	}
	return rows
}

// send returns the label's dkim entries.
func (c dkimCase) send(st *station) ([]authres.Result, error) {
	m := mail{ip: "192.0.2.1", helo: "mx.client.invalid", from: "<bounce@client.invalid>", raw: c.raw}
	switch {
	case c.Connect.IP == "unspec":
		m.ip = ""
	case c.Connect.IP != "":
		m.ip = c.Connect.IP
	}
	if c.HELO != "" {
		m.helo = c.HELO
	}
	if c.MailFrom != "" {
		m.from = "<" + c.MailFrom + ">"
	}
	o, err := st.label(m)
	if err != nil {
		return nil, err
	}
	return o.results("dkim")
}

func words(results []authres.Result) []string {
	out := make([]string, 0, len(results))
	for _, r := range results {
		out = append(out, r.Value)
	}
	return out
}

// judgeDKIM: a pass must be seen exactly where one is wanted, a list of pass
// and others leaves it open, temperror alone must be seen as such.
func judgeDKIM(got, want []string) error {
	pass := string(dkim.Pass)
	wanted := slices.Contains(want, pass)
	open := wanted && len(want) > 1
	if !open && wanted != slices.Contains(got, pass) {
		return fmt.Errorf("dkim %q, want %q", got, want)
	}
	if slices.Equal(want, []string{string(dkim.TempError)}) && !slices.Contains(got, want[0]) {
		return fmt.Errorf("dkim %q, want temperror", got)
	}
	return nil
}

// TestConformanceDKIMMilter plays OpenDKIM's verifying milter scripts.
func TestConformanceDKIMMilter(t *testing.T) {
	var rows []row
	for _, c := range readDKIM(t, "opendkim-milter") {
		r := row{id: c.ID, zone: c.Zone, check: c.checkScript}
		if strings.HasPrefix(c.ID, "t-lua-") || strings.HasPrefix(c.ID, "t-conf-") || c.ID == "t-peer" {
			r.excluded = "needs OpenDKIM's own scripts or options; the daemon answers and labels"
			r.check = func(st *station) error {
				_, err := c.send(st)
				return err
			}
		}
		rows = append(rows, r)
	}
	suite{name: "dkim/opendkim-milter daemon", total: 19, rows: rows}.run(t)
}

// checkScript: of what a script wants only the word counts, where it wants
// another than pass anything but pass will do; and what a pass was for.
func (c dkimCase) checkScript(st *station) error {
	results, err := c.send(st)
	if err != nil {
		return err
	}
	passes := slices.Contains(words(results), string(dkim.Pass))
	if c.Reply == "SMFIR_REPLYCODE" && passes {
		return fmt.Errorf("dkim %q, the script wants a refusal", words(results))
	}
	for _, want := range c.ARContains {
		name, value, found := strings.Cut(want, "=")
		switch ptype, prop, _ := strings.Cut(name, "."); {
		case name == "dkim" && (value == "pass") != passes:
			return fmt.Errorf("dkim %q, want %s", words(results), want)
		case found && ptype == "header" && property(results[0], authres.PTypeHeader, prop) != value:
			return fmt.Errorf("%+v lacks %s", results[0], want)
		}
	}
	return nil
}

// goMsgauth are the messages that the module's tests hold: RFC 6376 Appendix A,
// the same signed by a bare PKCS#1 key, and RFC 8463 Appendix A.
var goMsgauth = map[string][]string{
	"unsignedMailString":          {"none"},
	"verifiedMailString":          {"pass"},
	"verifiedRawRSAMailString":    {"pass", "permerror"}, // an erratum of RFC 6376 either way
	"verifiedEd25519MailString":   {"pass"},
	"tooManySignaturesMailString": {"pass"}, // three are no more than we verify
}

// goMsgauthKeys are its query_test.go's names for its keys.
var goMsgauthKeys = map[string]string{
	"brisbane._domainkey.example.com":          "dnsPublicKey",
	"brisbane._domainkey.example.org":          "dnsPublicKey",
	"test._domainkey.football.example.com":     "dnsPublicKey",
	"newengland._domainkey.example.com":        "dnsRawRSAPublicKey",
	"brisbane._domainkey.football.example.com": "dnsEd25519PublicKey",
}

// TestConformanceDKIMModule takes the RFCs' messages out of go-msgauth's tests:
// every clone has them.
func TestConformanceDKIMModule(t *testing.T) {
	dir := filepath.Join(moduleDir(t, "github.com/emersion/go-msgauth"), "dkim")
	texts := map[string]string{}
	for _, file := range []string{"verify_test.go", "query_test.go"} {
		readConstants(t, filepath.Join(dir, file), texts)
	}
	zone := map[string]any{}
	for name, constant := range goMsgauthKeys {
		zone[name] = []any{map[string]any{"type": "TXT", "data": []string{texts[constant]}}}
	}
	rawZone, err := json.Marshal(zone)
	if err != nil {
		t.Fatal(err)
	}
	var cases []dkimCase
	for id, want := range goMsgauth {
		if texts[id] == "" {
			t.Fatalf("%s is not in the module", id)
		}
		cases = append(cases, dkimCase{ID: id, Zone: rawZone, ExpectModern: want, raw: []byte(strings.ReplaceAll(texts[id], "\n", "\r\n"))})
	}
	dkimInProcess(t, "dkim/go-msgauth of the module, in process", cases)
	suite{name: "dkim/go-msgauth of the module, daemon", total: 5, rows: dkimRows(cases)}.run(t)
}

// dkimInProcess runs the evaluator alone.
func dkimInProcess(t *testing.T, name string, cases []dkimCase) {
	t.Helper()
	passed := 0
	for _, c := range cases {
		zone, err := dnstest.FromConformance(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		if err := judgeDKIM(verifyAlone(t, zone, c.raw), c.ExpectModern); err != nil {
			t.Errorf("%s: %s: %v", name, c.ID, err)
			continue
		}
		passed++
	}
	logLine(t, name, passed, len(cases), nil)
}

func verifyAlone(t *testing.T, zone *dnstest.Zone, raw []byte) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	h, body := message.Parse(raw)
	v := dkim.NewVerifier(h, dkim.Options{Now: time.Now()})
	defer v.Close()
	v.Start(ctx, zone)
	if _, err := v.Write(body); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range v.Finish(ctx) {
		out = append(out, string(s.Result))
	}
	if len(out) == 0 {
		return []string{string(dkim.None)}
	}
	return out
}

// readConstants adds the string constants of a Go file to texts.
func readConstants(t *testing.T, file string, texts map[string]string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Skipf("suite dkim/go-msgauth of the module: skipped, %v", err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		if text, err := constant(spec.Values[0]); err == nil {
			texts[spec.Names[0].Name] = text
		}
		return true
	})
}

var errNotConstant = errors.New("no string constant")

// constant is the value of string literals joined by "+".
func constant(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := constant(e.X)
		if err != nil {
			return "", err
		}
		right, err := constant(e.Y)
		return left + right, err
	}
	return "", errNotConstant
}
