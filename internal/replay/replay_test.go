package replay

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/received"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/trait"
)

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func zoneFor(t *testing.T) dns.Resolver {
	t.Helper()
	return nameserver.Zone(t, zoneText())
}

func zoneText() string {
	return `
bank.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
shop.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.shop.example TXT "v=DMARC1; p=quarantine"
list.example        TXT "v=spf1 ip4:198.51.100.0/24 -all"
k._domainkey.bank.example TXT "` + signer.Record(key.Public()) + `"
`
}

// signedMail returns a message with a signature of bank.example that expired long ago.
func signedMail(t *testing.T) string {
	t.Helper()
	const tags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=k; h=from; t=1577800000; x=1577923200; bh=%BH; b="
	return signer.DKIM(t, key, tags, "From: a@bank.example\r\n\r\nbody\r\nFrom me\r\n")
}

// delivered returns a message as it is stored in an mbox.
func delivered(sender, client, date, mail string) string {
	received := fmt.Sprintf("Received: from h.example (unknown [%s])\n\tby mx.here.example (Postfix) with ESMTPS id Q1\n\tfor <r@here.example>; %s\n",
		client, date)
	mail = strings.ReplaceAll(mail, "\r\n", "\n")
	return "From " + sender + " Thu Jan  2 00:00:00 2020\nReturn-Path: <" + sender + ">\nX-Original-To: r@here.example\n" + received +
		strings.ReplaceAll(mail, "\nFrom me", "\n>From me") + "\n"
}

const day = "Wed, 1 Jan 2020 12:00:00 +0000"

func corpus(t *testing.T) string {
	t.Helper()
	return write(t, "box", strings.Join([]string{
		delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nx\n"),
		delivered("x@list.example", "198.51.100.7", day, signedMail(t)),
		delivered("a@bank.example", "203.0.113.1", day, "From: a@bank.example\n\nx\n"),
		delivered("a@shop.example", "203.0.113.1", day, "From: a@shop.example\n\nx\n"),
		delivered("a@shop.example", "203.0.113.1", day, "From: a@shop.example, b@bank.example\n\nx\n"),
		delivered("a@here.example", "127.0.0.1", day, "From: a@here.example\n\nx\n"),
		"From x 1\nSubject: no received field\n\nx\n\n",
		delivered("a@bank.example", "203.0.113.1", day, strings.Repeat("X: y\n", 3000)+"From: a@bank.example\n\nx\n"),
		delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nlast\n"),
	}, ""))
}

func replayed(t *testing.T, path string, change func(*Options)) *Summary {
	t.Helper()
	source, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	o := Options{Source: source, Origin: received.Origin{TrustedHosts: []dns.Name{"mx.here.example"}}, Config: config.Default(), Resolver: zoneFor(t)}
	o.Config.AuthservID = "mx.here.example"
	if change != nil {
		change(&o)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun(t *testing.T) {
	var progress []int
	r := replayed(t, corpus(t), func(o *Options) {
		o.Progress = func(done, total int64, messages int) {
			progress = append(progress, messages)
			if done > total {
				t.Errorf("%d of %d", done, total)
			}
		}
	})
	if r.Messages != 9 || r.Bad != 1 || !slices.Equal(progress, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 9}) {
		t.Errorf("%d messages, %d bad, steps %v", r.Messages, r.Bad, progress)
	}
	want := map[policy.Reason]int{
		policy.ReasonAligned:     3, // one of them has a signature that expired after the message was received
		policy.ReasonReject:      1,
		policy.ReasonQuarantine:  1,
		policy.ReasonInvalidFrom: 1,
		policy.ReasonTrusted:     1,
		policy.ReasonOversize:    1,
	}
	if fmt.Sprint(r.Reasons) != fmt.Sprint(want) {
		t.Errorf("reasons %v, want %v", r.Reasons, want)
	}
	if bad := r.BadMessages; len(bad) != 1 || bad[0].Message != 7 || bad[0].Offset == 0 || !strings.Contains(bad[0].Reason, "received") {
		t.Errorf("bad: %+v", bad)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"messages accept tag quarantine reject tempfail skip author domain",
		"4 3 - - 1 - - bank.example", "1 - - 1 - - - shop.example", "8 3 - 1 3 - 1 all 3",
		"1 messages could not be judged: message 7 at octet",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, &b)
		}
	}
}

