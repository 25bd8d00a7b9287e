package label

import (
	"encoding/base64"
	"net/mail"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/bimi"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// marked returns an Evaluation with a mark of n octets.
func marked(n int) *msgauth.Evaluation {
	b := &bimi.Evaluation{Domain: "shop.example", Selector: "default", Location: "https://shop.example/logo.svg", Evidence: "https://shop.example/vmc.pem"}
	m := &bimi.Mark{SVG: []byte(strings.Repeat("<svg/>", n/6+1)[:n]), Certified: true, Type: "Registered Mark", Same: true}
	b.Answered(bimi.Answer{Result: bimi.Pass, Authority: bimi.AuthorityPass, Mark: m.Prepared()}, bimi.Options{RequireCertificate: true})
	return &msgauth.Evaluation{From: author.From{AuthorDomain: "shop.example"}, DMARC: dmarc.Evaluation{Result: dmarc.ResultPass}, BIMI: b}
}

var accepted = policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}

// inserted returns the fields that the edits insert, the topmost first.
func inserted(edits []Edit) (fields []message.Field) {
	for _, e := range edits {
		if e.Kind == Insert {
			fields = append([]message.Field{{Name: e.Name, Value: e.Value}}, fields...)
		}
	}
	return fields
}

// results returns the value of the Authentication-Results field that has a result of the method.
func results(edits []Edit, method string) string {
	for _, f := range inserted(edits) {
		if f.Name == authres.FieldName && strings.Contains(f.Value, " "+method+"=") {
			return f.Value
		}
	}
	return ""
}

