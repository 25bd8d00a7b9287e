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

// Message is what the cases of all suites of mail have.
type Message struct {
	ID   string          `json:"id"`
	EML  string          `json:"eml"`  // the file of Raw, relative to the suite's
	Zone json.RawMessage `json:"zone"` // in the form of the shared data
	Raw  []byte          `json:"-"`    // the message itself
}

func (m *Message) read(tb testing.TB, suite string) {
	tb.Helper()
	m.Raw = readFile(tb, filepath.Join(filepath.Dir(Path(tb, suite)), filepath.FromSlash(m.EML)))
}

// withMessages reads the messages of a suite's cases.
func withMessages[T any, P interface {
	*T
	read(tb testing.TB, suite string)
}](tb testing.TB, suite string, cases []T) []T {
	tb.Helper()
	for i := range cases {
		P(&cases[i]).read(tb, suite)
	}
	return cases
}

// DKIMCase is a message, and the words that its signatures may get.
type DKIMCase struct {
	Message
	Expect []string `json:"expect_modern"`
	Notes  string   `json:"notes"`
	// Of opendkim-milter only: how the message comes, and what the script wants.
	Connect    struct{ IP string } `json:"connect"`
	HELO       string              `json:"helo"`
	MailFrom   string              `json:"mailfrom"`
	Reply      string              `json:"eom_reply"`
	ARContains []string            `json:"ar_contains"`
}

// DKIM reads a suite of DKIM: opendkim-lib, opendkim-milter, go-msgauth, dkimpy.
func DKIM(tb testing.TB, name string) []DKIMCase {
	tb.Helper()
	file := "dkim/" + name + ".json"
	var doc struct {
		Cases  []DKIMCase `json:"cases"`
		Milter []DKIMCase `json:"milter_cases"`
	}
	readJSON(tb, file, &doc)
	for i := range doc.Milter { // which need no key where no pass is wanted
		if len(doc.Milter[i].Zone) == 0 {
			doc.Milter[i].Zone = json.RawMessage("{}")
		}
	}
	return withMessages(tb, file, slices.Concat(doc.Cases, doc.Milter))
}

// Judge holds the results of a message's signatures against the case: a pass
// must be seen exactly where one is wanted, a list of pass and others leaves it
// open, temperror alone must be seen as such.
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

// NeedsOpenDKIM reports a case of opendkim-milter that depends on OpenDKIM's
// own scripts or options: that it is answered is all to ask.
func (c DKIMCase) NeedsOpenDKIM() bool {
	return strings.HasPrefix(c.ID, "t-lua-") || strings.HasPrefix(c.ID, "t-conf-") || c.ID == "t-peer"
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

// DKIMOfModule takes the RFCs' messages out of go-msgauth's tests: every clone
// has them.
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

// readConstants adds the string constants of a Go file to texts.
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

var errNotConstant = errors.New("suites: no string constant")

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

// ARCCase is a message with a chain, or none.
type ARCCase struct {
	Message
	Expect      string `json:"expect_arc"`
	Description string `json:"description"`
}

// ARC reads the chain validation cases of ValiMail's suite.
func ARC(tb testing.TB) []ARCCase {
	tb.Helper()
	const file = "arc/arc-validation.json"
	var doc struct{ Cases []ARCCase }
	readJSON(tb, file, &doc)
	return withMessages(tb, file, doc.Cases)
}

// DMARCCase is a message whose SPF records pass by ip4 only and whose
// signatures, those of the domains in DKIM, are good. Nil in Expect is a
// question that the case does not ask.
type DMARCCase struct {
	Message
	Title      string   `json:"title"`
	Author     string   `json:"author_domain"`
	IP         string   `json:"ip"`
	HELO       string   `json:"helo"`
	MailFrom   string   `json:"mailfrom"` // without brackets
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

// DMARC reads the worked examples of RFC 9989.
func DMARC(tb testing.TB) []DMARCCase {
	tb.Helper()
	const file = "dmarc/dmarcbis.json"
	var doc struct{ Cases []DMARCCase }
	readJSON(tb, file, &doc)
	return withMessages(tb, file, doc.Cases)
}

// EspooferCase is one composition attack, in the zone of them all.
type EspooferCase struct {
	Message
	Idea     string `json:"idea"`
	IP       string `json:"connect_ip"`
	HELO     string `json:"helo"`
	MailFrom string `json:"mailfrom_raw"` // with what brackets it has
	From     string `json:"from_bytes"`   // the header's octets that are, or look like, From
	Expect   struct {
		SPF         []string `json:"spf"`
		DKIM        []string `json:"dkim"`
		DMARC       []string `json:"dmarc"`
		MustNot     string   `json:"must_not"`
		PassOnlyFor string   `json:"pass_only_for"`
		NoDKIMFor   []string `json:"dkim_must_not_pass_for"`
	} `json:"expect"`
}

// Espoofer reads the composition attacks.
func Espoofer(tb testing.TB) []EspooferCase {
	tb.Helper()
	const file = "espoofer/cases.json"
	// Lone surrogates and the like survive: the values stay as they are.
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
