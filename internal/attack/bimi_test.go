package attack

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/bimi"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// markFor is an Indicators that vouches for the mark of every record. So a message has a mark whenever
// nothing but the certificate could have kept it from that.
type markFor struct{ asked []bimi.Query }

func (m *markFor) Find(_ context.Context, q bimi.Query) bimi.Answer {
	m.asked = append(m.asked, q)
	mark := &bimi.Mark{SVG: []byte("<svg/>"), Certified: true, Type: string(bimi.RegisteredMark), Same: true}
	return bimi.Answer{Result: bimi.Pass, Authority: bimi.AuthorityPass, Mark: mark}
}

// markRig judges stored messages with marks.
type markRig struct {
	key   ed25519.PrivateKey
	marks *markFor
	judge *judge.Judge
}

const markMail = "From: News <news@brand.example>\r\nTo: r@here.example\r\nSubject: s\r\nDate: Sun, 29 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@brand.example>\r\n\r\nbody\r\n"

const markRecord = `TXT "v=BIMI1; l=https://brand.example/l.svg; a=https://brand.example/a.pem"` + "\n"

// markZone is the DNS of a brand, of a look-alike and of the attacker. KEY stands for the key records.
const markZone = `
_dmarc.brand.example          TXT "v=DMARC1; p=reject"
default._bimi.brand.example   ` + markRecord + `
evil._bimi.brand.example      TXT "v=BIMI1; l=https://brand.example/other.svg; a=https://brand.example/other.pem"
brand.example                 TXT "v=spf1 ip4:198.51.100.7 -all"
_dmarc.evil.example           TXT "v=DMARC1; p=reject"
default._bimi.evil.example    ` + markRecord + `
evil.example                  TXT "v=spf1 +all"
_dmarc.soft.example           TXT "v=DMARC1; p=reject; sp=none"
_dmarc.news.soft.example      TXT "v=DMARC1; p=reject"
default._bimi.news.soft.example ` + markRecord + `
_dmarc.none.example           TXT "v=DMARC1; p=none"
_dmarc.news.none.example      TXT "v=DMARC1; p=reject"
default._bimi.news.none.example ` + markRecord

func newMarkRig(t *testing.T, rules ...policy.Rule) *markRig {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	zone := markZone
	for _, domain := range []string{"brand.example", "evil.example", "news.soft.example", "news.none.example"} {
		zone += "s._domainkey." + domain + ` TXT "` + signer.Record(key.Public()) + "\"\n"
	}
	r := &markRig{key: key, marks: &markFor{}}
	o := msgauth.Options{Indicators: r.marks, BIMI: bimi.Options{RequireCertificate: true, RequireDKIM: true}}
	p := policy.Default()
	p.Rules = rules
	r.judge = &judge.Judge{
		Verifier: msgauth.NewVerifier(nameserver.Zone(t, zone), o), Policy: p,
		Label: label.Settings{Names: label.Names{AuthServID: authServID}}, MaxFields: milter.DefaultMaxHeaderFields, MaxHeaderBytes: milter.DefaultMaxHeaderBytes,
		Trusted:            func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.200") },
		TrustAuthenticated: true,
	}
	return r
}