// TestSignatureOfItsTime: a signature that has expired still counts if the message was received
// before. If the time of receipt is not known, the signature counts as expired.
func TestSignatureOfItsTime(t *testing.T) {
	for date, want := range map[string]policy.Reason{day: policy.ReasonAligned, "no date": policy.ReasonReject} {
		r := replayed(t, write(t, "box", delivered("x@list.example", "198.51.100.7", date, signedMail(t))), func(o *Options) {
			o.Config.Policy.Reject = "always"
		})
		if r.Reasons[want] != 1 {
			t.Errorf("%s: %v", date, r.Reasons)
		}
	}
}

func TestCandidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   map[string]int
	}{
		{"the same", func(*config.Config) {}, map[string]int{}},
		{"softer", func(c *config.Config) { c.Policy.Reject = "quarantine" }, map[string]int{"reject -> quarantine": 1}},
		{"monitor", func(c *config.Config) { c.Mode = policy.Monitor }, map[string]int{
			"reject -> reject (applied as tag)": 3, "quarantine -> quarantine (applied as tag)": 1}},
		{"other facts", func(c *config.Config) { c.Limits.HeaderFields = 5000 }, map[string]int{}},
		{"other trust", func(c *config.Config) {
			c.Trusted.Networks = []config.Network{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, {Prefix: netip.MustParsePrefix("127.0.0.0/8")}}
		}, map[string]int{"reject -> skip": 3, "quarantine -> skip": 1}},
		{"a rule on lookalikes, and who they are", func(c *config.Config) {
			c.Watch = []config.Watch{{Name: "shops", Domains: []config.Pattern{"sh0p.example"}, Lookalikes: true}}
			c.Policy.Overrides = []config.Override{{ID: "r1", Owner: "o", Reason: "why", Expires: config.Date{Time: time.Now().AddDate(0, 1, 0)},
				When: config.When{Traits: []trait.Trait{trait.Lookalike}}, Then: config.Then{Action: policy.Reject}}}
		}, map[string]int{"quarantine -> reject": 1}},
	} {
		r := replayed(t, corpus(t), func(o *Options) {
			o.Candidate = config.Default()
			o.Candidate.AuthservID = "mx.here.example"
			tt.change(o.Candidate)
		})
		c := r.Candidate
		n := 0
		for _, k := range c.Changes {
			n += k
		}
		if fmt.Sprint(c.Changes) != fmt.Sprint(tt.want) || c.Different != n || len(c.Differences) != n {
			t.Errorf("%s: %v, %d different, %d listed", tt.name, c.Changes, c.Different, len(c.Differences))
		}
		var b strings.Builder
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		for i, d := range c.Differences {
			if !strings.Contains(b.String(), fmt.Sprintf("message %d at octet %d, author ", d.Message, d.Offset)) {
				t.Errorf("%s: the text does not name message %d:\n%s", tt.name, d.Message, &b)
			}
			if i > 0 && d.Message <= c.Differences[i-1].Message || d.QueueID != "Q1" {
				t.Errorf("%s: %+v", tt.name, d)
			}
		}
	}
}

