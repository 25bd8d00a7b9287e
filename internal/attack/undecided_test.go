package attack

import (
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/signer"
)

// In these tests the attacker prevents a DNS answer from arriving. For example, he uses a selector
// whose key is at a provider that does not answer, or a subdomain with broken name servers in d= or
// From. "Kept away" in the name of a test means such a missing answer. A forged message must not
// get a better verdict this way than without the trick, and honest mail whose DNS is broken must
// not be lost.

// victims are DMARC policies of v.example. Each has an author to whom the policy applies. The field
// "plain" is the verdict on a simple spoof of that author. The field "enforces" says whether the
// policy asks for reject or quarantine. If it does, an undecided message must be deferred.
var victims = []struct {
	policy, author, plain string
	enforces              bool
}{
	{"p=reject", "v.example", "reject", true},
	{"p=quarantine", "v.example", "quarantine", true},
	{"p=none; sp=reject", "news.v.example", "reject", true},
	{"p=reject; sp=quarantine; np=none", "news.v.example", "quarantine", true},
	{"p=none; np=reject", "nothing.v.example", "reject", true},
	{"p=reject; t=y", "v.example", "quarantine", true},
	{"p=none", "v.example", "accept", false},
	{"p=reject; sp=none", "news.v.example", "accept", false},
	{"p=quarantine; t=y", "v.example", "accept", false},
}

// victimZone returns the DNS of the victim v.example with the given DMARC policy. Some of its names
// fail or do not answer.
func victimZone(policy string) string {
	return `
v.example                  TXT "v=spf1 ip4:198.51.100.1 -all"
v.example                  A   198.51.100.1
mx.v.example               A   198.51.100.1
1.100.51.198.in-addr.arpa  PTR mx.v.example
news.v.example             A   198.51.100.1
_dmarc.v.example           TXT "v=DMARC1; ` + policy + `"
dead._domainkey.v.example  CNAME key.dead.example
! key.dead.example * servfail
slow._domainkey.v.example  CNAME key.slow.example
! key.slow.example * timeout
! refused._domainkey.v.example * refused
cut._domainkey.v.example   CNAME cut.dead.example
! cut.dead.example * truncate-tcp
! k._domainkey.lame.v.example * servfail
! _dmarc.lame.v.example * servfail
! lame.v.example * servfail
! spf.v.example TXT servfail
loop._domainkey.v.example  CNAME loop2.v.example
loop2.v.example            CNAME loop._domainkey.v.example
` + numbered(300, `many._domainkey.v.example TXT "nothing of #"`) + strings.Replace(bankKeyZone(), "bank.example", "v.example", 1) + `
_dmarc.dead.example        TXT "v=DMARC1; p=none"
`
}

// forgery returns a forged signature over the default body of an attempt. Its body hash is right,
// so only the key can show that the signature is forged.
func forgery(d, s string) string { return forgeryOf("body\r\n", d, s) }

func forgeryOf(body, d, s string) string {
	return "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=" + d + "; s=" + s + "; h=from:subject; bh=" + signer.BodyHash(signer.Body(body)) +
		"; b=AAAA\r\n"
}

func quickly(cfg *config.Config) {
	cfg.DNS.Timeout, cfg.DNS.MessageBudget = config.Duration(200*time.Millisecond), config.Duration(3*time.Second)
}

// keptAway are signatures that cannot be verified because a DNS answer is missing. The field
// "missing" has the words with which the label names that answer.
var keptAway = []struct{ why, d, s, missing string }{
	{"the selector is an alias to a dead provider", "v.example", "dead", "dkim servfail"},
	{"the selector is an alias to a silent provider", "v.example", "slow", "dkim timeout"},
	{"the key's servers refuse", "v.example", "refused", "dkim refused"},
	{"the key is cut off, over TCP too", "v.example", "cut", "dkim malformed"},
	{"d= is a lame subdomain", "lame.v.example", "k", "alignment servfail"},
}

