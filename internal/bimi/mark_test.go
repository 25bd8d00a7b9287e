package bimi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

func TestIndicator(t *testing.T) {
	for _, n := range []int{1, 55, 56, 57, 1000, 32 << 10} {
		svg := []byte(strings.Repeat("<svg/>", n)[:n])
		m := &Mark{SVG: svg}
		value := m.Indicator()
		for i, line := range strings.Split(value, "\r\n") {
			if i == 0 && line != "" || i > 0 && (line == " " || line[0] != ' ' || len(line) > 76) {
				t.Fatalf("%d octets: line %d is %q", n, i, line)
			}
		}
		got, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\r\n ", "").Replace(value))
		if err != nil || string(got) != string(svg) {
			t.Errorf("%d octets: %v", n, err)
		}
		sum := sha256.Sum256(svg)
		if want := hex.EncodeToString(sum[:])[56:]; m.Hash() != want {
			t.Errorf("hash %s, want %s", m.Hash(), want)
		}
		if p := m.Prepared(); p.Indicator() != value || p.Hash() != m.Hash() || m.hash != "" {
			t.Error("Prepared changes the mark")
		}
	}
	if size := len("BIMI-Indicator:") + len((&Mark{SVG: make([]byte, 32<<10)}).Indicator()); size > 46_000 || size < 45_000 {
		t.Errorf("the largest picture makes a field of %d octets", size) // the documentation says up to 45 KB
	}
}

func TestAuthResult(t *testing.T) {
	mark := &Mark{SVG: []byte("<svg/>"), Certified: true, Type: "Registered Mark", Owner: "Shop; dmarc=pass", Issuer: "CA", NotAfter: time.Unix(1, 0)}
	e := &Evaluation{Domain: "shop.example", Selector: "default", Evidence: "https://shop.example/vmc.pem", Location: "https://shop.example/x"}
	e.Answered(Answer{Result: Pass, Authority: AuthorityPass, Mark: mark}, strict)
	if e.NotAfter == nil || !e.NotAfter.Equal(mark.NotAfter) || e.Owner != mark.Owner {
		t.Errorf("got %+v", e)
	}
	for _, c := range []struct {
		e         *Evaluation
		uri, hash bool
		want      string
	}{
		{e, true, true, "pass (Registered Mark) header.d=shop.example header.selector=default policy.authority=pass policy.authority-uri=https://shop.example/vmc.pem policy.indicator-hash=" + e.Hash},
		{e, false, false, "pass (Registered Mark) header.d=shop.example header.selector=default policy.authority=pass"},
		{e.Withheld(), true, true, "skipped (verdict)"},
		{&Evaluation{Result: Skipped, Reason: ReasonDMARC}, true, true, "skipped (dmarc)"},
		{&Evaluation{Result: Declined, Reason: ReasonDeclined}, true, true, "declined ()"},
		{&Evaluation{Result: Fail, Reason: "san", Authority: AuthorityFail}, true, true, "fail (san) policy.authority=fail"},
		{Unfinished(ReasonTime), true, true, "temperror (time)"},
	} {
		r := c.e.AuthResult(c.uri, c.hash)
		text := r.Value + " (" + r.Comment + ")"
		for _, p := range r.Properties {
			text += " " + string(p.Type) + "." + p.Name + "=" + p.Value
		}
		if text != c.want || r.Method != "bimi" {
			t.Errorf("got %s, want %s", text, c.want)
		}
	}
	e.MarkType = "Fancy Mark"
	if r := e.AuthResult(false, false); r.Comment != "" {
		t.Errorf("a type that is not known became the comment %q", r.Comment)
	}
}

func TestUnfetched(t *testing.T) {
	a := Unfetched{}.Find(t.Context(), Query{})
	e := &Evaluation{}
	if e.Answered(a, strict); e.Result != Skipped || e.Reason != ReasonNotFetched || len(e.Checks) != 1 {
		t.Errorf("got %+v", e)
	}
}