// TestSecondRun checks that a second run with the snapshot of the first run sends no DNS questions
// and has the same summary.
func TestSecondRun(t *testing.T) {
	path, box := filepath.Join(t.TempDir(), "dns.jsonl"), corpus(t)
	var texts []string
	for _, network := range []dns.Resolver{zoneFor(t), nobody{t: t}} {
		s := open(t, path, network)
		r := replayed(t, box, func(o *Options) { o.Resolver = s })
		use := closed(t, s)
		r.DNS = &use
		if (use.Asked == 0) != (len(texts) == 1) {
			t.Errorf("run %d: %+v", len(texts)+1, use)
		}
		var b strings.Builder
		if err := r.Text(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "No DNS was needed") != (len(texts) == 1) || !strings.HasSuffix(b.String(), ".\n") {
			t.Errorf("run %d: %s", len(texts)+1, &b)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		before, _, _ := strings.Cut(string(raw), `"dns":`)
		texts = append(texts, before)
	}
	if texts[0] != texts[1] {
		t.Errorf("first %s\nsecond %s", texts[0], texts[1])
	}
}

// breaks is a resolver that interrupts the run when it is asked for the DMARC record of
// shop.example.
type breaks struct {
	dns.LookupOnly
	next   dns.Resolver
	cancel context.CancelFunc
}

func (b *breaks) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if strings.HasPrefix(string(name), "_dmarc.shop") {
		b.cancel()
	}
	return b.next.Lookup(ctx, name, typ)
}

// TestInterrupted checks that the summary of an interrupted run counts only messages whose lookups
// were finished, and that the next run can use the snapshot.
func TestInterrupted(t *testing.T) {
	path, box := filepath.Join(t.TempDir(), "dns.jsonl"), corpus(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := open(t, path, &breaks{next: zoneFor(t), cancel: cancel})
	source, err := Open(box)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	r, err := Run(ctx, Options{Source: source, Origin: received.Origin{TrustedHosts: []dns.Name{"mx.here.example"}}, Config: config.Default(), Resolver: s})
	if !errors.Is(err, context.Canceled) || r == nil || r.Messages >= 9 || r.Verdicts[policy.TempFail] != 0 || r.Reasons[policy.ReasonTempError] != 0 {
		t.Errorf("%v: %+v", err, r)
	}
	if use, err := s.Close(true); err != nil || use.Kept == 0 {
		t.Errorf("%+v, %v", use, err)
	}
	s = open(t, path, zoneFor(t))
	if r := replayed(t, box, func(o *Options) { o.Resolver = s }); r.Messages != 9 || r.Reasons[policy.ReasonAligned] != 3 {
		t.Errorf("the next run: %+v", r)
	}
	if use := closed(t, s); use.FromSnapshot == 0 {
		t.Errorf("the next run: %+v", use)
	}
}

// TestGivenUp checks that a message is not counted if its lookups were given up, because they did not
// lead to the decision that it would have got.
func TestGivenUp(t *testing.T) {
	mail := func(author string) lines {
		return linesOf(strings.SplitAfterN(delivered("a@"+author, "192.0.2.1", day, "From: a@"+author+"\n\nx\n"), "\n", 2)[1])
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		source := &generated{limit: 3}
		source.lines = func() lines {
			return mail([]string{"bank.example", "silent.example", "bank.example"}[source.messages-1])
		}
		o := from(t, source)
		o.Resolver = silent{next: o.Resolver}
		go func() { synctest.Wait(); cancel() }()
		r, err := Run(ctx, o)
		if !errors.Is(err, context.Canceled) || err.Error() != "replay: after 2 messages: context canceled" || r.Messages != 2 || r.Bad != 0 || r.Verdicts[policy.Accept] != 2 {
			t.Errorf("%v: %+v", err, r)
		}
	})
}

// silent is a resolver that never answers what it is asked about silent.example.
type silent struct {
	dns.LookupOnly
	next dns.Resolver
}

func (s silent) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if strings.HasSuffix(string(name), "silent.example") {
		<-ctx.Done()
		return dns.Answer{}, dns.OutOfTime(s, ctx.Err(), name, typ)
	}
	return s.next.Lookup(ctx, name, typ)
}

