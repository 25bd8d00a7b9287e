package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sekimori/internal/authres"
)

// oldestPass is header.oldest-pass (RFC 8617 §5.2, step 5) where a chain passes
// and not all of its message signatures do: elsewhere it is 0.
var oldestPass = map[string]string{"cv_pass_i2_1_ams1_invalid": "2"}

func TestConformanceARC(t *testing.T) {
	const client = "192.0.2.1"
	file := shared(t, "arc/arc-validation.json")
	var s struct {
		Cases []struct {
			ID     string          `json:"id"`
			EML    string          `json:"eml"`
			Zone   json.RawMessage `json:"zone"`
			Expect string          `json:"expect_arc"`
		} `json:"cases"`
	}
	readJSON(t, file, &s)
	var rows []row
	for _, c := range s.Cases {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(file), c.EML))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error {
			o, err := st.label(mail{ip: client, helo: "mx.client.invalid", from: "<bounce@client.invalid>", raw: raw})
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
