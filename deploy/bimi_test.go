package deploy

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/bimi"
	"sekimori/internal/bimi/mark"
	"sekimori/internal/indicators"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// TestBIMIReasons checks that the page explains every reason.
func TestBIMIReasons(t *testing.T) {
	page := readFile(t, "docs/bimi.md")
	for _, reason := range slices.Concat(bimi.Reasons(), mark.Words(), indicators.Reasons()) {
		if !strings.Contains(page, "\n| `"+reason+"` | ") {
			t.Errorf("docs/bimi.md does not explain %s", reason)
		}
	}
}

// TestBIMISieve checks that Dovecot's Sieve finds a mark in the fields that the daemon writes, and not
// in fields that a sender writes.
func TestBIMISieve(t *testing.T) {
	need(t, "sieve-test", "dovecot-sieve")
	dir, uid := anyonesDir(t)
	writeFile(t, filepath.Join(dir, "bimi.sieve"), readFile(t, "sieve/bimi.sieve"), 0o644)
	writeFile(t, filepath.Join(dir, "dovecot.conf"),
		fmt.Sprintf("mail_uid=%[2]d\nmail_gid=%[2]d\nfirst_valid_uid=1\nssl=no\nmail_home=%[1]s\nmail_location=maildir:%[1]s/mail\n", dir, uid), 0o644)
	logo := &bimi.Mark{SVG: []byte("<svg>" + strings.Repeat("x", 20<<10) + "</svg>"), Certified: true, Type: string(bimi.RegisteredMark), Same: true}
	good := &bimi.Evaluation{Domain: "shop.example", Selector: "default", Evidence: "https://shop.example/a.pem"}
	good.Answered(bimi.Answer{Result: bimi.Pass, Authority: bimi.AuthorityPass, Mark: logo}, bimi.Options{RequireCertificate: true})
	none := &bimi.Evaluation{Result: bimi.None, Reason: bimi.ReasonNoRecord}
	const (
		forged = "BIMI-Indicator: PHN2Zy8+\n"
		lie    = "Authentication-Results: other.example;\n bimi=pass header.d=bank.example policy.authority=pass\n"
	)
	for _, c := range []struct {
		why    string
		b      *bimi.Evaluation
		reason policy.Reason
		sent   string // fields of the sender that stay
		want   bool
	}{
		{"a mark", good, policy.ReasonAligned, "", true},
		{"a mark, and a lie of another host", good, policy.ReasonAligned, lie, true},
		{"a rule let it through", good, policy.ReasonRule, "", false},
		{"no mark", none, policy.ReasonAligned, "", false},
		{"no mark, and a lie of another host", none, policy.ReasonAligned, lie, false},
		{"no mark, and a field that another program left", none, policy.ReasonAligned, lie + forged, false},
	} {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: "shop.example"}, BIMI: c.b}
		v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: c.reason}
		s := label.Settings{Names: label.Names{AuthServID: "mx.example.jp"}}
		d := judge.Decision{Edits: new(label.Writer).Edits(&s, s.Identity(""), nil, e, &v)}
		message := c.sent + "From: a@shop.example\n\nx\n"
		for _, edit := range d.Edits {
			if edit.Kind == label.Insert {
				message = edit.Name + ":" + strings.ReplaceAll(edit.Value, "\r\n", "\n") + "\n" + message
			}
		}
		writeFile(t, filepath.Join(dir, "message"), message, 0o644)
		out, stderr := run(t, dir, "sieve-test", "-c", "dovecot.conf", "bimi.sieve", "message")
		if out += stderr; strings.Contains(out, "$CertifiedMark") != c.want || !strings.Contains(out, "INBOX") {
			t.Errorf("%s: %q", c.why, out)
		}
	}
}