func TestAnswersKeptAway(t *testing.T) {
	for _, v := range victims {
		t.Run(v.policy, func(t *testing.T) {
			t.Parallel() // the test spends most of its time waiting
			d := start(t, victimZone(v.policy), quickly)
			spoof := attempt{helo: "[192.0.2.66]", from: []string{" CEO <ceo@" + v.author + ">"}, queries: 90}
			want := v.plain + " spf=pass dkim=none dmarc=fail"
			d.expect(t, spoof, want)
			for _, k := range keptAway {
				a := spoof
				a.fields = forgery(k.d, k.s)
				o := d.send(t, a)
				undecided(t, k.why, o, v.enforces, k.missing)
			}
			// A subdomain with broken name servers in MAIL FROM, or a subdomain whose SPF record
			// cannot be looked up, must not get a better verdict either.
			a := spoof
			a.mailFrom = "<x@lame.v.example>"
			undecided(t, "MAIL FROM is a lame subdomain", d.send(t, a), v.enforces, "alignment servfail")
			a.mailFrom = "<x@spf.v.example>"
			undecided(t, "SPF of a subdomain fails", d.send(t, a), v.enforces, "spf servfail")
			// Errors that will not go away (an alias loop, too many records) do not defer the
			// message, because trying again later would not help.
			for _, s := range []string{"loop", "many"} {
				a := spoof
				a.fields = forgery("v.example", s)
				d.expect(t, a, v.plain+" spf=pass dkim=permerror dmarc=fail")
			}
			// A signature by another domain whose key cannot be looked up does not matter.
			a = spoof
			a.fields = forgery("dead.example", "x")
			if o := d.send(t, a); o.verdict != v.plain || o.results("dmarc") != "fail" {
				t.Errorf("a signature of another domain: %s", o)
			}
		})
	}
}

// undecided checks the outcome of a message for which DMARC could not be decided. The message
// must be deferred if "enforces" is true, and accepted otherwise. The label must name the
// missing answer.
func undecided(t *testing.T, why string, o outcome, enforces bool, missing string) {
	t.Helper()
	comment := ""
	for _, r := range o.label.Results {
		if r.Method == "dmarc" {
			comment = r.Comment
		}
	}
	want, say := "accept", "tag: temperror, not decided: "+missing
	if enforces {
		want, say = "tempfail", "monitor, would tempfail: temperror, not decided: "+missing
	}
	if o.verdict != want || o.results("dmarc") != "temperror" || comment != say {
		t.Errorf("%s: %s (%s), want %s (%s)", why, o, comment, want, say)
	}
	if enforces && !strings.HasPrefix(o.reply, "4.7.5 ") && !strings.HasPrefix(o.reply, "4.7.24 ") {
		t.Errorf("%s: reply %q", why, o.reply)
	}
}

