package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/iprev"
)

// TestForwarderEvidence checks that the log names a possible forwarder only if the name is
// proven: the newest sealer of a valid ARC chain, or the verified reverse name of the
// client. "sekimori forwarders" reads these names from the log.
func TestForwarderEvidence(t *testing.T) {
	sets := []arc.Set{{Sealer: "first.example"}, {Sealer: "newest.example"}}
	for _, tt := range []struct {
		name   string
		chain  arc.Result
		client iprev.Result
		want   string
	}{
		{"proven", arc.Result{Status: arc.Pass, Sets: sets}, iprev.Result{Status: iprev.Pass, Name: "mx.lists.example"},
			`"arc_sealer":"newest.example","iprev":"pass","iprev_name":"mx.lists.example"`},
		{"a seal that does not verify", arc.Result{Status: arc.Fail, Sets: sets}, iprev.Result{Status: iprev.Fail}, `"arc":"fail","iprev":"fail","dmarc"`},
		{"a chain that takes too much work", arc.Result{Status: arc.NotEvaluated, Sets: sets}, iprev.Result{Status: iprev.Fail},
			`"arc":"not_evaluated","iprev":"fail","dmarc"`},
		{"no chain, no name", arc.Result{Status: arc.None}, iprev.Result{Status: iprev.PermError}, `"arc":"none","iprev":"permerror","dmarc"`},
	} {
		var out bytes.Buffer
		e := message("x", 0)
		e.ARC, e.IPRev, e.Panics = tt.chain, tt.client, nil
		Records{Log: slog.New(slog.NewJSONHandler(&out, nil))}.Decided(decided(e, rejected), 0)
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: no %s in %s", tt.name, tt.want, &out)
		}
	}
}
