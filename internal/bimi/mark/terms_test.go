package mark

import (
	"crypto/x509"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/markca"
)

// TestFind checks that an extension is found in each place.
func TestFind(t *testing.T) {
	c := &x509.Certificate{Extensions: []extension{{Id: oidPilot, Value: []byte{1}}, {Id: oidSCTs, Value: []byte{2}}, {Id: oidPilot, Value: []byte{3}}}}
	for value, id := range map[byte]asn1.ObjectIdentifier{1: oidPilot, 2: oidSCTs} {
		if e, ok := find(c, id); !ok || e.Value[0] != value {
			t.Errorf("%s: %v, %t", id, e, ok)
		}
	}
	if e, ok := find(c, oidLogotype); ok || e.Value != nil {
		t.Errorf("one that is not there: %v", e)
	}
}

// TestElements checks the reader of one level of ASN.1: what it refuses, and how many elements it takes.
func TestElements(t *testing.T) {
	d := der{t}
	text := d.ia5("x")
	for _, tt := range []struct {
		why string
		der []byte
		n   int // -1 if it is refused
	}{
		{"none", d.seq(), 0},
		{"one", d.seq(text), 1},
		{"two", d.seq(text, d.seq(text)), 2},
		{"most", d.seq([]byte(strings.Repeat(string(text), maxElements))), maxElements},
		{"more", d.seq([]byte(strings.Repeat(string(text), maxElements+1))), -1},
		{"nothing", nil, -1},
		{"something behind it", append(d.seq(text), 0), -1},
		{"another tag", markca.Value(t, asn1.ClassUniversal, asn1.TagSet, true, text), -1},
		{"another class", markca.Value(t, asn1.ClassContextSpecific, asn1.TagSequence, true, text), -1},
		{"not made of elements", markca.Value(t, asn1.ClassUniversal, asn1.TagSequence, false, text), -1},
		{"an element that is cut", d.seq(text[:2]), -1},
		{"cut", d.seq(text)[:3], -1},
	} {
		all, err := elements(tt.der, asn1.ClassUniversal, asn1.TagSequence)
		if (err != nil) != (tt.n < 0) || err == nil && len(all) != tt.n {
			t.Errorf("%s: %d elements, %v", tt.why, len(all), err)
		}
	}
}

// TestLifetime checks that a part of a day counts as a day.
func TestLifetime(t *testing.T) {
	for length, want := range map[time.Duration]int{0: 0, time.Second: 1, 24 * time.Hour: 1, 24*time.Hour + time.Nanosecond: 2, 48 * time.Hour: 2} {
		if got := lifetimeDays(&x509.Certificate{NotBefore: now, NotAfter: now.Add(length)}); got != want {
			t.Errorf("%s: %d days", length, got)
		}
	}
}

// TestNameOf checks by which name a person is told of a certificate.
func TestNameOf(t *testing.T) {
	c := &x509.Certificate{}
	if got := nameOf(c); got != "" {
		t.Errorf("no name: %q", got)
	}
	if c.Subject.Organization = []string{"Shop KK", "Other"}; nameOf(c) != "Shop KK" {
		t.Errorf("an organization: %q", nameOf(c))
	}
	if c.Subject.CommonName = "Shop"; nameOf(c) != "Shop" {
		t.Errorf("a common name: %q", nameOf(c))
	}
	if c.Subject.CommonName = strings.Repeat("x", maxText+1); len(nameOf(c)) > maxText {
		t.Errorf("a long name: %d octets", len(nameOf(c)))
	}
}

// TestInside checks the time at which a file is judged that is not valid now: when its last certificate began.
func TestInside(t *testing.T) {
	at := func(hours ...int) (file []*x509.Certificate) {
		for _, h := range hours {
			file = append(file, &x509.Certificate{NotBefore: now.Add(time.Duration(h) * time.Hour), NotAfter: now.Add(time.Duration(-h) * time.Hour)})
		}
		return file
	}
	for _, hours := range [][]int{{3}, {3, 1, 2}, {1, 3, 2}, {1, 2, 3}} {
		if got := inside(at(hours...)); !got.Equal(now.Add(3 * time.Hour)) {
			t.Errorf("%v: %s", hours, got)
		}
		if got := earliestEnd(at(hours...)); !got.Equal(now.Add(-3 * time.Hour)) {
			t.Errorf("%v: the first ends at %s", hours, got)
		}
	}
}

// TestValidAtTheEdges checks a certificate at its first and last moment, and beside them.
func TestValidAtTheEdges(t *testing.T) {
	c := &x509.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour)}
	for at, want := range map[time.Duration]bool{-time.Nanosecond: false, 0: true, time.Hour: true, time.Hour + time.Nanosecond: false} {
		if err := valid([]*x509.Certificate{{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2 * time.Hour)}, c}, now.Add(at)); (err == nil) != want {
			t.Errorf("%s: %v", at, err)
		}
	}
}
