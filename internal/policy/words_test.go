package policy

import (
	"slices"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/trait"
)

// TestAllowedValues checks which values the keys of the configuration allow.
func TestAllowedValues(t *testing.T) {
	if !slices.Equal(NoneActions, []Action{Tag}) { // RFC 9989 §5.4
		t.Errorf("policy.none: %v", NoneActions)
	}
	if !slices.Equal(UnauthenticatedActions, []Action{Tag, Quarantine, Reject}) {
		t.Errorf("policy.no_policy, policy.spf_fail: %v", UnauthenticatedActions)
	}
	if !slices.Equal(TempErrorActions, []Action{TempFail, Accept}) { // a temporary error must not reject
		t.Errorf("policy.temperror: %v", TempErrorActions)
	}
	if !slices.Equal(InvalidFromActions, []Action{Reject, Quarantine, Tag}) {
		t.Errorf("policy.invalid_from: %v", InvalidFromActions)
	}
	if !slices.Equal(OutcomeActions, []Action{Accept, Tag, Quarantine, Reject}) {
		t.Errorf("then: %v", OutcomeActions)
	}
	policies := []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject}
	if !slices.Equal(OutcomePolicies, policies) || !slices.Equal(PublishedValues, append(policies, Absent)) {
		t.Errorf("then: %v, published: %v", OutcomePolicies, PublishedValues)
	}
	results := []dmarc.Result{dmarc.ResultPass, dmarc.ResultFail, dmarc.ResultNone, dmarc.ResultTempError, dmarc.ResultPermError}
	if !slices.Equal(DMARCValues, results) {
		t.Errorf("dmarc: %v", DMARCValues)
	}
}

// TestDefaults checks what the policy is if nothing is configured, and that a value that is configured stays.
func TestDefaults(t *testing.T) {
	want := Config{Mode: Enforce, Reject: RejectCorroborated, Quarantine: QuarantineHold, Learned: LearnedObserve, NoPolicy: Tag, SPFFail: Tag,
		TempError: TempFail, TempErrorUnknown: Accept, InvalidFrom: Reject}
	type values struct {
		mode                                                        Mode
		reject                                                      RejectRule
		quarantine                                                  QuarantineRule
		learned                                                     LearnedRule
		noPolicy, spfFail, tempError, tempErrorUnknown, invalidFrom Action
	}
	of := func(c Config) values {
		return values{c.Mode, c.Reject, c.Quarantine, c.Learned, c.NoPolicy, c.SPFFail, c.TempError, c.TempErrorUnknown, c.InvalidFrom}
	}
	if got := of(Default()); got != of(want) {
		t.Errorf("%+v, want %+v", got, of(want))
	}
	other := Config{Mode: Monitor, Reject: RejectAlways, Quarantine: QuarantineTag, Learned: LearnedUse, NoPolicy: Reject, SPFFail: Quarantine,
		TempError: Accept, TempErrorUnknown: TempFail, InvalidFrom: Tag}
	if got := of(other.withDefaults()); got != of(other) {
		t.Errorf("%+v, want %+v", got, of(other))
	}
}

