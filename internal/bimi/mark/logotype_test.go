package mark

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"sekimori/internal/testkit/markca"
)

// der writes DER for the tables of these tests.
type der struct{ testing.TB }

func (d der) seq(parts ...[]byte) []byte { return markca.Sequence(d, parts...) }
func (d der) tagged(tag int, parts ...[]byte) []byte {
	return markca.Value(d, asn1.ClassContextSpecific, tag, true, bytes.Join(parts, nil))
}
func (d der) ia5(s string) []byte {
	return markca.Value(d, asn1.ClassUniversal, asn1.TagIA5String, false, []byte(s))
}
func (d der) hash() []byte {
	return d.seq(d.seq(markca.Marshal(d, oidSHA256)), markca.Marshal(d, make([]byte, 32)))
}
func (d der) details(mediaType string, uris ...string) []byte {
	return markca.Details(d, mediaType, d.hash(), uris...)
}

// subject returns the extension with the content of LogotypeData.
func (d der) subject(data ...[]byte) []byte { return d.seq(d.tagged(2, d.tagged(0, data...))) }

func TestParseLogotype(t *testing.T) {
	d := der{t}
	const svg = "image/svg+xml"
	packed := markca.Gzip(t, []byte(markca.SVG))
	b64 := base64.StdEncoding.EncodeToString(packed)
	uri := "data:image/svg+xml;base64," + b64
	image := d.details(svg, uri)
	of := func(uri string) []byte { return d.subject(d.seq(d.details(svg, uri))) }
	sized := func(n int) []byte {
		short := of("data:image/svg+xml," + strings.Repeat("x", n-200))
		return of("data:image/svg+xml," + strings.Repeat("x", n-200+n-len(short)))
	}
	hashes := func(n int) []byte {
		return d.subject(d.seq(markca.Details(d, svg, bytes.Repeat(d.hash(), n), uri)))
	}
	for _, c := range []struct {
		name string
		der  []byte
		says string // "": accepted
	}{
		{"good", d.subject(d.seq(image)), ""},
		{"with information about the image", d.subject(d.seq(d.seq(elementsOf(t, image), d.seq()))), ""},
		{"with the logos of others", d.seq(d.tagged(0, d.seq()), d.tagged(1, d.tagged(0, d.seq(image))), d.tagged(2, d.tagged(0, d.seq(image))), d.tagged(3)), ""},
		{"media type of gzip", d.subject(d.seq(d.details("image/svg+xml+gzip", uri))), ""},
		{"media type in capitals, with a parameter", d.subject(d.seq(d.details("IMAGE/SVG+XML ; charset=utf-8", uri))), ""},
		{"URI of gzip", of("data:image/svg+xml+gzip;base64," + b64), ""},
		{"URI in capitals", of("DATA:Image/SVG+xml;charset=utf-8;BASE64," + b64), ""},
		{"base64 without padding", of(strings.TrimRight(uri, "=")), ""},
		{"base64 in percents", of("data:image/svg+xml;base64," + url.QueryEscape(b64)), ""},
		{"largest", sized(maxLogotype), "largest"},
		{"larger", sized(maxLogotype + 1), "has 61441 octets"},
		{"many hashes", hashes(maxElements), ""},
		{"too many hashes", hashes(maxElements + 1), "cannot be read"},

		{"nothing", nil, "cannot be read"},
		{"empty", d.seq(), "no logo of the subject"},
		{"something behind", append(d.subject(d.seq(image)), 0), "cannot be read"},
		{"a set", markca.Value(t, asn1.ClassUniversal, asn1.TagSet, true, d.subject(d.seq(image))[4:]), "cannot be read"},
		{"a sequence of another class", markca.Value(t, asn1.ClassContextSpecific, asn1.TagSequence, true, elementsOf(t, d.subject(d.seq(image)))), "cannot be read"},
		{"the issuer's logo only", d.seq(d.tagged(1, d.tagged(0, d.seq(image)))), "no logo of the subject"},
		{"the subject's logo in one piece", d.seq(markca.Value(t, asn1.ClassContextSpecific, 2, false, d.tagged(0, d.seq(image)))), "no logo of the subject"},
		{"the subject's logo of another class", d.seq(markca.Value(t, asn1.ClassApplication, 2, true, d.tagged(0, d.seq(image)))), "no logo of the subject"},
		{"indirect", d.seq(d.tagged(2, d.tagged(1, d.seq(image)))), "cannot be read"},
		{"two infos", d.seq(d.tagged(2, d.tagged(0, d.seq(image)), d.tagged(0, d.seq(image)))), "cannot be read"},
		{"info that is broken", d.seq(d.tagged(2, []byte{0xa0, 9})), "cannot be read"},
		{"data that is broken", d.seq(d.tagged(2, d.tagged(0, []byte{0x30, 9}))), "cannot be read"},
		{"no images", d.subject(), "cannot be read"},
		{"with audio", d.subject(d.seq(image), d.tagged(1)), "cannot be read"},
		{"audio only", d.subject(d.tagged(1)), "exactly one picture"},
		{"zero images", d.subject(d.seq()), "exactly one picture"},
		{"two images", d.subject(d.seq(image, image)), "exactly one picture"},
		{"image that is not a sequence", d.subject(d.seq(d.ia5("x"))), "cannot be read"},
		{"image of nothing", d.subject(d.seq(d.seq())), "cannot be read"},
		{"image of three", d.subject(d.seq(d.seq(elementsOf(t, image), d.seq(), d.seq()))), "cannot be read"},
		{"details that are not a sequence", d.subject(d.seq(d.seq(d.ia5("x")))), "cannot be read"},
		{"details of two", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.seq(d.hash()))))), "cannot be read"},
		{"details of four", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.seq(d.hash()), d.seq(d.ia5(uri)), d.seq())))), "cannot be read"},
		{"media type of PNG", d.subject(d.seq(d.details("image/png", uri))), `media type "image/png"`},
		{"media type that is not an IA5String", d.subject(d.seq(d.seq(d.seq(markca.Marshal(t, []byte(svg)), d.seq(d.hash()), d.seq(d.ia5(uri)))))), "media type"},
		{"hashes that are not a sequence", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.ia5("x"), d.seq(d.ia5(uri)))))), "cannot be read"},
		{"hash that is not a sequence", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.seq(d.ia5("x")), d.seq(d.ia5(uri)))))), "cannot be read"},
		{"no URI", d.subject(d.seq(d.details(svg))), "exactly one URI"},
		{"two URIs", d.subject(d.seq(d.details(svg, uri, uri))), "exactly one URI"},
		{"URI that is not an IA5String", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.seq(d.hash()), d.seq(markca.Marshal(t, []byte(uri))))))), "exactly one URI"},
		{"URIs that are not a sequence", d.subject(d.seq(d.seq(d.seq(d.ia5(svg), d.seq(d.hash()), d.ia5(uri))))), "exactly one URI"},
		{"URI of the web", of("https://x.example/a.svg"), "another URI than data"},
		{"short URI", of("dat"), "another URI than data"},
		{"URI without a comma", of("data:image/svg+xml;base64"), "must be data:image/svg+xml"},
		{"URI of PNG", of("data:image/png;base64," + b64), "must be data:image/svg+xml"},
		{"base64 that is not", of("data:image/svg+xml;base64,!" + b64), "not valid base64"},
		{"base64url", of("data:image/svg+xml;base64,_-"), "not valid base64"},
		{"percents that are not", of("data:image/svg+xml;base64,%zz"), "cannot be read"},
	} {
		logo, err := parseLogotype(c.der)
		switch {
		case c.says == "largest":
			if err != nil || len(logo.picture) < maxLogotype-200 {
				t.Errorf("%s: %v", c.name, err)
			}
		case c.says == "" && (err != nil || !bytes.Equal(logo.picture, packed) || len(logo.hashes) == 0):
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
	if logo, err := parseLogotype(of("data:image/svg+xml,%3Csvg+a/%3E")); err != nil || string(logo.picture) != "<svg+a/>" {
		t.Errorf("plain: %q, %v", logo.picture, err)
	}
}

// elementsOf returns the content of a sequence.
func elementsOf(tb testing.TB, der []byte) []byte {
	tb.Helper()
	var v asn1.RawValue
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		tb.Fatal(err)
	}
	return v.Bytes
}

