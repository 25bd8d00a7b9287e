package signer

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
)

// Set describes one ARC set. If a string is "", Seal uses the value that an honest sealer would
// write.
type Set struct {
	I       int // i=; the seal also covers the sets with a lower number
	Key     crypto.Signer
	Domain  string // d=; "" means "hop1.example" for set 1, and so on; s= is always "s"
	CV      string // cv=; "" means "none" for set 1 and "pass" for the others
	Results string // value of ARC-Authentication-Results after "i=N; "
	H       string // h= of the message signature; "" means "from:subject"
	AMS, AS string // further tags of message signature and seal, such as "x=1; "

	Instance          string // text of i= if it is to differ from I
	Fold              string // a folded line end to be inserted into message signature and seal
	BreakAMS, BreakAS bool   // make the message signature, or the seal, wrong
}

// Seal adds an ARC set at the top of a message (RFC 8617 §5.1).
func Seal(tb testing.TB, s Set, eml string) string {
	tb.Helper()
	usual := func(v *string, other string) {
		if *v == "" {
			*v = other
		}
	}
	usual(&s.CV, map[bool]string{true: "none", false: "pass"}[s.I == 1])
	usual(&s.Domain, fmt.Sprintf("hop%d.example", s.I))
	usual(&s.Results, "mx.example; spf=pass smtp.mailfrom=a@example.com")
	usual(&s.H, "from:subject")
	usual(&s.Instance, fmt.Sprint(s.I))
	sign := func(broken bool, input string) string {
		if broken {
			input = "something else"
		}
		return Sign(tb, s.Key, input)
	}
	h, body := Split([]byte(eml))
	aar := fmt.Sprintf(" i=%s; %s", s.Instance, s.Results)
	algorithm := "rsa-sha256"
	if _, ok := s.Key.(ed25519.PrivateKey); ok {
		algorithm = "ed25519-sha256"
	}
	ams := fmt.Sprintf(" i=%s; a=%s; c=relaxed/relaxed; d=%s; s=s;%s h=%s; %sbh=%s; b=",
		s.Instance, algorithm, s.Domain, s.Fold, s.H, s.AMS, BodyHash(Body(string(body))))
	ams += sign(s.BreakAMS, Selected(h, s.H)+Field("ARC-Message-Signature", ams))
	seal := fmt.Sprintf(" i=%s; a=%s; cv=%s; d=%s; s=s;%s %sb=", s.Instance, algorithm, s.CV, s.Domain, s.Fold, s.AS)
	var over strings.Builder
	for i := 1; i < s.I; i++ {
		for _, name := range []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"} {
			for _, f := range h {
				if strings.EqualFold(f.Name, name) && strings.HasPrefix(f.Value, fmt.Sprintf(" i=%d;", i)) {
					over.WriteString(Field(name, f.Value) + "\r\n")
				}
			}
		}
	}
	over.WriteString(Field("ARC-Authentication-Results", aar) + "\r\n" + Field("ARC-Message-Signature", ams) + "\r\n")
	seal += sign(s.BreakAS, over.String()+Field("ARC-Seal", seal))
	return "ARC-Seal:" + seal + "\r\nARC-Message-Signature:" + ams + "\r\nARC-Authentication-Results:" + aar + "\r\n" + eml
}
