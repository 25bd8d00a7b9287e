package app

import (
	"reflect"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

// TestForReports checks that a judge looks for what reports need, if there is a store.
func TestForReports(t *testing.T) {
	const text = `
mode: monitor
report:
  domain: dmarc.isp.example
  mail: {from: reports, bounce: returned}
  aggregate: {spam_sign: ["X-Spam-Flag: YES", X-Spam]}
`
	for _, tt := range []struct {
		store string
		whole bool
		marks *report.Marks
	}{
		{"", false, nil},
		{"store: {url: \"sqlite:/var/lib/sekimori/x.db\"}\n", true, &report.Marks{
			Domain: "dmarc.isp.example", Locals: []string{"reports", "returned"}, Spam: []report.SpamSign{{Name: "X-Spam-Flag", Value: "YES"}, {Name: "X-Spam"}},
		}},
	} {
		cfg, err := config.Parse("test.yaml", []byte(text+tt.store))
		if err != nil {
			t.Fatal(err)
		}
		j := newJudge(cfg, nil, policy.Config{}, nil)
		if j.Whole != tt.whole || !reflect.DeepEqual(j.Marks, tt.marks) {
			t.Errorf("store %q: whole %v, marks %+v", tt.store, j.Whole, j.Marks)
		}
	}
}
