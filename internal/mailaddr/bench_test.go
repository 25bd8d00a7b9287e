package mailaddr

import "testing"

// BenchmarkParseFromOrdinary is the From field of ordinary mail.
func BenchmarkParseFromOrdinary(b *testing.B) {
	for _, bc := range []struct{ why, value string }{
		{"bare", " sender@example.com"},
		{"name", " Jane Sender <sender@example.com>"},
		{"quoted name", ` "Sender, Jane" <sender@mail.example.com>`},
		{"encoded name", " =?utf-8?B?SsOkbmUgU2VuZGVy?= <sender@example.com>"},
	} {
		b.Run(bc.why, func(b *testing.B) {
			values := []string{bc.value}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseFrom(values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParsePath is the argument of MAIL.
func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePath("<bounce-1234@mail.example.com>"); err != nil {
			b.Fatal(err)
		}
	}
}