func TestMarkFields(t *testing.T) {
	const location = " v=BIMI1; a=https://shop.example/vmc.pem;\r\n l=https://shop.example/logo.svg"
	long := "https://shop.example/" + strings.Repeat("x", 900)
	change := func(f func(*bimi.Evaluation)) *msgauth.Evaluation {
		e := marked(1000)
		b, m := *e.BIMI, *e.BIMI.Mark
		b.Mark = &m
		f(&b)
		e.BIMI = &b
		return e
	}
	uri := func(n int) string {
		return "https://shop.example/" + strings.Repeat("x", n-len("https://shop.example/"))
	}
	softened := accepted
	softened.Reason = policy.ReasonRule
	for _, c := range []struct {
		why      string
		which    MarkFields
		e        *msgauth.Evaluation
		v        policy.Verdict
		want     string // the names of the fields above Authentication-Results
		location string
	}{
		{"both", MarkBoth, marked(1000), accepted, "BIMI-Indicator BIMI-Location", location},
		{"the default", "", marked(1000), accepted, "BIMI-Indicator BIMI-Location", location},
		{"location", MarkLocation, marked(1000), accepted, "BIMI-Location", location},
		{"indicator", MarkIndicator, marked(1000), accepted, "BIMI-Indicator", ""},
		{"a preference", MarkBoth, change(func(b *bimi.Evaluation) { b.Preference = bimi.PreferPersonal }), accepted,
			"BIMI-Logo-Preference BIMI-Indicator BIMI-Location", location},
		{"a preference beside the picture alone", MarkIndicator, change(func(b *bimi.Evaluation) { b.Preference = bimi.PreferPersonal }), accepted,
			"BIMI-Logo-Preference BIMI-Indicator", ""},
		{"a preference beside the location alone", MarkLocation, change(func(b *bimi.Evaluation) { b.Preference = bimi.PreferPersonal }), accepted,
			"BIMI-Logo-Preference BIMI-Location", location},
		{"a rule let it through", MarkBoth, marked(1000), softened, "", ""},
		{"no mark", MarkBoth, change(func(b *bimi.Evaluation) { b.Result, b.Reason = bimi.Skipped, bimi.ReasonNotFetched }), accepted, "", ""},
		{"the mark is lost", MarkBoth, change(func(b *bimi.Evaluation) { b.Mark = nil }), accepted, "", ""},
		{"another picture at l=", MarkBoth, change(func(b *bimi.Evaluation) { b.Mark.Same = false }), accepted,
			"BIMI-Indicator BIMI-Location", " v=BIMI1; a=https://shop.example/vmc.pem"},
		{"a bare picture", MarkBoth, change(func(b *bimi.Evaluation) { b.Mark.Certified, b.Authority = false, bimi.AuthorityNone }), accepted,
			"BIMI-Indicator BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"a picture that is not that of the certificate", MarkBoth, change(func(b *bimi.Evaluation) { b.Mark.Certified = false }), accepted,
			"BIMI-Indicator BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"a certificate that was not judged", MarkBoth, change(func(b *bimi.Evaluation) { b.Authority = bimi.AuthorityNone }), accepted,
			"BIMI-Indicator BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"a URI that is too long for a line", MarkBoth, change(func(b *bimi.Evaluation) { b.Evidence = long }), accepted,
			"BIMI-Indicator BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"the longest URI", MarkLocation, change(func(b *bimi.Evaluation) { b.Evidence = uri(maxMarkURI) }), accepted,
			"BIMI-Location", " v=BIMI1;\r\n a=" + uri(maxMarkURI) + ";\r\n l=https://shop.example/logo.svg"},
		{"a URI of an octet more", MarkLocation, change(func(b *bimi.Evaluation) { b.Evidence = uri(maxMarkURI + 1) }), accepted,
			"BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"no certificate's address", MarkLocation, change(func(b *bimi.Evaluation) { b.Evidence = "" }), accepted,
			"BIMI-Location", " v=BIMI1; l=https://shop.example/logo.svg"},
		{"two such URIs", MarkLocation, change(func(b *bimi.Evaluation) { b.Evidence, b.Location, b.Preference = long, long, bimi.PreferBrand }), accepted, "", ""},
		{"the largest picture that fits", MarkBoth, marked(42_534), accepted, "BIMI-Indicator BIMI-Location", location},
		{"a picture that Postfix would cut", MarkBoth, marked(42_535), accepted, "BIMI-Location", location},
	} {
		id := (&Names{AuthServID: "mx.example.jp"}).Identity("")
		edits := new(Writer).Edits(&Settings{Mark: c.which}, id, nil, c.e, &c.v)
		var names []string
		for _, f := range inserted(edits) {
			if f.Name == authres.FieldName {
				break
			}
			names = append(names, f.Name)
			if f.Name == LocationField && f.Value != c.location {
				t.Errorf("%s: %s:%q, want %q", c.why, f.Name, f.Value, c.location)
			}
			if size := len(f.Name) + 1 + len(f.Value); size > 59_000 {
				t.Errorf("%s: %s has %d octets", c.why, f.Name, size)
			}
			for line := range strings.SplitSeq(f.Name+":"+f.Value, "\r\n") {
				if len(line) > 998 || len(line) > 76 && f.Name == IndicatorField {
					t.Errorf("%s: a line of %d octets in %s", c.why, len(line), f.Name)
				}
			}
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
		// The hash stands in the results exactly if the picture stands in the message.
		text := results(edits, "bimi")
		if strings.Contains(text, "indicator-hash") != strings.Contains(c.want, IndicatorField) {
			t.Errorf("%s: got %q", c.why, text)
		}
		if strings.Contains(text, "bimi=pass") != (c.e.BIMI.Result == bimi.Pass && c.v.Reason == policy.ReasonAligned) {
			t.Errorf("%s: got %q", c.why, text)
		}
	}
}

// TestMarkIsRead checks that a program which reads the message finds the picture.
func TestMarkIsRead(t *testing.T) {
	e := marked(32 << 10)
	var raw strings.Builder
	for _, f := range inserted(new(Writer).Edits(&Settings{}, (&Names{AuthServID: "mx.example.jp"}).Identity(""), nil, e, &accepted)) {
		raw.WriteString(f.Name + ":" + f.Value + "\r\n")
	}
	m, err := mail.ReadMessage(strings.NewReader(raw.String() + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	svg, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(m.Header.Get("BIMI-Indicator"), " ", ""))
	if err != nil || string(svg) != string(e.BIMI.Mark.SVG) {
		t.Errorf("the picture cannot be read: %v", err)
	}
	all := m.Header["Authentication-Results"]
	if len(all) != 2 || strings.Contains(all[0], "bimi") || strings.Contains(all[1], "dmarc") {
		t.Fatalf("got %q", all)
	}
	f, err := authres.Parse(all[1])
	if err != nil || f.AuthServID != "mx.example.jp" {
		t.Fatal(f, err)
	}
	last := f.Results[len(f.Results)-1]
	got := last.Method + "=" + last.Value
	for _, p := range last.Properties {
		got += " " + string(p.Type) + "." + p.Name + "=" + p.Value
	}
	want := "bimi=pass header.d=shop.example header.selector=default policy.authority=pass policy.authority-uri=https://shop.example/vmc.pem policy.indicator-hash=" + e.BIMI.Hash
	if got != want || !strings.Contains(all[1], ` policy.authority-uri="https://shop.example/vmc.pem"`) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMarkLeavesRoom checks that the address of the certificate is left out where the field would be too
// long. (A value of more than 255 octets is left out in any case.)
func TestMarkLeavesRoom(t *testing.T) {
	e := marked(100)
	b := *e.BIMI
	e.BIMI = &b
	for _, c := range []struct {
		selector, path int
		shown          bool
	}{{7, 10, true}, {7, 200, true}, {7, 300, false}, {240, 200, true}} {
		b.Selector, b.Evidence = strings.Repeat("s", c.selector), "https://shop.example/"+strings.Repeat("x", c.path)
		text := results(new(Writer).Edits(&Settings{}, (&Names{AuthServID: "mx.example.jp"}).Identity(""), nil, e, &accepted), "bimi")
		if strings.Contains(text, "authority-uri") != c.shown || len(authres.FieldName)+1+len(text) > maxLabel {
			t.Errorf("%+v: %q", c, text)
		}
	}
}

// TestMarkRoomEdge checks that the address of the certificate stands in a field exactly as long as it fits.
func TestMarkRoomEdge(t *testing.T) {
	b := *marked(100).BIMI
	b.Selector, b.Domain = strings.Repeat("s", 240), dns.Name(strings.Repeat("d", 200))
	id := strings.Repeat("h", 100)
	sizes := map[int]bool{}
	for n := range 220 {
		b.Evidence = "https://shop.example/" + strings.Repeat("x", n)
		whole := authres.Field{AuthServID: id, Results: []authres.Result{b.AuthResult(true, true)}}
		size := len("Authentication-Results:" + whole.Format())
		sizes[size] = true
		if got := strings.Contains(markText(&Settings{}, id, &b), "authority-uri"); got != (size <= 900) {
			t.Errorf("%d octets with the address: shown %t", size, got)
		}
	}
	if !sizes[900] || !sizes[901] {
		t.Errorf("sizes %v", sizes)
	}
}

// TestLongEdge checks which length of a field is too long.
func TestLongEdge(t *testing.T) {
	sizes := map[int]bool{}
	for n := range 900 { // ever more results, the last of them ever longer
		f := authres.Field{AuthServID: strings.Repeat("h", 100)}
		for range n / 20 {
			f.Results = append(f.Results, authres.Result{Method: "x", Value: strings.Repeat("v", 20)})
		}
		f.Results = append(f.Results, authres.Result{Method: "x", Value: strings.Repeat("v", n%20+1)})
		size := len("Authentication-Results:" + f.Format())
		sizes[size] = true
		if got := new(Writer).long(&f); got != (size > 900) {
			t.Errorf("%d octets: %t", size, got)
		}
	}
	if !sizes[900] || !sizes[901] {
		t.Errorf("sizes %v", sizes)
	}
}

// TestMarkIsApart checks that the result of BIMI is in a field of its own, below the other one, and that
// there is none if marks are not looked for.
func TestMarkIsApart(t *testing.T) {
	e := marked(10)
	if text := Text(&Settings{}, "mx.example.jp", e, accepted); strings.Contains(text, "bimi") {
		t.Error(text)
	}
	e.BIMI = nil
	if edits := new(Writer).Edits(&Settings{}, (&Names{AuthServID: "mx.example.jp"}).Identity(""), nil, e, &accepted); len(edits) != 1 {
		t.Errorf("edits %+v", edits)
	}
}

func BenchmarkMarkFields(b *testing.B) {
	id := (&Names{AuthServID: "mx.example.jp"}).Identity("")
	with, without := marked(8<<10), marked(8<<10)
	without.BIMI = nil
	for name, e := range map[string]*msgauth.Evaluation{"on": with, "off": without} {
		b.Run(name, func(b *testing.B) {
			l := new(Writer)
			b.ReportAllocs()
			for b.Loop() {
				l.Edits(&Settings{}, id, nil, e, &accepted)
			}
		})
	}
}

// TestLocationFolds checks that a URI stays in the first line if the line then has foldAt octets, and no longer.
func TestLocationFolds(t *testing.T) {
	const fits = foldAt - len(LocationField+": v=BIMI1; l=")
	for n, before := range map[int]string{fits: " ", fits + 1: "\r\n "} {
		uri := strings.Repeat("x", n)
		if got, want := locationText(&bimi.Evaluation{Location: uri, Mark: &bimi.Mark{Same: true}}), " v=BIMI1;"+before+"l="+uri; got != want {
			t.Errorf("%d octets: %q, want %q", n, got, want)
		}
	}
}