func TestCertified(t *testing.T) {
	ca := markca.New(t, now)
	picture, other := []byte(markca.SVG), []byte("other")
	unknown := der{t}.seq(der{t}.seq(markca.Marshal(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5})), markca.Marshal(t, make([]byte, 16)))
	list := func(octets []byte, hashes ...crypto.Hash) []byte {
		image := markca.Image(t, picture, octets, hashes...)
		parts, err := elements(elementsOf(t, image), asn1.ClassUniversal, asn1.TagSequence)
		if err != nil {
			t.Fatal(err)
		}
		return parts[1].Bytes
	}
	join := func(lists ...[]byte) []byte { return bytes.Join(lists, nil) }
	for _, c := range []struct {
		name   string
		hashes []byte
		names  string
		fails  string
	}{
		{"SHA-1 and SHA-384", list(picture, crypto.SHA1, crypto.SHA384), "SHA-1, SHA-384", ""},
		{"all", list(picture, crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512), "SHA-1, SHA-256, SHA-384, SHA-512", ""},
		{"the same twice", list(picture, crypto.SHA256, crypto.SHA256), "SHA-256", ""},
		{"right and wrong", join(list(picture, crypto.SHA256), list(other, crypto.SHA1)), "SHA-256, SHA-1", "hash"},
		{"wrong and right", join(list(other, crypto.SHA1), list(picture, crypto.SHA256)), "SHA-1", "hash"},
		{"right and wrong of one algorithm", join(list(picture, crypto.SHA256), list(other, crypto.SHA256)), "SHA-256, SHA-256", "hash"},
		{"unknown only", unknown, "", "hash"},
		{"unknown and right", join(unknown, list(picture, crypto.SHA512)), "SHA-512", ""},
		{"none", nil, "", "hash"},
		{"wrong SHA-1", list(other, crypto.SHA1), "SHA-1", "hash"},
		{"wrong SHA-256", list(other, crypto.SHA256), "SHA-256", "hash"},
		{"wrong SHA-384", list(other, crypto.SHA384), "SHA-384", "hash"},
		{"wrong SHA-512", list(other, crypto.SHA512), "SHA-512", "hash"},
	} {
		uri := "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(markca.Gzip(t, picture))
		file := ca.Issue(t, domain, func(l *markca.Leaf) {
			l.Logotype = markca.LogotypeOf(t, markca.Details(t, "image/svg+xml", c.hashes, uri))
		})
		j := rulesOf(t, ca).Judge(evidence(t, ca, file), now)
		if failing(j) != c.fails || listed(j.Certificate.Hashes) != c.names {
			t.Errorf("%s: %q %q, want %q %q", c.name, failing(j), j.Certificate.Hashes, c.fails, c.names)
		}
	}
}

