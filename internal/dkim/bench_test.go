package dkim

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/testkit/signer"
)

// benchVerify measures how long it takes to verify one message, from its header
// to the results. The resolver answers at once.
func benchVerify(b *testing.B, mail string, r dns.Resolver, want Result) {
	b.Helper()
	h, body := signer.Split([]byte(mail))
	ctx := b.Context()
	b.ReportAllocs()
	b.SetBytes(int64(len(mail)))
	o := Options{Cache: NewCache()}
	for b.Loop() {
		v := NewVerifier(h, o)
		v.Start(ctx, r)
		for p := body; len(p) > 0; p = p[min(len(p), 65535):] {
			_, _ = v.Write(p[:min(len(p), 65535)])
		}
		for _, s := range v.Finish(ctx) {
			if s.Result != want {
				b.Fatalf("%+v", s)
			}
		}
		v.Close()
	}
}

func BenchmarkVerify(b *testing.B) {
	rsaZone := zoneWith(signer.Record(&rsaKey(b).PublicKey))
	line := strings.Repeat("QUJD", 19) + "\r\n"
	mail := func(size int) string { return testMail + strings.Repeat(line, size/len(line)) }
	b.Run("2KB-rsa", func(b *testing.B) {
		benchVerify(b, sign(b, signing{}, mail(2000)), rsaZone, Pass)
	})
	b.Run("2KB-ed25519", func(b *testing.B) {
		benchVerify(b, sign(b, signing{key: edKey()}, mail(2000)), zoneWith(signer.Record(edKey().Public())), Pass)
	})
	b.Run("5MB-rsa", func(b *testing.B) {
		benchVerify(b, sign(b, signing{}, mail(5<<20)), rsaZone, Pass)
	})
	b.Run("200KB-5-signatures", func(b *testing.B) {
		m := mail(200_000)
		for _, c := range []string{"relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed", "relaxed/relaxed"} {
			m = sign(b, signing{c: c}, m)
		}
		benchVerify(b, m, rsaZone, Pass)
	})
}

// BenchmarkHeaderNames measures signatures with many names in h=. The time must
// grow in proportion to the number of names.
func BenchmarkHeaderNames(b *testing.B) {
	for _, n := range []int{1000, 10_000, 49_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := make([]string, n)
			h := message.Header{{Name: "From", Value: " a@example.com"}, {Name: "DKIM-Signature"}}
			for i := range names {
				names[i] = fmt.Sprintf("X-%d", i%(n/2))
				h = append(h, message.Field{Name: "X-Same", Value: " v"})
			}
			h[1].Value = "v=1; a=rsa-sha256; d=example.com; s=s1; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; c=relaxed/relaxed;" +
				" h=From:X-Same" + strings.Repeat(":X-Same", n/2) + ":" + strings.Join(names[:n/2-2], ":") + "; b=QUJD"
			z := zoneWith(signer.Record(&rsaKey(b).PublicKey))
			ctx := b.Context()
			b.ReportAllocs()
			o := Options{Cache: NewCache()}
			for b.Loop() {
				v := NewVerifier(h, o)
				v.Start(ctx, z)
				if s := v.Finish(ctx)[0]; s.Reason != ReasonSignature {
					b.Fatal(s.Reason)
				}
				v.Close()
			}
		})
	}
}