// TestRunFails checks what Run returns if it cannot begin, or if the source fails in the middle.
func TestRunFails(t *testing.T) {
	noList := func(c *config.Config) { c.DMARC.OrganizationalDomain, c.DMARC.PSLFile = dmarc.PSL, "/absent/list" }
	for _, tt := range []struct {
		name     string
		change   func(*Options)
		messages int // -1: there is no summary
		want     string
	}{
		{"the configuration", func(o *Options) { noList(o.Config) }, -1, "app: dmarc.psl_file: open /absent/list: no such file or directory"},
		{"the candidate", func(o *Options) { o.Candidate = config.Default(); noList(o.Candidate) }, -1,
			"candidate: app: dmarc.psl_file: open /absent/list: no such file or directory"},
		{"the source", func(o *Options) { o.Source = &broken{o.Source, 2} }, 2, "replay: after 2 messages: broken"},
	} {
		o := from(t, nil)
		source, err := Open(corpus(t))
		if err != nil {
			t.Fatal(err)
		}
		o.Source = source
		tt.change(&o)
		r, err := Run(t.Context(), o)
		if err == nil || err.Error() != tt.want || (r == nil) != (tt.messages < 0) || r != nil && r.Messages != tt.messages {
			t.Errorf("%s: %v: %+v", tt.name, err, r)
		}
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}
}

// broken is a source that fails after some messages.
type broken struct {
	Source
	left int
}

func (b *broken) Next() (*Message, error) {
	if b.left--; b.left < 0 {
		return nil, errors.New("broken")
	}
	return b.Source.Next()
}

