package mta

import (
	"testing"

	"sekimori/internal/milter/client"
)

func TestLabel(t *testing.T) {
	const id = "mx.here.example"
	ours := client.Field{Name: "Authentication-Results", Value: " mx.here.example; spf=pass"}
	other := client.Field{Name: "Authentication-Results", Value: " mx.other.example; spf=fail"}
	for reason, tt := range map[string]struct {
		header []client.Field
		ok     bool
	}{
		"none":       {[]client.Field{other}, false},
		"one":        {[]client.Field{other, ours}, true},
		"two":        {[]client.Field{ours, ours}, false},
		"no results": {[]client.Field{{Name: ours.Name, Value: " mx.here.example; ="}}, false},
		"a comment":  {[]client.Field{{Name: "Comments", Value: ours.Value}}, false},
	} {
		label, err := Label(tt.header, id)
		if (err == nil) != tt.ok || tt.ok && (len(label.Results) != 1 || label.Results[0].Value != "pass") {
			t.Errorf("%s: %+v, %v", reason, label, err)
		}
	}
}