// TestAuthorKeptAway sends mail whose author has a domain for which the DMARC lookup fails. The
// policy of the parent domain v.example would apply to this author.
func TestAuthorKeptAway(t *testing.T) {
	const lame = `
! x.lame.v.example * servfail
! _dmarc.x.lame.v.example * servfail
! _dmarc.silent.v.example * timeout
_dmarc.loop.v.example CNAME _dmarc.loop.v.example
` + "hidden.v.example A 192.0.2.9\n! _dmarc.between.v.example * servfail\nx.between.v.example A 192.0.2.9\n"
	large := numbered(300, `_dmarc.large.v.example TXT "nothing of #"`)
	authors := []struct{ author, cause string }{
		{"x.lame.v.example", "servfail"}, {"lame.v.example", "servfail"}, {"silent.v.example", "timeout"},
		{"loop.v.example", "loop"}, {"large.v.example", "too_large"}, {"x.between.v.example", "servfail"},
	}
	for _, v := range []struct {
		policy   string
		enforces bool
	}{
		{"p=reject", true}, {"p=quarantine", true}, {"p=none; sp=reject", true}, {"p=none; sp=quarantine; np=reject", true}, {"p=reject; psd=n", true},
		{"p=none", false}, {"p=reject; sp=none", false}, {"p=none; np=reject", false}, {"p=quarantine; t=y", false},
	} {
		t.Run(v.policy, func(t *testing.T) {
			t.Parallel() // the test spends most of its time waiting
			d := start(t, victimZone(v.policy)+lame+large, quickly)
			for _, a := range authors {
				o := d.send(t, attempt{helo: "[192.0.2.66]", from: []string{" CEO <ceo@" + a.author + ">"}, queries: 90})
				undecided(t, a.author, o, v.enforces, "policy "+a.cause)
			}
		})
	}
	t.Run("np, and the author is known not to exist", func(t *testing.T) {
		d := start(t, victimZone("p=none; np=reject")+lame, quickly)
		o := d.send(t, attempt{helo: "[192.0.2.66]", from: []string{" ceo@nothing.between.v.example"}, queries: 90})
		undecided(t, "np", o, true, "policy servfail")
	})
	t.Run("nothing is known above", func(t *testing.T) {
		d := start(t, "! _dmarc.w.example * servfail\n", quickly)
		o := d.send(t, attempt{helo: "[192.0.2.66]", from: []string{" ceo@w.example"}, queries: 90})
		undecided(t, "no policy", o, false, "policy servfail")
	})
}

// TestHonestDespiteMissing checks that a missing DNS answer does no harm to honest mail that passes
// DMARC because of another identifier.
func TestHonestDespiteMissing(t *testing.T) {
	const lame = "! _dmarc.x.lame.v.example * servfail\n_dmarc.loop.v.example CNAME _dmarc.loop.v.example\nloop.v.example TXT \"v=spf1 ip4:198.51.100.1 -all\"\n"
	d := start(t, victimZone("p=reject")+lame, quickly)
	signed := func(from string) string {
		set := strings.Replace(tags(""), "d=bank.example; s=s", "d=v.example; s=s", 1)
		return signer.DKIM(t, bankKey(), set, strings.Replace(bankMail, "ann@bank.example", from, 1))
	}
	honest := attempt{ip: "198.51.100.1", client: "mx.v.example", helo: "mx.v.example", mailFrom: "<a@v.example>", queries: 120}
	for _, k := range keptAway {
		a := honest
		a.from, a.fields = []string{" a@v.example"}, forgery(k.d, k.s)
		if o := d.send(t, a); o.verdict != "accept" || o.results("dmarc") != "pass" {
			t.Errorf("SPF passes, %s: %s", k.why, o)
		}
		a = attempt{helo: "[192.0.2.66]", raw: forgeryOf("Hello  there.\r\n", k.d, k.s) + signed("a@v.example"), queries: 120}
		if o := d.send(t, a); o.verdict != "accept" || o.results("dmarc") != "pass" {
			t.Errorf("another signature passes, %s: %s", k.why, o)
		}
	}
	a := honest
	a.mailFrom, a.from = "<a@loop.v.example>", []string{" a@loop.v.example"}
	o := d.send(t, a)
	if o.verdict != "accept" || o.String() != "accept spf=pass dkim=none dmarc=temperror from=loop.v.example" {
		t.Errorf("the author's own domain passes, its record is a loop: %s", o)
	}
}

