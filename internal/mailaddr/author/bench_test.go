package author

import "testing"

// BenchmarkParseOrdinary parses the From field of an ordinary message.
func BenchmarkParseOrdinary(b *testing.B) {
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
				if _, err := Parse(values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
