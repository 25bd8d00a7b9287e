package report

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"sekimori/internal/dns"
)

func example() Row {
	return Row{
		Source: netip.MustParseAddr("2001:db8::25"), Disposition: None, DKIM: true,
		Reasons:    []Reason{{Type: "local_policy", Comment: "monitor mode"}, {Type: "other"}},
		HeaderFrom: "shop.example", EnvelopeFrom: "bounce.shop.example",
		AuthDKIM: []DKIMResult{{Domain: "shop.example", Selector: "s1", Result: "pass"}, {Domain: "esp.example", Selector: "k\x00\xff\"", Result: "fail", Human: "body changed"}},
		AuthSPF:  SPFResult{Domain: "bounce.shop.example", Result: "pass"},
	}
}

// TestRowEncoding checks that every field survives, and that a change of any field but the count
// changes the key.
func TestRowEncoding(t *testing.T) {
	r := example()
	got, err := ParseRow(r.Append(nil))
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := ParseRow(Row{}.Append(nil)); err != nil || !reflect.DeepEqual(got, Row{}) {
		t.Fatalf("empty row: got %+v, %v", got, err)
	}
	same := example()
	same.Count = 5
	if same.Key() != r.Key() {
		t.Error("the count changes the key")
	}
	changes := map[string]func(*Row){
		"source":        func(r *Row) { r.Source = netip.MustParseAddr("192.0.2.1") },
		"disposition":   func(r *Row) { r.Disposition = Reject },
		"dkim":          func(r *Row) { r.DKIM = false },
		"spf":           func(r *Row) { r.SPF = true },
		"reason":        func(r *Row) { r.Reasons = r.Reasons[:1] },
		"comment":       func(r *Row) { r.Reasons[0].Comment = "" },
		"header_from":   func(r *Row) { r.HeaderFrom = "a.shop.example" },
		"envelope_from": func(r *Row) { r.EnvelopeFrom = "" },
		"envelope_to":   func(r *Row) { r.EnvelopeTo = "isp.example" },
		"signature":     func(r *Row) { r.AuthDKIM = r.AuthDKIM[:1] },
		"order":         func(r *Row) { r.AuthDKIM[0], r.AuthDKIM[1] = r.AuthDKIM[1], r.AuthDKIM[0] },
		"selector":      func(r *Row) { r.AuthDKIM[0].Selector = "s2" },
		"human":         func(r *Row) { r.AuthDKIM[0].Human = "x" },
		"boundary":      func(r *Row) { r.AuthDKIM[0].Selector, r.AuthDKIM[0].Result = "s1p", "ass" },
		"spf result":    func(r *Row) { r.AuthSPF.Result = "softfail" },
		"spf domain":    func(r *Row) { r.AuthSPF.Domain = "unknown" },
		"spf human":     func(r *Row) { r.AuthSPF.Human = "x" },
	}
	keys := map[Key]string{r.Key(): "nothing"}
	for name, change := range changes {
		c := example()
		change(&c)
		if other, twice := keys[c.Key()]; twice {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[c.Key()] = name
	}
	// Every exported field must be part of the key, so that a new field is not forgotten.
	if n := reflect.TypeFor[Row]().NumField(); n != 11 {
		t.Errorf("Row has %d fields: encode the new one, raise rowVersion, and add it to this test", n)
	}
}

func TestPolicyID(t *testing.T) {
	p := Policy{Domain: "shop.example", P: "reject", SP: "none", NP: "reject", ADKIM: "relaxed", ASPF: "strict", FO: "1", Method: "treewalk"}
	same := p
	same.Invalid = "rua"
	if same.ID() != p.ID() {
		t.Error("Invalid changes the id")
	}
	seen := map[PolicyID]bool{p.ID(): true}
	for i := range reflect.TypeFor[Policy]().NumField() {
		c := p
		switch f := reflect.ValueOf(&c).Elem().Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		default:
			f.SetString("x")
		}
		if c.Invalid != "" {
			continue
		}
		if seen[c.ID()] {
			t.Errorf("field %d does not change the id", i)
		}
		seen[c.ID()] = true
	}
}

// TestParseRowRefuses cuts an encoded row everywhere, adds to it, and claims absurd lengths.
func TestParseRowRefuses(t *testing.T) {
	whole := example().Append(nil)
	for n := range whole {
		if _, err := ParseRow(whole[:n]); err == nil {
			t.Errorf("%d of %d octets are taken for a row", n, len(whole))
		}
	}
	for flags := range byte(4) {
		r := Row{DKIM: flags&1 != 0, SPF: flags&2 != 0}
		if got, err := ParseRow(r.Append(nil)); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("flags %d: %+v, %v", flags, got, err)
		}
	}
	for _, n := range []int{0, 1, 127, 128, 129, 16383, 16384} { // where the length of a length changes
		r := Row{HeaderFrom: dns.Name(strings.Repeat("x", n))}
		if got, err := ParseRow(r.Append(nil)); err != nil || got.HeaderFrom != r.HeaderFrom {
			t.Errorf("a name of %d octets: %v", n, err)
		}
	}
	for _, n := range []int{1, 2, 100} { // the shortest entries
		for _, r := range []Row{{Reasons: make([]Reason, n)}, {AuthDKIM: make([]DKIMResult, n)}} {
			if got, err := ParseRow(r.Append(nil)); err != nil || !reflect.DeepEqual(got, r) {
				t.Errorf("%d empty entries: %+v, %v", n, got, err)
			}
		}
	}
	for name, b := range map[string][]byte{
		"longer":                        append(bytes.Clone(whole), 0),
		"version":                       append([]byte{9}, whole[1:]...),
		"flags":                         append([]byte{rowVersion, 4}, whole[2:]...),
		"odd address, and nothing else": append([]byte{rowVersion, 0, 5}, strings.Repeat("\x00", 5+9)...),
		"huge count":                    append(Row{}.Append(nil)[:10], 0xff, 0xff, 0xff, 0xff, 0x0f, 0),
		"long number":                   append(Row{}.Append(nil)[:10], 0x80, 0x00, 0),
		"odd address":                   append([]byte{rowVersion, 0, 5}, strings.Repeat("\x00", 20)...),
		"not a row":                     []byte("SQLite format 3\x00"),
		"nothing":                       nil,
		"endless uint":                  bytes.Repeat([]byte{0xff}, 40),
	} {
		if r, err := ParseRow(b); err == nil {
			t.Errorf("%s: taken for %+v", name, r)
		}
	}
}

func FuzzParseRow(f *testing.F) {
	f.Add(example().Append(nil))
	f.Add(Row{}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRow(b)
		if err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Errorf("%x is read as %+v, which is written as %x", b, r, r.Append(nil))
		}
	})
}

func BenchmarkKey(b *testing.B) {
	r := example()
	b.ReportAllocs()
	for b.Loop() {
		r.Key()
	}
}
