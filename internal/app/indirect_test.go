package app

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/trait"
)

const indirect = "../../testdata/indirect"

// everybody returns the one key that signs every message of the corpus.
func everybody() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("one key for all of them, 32 octs"))
}

// sections splits a file of the corpus, which is one test case, into its sections, by name. A
// section begins with a line "-- NAME --".
func sections(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if head, ok := strings.CutPrefix(line, "-- "); ok {
			if title, ok := strings.CutSuffix(strings.TrimSpace(head), " --"); ok {
				name = title
				out[name] = ""
				continue
			}
		}
		out[name] += line
	}
	return out
}

// pairs parses lines of the form "key: value".
func pairs(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		out[key] = strings.TrimSpace(value)
	}
	return out
}

// TestIndirect checks the decision on every test case of the corpus of indirect mail in
// testdata/indirect. The section "want" of the test case has the expected decision.
func TestIndirect(t *testing.T) {
	files, err := filepath.Glob(indirect + "/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d rows, %v", len(files), err)
	}
	text, err := os.ReadFile(indirect + "/zone.txt")
	if err != nil {
		t.Fatal(err)
	}
	key := `"` + signer.Record(everybody().Public()) + `"`
	zoneText := strings.ReplaceAll(string(text), " KEY\n", " "+key+"\n")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if name == "zone" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			row := sections(string(raw))
			e, v := judgeRow(t, nameserver.Zone(t, zoneText), row)
			got := map[string]string{
				"dmarc": string(e.DMARC.Result), "verdict": string(v.Action), "reason": string(v.Reason), "rule": v.Rule,
				"spoofing": join(v.Spoofing), "indirect": join(v.Indirect),
			}
			if v.Override != nil {
				got["override"] = string(v.Override.Type)
			}
			want := pairs(row["want"])
			for _, k := range []string{"dmarc", "verdict", "reason", "override", "rule", "spoofing", "indirect"} {
				if got[k] != want[k] {
					t.Errorf("%s is %q, want %q", k, got[k], want[k])
				}
				delete(want, k)
			}
			if len(want) > 0 || row["why"] == "" {
				t.Errorf("the row has keys that the test does not know, or no reason (why): %v", want)
			}
			if t.Failed() {
				t.Logf("%s\nspf %s, dkim %+v, arc %+v, iprev %s, evidence %q", row["why"], e.MailFrom.Result, e.DKIM, e.ARC, e.IPRev.Status, v.Evidence)
			}
		})
	}
}

func join(signs []trait.Trait) string {
	var out []string
	for _, s := range signs {
		out = append(out, string(s))
	}
	return strings.Join(out, " ")
}

// judgeRow evaluates the message of a test case and returns the Evaluation and the Verdict.
func judgeRow(t *testing.T, z *zone.Zone, row map[string]string) (*msgauth.Evaluation, policy.Verdict) {
	t.Helper()
	cfg, err := config.Parse("config", []byte(row["config"]))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Policy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(cfg, z, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	session := pairs(row["session"])
	c := v.Connect(t.Context(), msgauth.Session{Client: netip.MustParseAddr(session["client"])})
	defer c.Close()
	c.Helo(session["helo"])
	envelope := msgauth.Envelope{MailFrom: session["mail_from"]}
	m := c.Begin(msgauth.Session{}, envelope)
	defer m.Close()
	header, body := message.Parse(travel(t, strings.ReplaceAll(row["message"], "\n", "\r\n"), row["path"]))
	m.EndOfHeader(header)
	if _, err := m.Write(body); err != nil {
		t.Fatal(err)
	}
	e := m.Finish(t.Context(), envelope)
	return e, policy.Decide(e, rules)
}

// travel applies the steps in path to a message, as if forwarders or mailing lists had handled
// it: it signs, adds and sets fields, appends a footer, and seals.
func travel(t *testing.T, eml, path string) []byte {
	t.Helper()
	for step := range strings.Lines(path) {
		step = strings.TrimSuffix(step, "\n")
		verb, rest, _ := strings.Cut(step, " ")
		switch verb {
		case "sign":
			domain, selector, _ := strings.Cut(rest, " ")
			if selector == "" {
				selector = "s"
			}
			eml = signed(t, eml, domain, selector)
		case "field":
			eml = rest + "\r\n" + eml
		case "set":
			name, _, _ := strings.Cut(rest, ":")
			eml = rest + "\r\n" + without(eml, name)
		case "footer":
			eml += rest + "\r\n"
		case "seal":
			domain, results, _ := strings.Cut(rest, " ")
			header, _ := message.Parse([]byte(eml))
			eml = signer.Seal(t, signer.Set{I: len(header.Values("ARC-Seal")) + 1, Key: everybody(), Domain: domain, Results: results}, eml)
		default:
			t.Fatalf("no step %q", step)
		}
	}
	return []byte(eml)
}

// without removes the fields called name. It works only for fields of one line.
func without(eml, name string) string {
	header, body, _ := strings.Cut(eml, "\r\n\r\n")
	var kept []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if !strings.HasPrefix(strings.ToLower(line), strings.ToLower(name)+":") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n") + "\r\n\r\n" + body
}

func signed(t *testing.T, eml, domain, selector string) string {
	t.Helper()
	var out bytes.Buffer
	err := dkim.Sign(&out, strings.NewReader(eml), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: everybody(),
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
