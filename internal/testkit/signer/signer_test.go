package signer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/message"
	"sekimori/internal/testkit/recorder"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name, eml string
		header    message.Header
		body      string
	}{
		{"a message", "A: b\r\nC:d\r\n\r\nx\r\n", message.Header{{Name: "A", Value: " b"}, {Name: "C", Value: "d"}}, "x\r\n"},
		{"folds", "A: b\r\n\tc\r\n d\r\n\r\n", message.Header{{Name: "A", Value: " b\r\n\tc\r\n d"}}, ""},
		{"the name as it is", "A : b\r\n\r\n", message.Header{{Name: "A ", Value: " b"}}, ""},
		{"no colon", "A\r\n\r\nx", message.Header{{Name: "A"}}, "x"},
		{"a fold of no field", " A: b\r\nC: d\r\n\r\n", message.Header{{Name: "C", Value: " d"}}, ""},
		{"no header", "\r\nx\r\n", nil, "x\r\n"},
		{"no body", "A: b\r\nC: d\r\n", message.Header{{Name: "A", Value: " b"}, {Name: "C", Value: " d"}}, ""},
		{"no line end", "A: b", message.Header{{Name: "A", Value: " b"}}, ""},
		{"nothing", "", nil, ""},
	} {
		h, body := Split([]byte(tt.eml))
		if !reflect.DeepEqual(h, tt.header) || string(body) != tt.body {
			t.Errorf("%s: %q %q", tt.name, h, body)
		}
	}
}

// TestRelaxed checks the example in RFC 6376 §3.4.5.
func TestRelaxed(t *testing.T) {
	h, body := Split([]byte("A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"))
	if got := Selected(h, "a:b"); got != "a:X\r\nb:Y Z\r\n" {
		t.Errorf("header %q", got)
	}
	if got := Body(string(body)); got != " C\r\nD E\r\n" {
		t.Errorf("body %q", got)
	}
	for _, empty := range []string{"", "\r\n", " \r\n\t\r\n"} {
		if got := Body(empty); got != "" {
			t.Errorf("%q: %q", empty, got)
		}
	}
	// The hash of the empty body, as in the errata of RFC 6376 and in RFC 8463.
	if got := BodyHash(""); got != "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" {
		t.Errorf("hash %s", got)
	}
}

// TestSelected checks that of several fields with the same name the lowest comes first, and that a
// name for which no field is left adds nothing.
func TestSelected(t *testing.T) {
	h, _ := Split([]byte("X: 1\r\nY: 2\r\nx: 3\r\n\r\n"))
	for names, want := range map[string]string{"x": "x:3\r\n", "x:x": "x:3\r\nx:1\r\n", "X: y :x:x": "x:3\r\ny:2\r\nx:1\r\n", "z": ""} {
		if got := Selected(h, names); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the test's key of thirty-two oct"))
}

// key parses the public key in a key record.
func key(t *testing.T, record string) any {
	t.Helper()
	_, p, _ := strings.Cut(record, "p=")
	raw, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(record, "k=ed25519;") {
		return ed25519.PublicKey(raw)
	}
	pub, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func verifies(t *testing.T, pub any, input, b string) bool {
	t.Helper()
	sig, err := base64.StdEncoding.DecodeString(b)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(input))
	if p, ok := pub.(ed25519.PublicKey); ok {
		return ed25519.Verify(p, sum[:], sig)
	}
	return rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), crypto.SHA256, sum[:], sig) == nil
}

func TestSign(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for form, k := range map[string]crypto.Signer{"v=DKIM1; k=ed25519; p=": testKey(), "v=DKIM1; k=rsa; p=": r} {
		pub, b := key(t, Record(k.Public())), Sign(t, k, "input")
		if !verifies(t, pub, "input", b) || verifies(t, pub, "Input", b) {
			t.Errorf("%T: %s", k, b)
		}
		if record := Record(k.Public()); !strings.HasPrefix(record, form) {
			t.Errorf("%T: %s", k, record)
		}
	}
	if got := recorder.Run(t, func(tb testing.TB) { Sign(tb, refusing{}, "input") }); got != "fatal: no" {
		t.Errorf("a key that cannot sign: %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a record of no key")
		}
	}()
	Record("no key")
}

type refusing struct{ crypto.Signer }

func (refusing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no")
}

