package policy

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// TestRampRelaxes checks that a message outside of the share is treated one
// step milder if a policy decided, and not if something else decided.
func TestRampRelaxes(t *testing.T) {
	zero := &Ramp{}
	rule := []Rule{{ID: "r", When: Conditions{Author: []Pattern{"bank.example"}}, Then: reject}}
	for _, tt := range []struct {
		why    string
		e      msgauth.Evaluation
		c      Config
		action Action
		disp   dmarc.Policy
		over   string
	}{
		{"reject", failing(dmarc.PolicyReject), Config{}, Quarantine, dmarc.PolicyQuarantine, "local_policy: ramp: 0 percent are enforced"},
		{"quarantine", failing(dmarc.PolicyQuarantine), Config{}, Tag, dmarc.PolicyNone, "local_policy: ramp: 0 percent are enforced"},
		{"reject that is quarantined here", failing(dmarc.PolicyReject), Config{Reject: RejectQuarantine}, Tag, dmarc.PolicyNone,
			"local_policy: p=reject is quarantined here, ramp: 0 percent are enforced"},
		{"indirect mail is quarantined without a ramp",
			with(failing(dmarc.PolicyReject), func(e *msgauth.Evaluation) { e.Traits.Add(trait.List) }), Config{}, Tag, dmarc.PolicyNone,
			"mailing_list: looks like indirect mail, ramp: 0 percent are enforced"},
		{"a policy that a rule puts in its place", failing(dmarc.PolicyNone),
			Config{Rules: []Rule{{ID: "r", When: rule[0].When, Then: asPolicy(dmarc.PolicyReject)}}}, Quarantine, dmarc.PolicyQuarantine,
			"local_policy: rule r, ramp: 0 percent are enforced"},
		{"an action that a rule names is not the author's", failing(dmarc.PolicyReject), Config{Rules: rule}, Reject, dmarc.PolicyReject, ""},
		{"none stays", failing(dmarc.PolicyNone), Config{}, Tag, dmarc.PolicyNone, ""},
		{"a pass stays", with(failing(dmarc.PolicyReject), result(dmarc.ResultPass)), Config{}, Accept, dmarc.PolicyNone, ""},
		{"no author policy, no share of it", unpublished(spf.Fail), Config{SPFFail: Reject}, Reject, dmarc.PolicyNone, ""},
	} {
		tt.c.Ramp = zero
		v := Decide(&tt.e, tt.c)
		over := ""
		if v.Override != nil {
			over = string(v.Override.Type) + ": " + v.Override.Comment
		}
		if v.Action != tt.action || v.Disposition != tt.disp || over != tt.over || v.Relaxed != (v.Reason == ReasonRamp) || v.Relaxed != strings.Contains(tt.over, "ramp: ") ||
			(v.Action != Reject) != (v.Reply.Code == 0) {
			t.Errorf("%s: %s %s disposition %s override %q reply %q", tt.why, v.Action, v.Reason, v.Disposition, over, v.Reply)
		}
		tt.c.Ramp = &Ramp{Percent: 100}
		if v := Decide(&tt.e, tt.c); v.Relaxed {
			t.Errorf("%s: relaxed at 100 percent", tt.why)
		}
	}
}

// TestRampShares checks that the share has about the configured size, that a
// message stays in the share when the percentage is raised, and that the shares
// of two domains are independent.
func TestRampShares(t *testing.T) {
	const n = 4000
	enforced := func(percent int, domain dns.Name, i int) bool {
		e := failing(dmarc.PolicyReject)
		e.From.AuthorDomain, e.Digest = domain, fmt.Sprint(i)
		return Decide(&e, Config{Ramp: &Ramp{Percent: percent}}).Action == Reject
	}
	for _, percent := range []int{0, 1, 25, 50, 99, 100} {
		count, same := 0, 0
		for i := range n {
			here := enforced(percent, "bank.example", i)
			if here {
				count++
				if !enforced(min(percent+10, 100), "bank.example", i) {
					t.Errorf("message %d is enforced at %d percent, and not at more", i, percent)
				}
			}
			if here == enforced(percent, "shop.example", i) {
				same++
			}
		}
		if (count == 0) != (percent == 0) || (count == n) != (percent == 100) {
			t.Errorf("%d of %d are enforced at %d percent", count, n, percent)
		}
		if want := n * percent / 100; count < want-n/25 || count > want+n/25 {
			t.Errorf("%d of %d are enforced at %d percent", count, n, percent)
		}
		if percent == 50 && (same < n*4/10 || same > n*6/10) {
			t.Errorf("two domains agree on %d of %d", same, n)
		}
	}
}

// TestRampIsTheSameEverywhere checks that the share does not depend on facts
// that can differ between two hosts or two tries, such as the queue id and the
// client.
func TestRampIsTheSameEverywhere(t *testing.T) {
	for i := range 100 {
		here, there := failing(dmarc.PolicyReject), failing(dmarc.PolicyReject)
		here.Digest, there.Digest = fmt.Sprint(i), fmt.Sprint(i)
		there.Envelope = msgauth.Envelope{QueueID: "4X", Recipients: []string{"<a@x.example>"}, Size: 7}
		there.Session.HELO = "other.example"
		client("203.0.113.7")(&there)
		c := Config{Ramp: &Ramp{Percent: 50}}
		if a, b := Decide(&here, c), Decide(&there, c); a.Action != b.Action {
			t.Errorf("message %d: %s here, %s there", i, a.Action, b.Action)
		}
	}
}

func TestRampDomains(t *testing.T) {
	r := &Ramp{Percent: 10, Domains: map[dns.Name]int{"example.com": 25, "mail.example.com": 50}}
	for author, want := range map[dns.Name]int{
		"example.com": 25, "www.example.com": 25, "mail.example.com": 50, "a.b.mail.example.com": 50, "xexample.com": 10, "com": 10, "": 10,
	} {
		if got := r.percent(author); got != want {
			t.Errorf("%s: %d, want %d", author, got, want)
		}
	}
}

// TestRampOfNoAuthor checks the percentage where a message has no author domain.
func TestRampOfNoAuthor(t *testing.T) {
	r := &Ramp{Percent: 7, Domains: map[dns.Name]int{"": 50, "example": 60}}
	for author, want := range map[dns.Name]int{"": 7, "a.example": 60, "a.test": 7} {
		if got := r.percent(author); got != want {
			t.Errorf("%q: %d percent, want %d", author, got, want)
		}
	}
	one := &Ramp{Percent: 7, Domains: map[dns.Name]int{"example": 60}}
	if got := one.percent("a.example"); got != 60 {
		t.Errorf("with one domain: %d percent", got)
	}
}
