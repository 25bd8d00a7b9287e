package conformance

import (
	"fmt"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/testkit/suites"
)

// oldestPass has the expected header.oldest-pass (RFC 8617 §5.2, step 5) by the id of the test
// case. It lists the cases whose chain passes although some of its ARC-Message-Signatures do not.
// For every other chain that passes, the expected value is 0.
var oldestPass = map[string]string{"cv_pass_i2_1_ams1_invalid": "2"}

func TestConformanceARC(t *testing.T) {
	const client = "192.0.2.1"
	var rows []row
	for _, c := range suites.ARC(t) {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error {
			o, err := st.label(mail{ip: client, helo: "mx.client.invalid", from: "<bounce@client.invalid>", raw: c.Raw})
			if err != nil {
				return err
			}
			r, err := o.word("arc")
			if err != nil {
				return err
			}
			if err := oneOf("arc", r.Value, []string{c.Expect}); err != nil || c.Expect != "pass" {
				return err
			}
			oldest := oldestPass[c.ID]
			if oldest == "" {
				oldest = "0"
			}
			if got := property(r, authres.PTypeHeader, "oldest-pass"); got != oldest {
				return fmt.Errorf("header.oldest-pass %q, want %s", got, oldest)
			}
			if got := property(r, authres.PTypeSMTP, "remote-ip"); got != client {
				return fmt.Errorf("smtp.remote-ip %q", got)
			}
			return nil
		}})
	}
	suite{name: "arc/arc-validation daemon", total: 53, rows: rows}.run(t)
}