// TestSeal verifies every signature of two ARC sets. It builds the signed input by itself, as in
// RFC 8617 §5.1.
func TestSeal(t *testing.T) {
	const mail = "From: Ann <ann@example.com>\r\nSubject: a  test\r\n\r\nHello  there.\r\n\r\n"
	for _, tt := range []struct {
		name          string
		second        Set
		ams, as       bool
		has, beginsAs string
	}{
		{"honest", Set{I: 2}, true, true, "cv=pass; d=hop2.example; s=s; b=", "ARC-Seal: i=2; a=ed25519-sha256; "},
		{"folded", Set{I: 2, Fold: "\r\n"}, true, true, "s=s;\r\n h=from:subject; ", ""},
		{"of another form", Set{I: 2, CV: "none", Domain: "x.example", H: "from", Instance: "02", AMS: "x=1; ", AS: "h=a; "}, true, true,
			"cv=none; d=x.example; s=s; h=a; b=", "ARC-Seal: i=02; "},
		{"bad message signature", Set{I: 2, BreakAMS: true}, false, true, "", ""},
		{"bad seal", Set{I: 2, BreakAS: true}, true, false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := Seal(t, Set{I: 1, Key: testKey(), Results: "mx.example; dmarc=pass"}, mail)
			tt.second.Key = testKey()
			two := Seal(t, tt.second, one)
			if !strings.Contains(two, tt.has) || !strings.HasPrefix(two, tt.beginsAs) || !strings.HasSuffix(two, one) {
				t.Errorf("%q", two)
			}
			if !strings.Contains(one, "ARC-Authentication-Results: i=1; mx.example; dmarc=pass\r\n") || !strings.Contains(one, "cv=none; d=hop1.example;") {
				t.Errorf("the first set: %q", one)
			}
			h, _ := Split([]byte(two))
			signed := func(f message.Field) (name, value, b string) {
				at := strings.LastIndex(f.Value, "b=") + 2
				return f.Name, f.Value[:at], f.Value[at:]
			}
			names := "from:subject"
			if tt.second.H != "" {
				names = tt.second.H
			}
			name, value, b := signed(h[1])
			if got := verifies(t, testKey().Public(), Selected(h, names)+Field(name, value), b); got != tt.ams {
				t.Errorf("message signature verifies: %v", got)
			}
			name, value, b = signed(h[0])
			var over strings.Builder
			for _, i := range []int{5, 4, 3, 2, 1} { // results, message signature and seal of set 1, then results and message signature of set 2
				over.WriteString(Field(h[i].Name, h[i].Value) + "\r\n")
			}
			if got := verifies(t, testKey().Public(), over.String()+Field(name, value), b); got != tt.as {
				t.Errorf("seal verifies: %v", got)
			}
		})
	}
}

// TestSealOver checks what the seal of a set signs if the message has two sets below it, and a third with its own
// number, which is left out.
func TestSealOver(t *testing.T) {
	k := NewHeavy(t, 1280, 3)
	eml := "From: a@example.com\r\n\r\nx\r\n"
	for _, i := range []int{1, 2, 3, 3} {
		eml = Seal(t, Set{I: i, Key: k}, eml)
	}
	h, _ := Split([]byte(eml))
	var over strings.Builder
	for _, i := range []int{11, 10, 9, 8, 7, 6, 2, 1} {
		over.WriteString(Field(h[i].Name, h[i].Value) + "\r\n")
	}
	at := strings.LastIndex(h[0].Value, "b=") + 2
	if !verifies(t, k.Public(), over.String()+Field(h[0].Name, h[0].Value[:at]), h[0].Value[at:]) {
		t.Error("the seal does not verify")
	}
	if want := " i=3; mx.example; spf=pass smtp.mailfrom=a@example.com"; h[2].Value != want {
		t.Errorf("results %q, want %q", h[2].Value, want)
	}
	for _, i := range []int{0, 1} {
		if want := " i=3; a=rsa-sha256; "; !strings.HasPrefix(h[i].Value, want) {
			t.Errorf("%s:%s, want %s", h[i].Name, h[i].Value, want)
		}
	}
}

