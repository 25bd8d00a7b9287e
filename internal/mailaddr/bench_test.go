package mailaddr

import "testing"

// BenchmarkParsePath parses an ordinary argument of MAIL.
func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePath("<bounce-1234@mail.example.com>"); err != nil {
			b.Fatal(err)
		}
	}
}