// TestBadMessages checks that a file that ends anywhere within a message is counted as one that cannot be
// judged, and not judged as a shorter message; and that a header may end with the file.
func TestBadMessages(t *testing.T) {
	dir := t.TempDir()
	_, mail, _ := strings.Cut(delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nx\n"), "\n")
	header, _, _ := strings.Cut(mail, "\n\n")
	whole, bad := stretched(t, mail), 0
	files := map[string]string{"a.eml": mail, "b.eml": header, "c.eml": header + "\n", "d.eml.gz": whole, "empty.eml": "", "lines.eml": "\n\n", "odd.eml": "odd\n\n"}
	for n := 2; n < len(whole); n += 3 {
		files[fmt.Sprintf("cut%03d.eml.gz", n)] = whole[:n]
		bad++
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := replayed(t, dir, nil)
	if r.Messages != len(files) || r.Bad != bad+3 || r.Verdicts[policy.Accept] != 4 {
		t.Errorf("%d messages, %d bad, want %d and %d; %v", r.Messages, r.Bad, len(files), bad+3, r.Verdicts)
	}
	reasons := map[string]int{}
	for _, b := range r.BadMessages {
		reasons[strings.Replace(b.Reason, b.File+": ", "", 1)]++
	}
	if want := map[string]int{"unexpected EOF": bad, "the message is empty": 2, `the topmost received field is not by a trusted host; name the host that it has after "by"`: 1}; !maps.Equal(reasons, want) {
		t.Errorf("%v, want %v", reasons, want)
	}
}

// TestSameFacts checks which parts of two configurations may differ without a second evaluation.
func TestSameFacts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		same   bool
	}{
		{"nothing", func(*config.Config) {}, true},
		{"mode", func(c *config.Config) { c.Mode = policy.Monitor }, true},
		{"policy", func(c *config.Config) { c.Policy.Reject, c.Policy.Ramp.Percent = "tag", 7 }, true},
		{"sealers", func(c *config.Config) { c.ARC.TrustedSealers = []config.Domain{"list.example"} }, true},
		{"authserv-id", func(c *config.Config) { c.AuthservID = "mx" }, false},
		{"budget", func(c *config.Config) { c.DNS.MessageBudget++ }, false},
		{"dkim", func(c *config.Config) { c.DKIM.MaxSignatures++ }, false},
		{"dmarc", func(c *config.Config) { c.DMARC.OrganizationalDomain = dmarc.PSL }, false},
		{"limits", func(c *config.Config) { c.Limits.HeaderFields++ }, false},
		{"trusted", func(c *config.Config) { c.Trusted.Authenticated = !c.Trusted.Authenticated }, false},
		{"watch", func(c *config.Config) { c.Watch = []config.Watch{{Name: "w"}} }, false},
		{"recipients", func(c *config.Config) { c.Policy.Recipients.Default = "out" }, false},
	} {
		c := config.Default()
		tt.change(c)
		if got := sameFacts(config.Default(), c); got != tt.same {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// TestTempError checks which results count as unanswered.
func TestTempError(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    msgauth.Evaluation
		want bool
	}{
		{"nothing", msgauth.Evaluation{}, false},
		{"helo", msgauth.Evaluation{HELO: spf.Check{Result: spf.TempError}}, true},
		{"helo softfail", msgauth.Evaluation{HELO: spf.Check{Result: spf.SoftFail}}, false},
		{"sender", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.TempError}}, true},
		{"sender permerror", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.PermError}}, false},
		{"iprev", msgauth.Evaluation{IPRev: iprev.Result{Status: iprev.TempError}}, true},
		{"iprev permerror", msgauth.Evaluation{IPRev: iprev.Result{Status: iprev.PermError}}, false},
		{"dmarc", msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultTempError}}, true},
		{"dmarc permerror", msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultPermError}}, false},
		{"the second signature", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass}, {Result: dkim.TempError}}}, true},
		{"signatures", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass}, {Result: dkim.PermError}}}, false},
	} {
		if got := unanswered(&tt.e); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// TestUnanswered: if DNS lookups failed, the first line of the text and the row of the domain say
// so. Reliable then returns false, which changes the exit code of the command. After RetryFailures,
// a second run has all answers.
func TestUnanswered(t *testing.T) {
	box := write(t, "box", delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nx\n")+
		delivered("a@lame.example", "192.0.2.1", day, "From: a@lame.example\n\nx\n"))
	const more = "! lame.example TXT servfail\n! _dmarc.lame.example TXT timeout\n"
	path := filepath.Join(t.TempDir(), "dns.jsonl")
	s := open(t, path, nameserver.Zone(t, zoneText()+more))
	r := replayed(t, box, func(o *Options) { o.Resolver = s })
	use := closed(t, s)
	r.DNS = &use
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if r.Unanswered != 1 || r.Reliable() || !strings.HasPrefix(b.String(), "DNS FAILED for 1 of 2 messages (50.0 %)") ||
		!strings.Contains(b.String(), "--retry-failures") ||
		!strings.Contains(b.String(), "no DNS") {
		t.Errorf("%+v\n%s", r, b.String())
	}
	for _, d := range r.Domains {
		if want := map[string]int{"lame.example": 1}[d.Author]; d.Unanswered != want {
			t.Errorf("%+v, want %d", d, want)
		}
	}

	// Without RetryFailures, a second run gives the same result, although DNS works now.
	whole := nameserver.Zone(t, zoneText()+"lame.example. TXT \"v=spf1 -all\"\n")
	s = open(t, path, whole)
	if r := replayed(t, box, func(o *Options) { o.Resolver = s }); r.Unanswered != 1 {
		t.Errorf("a repetition gives another result: %+v", r)
	}
	closed(t, s)
	s = open(t, path, whole)
	s.RetryFailures()
	if r := replayed(t, box, func(o *Options) { o.Resolver = s }); r.Unanswered != 0 || !r.Reliable() {
		t.Errorf("asked again: %+v", r)
	}
	closed(t, s)
	s = open(t, path, nameserver.Zone(t, ""))
	if r := replayed(t, box, func(o *Options) { o.Resolver = s }); r.Unanswered != 0 {
		t.Errorf("the new answers are not kept: %+v", r)
	}
	closed(t, s)
}

// TestReliable checks that a run counts as reliable if at most one message in a hundred counts as
// Unanswered.
func TestReliable(t *testing.T) {
	for _, tt := range []struct {
		messages, bad, unanswered int
		want                      bool
	}{{0, 0, 0, true}, {100, 0, 1, true}, {100, 0, 2, false}, {101, 2, 1, false}, {1, 1, 0, true}} {
		if r := (&Summary{Messages: tt.messages, Bad: tt.bad, Unanswered: tt.unanswered}); r.Reliable() != tt.want {
			t.Errorf("%+v: %t", tt, !tt.want)
		}
	}
}

// TestSummaryIsBounded checks that messages and domains that do not fit into a list are still
// counted.
func TestSummaryIsBounded(t *testing.T) {
	r := newSummary(true)
	for i := range maxDomains + 2 {
		o := outcome{message: &Message{Number: i + 1}, author: dns.Name(fmt.Sprintf("d%d.example", i)),
			live: judge.Decision{Verdict: policy.Verdict{Action: policy.Accept}}}
		r.add(o)
		o.err = errors.New("bad")
		r.add(o)
	}
	r.finish()
	if len(r.Domains) != maxDomains+1 || r.Domains[0].Author != "*" || r.Domains[0].Messages != 2 || len(r.BadMessages) != maxListed ||
		r.Bad != maxDomains+2 || len(r.Candidate.Differences) != maxListed || r.Candidate.Different != maxDomains+2 {
		t.Errorf("%d domains, first %+v, %d of %d bad, %d of %d different",
			len(r.Domains), r.Domains[0], len(r.BadMessages), r.Bad, len(r.Candidate.Differences), r.Candidate.Different)
	}
	var b strings.Builder
	if err := r.Text(&b); err != nil || strings.Count(b.String(), "\n") > 4*maxRows || strings.Count(b.String(), "--json has them") != 3 {
		t.Errorf("%d lines, %v", strings.Count(b.String(), "\n"), err)
	}
}

// TestText compares whole texts.
func TestText(t *testing.T) {
	verdict := func(a, applied policy.Action, r policy.Reason) policy.Verdict {
		return policy.Verdict{Action: a, Applied: applied, Reason: r}
	}
	accept := verdict(policy.Accept, policy.Accept, policy.ReasonAligned)
	reject := verdict(policy.Reject, policy.Reject, policy.ReasonReject)
	held := verdict(policy.Quarantine, policy.Quarantine, policy.ReasonQuarantine)
	outcomes := []outcome{
		{message: &Message{Number: 1, Offset: 7}, author: "b.example", live: judge.Decision{Verdict: accept}, compared: accept},
		{message: &Message{Number: 2, Offset: 8}, author: "b.example", live: judge.Decision{Verdict: accept}, compared: reject, unanswered: true},
		{message: &Message{Number: 3, Name: "d/x.eml"}, author: "a.example", live: judge.Decision{Verdict: accept}, compared: verdict(policy.Accept, policy.Tag, "")},
		{message: &Message{Number: 4, Offset: 10}, author: "c.example", live: judge.Decision{Verdict: held}, compared: reject, queueID: "Q4"},
		{message: &Message{Number: 5, Offset: 11}, live: judge.Decision{Verdict: reject}, compared: reject},
		{message: &Message{Number: 6, Name: "d/bad.eml"}, err: errors.New("no header")},
		{message: &Message{Number: 7, Offset: 13}, err: errors.New("empty")},
		{message: &Message{Number: 8, Offset: 14}, author: "0.example", live: judge.Decision{Verdict: accept}, compared: reject},
	}
	summary := func(compared bool, use *Use, some ...outcome) *Summary {
		s := newSummary(compared)
		for _, o := range some {
			s.add(o)
		}
		s.finish()
		s.DNS = use
		return s
	}
	for _, tt := range []struct {
		name string
		s    *Summary
		want string
	}{
		{"nothing", summary(false, nil), `
  messages  accept  tag  quarantine  reject  tempfail  skip  author domain
         0       -    -           -       -         -     -  all 0
`},
		{"all that there can be", summary(true, &Use{FromSnapshot: 5, Asked: 4, Kept: 3, Failures: 2}, outcomes...), `
DNS FAILED for 1 of 6 messages (16.7 %): on receipt they may have been judged otherwise; the same command with --retry-failures asks again.

  messages  accept  tag  quarantine  reject  tempfail  skip  no DNS  author domain
         1       -    -           -       1         -     -       -  (no author, or not evaluated)
         1       -    -           1       -         -     -       -  c.example
         2       2    -           -       -         -     -       1  b.example
         1       1    -           -       -         -     -       -  0.example
         1       1    -           -       -         -     -       -  a.example
         6       4    -           1       1         -     -       1  all 5

The candidate decides otherwise on 4 messages
  2 accept -> reject
  1 accept -> accept (applied as tag)
  1 quarantine -> reject
  message 2 at octet 8, author b.example: accept (dmarc_pass) -> reject (dmarc_reject)
  d/x.eml, author a.example: accept (dmarc_pass) -> accept (applied as tag) ()
  message 4 at octet 10, author c.example: quarantine (dmarc_quarantine) -> reject (dmarc_reject)
  message 8 at octet 14, author 0.example: accept (dmarc_pass) -> reject (dmarc_reject)

2 messages could not be judged:
  d/bad.eml: no header
  message 7 at octet 13: empty

DNS: 5 questions answered from the snapshot, 4 asked, 3 answers kept; 2 failures among them.
`},
		{"without a snapshot", summary(false, nil, outcomes[1]), `
DNS FAILED for 1 of 1 messages (100.0 %): on receipt they may have been judged otherwise.

  messages  accept  tag  quarantine  reject  tempfail  skip  no DNS  author domain
         1       1    -           -       -         -     -       1  b.example
         1       1    -           -       -         -     -       1  all 1
`},
		{"all from the snapshot", summary(false, &Use{FromSnapshot: 5}, outcomes[0]), `
  messages  accept  tag  quarantine  reject  tempfail  skip  author domain
         1       1    -           -       -         -     -  b.example
         1       1    -           -       -         -     -  all 1

No DNS was needed: the snapshot answered all 5 questions.
`},
	} {
		var b strings.Builder
		if err := tt.s.Text(&b); err != nil || "\n"+b.String() != tt.want {
			t.Errorf("%s: %v\n%s", tt.name, err, &b)
		}
	}
	all := summary(true, nil, outcomes...)
	if want := (BadMessage{6, "d/bad.eml", 0, "no header", "d/bad.eml"}); all.BadMessages[0] != want {
		t.Errorf("%+v", all.BadMessages[0])
	}
	if d := all.Candidate.Differences[2]; d.Message != 4 || d.Offset != 10 || d.QueueID != "Q4" || d.Author != "c.example" || d.Live.Reason != held.Reason || d.Candidate.Reason != reject.Reason {
		t.Errorf("%+v", d)
	}
	if err := all.Text(failing{}); err == nil {
		t.Error("a text that could not be written is no error")
	}
	// A list of a hundred lines is whole, and one of more lines says how many are missing.
	for n, want := range map[int]string{maxRows: "", maxRows + 1: "  ... and 1 more; --json has them\n"} {
		var b strings.Builder
		more(&b, n)
		if b.String() != want {
			t.Errorf("%d rows: %q", n, &b)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

// TestHostileText checks that no text of a message can send control characters to the terminal.
func TestHostileText(t *testing.T) {
	const hostile = "\x1b[2J\u202e\xff"
	r := replayed(t, write(t, "box", "From "+hostile+" 1\nReceived: "+hostile+"\nFrom: "+hostile+"\n\nx\n\n"+
		delivered(hostile+"@bank.example", "203.0.113.1", day, "From: "+hostile+" <a@bank.example>\n\nx\n")), func(o *Options) {
		o.Candidate = config.Default()
		o.Candidate.Policy.Reject, o.Candidate.Policy.InvalidFrom = "quarantine", "tag"
	})
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	for i, c := range []byte(b.String()) {
		if (c < ' ' && c != '\n') || c > '~' {
			t.Fatalf("octet %#x at %d:\n%q", c, i, b.String())
		}
	}
}
