package policy

import (
	"net/netip"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// TestIndirectComment checks the comment of the override: mail with only the
// signs of the author's own mail is not called indirect mail.
func TestIndirectComment(t *testing.T) {
	const indirect, own = "looks like indirect mail", "may be the author's own mail"
	for _, tt := range []struct {
		signs []trait.Trait
		want  string
	}{
		{[]trait.Trait{trait.List}, indirect},
		{[]trait.Trait{trait.AuthorHost}, own},
		{[]trait.Trait{trait.AuthorRecordBroken}, own},
		{[]trait.Trait{trait.ClientUnknown}, own},
		{[]trait.Trait{trait.AuthorHost, trait.AuthorRecordBroken, trait.ClientUnknown}, own},
		{[]trait.Trait{trait.ClientUnknown, trait.Forwarded}, indirect},
	} {
		e := failing(dmarc.PolicyReject)
		for _, s := range tt.signs {
			show(s, &e)
		}
		if v := Decide(&e, Config{}); v.Override == nil || v.Override.Comment != tt.want {
			t.Errorf("%v: %+v", tt.signs, v.Override)
		}
	}
}

// TestUnknownClientWithoutPolicy checks that a message without a DMARC policy
// is quarantined instead of rejected if the client's address is not known: SPF
// might have passed for the real address.
func TestUnknownClientWithoutPolicy(t *testing.T) {
	for client, want := range map[netip.Addr]map[Action]Action{
		netip.MustParseAddr("203.0.113.66"): {Tag: Tag, Quarantine: Quarantine, Reject: Reject},
		netip.MustParseAddr("172.17.0.1"):   {Tag: Tag, Quarantine: Quarantine, Reject: Quarantine},
		{}:                                  {Tag: Tag, Quarantine: Quarantine, Reject: Quarantine},
	} {
		for configured, action := range want {
			e := with(unpublished(spf.None), func(e *msgauth.Evaluation) { e.Session.Client = client })
			if v := Decide(&e, Config{NoPolicy: configured}); v.Action != action || v.Reason != ReasonNoPolicy {
				t.Errorf("%v, no_policy: %s: %s for %s", client, configured, v.Action, v.Reason)
			}
		}
	}
}
