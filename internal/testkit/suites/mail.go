package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Message has the values that the cases of all suites with messages have in common.
type Message struct {
	ID   string          `json:"id"`
	EML  string          `json:"eml"`  // file with the message; its path is relative to the suite's file
	Zone json.RawMessage `json:"zone"` // in the format of the shared data, see Zone
	Raw  []byte          `json:"-"`    // content of the file EML
}

func (m *Message) read(tb testing.TB, suite string) {
	tb.Helper()
	m.Raw = readFile(tb, filepath.Join(filepath.Dir(Path(tb, suite)), filepath.FromSlash(m.EML)))
}

// withMessage is a type constraint: a pointer to a type of test case that embeds Message.
type withMessage[T any] interface {
	*T
	read(tb testing.TB, suite string)
}

// readCases reads a suite whose file contains only a list of cases.
func readCases[T any, P withMessage[T]](tb testing.TB, suite string) []T {
	tb.Helper()
	var doc struct{ Cases []T }
	readJSON(tb, suite, &doc)
	return withMessages[T, P](tb, suite, doc.Cases)
}

// withMessages reads the message file of each case.
func withMessages[T any, P withMessage[T]](tb testing.TB, suite string, cases []T) []T {
	tb.Helper()
	for i := range cases {
		P(&cases[i]).read(tb, suite)
	}
	return cases
}

// DKIMCase is a message and the results that its signatures may get.
type DKIMCase struct {
	Message
	Expect []string `json:"expect_modern"`
	Notes  string   `json:"notes"`
	// Only in opendkim-milter: the SMTP session, and what OpenDKIM's test script expects.
	Connect    struct{ IP string } `json:"connect"`
	HELO       string              `json:"helo"`
	MailFrom   string              `json:"mailfrom"`
	Reply      string              `json:"eom_reply"`
	ARContains []string            `json:"ar_contains"`
}

// DKIM reads the DKIM suite name: opendkim-lib, opendkim-milter, go-msgauth or dkimpy.
func DKIM(tb testing.TB, name string) []DKIMCase {
	tb.Helper()
	file := "dkim/" + name + ".json"
	var doc struct {
		Cases  []DKIMCase `json:"cases"`
		Milter []DKIMCase `json:"milter_cases"`
	}
	readJSON(tb, file, &doc)
	for i := range doc.Milter { // a case that does not expect pass may have no zone in the file
		if len(doc.Milter[i].Zone) == 0 {
			doc.Milter[i].Zone = json.RawMessage("{}")
		}
	}
	return withMessages(tb, file, slices.Concat(doc.Cases, doc.Milter))
}

// Judge compares got, the results of a message's signatures, with the case. There are three kinds
// of cases:
//   - The case expects pass or another result: Judge accepts everything.
//   - The case expects only pass: got must contain a pass.
//   - The case does not expect pass: got must not contain one. If the case expects only temperror,
//     got must contain a temperror.
func (c DKIMCase) Judge(got []string) error {
	wanted := slices.Contains(c.Expect, "pass")
	open := wanted && len(c.Expect) > 1
	if !open && wanted != slices.Contains(got, "pass") {
		return fmt.Errorf("dkim %q, want %q (%s)", got, c.Expect, c.Notes)
	}
	if slices.Equal(c.Expect, []string{"temperror"}) && !slices.Contains(got, "temperror") {
		return fmt.Errorf("dkim %q, want temperror (%s)", got, c.Notes)
	}
	return nil
}

// NeedsOpenDKIM reports whether a case of opendkim-milter depends on scripts or options that only
// OpenDKIM has. For such a case, a test can only check that the daemon answers.
func (c DKIMCase) NeedsOpenDKIM() bool {
	return strings.HasPrefix(c.ID, "t-lua-") || strings.HasPrefix(c.ID, "t-conf-") || c.ID == "t-peer"
}

// goMsgauth lists messages in the tests of the module go-msgauth, by the names of their constants,
// with the results that they may get. verifiedEd25519MailString is the message of RFC 8463 Appendix
// A. The other four are forms of the message in RFC 6376 Appendix A: unsigned, signed, signed with
// a bare PKCS#1 key, and with three signatures.
var goMsgauth = map[string][]string{
	"unsignedMailString":          {"none"},
	"verifiedMailString":          {"pass"},
	"verifiedRawRSAMailString":    {"pass", "permerror"}, // RFC 6376 contradicts itself about bare PKCS#1 keys
	"verifiedEd25519MailString":   {"pass"},
	"tooManySignaturesMailString": {"pass"}, // the message has three signatures, and we verify three
}

// goMsgauthKeys maps the DNS names of keys to the constants in the module's query_test.go that
// contain the key records.
var goMsgauthKeys = map[string]string{
	"brisbane._domainkey.example.com":          "dnsPublicKey",
	"brisbane._domainkey.example.org":          "dnsPublicKey",
	"test._domainkey.football.example.com":     "dnsPublicKey",
	"newengland._domainkey.example.com":        "dnsRawRSAPublicKey",
	"brisbane._domainkey.football.example.com": "dnsEd25519PublicKey",
}

