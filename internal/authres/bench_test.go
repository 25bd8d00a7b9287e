package authres

import (
	"fmt"
	"strings"
	"testing"
)

// hostileFields are fields that can be made as long as needed. The cost is linear if a longer field
// does not lower the MB/s.
var hostileFields = []struct{ why, prefix, unit, suffix string }{
	{"comments", " ", "(x) ", "mx.example.jp; dmarc=pass"},
	{"nested comments", " ", "(", ""},
	{"quotes", ` "`, `\m`, `"; dmarc=pass`},
	{"our id over and over", " ", "mx.example.jp.", "; dmarc=pass"},
	{"dots", " mx", ".", "example.jp; dmarc=pass"},
	{"encoded words", " ", "=?utf-8?Q?m?= ", "; dmarc=pass"},
	{"full-width letters", " ", "ｍ", "; dmarc=pass"},
	{"semicolons", " ", ";", "mx.example.jp; dmarc=pass"},
	{"folds", " ", "\r\n ", "mx.example.jp; dmarc=pass"},
	{"results", " mx.example.jp", "; dkim=pass header.d=a.example", ""},
	{"properties", " mx.example.jp; dkim=pass", " header.d=a", ""},
}

func benchmarkSizes(b *testing.B, f func(value string)) {
	for _, c := range hostileFields {
		for _, size := range []int{15 << 10, 30 << 10, 60 << 10} {
			b.Run(fmt.Sprintf("%s/%d", c.why, size), func(b *testing.B) {
				value := c.prefix + strings.Repeat(c.unit, (size-len(c.prefix)-len(c.suffix))/len(c.unit)) + c.suffix
				b.SetBytes(int64(len(value)))
				for b.Loop() {
					f(value)
				}
			})
		}
	}
}

func BenchmarkClaimed(b *testing.B) {
	benchmarkSizes(b, func(value string) { NewIDs("mx.example.jp").Claimed(value) })
}

func BenchmarkParse(b *testing.B) {
	benchmarkSizes(b, func(value string) { _, _ = Parse(value) })
}

// BenchmarkClaimedFields shows that the cost of a header grows linearly with the number of forged
// fields.
func BenchmarkClaimedFields(b *testing.B) {
	for _, n := range []int{500, 1000, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				for range n {
					if !NewIDs("mx.example.jp").Claimed(" (a(b)) \"mx.example\\.jp\" 1; dmarc=pass header.from=bank.example") {
						b.Fatal("not seen")
					}
				}
			}
		})
	}
}

// BenchmarkClaimedNames shows that the cost of names in other scripts is linear in their octets. To
// convert these names to A-labels would take quadratic time.
func BenchmarkClaimedNames(b *testing.B) {
	for _, n := range []int{80, 160, 320} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var name strings.Builder
			for i := range n {
				name.WriteRune(rune(0x4e00 + i*37))
			}
			b.SetBytes(int64(name.Len()))
			for b.Loop() {
				NewIDs("mx.example.jp").Claimed(name.String())
			}
		})
	}
}

// benchField returns the field of a message with one signature.
func benchField() Field {
	return Field{AuthServID: "mx.example.jp", Results: []Result{
		{Method: "spf", Value: "pass", Properties: []Property{{PTypeSMTP, "mailfrom", "bounce@news.example.com"}}},
		{Method: "dkim", Value: "pass", Comment: "2048-bit rsa", Properties: []Property{
			{PTypeHeader, "d", "example.com"}, {PTypeHeader, "i", "@example.com"}, {PTypeHeader, "s", "s1"},
			{PTypeHeader, "a", "rsa-sha256"}, {PTypeHeader, "b", "TXuCNlsq"}}},
		{Method: "dmarc", Value: "pass", Properties: []Property{{PTypeHeader, "from", "example.com"}, {PTypePolicy, "dmarc", "reject"}}},
		{Method: "arc", Value: "none"},
		{Method: "iprev", Value: "pass", Properties: []Property{{PTypePolicy, "iprev", "192.0.2.1"}}},
	}}
}

func BenchmarkFormat(b *testing.B) {
	f := benchField()
	b.ReportAllocs()
	for b.Loop() {
		_ = f.Format()
	}
}

func BenchmarkSignaturePrefixes(b *testing.B) {
	one := []string{strings.Repeat("TXuCNlsq", 43)}
	b.ReportAllocs()
	for b.Loop() {
		SignaturePrefixes(one)
	}
}
