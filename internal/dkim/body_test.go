package dkim

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/testkit/octets"
)

// canonBody writes a body to the canonicalizer in chunks and returns the hash and
// length of the canonical body. sizes gives the lengths of the chunks. After the
// last of them canonBody begins again with the first.
func canonBody(c syntax.Canonicalization, body string, limit int64, sizes ...int) (sum, limited digest, length int64, ok bool) {
	var b bodyHashes
	b.want(c, wholeBody)
	b.want(c, limit)
	p := []byte(body)
	for i := 0; len(p) > 0; i++ {
		n := min(max(sizes[i%len(sizes)], 1), len(p))
		b.write(p[:n])
		p = p[n:]
	}
	b.close()
	sum, length, _ = b.sum(c, wholeBody)
	limited, _, ok = b.sum(c, limit)
	return sum, limited, length, ok
}

func TestBodyCanonicalization(t *testing.T) {
	for _, tc := range []struct{ why, body, simple, relaxed string }{
		{"empty body: RFC 6376 §3.4.3 and §3.4.4 differ", "", "\r\n", ""},
		{"one line end is an empty body too", "\r\n", "\r\n", ""},
		{"only empty lines", "\r\n\r\n\r\n", "\r\n", ""},
		{"RFC 6376 §3.4.5 example 1", " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
		{"no line end at the end", "abc", "abc\r\n", "abc\r\n"},
		{"an ordinary end", "abc\r\n", "abc\r\n", "abc\r\n"},
		{"empty lines at the end go", "abc\r\n\r\n\r\n", "abc\r\n", "abc\r\n"},
		{"empty lines inside stay", "\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n"},
		{"lines of white space are empty in relaxed", "a\r\n \r\n\t\r\n", "a\r\n \r\n\t\r\n", "a\r\n"},
		{"nothing but white space", " \t ", " \t \r\n", ""},
		{"white space then line end", "  \r\n", "  \r\n", ""},
		{"leading white space shrinks", "   a", "   a\r\n", " a\r\n"},
		{"trailing white space goes", "a \t \r\nb\t", "a \t \r\nb\t\r\n", "a\r\nb\r\n"},
		{"single spaces stay", "a b c\r\n", "a b c\r\n", "a b c\r\n"},
		{"a tab becomes a space", "a\tb", "a\tb\r\n", "a b\r\n"},
		{"bare CR is content", "a\rb\r\n", "a\rb\r\n", "a\rb\r\n"},
		{"bare CR at the end", "a\r", "a\r\r\n", "a\r\r\n"},
		{"bare CR alone", "\r", "\r\r\n", "\r\r\n"},
		{"CR CR LF: one bare CR and a line end", "a\r\r\n", "a\r\r\n", "a\r\r\n"},
		{"bare LF is content", "a\nb\n", "a\nb\n\r\n", "a\nb\n\r\n"},
		{"LF LF at the end is not an empty line", "a\r\n\n\n", "a\r\n\n\n\r\n", "a\r\n\n\n\r\n"},
		{"LF CR", "a\n\r", "a\n\r\r\n", "a\n\r\r\n"},
		{"white space before a bare CR stays", "a \r b \r\n", "a \r b \r\n", "a \r b\r\n"},
		{"vertical tab and form feed are content", "a\v\f \r\n", "a\v\f \r\n", "a\v\f\r\n"},
		{"NUL and 8-bit octets are content", "\x00\xff\xa0 \r\n", "\x00\xff\xa0 \r\n", "\x00\xff\xa0\r\n"},
	} {
		for c, want := range map[syntax.Canonicalization]string{syntax.Simple: tc.simple, syntax.Relaxed: tc.relaxed} {
			if got := refBody(c, tc.body); got != want {
				t.Errorf("%s: the reference says %q for %s, want %q", tc.why, got, c, want)
			}
			for size := 1; size <= len(tc.body)+1; size++ {
				sum, _, length, _ := canonBody(c, tc.body, 0, size)
				if sum != sha256.Sum256([]byte(want)) || length != int64(len(want)) {
					t.Errorf("%s: %s in chunks of %d: another hash or length (%d) than of %q", tc.why, c, size, length, want)
				}
			}
		}
	}
}

func TestBodyLimits(t *testing.T) {
	body := strings.Repeat("some  text \r\n", 2000) + "\r\n\r\n"
	for _, c := range []syntax.Canonicalization{syntax.Simple, syntax.Relaxed} {
		want := refBody(c, body)
		var b bodyHashes
		limits := []int64{0, 1, 4095, 4096, 4097, int64(len(want)) - 1, int64(len(want)), int64(len(want)) + 1, 1, 1 << 62}
		for _, l := range limits {
			b.want(c, l)
		}
		for p := body; p != ""; p = p[min(len(p), 1000):] {
			b.write([]byte(p[:min(len(p), 1000)]))
		}
		b.close()
		b.close() // closing twice changes nothing
		for _, l := range limits {
			sum, length, ok := b.sum(c, l)
			if length != int64(len(want)) {
				t.Errorf("%s: length %d, want %d", c, length, len(want))
			}
			if ok != (l <= int64(len(want))) {
				t.Errorf("%s: limit %d of %d: ok = %v", c, l, len(want), ok)
			}
			if ok && sum != sha256.Sum256([]byte(want[:l])) {
				t.Errorf("%s: limit %d: another hash", c, l)
			}
		}
		if _, _, ok := b.sum(c, 77); ok {
			t.Error("a limit that was not asked for has a hash")
		}
	}
	var none bodyHashes
	none.write([]byte("x"))
	none.close()
	if _, _, ok := none.sum(syntax.Simple, wholeBody); ok {
		t.Error("there is a hash that was not asked for")
	}
}

// TestBodyLongRunsOfLines checks runs of line ends that are longer than the
// block in which the canonicalizer writes line ends.
func TestBodyLongRunsOfLines(t *testing.T) {
	for _, lines := range []int{1, 2, 1023, 1024, 1025, 5000} {
		body := "a" + strings.Repeat("\r\n", lines) + "b"
		for _, c := range []syntax.Canonicalization{syntax.Simple, syntax.Relaxed} {
			sum, _, _, _ := canonBody(c, body, 0, 777)
			if sum != sha256.Sum256([]byte(refBody(c, body))) {
				t.Errorf("%s: %d lines: another hash", c, lines)
			}
		}
	}
}

// randomBody makes a body of the octets that canonicalization treats specially.
func randomBody(r *rand.Rand, pieces int) string {
	alphabet := []string{" ", "\t", "\r", "\n", "\r\n", "\r\n", "a", "word", "  ", " \r\n", strings.Repeat("x", 100), "\x00", "é"}
	var b strings.Builder
	for range pieces {
		b.WriteString(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func TestBodyAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		body := randomBody(r, r.IntN(60))
		checkBody(t, body, r.IntN(40)-1, 1+r.IntN(9), 1+r.IntN(50))
		if t.Failed() {
			t.Fatalf("body %d", i)
		}
	}
}

func checkBody(t *testing.T, body string, limit int, sizes ...int) {
	t.Helper()
	limit = max(limit, 0)
	for _, c := range []syntax.Canonicalization{syntax.Simple, syntax.Relaxed} {
		want := refBody(c, body)
		sum, limited, length, ok := canonBody(c, body, int64(limit), sizes...)
		if sum != sha256.Sum256([]byte(want)) || length != int64(len(want)) {
			t.Errorf("%s of %q in %d: not the hash of %q", c, body, sizes, want)
		}
		if ok != (limit <= len(want)) {
			t.Errorf("%s of %q: limit %d of %d: ok %v", c, body, limit, len(want), ok)
		} else if ok && limited != sha256.Sum256([]byte(want[:limit])) {
			t.Errorf("%s of %q in %d: limit %d: another hash", c, body, sizes, limit)
		}
	}
}

// TestShortBodies compares with the reference: every short sequence of the octets that matter, in one
// chunk, octet by octet, and cut at each place.
func TestShortBodies(t *testing.T) {
	for body := range octets.Words(5, " ", "\r", "\n", "\r\n", "a") {
		checkBody(t, body, len(body)-1, max(len(body), 1))
		checkBody(t, body, len(body)/2, 1)
		for n := 1; n < len(body); n++ {
			checkBody(t, body, n, n, len(body))
		}
	}
}

// FuzzBody compares with the reference. Bodies are octets, or made of pieces that canonicalization treats
// specially, some of them as long as the buffers.
func FuzzBody(f *testing.F) {
	for _, body := range []string{"", "\r\n", " C \r\nD \t E\r\n\r\n\r\n", "a\r\r\n\r", "\t \r\n \ra", "a\n\r\nb"} {
		f.Add(body, octets.Program(body, bodyPieces...), uint8(1), uint8(3), uint16(2))
	}
	f.Add("", []byte{12, 6, 13, 14, 4, 12, 15, 0, 4}, uint8(200), uint8(0), uint16(sinkBuffer))
	f.Add("", []byte{13, 12, 13, 11, 6, 2}, uint8(0), uint8(255), uint16(sinkBuffer+1))
	f.Fuzz(func(t *testing.T, body string, program []byte, a, b uint8, limit uint16) {
		checkBody(t, body, int(limit), int(a), int(b))
		checkBody(t, octets.Chosen(program, bodyPieces...), int(limit), 17*int(a), 17*int(b))
	})
}

// bodyPieces are what a body is made of.
var bodyPieces = []string{
	" ", "\t", "\r", "\n", "\r\n", "  ", "a", "\x00", "é", ".", " \r\n", "\r\r\n",
	strings.Repeat("x", sinkBuffer-1), strings.Repeat("\r\n", sinkBuffer/2), strings.Repeat(" \r\n", 400), strings.Repeat("word \t", 700),
}

func BenchmarkBody(b *testing.B) {
	base64Line := strings.Repeat("QUJD", 19) + "\r\n"
	for _, tc := range []struct{ name, body string }{
		{"base64-5MB", strings.Repeat(base64Line, 5<<20/len(base64Line))},
		{"text-5MB", strings.Repeat("The quick brown fox jumps over the lazy dog and runs.\r\n", 5<<20/55)},
		{"wsp-1MB", strings.Repeat("a \t", 1<<20/3)},
		{"cr-1MB", strings.Repeat("\r", 1<<20)},
	} {
		for _, c := range []syntax.Canonicalization{syntax.Simple, syntax.Relaxed} {
			b.Run(fmt.Sprintf("%s/%s", tc.name, c), func(b *testing.B) {
				benchBody(b, c, []byte(tc.body))
			})
		}
	}
	b.Run("sha256-5MB", func(b *testing.B) {
		p := make([]byte, 5<<20)
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			sha256.Sum256(p)
		}
	})
	for _, mib := range []int{1, 2, 4, 8} { // the time must be linear: an attacker's mail must not be able to block the MTA
		b.Run(fmt.Sprintf("empty-lines-%dMiB", mib), func(b *testing.B) {
			benchBody(b, syntax.Relaxed, []byte(strings.Repeat("\r\n", mib<<19)))
		})
	}
}

func benchBody(b *testing.B, c syntax.Canonicalization, body []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var h bodyHashes
		h.want(c, wholeBody)
		for p := body; len(p) > 0; p = p[min(len(p), 65535):] { // MTAs send chunks of this size
			h.write(p[:min(len(p), 65535)])
		}
		h.close()
	}
}