// sign signs a message for a domain. fields are those of h=.
func (r *markRig) sign(t *testing.T, domain, fields, raw string) string {
	return signer.DKIM(t, r.key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d="+domain+"; s=s; h="+fields+"; bh=%BH; b=", raw)
}

// run judges a message and returns the decision, and the fields about marks that the message has then,
// the topmost first.
func (r *markRig) run(t *testing.T, m judge.Message, raw string) (d judge.Decision, fields []string) {
	t.Helper()
	h, body := message.Parse([]byte(raw))
	m.Header, m.Whole = h, true
	if m.Envelope.MailFrom == "" {
		m.Envelope.MailFrom = "<bounce@evil.example>"
	}
	if !m.Session.Client.IsValid() {
		m.Session.Client = netip.MustParseAddr(rigClient)
	}
	c := r.judge.Open(t.Context(), m)
	c.Write(body)
	d = c.Finish(t.Context())
	gone := map[string]map[int]bool{}
	var ours []string
	for _, e := range d.Edits {
		name := strings.ToLower(e.Name)
		switch {
		case e.Kind == label.Delete:
			if gone[name] == nil {
				gone[name] = map[int]bool{}
			}
			gone[name][e.Index] = true
		case e.Kind == label.Insert && strings.HasPrefix(name, "bimi-"):
			ours = append([]string{"ours " + e.Name}, ours...)
		}
	}
	fields = ours
	seen := map[string]int{}
	for _, f := range h {
		name := strings.ToLower(f.Name)
		if seen[name]++; strings.HasPrefix(name, "bimi-") && !gone[name][seen[name]] {
			fields = append(fields, "theirs "+f.Name)
		}
	}
	return d, fields
}

// TestMarks sends what an attacker would send to have a mark shown that is not the attacker's.
func TestMarks(t *testing.T) {
	const all = "from:to:subject"
	lax := policy.Rule{ID: "lax", When: policy.Conditions{SPF: []policy.Pattern{"evil.example"}}, Then: policy.Outcome{Action: policy.Accept}}
	for _, c := range []struct {
		why    string
		make   func(r *markRig) string
		rules  []policy.Rule
		env    string
		result string // bimi result and reason
		fields string
	}{
		{why: "the brand itself", make: func(r *markRig) string { return r.sign(t, "brand.example", all, markMail) },
			result: "pass ", fields: "ours BIMI-Indicator, ours BIMI-Location"},
		{why: "a spoof", make: func(*markRig) string { return markMail }, result: "skipped dmarc"},
		{why: "a spoof, signed by the attacker", make: func(r *markRig) string { return r.sign(t, "evil.example", all, markMail) }, result: "skipped dmarc"},
		{why: "a spoof that a rule lets through", make: func(*markRig) string { return markMail }, rules: []policy.Rule{lax}, result: "skipped dmarc"},
		{why: "the brand's mail, accepted by a rule", make: func(r *markRig) string { return r.sign(t, "brand.example", all, markMail) },
			rules: []policy.Rule{lax}, result: "skipped verdict"},
		{why: "an SPF pass alone, as on a shared relay", make: func(*markRig) string { return markMail }, env: "<x@brand.example>", result: "skipped dkim"},
		{why: "text after the signed part", make: func(r *markRig) string {
			return signer.DKIM(t, r.key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=brand.example; s=s; l=6; h="+all+"; bh=%BH; b=", markMail) + "more\r\n"
		}, env: "<x@brand.example>", result: "skipped dkim"},
		{why: "a second From", make: func(r *markRig) string { return "From: x@evil.example\r\n" + r.sign(t, "brand.example", all, markMail) }, result: "skipped dmarc"},
		{why: "the name of another", make: func(r *markRig) string {
			return r.sign(t, "evil.example", all, strings.Replace(markMail, "News <news@brand.example>", `"news@brand.example" <x@evil.example>`, 1))
		}, result: "skipped from"},
		{why: "p=none at the parent", make: func(r *markRig) string {
			return r.sign(t, "news.none.example", all, strings.Replace(markMail, "@brand.example>", "@news.none.example>", 1))
		}, result: "skipped organization"},
		{why: "sp=none at the parent", make: func(r *markRig) string {
			return r.sign(t, "news.soft.example", all, strings.Replace(markMail, "@brand.example>", "@news.soft.example>", 1))
		}, result: "skipped organization"},
		{why: "an unsigned selector", make: func(r *markRig) string {
			return "BIMI-Selector: v=BIMI1; s=evil\r\n" + r.sign(t, "brand.example", all, markMail)
		}, result: "pass ", fields: "ours BIMI-Indicator, ours BIMI-Location, theirs BIMI-Selector"},
		{why: "a second selector", make: func(r *markRig) string {
			return "BIMI-Selector: v=BIMI1; s=evil\r\n" + r.sign(t, "brand.example", all+":bimi-selector", "BIMI-Selector: v=BIMI1; s=default\r\n"+markMail)
		}, result: "fail several_selectors", fields: "theirs BIMI-Selector, theirs BIMI-Selector"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newMarkRig(t, c.rules...)
			raw := c.make(r)
			// Forged fields in every position: above, between and below the others.
			forged := "BIMI-Location: v=BIMI1; l=https://evil.example/x.svg\r\nbimi-indicator: PHN2Zy8+\r\nBIMI-LOGO-PREFERENCE: avp=brand\r\n"
			head, body, _ := strings.Cut(raw, "\r\n\r\n")
			first, rest, _ := strings.Cut(head, "\r\nSubject:")
			raw = forged + first + "\r\n" + forged + "Subject:" + rest + "\r\n" + forged + "\r\n" + body
			m := judge.Message{Envelope: msgauth.Envelope{MailFrom: c.env}}
			if c.env != "" {
				m.Session.Client = netip.MustParseAddr("198.51.100.7")
			}
			d, fields := r.run(t, m, raw)
			b := policy.Mark(d.Evaluation, &d.Verdict)
			if got := string(b.Result) + " " + b.Reason; got != c.result {
				t.Errorf("got %s, want %s; checks %+v", got, c.result, b.Checks)
			}
			if got := strings.Join(fields, ", "); got != c.fields && d.Verdict.Applied != policy.Reject && d.Verdict.Applied != policy.TempFail {
				t.Errorf("fields %s, want %s", got, c.fields)
			}
			if b.Result == bimi.Pass && (len(r.marks.asked) != 1 || r.marks.asked[0].Selector != "default") {
				t.Errorf("asked for %+v", r.marks.asked)
			}
			checkLabel(t, label.Text(&r.judge.Label, authServID, d.Evaluation, d.Verdict))
			for _, e := range d.Edits {
				if e.Kind == label.Insert && e.Name == authres.FieldName {
					checkLabel(t, e.Value)
					if strings.Contains(e.Value, "bimi=pass") && c.result != "pass " {
						t.Errorf("label %q", e.Value)
					}
				}
			}
		})
	}
}

// TestMarksOfSite checks who may keep fields about marks: an earlier host of the same site, and not a
// user who logged in.
func TestMarksOfSite(t *testing.T) {
	raw := "BIMI-Indicator: PHN2Zy8+\r\nBIMI-Location: v=BIMI1; l=https://a.example/x\r\nBIMI-Selector: v=BIMI1; s=x\r\n" + markMail
	r := newMarkRig(t)
	for why, c := range map[string]struct {
		session msgauth.Session
		want    string
	}{
		"a trusted network": {msgauth.Session{Client: netip.MustParseAddr("192.0.2.200")}, "theirs BIMI-Indicator, theirs BIMI-Location, theirs BIMI-Selector"},
		"a user":            {msgauth.Session{Authenticated: "user"}, "theirs BIMI-Selector"},
	} {
		d, fields := r.run(t, judge.Message{Session: c.session}, raw)
		if got := strings.Join(fields, ", "); got != c.want || d.Skipped == "" {
			t.Errorf("%s: %s, want %s (%s)", why, got, c.want, d.Skipped)
		}
	}
}