// TestShadowsNeedsEachKey checks two rules with all conditions: the first shadows the second, unless one
// condition of the second has another value, or is missing.
func TestShadowsNeedsEachKey(t *testing.T) {
	whole := func() Conditions {
		return Conditions{Client: networks("192.0.2.0/24"), ClientName: []Pattern{"a.example"}, DKIM: []Pattern{"b.example"}, ARCSealer: []Pattern{"c.example"},
			SPF: []Pattern{"d.example"}, Author: []Pattern{"e.example"}, Published: []dmarc.Policy{dmarc.PolicyReject}, DMARC: []dmarc.Result{dmarc.ResultFail},
			Traits: []trait.Trait{trait.List}}
	}
	first := Rule{When: whole(), Then: reject}
	if !first.Shadows(&Rule{When: whole(), Then: accept}) {
		t.Error("the same conditions")
	}
	for key, change := range map[string][2]func(*Conditions){
		"client":      {func(c *Conditions) { c.Client = networks("198.51.100.0/24") }, func(c *Conditions) { c.Client = nil }},
		"client_name": {func(c *Conditions) { c.ClientName[0] = "x.example" }, func(c *Conditions) { c.ClientName = nil }},
		"dkim":        {func(c *Conditions) { c.DKIM[0] = "x.example" }, func(c *Conditions) { c.DKIM = nil }},
		"arc_sealer":  {func(c *Conditions) { c.ARCSealer[0] = "x.example" }, func(c *Conditions) { c.ARCSealer = nil }},
		"spf":         {func(c *Conditions) { c.SPF[0] = "x.example" }, func(c *Conditions) { c.SPF = nil }},
		"author":      {func(c *Conditions) { c.Author[0] = "x.example" }, func(c *Conditions) { c.Author = nil }},
		"published":   {func(c *Conditions) { c.Published[0] = dmarc.PolicyNone }, func(c *Conditions) { c.Published = nil }},
		"dmarc":       {func(c *Conditions) { c.DMARC[0] = dmarc.ResultPass }, func(c *Conditions) { c.DMARC = nil }},
		"traits":      {func(c *Conditions) { c.Traits[0] = trait.SRS }, func(c *Conditions) { c.Traits = nil }},
	} {
		for i, what := range []string{"another value", "no value"} {
			w := whole()
			change[i](&w)
			if first.Shadows(&Rule{When: w, Then: accept}) {
				t.Errorf("%s has %s, and the rule is shadowed", key, what)
			}
		}
	}
}

// TestAnyConditionCounts checks that a rule with any one or two conditions has a condition.
func TestAnyConditionCounts(t *testing.T) {
	keys := []func(*Conditions){
		func(c *Conditions) { c.Client = networks("192.0.2.0/24") }, func(c *Conditions) { c.ClientName = []Pattern{"a.example"} },
		func(c *Conditions) { c.DKIM = []Pattern{"b.example"} }, func(c *Conditions) { c.ARCSealer = []Pattern{"c.example"} },
		func(c *Conditions) { c.SPF = []Pattern{"d.example"} }, func(c *Conditions) { c.Author = []Pattern{"e.example"} },
		func(c *Conditions) { c.Published = []dmarc.Policy{dmarc.PolicyReject} }, func(c *Conditions) { c.DMARC = []dmarc.Result{dmarc.ResultFail} },
		func(c *Conditions) { c.Traits = []trait.Trait{trait.List} },
	}
	for i := range keys {
		for j := i; j < len(keys); j++ {
			var w Conditions
			keys[i](&w)
			keys[j](&w)
			if err := (Config{}).CheckRule(Rule{ID: "r", When: w, Then: reject}); err != nil {
				t.Errorf("%s: %v", w, err)
			}
		}
	}
	if err := (Config{}).CheckRule(Rule{ID: "r", Then: reject}); err == nil || err.Key != "when" {
		t.Errorf("no condition: %v", err)
	}
}

// TestShadowingStops checks that Shadowing goes through the rules before one in order, and stops when it is
// told to, with and without an index.
func TestShadowingStops(t *testing.T) {
	var rules []Rule
	for range 5 {
		rules = append(rules, Rule{When: Conditions{Author: []Pattern{"bank.example"}}, Then: reject, Expires: time.Time{}})
	}
	plain, indexed := Config{Rules: rules}, Config{Rules: rules}
	indexed.IndexRules()
	for why, c := range map[string]Config{"without an index": plain, "with an index": indexed} {
		for most := 1; most <= 5; most++ {
			var seen []int
			c.Shadowing(3, func(j int) bool { seen = append(seen, j); return len(seen) < most })
			if want := []int{0, 1, 2}[:min(most, 3)]; !slices.Equal(seen, want) {
				t.Errorf("%s, at most %d: %v, want %v", why, most, seen, want)
			}
		}
	}
}
