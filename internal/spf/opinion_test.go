package spf

import (
	"testing"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/opinion"
)

// TestSecondOpinion asks another implementation about every case. If its result
// differs, somebody must have looked at the difference: the case's "blitiri" key
// has the other result, and its reason says why ours is right.
func TestSecondOpinion(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			a := c.args()
			from := a.MailFrom
			if c.values["identity"] == "helo" {
				from = ""
			}
			got, err := opinion.SPF(nameserver.Zone(t, c.zone), a.IP, a.HELO, from)
			want, differs := c.values["blitiri"]
			if !differs {
				want = c.values["result"]
			}
			if got != want {
				t.Errorf("blitiri.com.ar/go/spf says %s (%v), the case %s", got, err, want)
			}
		})
	}
}