// TestUndecidedByChoice tries settings of the operator that decide what happens to an undecided
// message, among them the consent of recipients.
func TestUndecidedByChoice(t *testing.T) {
	spoof := attempt{helo: "[192.0.2.66]", from: []string{" ceo@v.example"}, fields: forgery("v.example", "dead"), queries: 90}
	for _, c := range []struct {
		why    string
		change func(*config.Config)
		policy string
		want   string
	}{
		{"temperror: accept", func(cfg *config.Config) { cfg.Policy.TempError = policy.Accept }, "p=reject", "accept"},
		{"temperror_unknown: tempfail", func(cfg *config.Config) { cfg.Policy.TempErrorUnknown = policy.TempFail }, "p=none", "tempfail"},
		{"everybody opted out", func(cfg *config.Config) { cfg.Policy.Recipients.Default = policy.Out }, "p=reject", "accept"},
		{"no hold queue changes nothing", func(cfg *config.Config) { cfg.Policy.Quarantine = policy.QuarantineTag }, "p=quarantine", "tempfail"},
		{"p=reject is quarantined here", func(cfg *config.Config) { cfg.Policy.Reject = policy.RejectQuarantine }, "p=reject", "tempfail"},
	} {
		d := start(t, victimZone(c.policy), quickly, c.change)
		if o := d.send(t, spoof); o.verdict != c.want || o.results("dmarc") != "temperror" {
			t.Errorf("%s: %s, want %s", c.why, o, c.want)
		}
	}
}

// TestOwnReverseZone: a client whose own reverse zone does not answer must not match an override
// rule that uses client_name and accepts mail. The spoof is rejected, as it would be without the
// rule.
func TestOwnReverseZone(t *testing.T) {
	known := func(cfg *config.Config) {
		quickly(cfg)
		cfg.Policy.TempError = policy.Accept
		cfg.Policy.Overrides = []config.Override{{ID: "relays", When: config.When{ClientName: []config.Pattern{".relay.example"}},
			Then: config.Then{Action: "accept"}}}
	}
	for why, zoneText := range map[string]string{
		"its zone fails":                     "! 77.2.0.192.in-addr.arpa * servfail\n",
		"its zone is silent":                 "! 77.2.0.192.in-addr.arpa * timeout\n",
		"its name is a relay's, which fails": "77.2.0.192.in-addr.arpa PTR mx.relay.example\n! mx.relay.example * servfail\n",
	} {
		d := start(t, victimZone("p=reject")+zoneText+"attacker2.example TXT \"v=spf1 +all\"\n", known)
		o := d.send(t, attempt{ip: "192.0.2.77", client: "unknown", helo: "[192.0.2.77]", mailFrom: "<x@attacker2.example>", from: []string{" ceo@v.example"},
			queries: 90})
		if o.verdict != "reject" || !strings.HasPrefix(o.reply, "5.7.1 ") {
			t.Errorf("%s: %s, reply %q", why, o, o.reply)
		}
	}
}

// TestNoDNSAtAll stops the only name server. A message for which all answers are in the cache is
// decided as before. If an answer is missing but the author's policy is in the cache, the message
// is deferred. If nothing is known about the author, the message is delivered undecided. So mail
// does not stop altogether.
func TestNoDNSAtAll(t *testing.T) {
	d := start(t, victimZone("p=reject"), quickly, func(cfg *config.Config) { cfg.DNS.Cache.Size = config.Default().DNS.Cache.Size })
	spoof := attempt{helo: "[192.0.2.66]", from: []string{" ceo@v.example"}, queries: 90}
	honest := attempt{ip: "198.51.100.1", client: "mx.v.example", helo: "mx.v.example", mailFrom: "<a@v.example>", from: []string{" a@v.example"}, queries: 120}
	d.expect(t, spoof, "reject spf=pass dkim=none dmarc=fail")
	d.expect(t, honest, "accept spf=pass dkim=none dmarc=pass")
	if err := d.DNS.Close(); err != nil {
		t.Fatal(err)
	}
	d.expect(t, spoof, "reject spf=pass dkim=none dmarc=fail")
	d.expect(t, honest, "accept spf=pass dkim=none dmarc=pass")
	spoof.fields = forgery("v.example", "never-asked")
	o := d.send(t, spoof)
	undecided(t, "the policy is in the cache", o, true, "dkim "+strings.TrimPrefix(o.reason("dkim"), "dns_"))
	o = d.send(t, attempt{helo: "[192.0.2.66]", from: []string{" a@never-asked.example"}, queries: 120})
	if o.verdict != "accept" || o.results("dmarc") != "temperror" {
		t.Errorf("nothing is known of the author: %s", o)
	}
}
