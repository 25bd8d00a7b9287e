package label

import (
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// TestStyles checks that each style writes the dmarc result as the program of that name
// does.
func TestStyles(t *testing.T) {
	reject := policy.Verdict{Action: policy.Quarantine, Applied: policy.Quarantine, Enforced: true, Reason: policy.ReasonIndirect}
	tagged := policy.Verdict{Action: policy.Tag, Applied: policy.Tag, Enforced: true}
	strict := judged(dmarc.ResultFail, dmarc.PolicyReject)
	strict.DMARC.Record = &dmarc.Record{ASPF: dmarc.Strict, ADKIM: dmarc.Relaxed}
	strict.MailFrom.Result = "pass"
	for _, tt := range []struct {
		style Style
		e     *msgauth.Evaluation
		v     policy.Verdict
		want  string
	}{
		{StyleOpenDMARC, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (p=reject dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (p=reject dis=quarantine) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultFail, dmarc.PolicyNone), tagged, "dmarc=fail (p=none dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultNone, ""), tagged, "dmarc=none (p=none dis=none) header.from=bank.example"},
		{StyleOpenDMARC, judged(dmarc.ResultPermError, ""), tagged, "dmarc=permerror header.from=bank.example"},
		{StyleRspamd, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (policy=reject) header.from=bank.example"},
		{StyleRspamd, judged(dmarc.ResultFail, dmarc.PolicyQuarantine), reject,
			`dmarc=fail reason="No valid SPF, No valid DKIM" header.from=bank.example (policy=quarantine)`},
		{StyleRspamd, strict, reject, `dmarc=fail reason="SPF not aligned (strict), No valid DKIM" header.from=bank.example (policy=reject)`},
		{StyleRspamd, judged(dmarc.ResultNone, ""), tagged, "dmarc=none"},
		{StyleRspamd, judged(dmarc.ResultTempError, ""), tagged, "dmarc=temperror header.from=bank.example (policy=temperror)"},
		{StyleAuthMilt, judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Enforced: true}, "dmarc=pass (p=reject,d=none) header.from=bank.example"},
		{StyleAuthMilt, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (p=reject,d=quarantine) header.from=bank.example"},
		{StyleOwn, judged(dmarc.ResultFail, dmarc.PolicyReject), reject, "dmarc=fail (quarantine: dmarc_indirect) header.from=bank.example policy.dmarc=reject"},
		{"", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept}, "dmarc=pass header.from=bank.example policy.dmarc=reject"},
		{StyleOpenDMARC, &msgauth.Evaluation{FromError: &author.Error{Kind: author.KindMissing}, DMARC: dmarc.Evaluation{Result: dmarc.ResultNone}},
			tagged, `dmarc=none reason="missing"`},
	} {
		parts := strings.Split(strings.ReplaceAll(Text(&Settings{Style: tt.style}, id, tt.e, tt.v), "\r\n", ""), ";")
		i := slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, " dmarc=") })
		if i < 0 || strings.TrimSpace(parts[i]) != tt.want {
			t.Errorf("%s: %q, want %q", tt.style, parts, tt.want)
		}
	}
}
