package spf

import (
	"testing"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/opinion"
)

// TestSecondOpinion runs the cases of testdata/cases with blitiri.com.ar/go/spf,
// another implementation of SPF. If that implementation gives another result, the
// case must have this other result under the key "blitiri". The reason for the
// case should then say why the result of this package is right.
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
