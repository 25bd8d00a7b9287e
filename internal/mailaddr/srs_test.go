package mailaddr

import "testing"

func TestIsSRS(t *testing.T) {
	for local, want := range map[string]bool{
		"SRS0=HH=TT=orig.example=a": true,
		"srs0=HH=TT=orig.example=a": true,
		"SRS0+HH=x":                 true,
		"SRS1-HH=x":                 true,
		"SRS2=HH=x":                 false,
		"SRS0":                      false,
		"SRS0x":                     false,
		"xSRS0=a":                   false,
		"":                          false,
	} {
		if got := IsSRS(local); got != want {
			t.Errorf("%q: %t", local, got)
		}
	}
}