// TestUnanswered checks that a message names 110 selectors, other ones in each turn.
func TestUnanswered(t *testing.T) {
	const signature = "a=rsa-sha256; c=relaxed/relaxed; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA"
	selector := regexp.MustCompile(` d=d\.example; s=([^;]*);`)
	seen := map[string]bool{}
	for turn := range 2 {
		h, body := Split(Unanswered("a.example", "d.example", turn))
		if len(h) != 161 || len(body) != 0 {
			t.Fatalf("%d fields, %q", len(h), body)
		}
		for i, want := range map[int]string{
			9:   fmt.Sprintf("DKIM-Signature: v=1; d=d.example; s=d%d-9; %s", turn, signature),
			10:  fmt.Sprintf("ARC-Seal: i=1; a=rsa-sha256; d=d.example; s=s%d-1; cv=none; b=AAAA", turn),
			11:  fmt.Sprintf("ARC-Message-Signature: i=1; d=d.example; s=m%d-1; %s", turn, signature),
			12:  "ARC-Authentication-Results: i=1; x; none",
			13:  fmt.Sprintf("ARC-Seal: i=2; a=rsa-sha256; d=d.example; s=s%d-2; cv=pass; b=AAAA", turn),
			159: "ARC-Authentication-Results: i=50; x; none",
			160: "From: <x@a.example>",
		} {
			if got := h[i].Name + ":" + h[i].Value; got != want {
				t.Errorf("field %d: %s\nwant %s", i, got, want)
			}
		}
		for _, f := range h {
			if m := selector.FindStringSubmatch(f.Value); m != nil {
				seen[m[1]] = true
			}
		}
	}
	if len(seen) != 220 {
		t.Errorf("%d selectors", len(seen))
	}
}

func ExampleField() {
	fmt.Println(Field("Subject ", " a\r\n\t test "))
	// Output: subject:a test
}

// TestHeavy checks that crypto/rsa verifies the signature of a heavy key.
func TestHeavy(t *testing.T) {
	// Do not use less than 1,280 bits: crypto/rsa refuses keys under 1,024 bits, and NewHeavy may
	// make a modulus with up to seven bits fewer than asked for.
	for _, tt := range []struct{ bits, exponent int }{{1280, 3}, {2048, 65537}, {8192, 1<<31 - 1}} {
		k := NewHeavy(t, tt.bits, tt.exponent)
		pub, _ := k.Public().(*rsa.PublicKey)
		if pub.Size() != tt.bits/8 || pub.E != tt.exponent {
			t.Errorf("%d bits, exponent %d: %d octets, %d", tt.bits, tt.exponent, pub.Size(), pub.E)
		}
		sum := sha256.Sum256([]byte("header"))
		s, err := k.Sign(nil, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], s); err != nil {
			t.Errorf("%d bits, exponent %d: %v", tt.bits, tt.exponent, err)
		}
	}
}

func TestPublicRSA(t *testing.T) {
	for _, tt := range []struct{ bits, exponent int }{{512, 3}, {1023, 1}, {2048, 65537}} {
		pub := PublicRSA(tt.bits, tt.exponent)
		if pub.N.BitLen() != tt.bits || pub.N.Bit(0) != 1 || pub.E != tt.exponent {
			t.Errorf("%+v: %+v", tt, pub)
		}
	}
}

// TestDKIM checks that the signature follows h= and l= in the tags, and that %BH is replaced by the
// body hash.
func TestDKIM(t *testing.T) {
	const mail = "From: a@example.com\r\nSubject:  x\r\n\r\nHello  there.\r\nMore.\r\n"
	for tags, want := range map[string]struct{ input, body string }{
		"v=1; h=from; bh=%BH; b=":              {"from:a@example.com\r\n", "Hello there.\r\nMore.\r\n"},
		"v=1; h=subject:from; l=5; bh=%BH; b=": {"subject:x\r\nfrom:a@example.com\r\n", "Hello"},
		"v=1; bh=%BH; x=%BH; b=":               {"", "Hello there.\r\nMore.\r\n"},
		"v=1; l=99; bh=%BH; b=":                {"", "Hello there.\r\nMore.\r\n"},
	} {
		value := strings.Replace(tags, "%BH", BodyHash(want.body), 1)
		b := Sign(t, testKey(), want.input+"dkim-signature:"+value)
		if got := DKIM(t, testKey(), tags, mail); got != "DKIM-Signature: "+value+b+"\r\n"+mail {
			t.Errorf("%s:\n%s", tags, got)
		}
	}
}