// DKIMOfModule returns the messages of goMsgauth, read from the test files of go-msgauth. They are
// available wherever the tests can be built, because the module is needed for that.
func DKIMOfModule(tb testing.TB) []DKIMCase {
	tb.Helper()
	dir := filepath.Join(Module(tb, "github.com/emersion/go-msgauth"), "dkim")
	texts := map[string]string{}
	for _, file := range []string{"verify_test.go", "query_test.go"} {
		readConstants(tb, filepath.Join(dir, file), texts)
	}
	zone := map[string]any{}
	for name, constant := range goMsgauthKeys {
		zone[name] = []any{map[string]any{"type": "TXT", "data": []string{texts[constant]}}}
	}
	raw := marshal(tb, zone)
	var cases []DKIMCase
	for _, id := range slices.Sorted(maps.Keys(goMsgauth)) {
		if texts[id] == "" {
			tb.Fatalf("%s is not in the module", id)
		}
		m := Message{ID: id, Zone: raw, Raw: []byte(strings.ReplaceAll(texts[id], "\n", "\r\n"))}
		cases = append(cases, DKIMCase{Message: m, Expect: goMsgauth[id]})
	}
	return cases
}

// readConstants reads a Go file and adds its string constants to texts.
func readConstants(tb testing.TB, file string, texts map[string]string) {
	tb.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		tb.Fatal(err)
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

var errNotConstant = errors.New("suites: not a string constant")

// constant returns the value of an expression made of string literals and "+".
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

// ARCCase is a message with or without an ARC chain.
type ARCCase struct {
	Message
	Expect      string `json:"expect_arc"`
	Description string `json:"description"`
}

// ARC reads the chain validation cases of ValiMail's suite.
func ARC(tb testing.TB) []ARCCase {
	tb.Helper()
	return readCases[ARCCase](tb, "arc/arc-validation.json")
}

// DMARCCase is a message that has a valid signature by each domain in the field DKIM. The SPF
// records in its zone use only the mechanism ip4. If a pointer or slice in the field Expect is nil,
// the case does not state that value.
type DMARCCase struct {
	Message
	Title      string   `json:"title"`
	Author     string   `json:"author_domain"`
	IP         string   `json:"ip"`
	HELO       string   `json:"helo"`
	MailFrom   string   `json:"mailfrom"` // without angle brackets
	DKIM       []string `json:"dkim"`
	Queries    []string `json:"queries_author"`
	MaxQueries int      `json:"max_queries_per_walk"`
	Expect     struct {
		DMARC           []string `json:"dmarc"`
		Org             *string  `json:"org_domain"`
		PolicyDomain    *string  `json:"policy_domain"`
		Tag             *string  `json:"tag"`
		Policy          *string  `json:"policy"`
		Disposition     *string  `json:"disposition_if_fail"`
		MustDisposition *string  `json:"disposition_must_be"`
		SPF             *bool    `json:"spf_aligned"`
		DKIM            []string `json:"dkim_aligned"`
	} `json:"expect"`
}

// DMARC reads the suite of examples worked out from RFC 9989.
func DMARC(tb testing.TB) []DMARCCase {
	tb.Helper()
	return readCases[DMARCCase](tb, "dmarc/dmarcbis.json")
}

// EspooferCase is one composition attack. All cases have the same zone.
type EspooferCase struct {
	Message
	Idea     string `json:"idea"`
	IP       string `json:"connect_ip"`
	HELO     string `json:"helo"`
	MailFrom string `json:"mailfrom_raw"` // as the attack sends it, with or without angle brackets
	From     string `json:"from_bytes"`   // those octets of the header that are From fields or look like them
	Expect   struct {
		SPF         []string `json:"spf"`
		DKIM        []string `json:"dkim"`
		DMARC       []string `json:"dmarc"`
		MustNot     string   `json:"must_not"`
		PassOnlyFor string   `json:"pass_only_for"`
		NoDKIMFor   []string `json:"dkim_must_not_pass_for"`
	} `json:"expect"`
}

// Espoofer reads the suite of composition attacks.
func Espoofer(tb testing.TB) []EspooferCase {
	tb.Helper()
	const file = "espoofer/cases.json"
	// The zone is not decoded here, because decoding would destroy lone surrogates (see Zone).
	var doc struct {
		Zone       map[string]json.RawMessage `json:"zone"`
		ZoneClient map[string]json.RawMessage `json:"zone_client"`
		Cases      []EspooferCase             `json:"cases"`
	}
	readJSON(tb, file, &doc)
	maps.Copy(doc.Zone, doc.ZoneClient)
	zone := marshal(tb, doc.Zone)
	for i := range doc.Cases {
		doc.Cases[i].Zone = zone
	}
	return withMessages(tb, file, doc.Cases)
}