// TestBombs checks pictures that are small in the certificate and large outside of it.
func TestBombs(t *testing.T) {
	ca := markca.New(t, now)
	bomb := markca.Gzip(t, bytes.Repeat([]byte(" "), 4<<20))
	for name, data := range map[string][]byte{"bomb": bomb, "bomb in a bomb": markca.Gzip(t, bomb), "twice": markca.Gzip(t, markca.Gzip(t, []byte(markca.SVG)))} {
		uri := "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(data)
		file := ca.Issue(t, domain, func(l *markca.Leaf) {
			l.Logotype = markca.LogotypeOf(t, markca.Details(t, "image/svg+xml", der{t}.hash(), uri))
		})
		if j := rulesOf(t, ca).Judge(evidence(t, ca, file), now); failing(j) != "hash" || j.SVG != nil {
			t.Errorf("%s: %q %+v", name, failing(j), j.Checks)
		}
	}
}

func FuzzParseLogotype(f *testing.F) {
	f.Add(markca.LogotypeOf(f, markca.Image(f, []byte(markca.SVG), []byte(markca.SVG), crypto.SHA1, crypto.SHA256)))
	f.Add(markca.LogotypeOf(f, markca.Details(f, "image/svg+xml", der{f}.hash(), "data:image/svg+xml,%3Csvg/%3E")))
	f.Add(der{f}.seq(der{f}.tagged(0, der{f}.seq()), der{f}.tagged(2, der{f}.tagged(0, der{f}.seq()))))
	f.Fuzz(func(t *testing.T, octets []byte) {
		logo, err := parseLogotype(octets)
		if err != nil {
			return
		}
		if len(logo.picture) > len(octets) || len(logo.hashes) > maxElements {
			t.Fatalf("%d octets of picture, %d hashes from %d octets", len(logo.picture), len(logo.hashes), len(octets))
		}
		plain, names, err := logo.certified()
		if err == nil && (len(names) == 0 || len(plain) > 32<<10) {
			t.Fatalf("certified by %q: %d octets", names, len(plain))
		}
	})
}
