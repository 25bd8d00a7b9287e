package failure

import (
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// TestReturn checks a report that could not be sent: it counts neither for the domain nor for the day, and its
// incidents are in the next one.
func TestReturn(t *testing.T) {
	l := NewLimiter(2, 2)
	first, _ := l.Add(noon, about("shop.example", 1))
	l.Return(noon, first)
	if l.sent != 0 || l.domains["shop.example"].sent != 0 || l.domains["shop.example"].count != 1 || l.domains["shop.example"].newest.Delivery != "1" {
		t.Errorf("%d sent, %+v", l.sent, l.domains["shop.example"])
	}
	l.Add(noon, about("shop.example", 2)) // newer than what comes back
	l.Return(noon, Ready{about("shop.example", 3), 5})
	if h := l.domains["shop.example"]; h.count != 7 || h.newest.Delivery != "2" || h.sent != 0 || l.sent != 0 {
		t.Errorf("%d sent, %+v", l.sent, h)
	}
	l.Return(noon, Ready{about("gone.example", 4), 1}) // forgotten, or lost by a reload
	if l.domains["gone.example"] != nil {
		t.Error("a domain that is not known")
	}
	due := l.Due(noon.Add(minInterval))
	if len(due) != 1 || due[0].Incidents != 7 || due[0].Incident.Delivery != "2" {
		t.Errorf("%+v", due)
	}
}

// TestIsReport checks which messages are reports themselves.
func TestIsReport(t *testing.T) {
	for value, want := range map[string]bool{
		" multipart/report; report-type=feedback-report": true, "multipart/REPORT": true, "\r\n Multipart/Report;": true,
		" multipart/mixed": false, " text/plain; x=multipart/report": false, "": false,
	} {
		if got := isReport(message.Header{{Name: "X", Value: " multipart/report"}, {Name: "Content-Type", Value: value}}); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

// TestAligns checks which domains align with an author of news.bank.example.
func TestAligns(t *testing.T) {
	for domain, want := range map[dns.Name][2]bool{ // relaxed, strict
		"news.bank.example": {true, true}, "bank.example": {true, false}, "shop.bank.example": {true, false}, "x.news.bank.example": {true, false},
		"evil.example": {false, false}, "example": {false, false}, "": {false, false},
	} {
		for i, mode := range []dmarc.Mode{dmarc.Relaxed, dmarc.Strict} {
			e := &msgauth.Evaluation{DMARC: dmarc.Evaluation{AuthorDomain: "news.bank.example", OrganizationalDomain: "bank.example",
				Record: &dmarc.Record{ADKIM: mode, ASPF: mode}}}
			for _, by := range []dmarc.Mechanism{dmarc.SPF, dmarc.DKIM} {
				if got := aligns(e, by, domain); got != want[i] {
					t.Errorf("%s, %s %s: %t", domain, mode, by, got)
				}
			}
		}
	}
}

// TestResults checks what is told of SPF and DKIM, and that a property without a value is left out.
func TestResults(t *testing.T) {
	e := &msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, AuthorDomain: "bank.example"},
		MailFrom: spf.Check{Result: spf.Fail, Domain: "evil.example"}}
	r := newRedactor([]byte("key"), nil, "bank.example")
	for _, tt := range []struct {
		why    string
		change func(*msgauth.Evaluation)
		want   string
	}{
		{"a sender", func(*msgauth.Evaluation) {}, "spf=fail smtp.mailfrom=evil.example; dkim=none"},
		{"the null sender", func(e *msgauth.Evaluation) { e.MailFrom.NullSender = true }, "spf=fail smtp.helo=evil.example; dkim=none"},
		{"no domain", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.None} }, "spf=none; dkim=none"},
		{"a signature", func(e *msgauth.Evaluation) {
			e.DKIM = []dkim.Signature{{Result: dkim.Fail, Domain: "bank.example", Selector: "s1"}}
		},
			"dkim=fail header.d=bank.example header.s=s1"},
		{"a signature without a selector", func(e *msgauth.Evaluation) {
			e.DKIM = []dkim.Signature{{Result: dkim.PermError, Domain: "bank.example"}}
		},
			"dkim=permerror header.d=bank.example"},
	} {
		c := *e
		tt.change(&c)
		if got := results(&c, r, "mx.example.jp"); !strings.HasSuffix(got, tt.want) && !strings.Contains(got, tt.want+";") {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}

// TestRedactions checks each kind of text at its edges: nothing that could be a person's may be left.
func TestRedactions(t *testing.T) {
	r := newRedactor([]byte("key"), []string{"<Ann@here.example>"}, "bank.example")
	ann, x := r.code("ann"), r.code("x")
	for _, tt := range []struct{ why, got, want string }{
		{"an identity", r.identity("x@bank.example"), x + "@bank.example"},
		{"a domain alone", r.identity("@bank.example"), "@bank.example"},
		{"no domain", r.identity("x"), x},
		{"a name alone", r.identity("bank.example"), r.code("bank.example")},
		{"a domain that is none", r.identity("x@b c"), r.code("x@b c")},
		{"another's domain", r.identity("x@evil.example"), x + "@evil.example"},
		{"a name of the owner", string(r.name("ann.here.example.bank.example")), "ann.here.example.bank.example"},
		{"a recipient in another's name", string(r.name("ann.here.example.evil.example")), ann + ".here.example.evil.example"},
		{"a list", r.listID(` "Ann's friends" <roses.lists.example>`), "<roses.lists.example>"},
		{"a list with an address", r.listID(" <x@lists.example>"), "<" + x + "@lists.example>"},
		{"a list that is not closed", r.listID(" <roses.lists.example"), ""},
		{"a list without brackets", r.listID(" roses.lists.example>"), ""},
		{"a list with a space", r.listID(" <a b>"), ""},
		{"an empty list", r.listID(" <>"), ""},
		{"a list with a control character", r.listID(" <a\x01>"), ""},
		{"a subject", r.subject(" Hello ann, x@evil.example"), "Hello " + ann + ", " + x + "@evil.example"},
		{"a subject that cannot be decoded", r.subject(" =?utf-7?q?x?="), ""},
		{"a subject that hides a word", r.subject(" =?utf-8?q?=3D=3Futf-8=3Fq=3Fann=3F=3D?="), ""},
		{"a signature", r.signature("v=1; d=bank.example; i=x@bank.example; z=To:ann@here.example; q=dns/txt"), "v=1; d=bank.example; i=" + x + "@bank.example; q=dns/txt"},
		{"a signature with a mistake", r.signature("v=1; ; =x; d=bank.example"), "v=1; d=bank.example"},
		{"a signature with a tag without a value", r.signature("v=1; b; d=bank.example"), "v=1; d=bank.example"},
		{"the longest tag", r.signature("b=" + strings.Repeat("x", maxValue)), "b=" + strings.Repeat("x", maxValue)},
		{"a longer tag", r.signature("v=1; b=" + strings.Repeat("x", maxValue+1)), "v=1"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, tt.got, tt.want)
		}
	}
	for text, want := range map[string]bool{
		"ann": true, " ann ": true, "-ann-": true, "ann0": false, "0ann": false, "annz": false, "aann": false, "\u00c0ann": false, "ann\x80": false, "ann\xc3\xbc": false, "ann/": true, "ann:": true, "ann`": true, "ann{": true,
	} {
		start := strings.Index(text, "ann")
		if got := isWord(text, start, start+3); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if isWord("an", 0, 2) {
		t.Error("two letters are a word")
	}
}

// TestWrittenHeader checks which fields are told, each once, and the authors up to a number.
func TestWrittenHeader(t *testing.T) {
	r := newRedactor([]byte("key"), nil, "bank.example")
	e := &msgauth.Evaluation{}
	for range maxAuthors + 1 {
		e.From.Mailboxes = append(e.From.Mailboxes, author.Mailbox{Local: "x", Domain: "bank.example"})
	}
	h := message.Header{{Name: "From", Value: " x"}, {Name: "FROM", Value: " y"}, {Name: "Date", Value: " never"}, {Name: "date", Value: " Sun, 22 Nov 2026 08:00:00 +0000"},
		{Name: "Message-ID", Value: " <0@bank.example"}, {Name: "Message-ID", Value: " 0@bank.example>"}, {Name: "Message-ID", Value: " >"}, {Name: "Message-ID", Value: " <"},
		{Name: "Message-ID", Value: " <1@bank.example>"}, {Name: "Message-ID", Value: " <2@bank.example>"}, {Name: "Subject", Value: " hello"}, {Name: "To", Value: " <z@here.example>"}}
	for range maxSignatures + 1 {
		h = append(h, message.Field{Name: "DKIM-Signature", Value: " d=bank.example"})
	}
	for _, subject := range []bool{false, true} {
		count := map[string]int{}
		for _, f := range r.header(e, h, subject) {
			count[f.Name]++
			if f.Name == "From" && strings.Count(f.Value, "@bank.example") != maxAuthors {
				t.Errorf("From: %s", f.Value)
			}
			if want := "<" + r.identity("1@bank.example") + ">"; f.Name == "Message-ID" && f.Value != want {
				t.Errorf("Message-ID: %s, want %s", f.Value, want)
			}
		}
		want := map[string]int{"From": 1, "Date": 1, "Message-ID": 1, "DKIM-Signature": maxSignatures, "To": 0, "Subject": 0}
		if subject {
			want["Subject"] = 1
		}
		for name, n := range want {
			if count[name] != n {
				t.Errorf("subject %t: %d fields %s, want %d", subject, count[name], name, n)
			}
		}
	}
}

// TestWhichSignature checks which signature is told: the first that failed, for whatever reason, and aligns.
func TestWhichSignature(t *testing.T) {
	for result, want := range map[dkim.Result]bool{dkim.Fail: true, dkim.Neutral: true, dkim.Policy: true, dkim.TempError: true, dkim.PermError: true, dkim.None: true, dkim.Pass: false} {
		e := forged()
		e.DKIM = []dkim.Signature{{Result: dkim.Fail, Domain: "other.example", Selector: "o"}, {Result: result, Domain: "shop.example", Selector: "s1"},
			{Result: dkim.Fail, Domain: "shop.example", Selector: "s2"}}
		selector := "s2"
		if want {
			selector = "s1"
		}
		i, ok := Observe(e, refused, nil, false, options)
		if !ok || i.Signature == nil || i.Signature.Selector != selector {
			t.Errorf("%s: %+v, want %s", result, i.Signature, selector)
		}
		e.DKIM = e.DKIM[:1]
		if i, _ := Observe(e, refused, nil, false, options); i.Signature != nil {
			t.Errorf("a signature of another domain: %+v", i.Signature)
		}
	}
}

// TestWhichSPF checks when the SPF record is told: if SPF of an aligned domain did not pass, and there is one.
func TestWhichSPF(t *testing.T) {
	for _, tt := range []struct {
		why  string
		spf  spf.Check
		want bool
	}{
		{"fail", spf.Check{Result: spf.Fail, Domain: "shop.example", Record: "v=spf1 -all"}, true},
		{"softfail of a domain below", spf.Check{Result: spf.SoftFail, Domain: "a.shop.example", Record: "v=spf1 ~all"}, true},
		{"temperror", spf.Check{Result: spf.TempError, Domain: "shop.example", Record: "v=spf1 -all"}, true},
		{"pass", spf.Check{Result: spf.Pass, Domain: "shop.example", Record: "v=spf1 +all"}, false},
		{"no record", spf.Check{Result: spf.None, Domain: "shop.example"}, false},
		{"another domain", spf.Check{Result: spf.Fail, Domain: "other.example", Record: "v=spf1 -all"}, false},
	} {
		e := forged()
		e.MailFrom = tt.spf
		i, _ := Observe(e, refused, nil, false, options)
		if (i.SPF != nil) != tt.want || i.SPF != nil && *i.SPF != (SPFRecord{tt.spf.Domain, tt.spf.Record}) {
			t.Errorf("%s: %+v", tt.why, i.SPF)
		}
	}
}

// TestNotAligned checks which mechanisms are said not to have given an aligned pass.
func TestNotAligned(t *testing.T) {
	for _, dkimAligned := range []bool{false, true} {
		for _, spfAligned := range []bool{false, true} {
			e := forged()
			e.DMARC.AlignedDKIM, e.DMARC.AlignedSPF = dkimAligned, spfAligned
			var want []string
			if !dkimAligned {
				want = append(want, "dkim")
			}
			if !spfAligned {
				want = append(want, "spf")
			}
			if i, _ := Observe(e, refused, nil, false, options); !slices.Equal(i.NotAligned, want) {
				t.Errorf("DKIM %t, SPF %t: %q", dkimAligned, spfAligned, i.NotAligned)
			}
		}
	}
}

// TestDelivery checks the word for each action.
func TestDelivery(t *testing.T) {
	for _, a := range policy.Actions {
		want := map[policy.Action]string{policy.Reject: "reject", policy.Quarantine: "policy"}[a]
		if want == "" {
			want = "delivered"
		}
		if got := delivery(a); got != want {
			t.Errorf("%s: %s", a, got)
		}
	}
}

// TestWanted checks which values of fo ask for a report.
func TestWanted(t *testing.T) {
	for fo, want := range map[string]bool{"": true, "0": true, "1": true, "d": false, "s": false, "d:s": false, "d:1": true, "s:0": true} {
		var values []string
		if fo != "" {
			values = strings.Split(fo, ":")
		}
		if got := wanted(values); got != want {
			t.Errorf("fo=%s: %t", fo, got)
		}
	}
}

// TestOneRecipientOptedOut checks that nobody's agreement stands for another's.
func TestOneRecipientOptedOut(t *testing.T) {
	for out, want := range map[int]bool{0: true, 1: false, 2: false} {
		v := refused
		v.Consent = policy.Consent{In: 3, Out: out}
		if _, ok := Observe(forged(), v, nil, false, options); ok != want {
			t.Errorf("%d opted out: %t", out, ok)
		}
	}
}

// TestFindsRecipients checks how far a recipient's domain may stand behind the local part, and which recipients are looked for.
func TestFindsRecipients(t *testing.T) {
	r := newRedactor([]byte("key"), []string{`<"ann b"@here.example>`, "@here.example", "bob", "<>", "ZOË@here.example"}, "")
	if want := []recipient{{"ann b", "here.example"}, {"zoË", "here.example"}}; !slices.Equal(r.recipients, want) {
		t.Errorf("recipients %q", r.recipients)
	}
	code := r.code("ann b")
	for text, found := range map[string]bool{
		"ann bhere.example": true, "ann b@here.example": true, "ann b@@@@here.example": true, "ann b@@@@@here.example": false, "ann b@here.exampl": false, "ANN B%40Here.Example": true,
	} {
		if got := r.scrub(text, false); strings.HasPrefix(got, code) != found {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := (&redactor{recipients: []recipient{{"", "here.example"}}}).scrub("@here.example", true); got != "@here.example" {
		t.Errorf("an empty local part: %q", got)
	}
}

// TestLower checks that only the letters of ASCII change.
func TestLower(t *testing.T) {
	if got := lower("@AZ[`az{Ä\u212a"); got != "@az[`az{Ä\u212a" {
		t.Errorf("%q", got)
	}
}

// TestSignatureTags checks which tags of a signature are told, and how long all of them may be together.
func TestSignatureTags(t *testing.T) {
	r := newRedactor([]byte("key"), nil, "bank.example")
	tag := func(name string, n int) string { return name + "=" + strings.Repeat("x", n) }
	for why, tt := range map[string]struct{ in, want string }{
		"every tag that is told": {"v=1; a=2; b=3; bh=4; c=5; d=6; h=7; l=8; q=9; s=10; t=11; x=12", "v=1; a=2; b=3; bh=4; c=5; d=6; h=7; l=8; q=9; s=10; t=11; x=12"},
		"others":                 {"z=a; r=y; dara=x; v=1", "v=1"},
		"an empty value":         {"v=; d=bank.example", "v=; d=bank.example"},
		"white space":            {"b=a\r\n b\tc", "b=abc"},
		"a control character":    {"v=1; s=a\x01; d=b", "v=1; d=b"},
		"as long as a field may be": {strings.Join([]string{tag("b", 900), tag("bh", 900), tag("h", maxField-len("b=; bh=")-1800)}, "; "),
			strings.Join([]string{tag("b", 900), tag("bh", 900), tag("h", maxField-len("b=; bh=")-1800)}, "; ")},
		"one octet more": {strings.Join([]string{tag("b", 900), tag("bh", 900), tag("h", maxField-len("b=; bh=")-1799), "s=y"}, "; "),
			strings.Join([]string{tag("b", 900), tag("bh", 900), "s=y"}, "; ")},
	} {
		if got := r.signature(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", why, got, tt.want)
		}
	}
}
