package report

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

func sampleRow() Row {
	return Row{
		Source: netip.MustParseAddr("203.0.113.66"), Disposition: Reject, DKIM: true, SPF: true,
		Reasons:    []Reason{{"local_policy", "a"}, {"other", "b"}},
		HeaderFrom: "bank.example", EnvelopeFrom: "evil.example", EnvelopeTo: "here.example",
		AuthDKIM: []DKIMResult{{"bank.example", "s", "fail", "x"}, {"evil.example", "s", "pass", ""}},
		AuthSPF:  SPFResult{"evil.example", "pass", "y"}, Count: 3,
	}
}

func samplePolicy() Policy {
	return Policy{
		Domain: "bank.example", P: "reject", SP: "none", NP: "quarantine", ADKIM: "strict", ASPF: "relaxed", FO: "1", Testing: true,
		Method: dmarc.TreeWalk, Invalid: "rua",
	}
}

// altered returns, for each value in v that can be changed alone, a copy of v with this change, by the
// path of the value.
func altered[T any](t *testing.T, make func() T) map[string]T {
	t.Helper()
	out := map[string]T{}
	var walk func(path string, at func(*T) reflect.Value)
	walk = func(path string, at func(*T) reflect.Value) {
		sample := make()
		v := at(&sample)
		change := func(f func(v reflect.Value)) {
			changed := make()
			f(at(&changed))
			out[path] = changed
		}
		if v.Type() == reflect.TypeFor[netip.Addr]() {
			change(func(v reflect.Value) { v.Set(reflect.ValueOf(netip.MustParseAddr("2001:db8::1"))) })
			return
		}
		switch v.Kind() {
		case reflect.String:
			change(func(v reflect.Value) { v.SetString(v.String() + "z") })
		case reflect.Bool:
			change(func(v reflect.Value) { v.SetBool(!v.Bool()) })
		case reflect.Int64:
			change(func(v reflect.Value) { v.SetInt(v.Int() + 1) })
		case reflect.Slice:
			change(func(v reflect.Value) { v.Set(v.Slice(0, v.Len()-1)) })
			for i := range v.Len() {
				walk(fmt.Sprint(path, i), func(r *T) reflect.Value { return at(r).Index(i) })
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(r *T) reflect.Value { return at(r).Field(i) })
			}
		default:
			t.Fatalf("%s has a kind that the test does not know", path)
		}
	}
	walk("", func(v *T) reflect.Value { return reflect.ValueOf(v).Elem() })
	return out
}

// TestKeyDependsOnAll changes each field of a row, also such fields as are added later.
func TestKeyDependsOnAll(t *testing.T) {
	base := sampleRow()
	seen := map[Key]string{base.Key(): "base"}
	for path, r := range altered(t, sampleRow) {
		if path == ".Count" {
			if r.Key() != base.Key() {
				t.Error("the key depends on the count")
			}
			continue
		}
		if other := seen[r.Key()]; other != "" {
			t.Errorf("%s has the key of %s", path, other)
		}
		seen[r.Key()] = path
	}
}

func TestIDDependsOnAll(t *testing.T) {
	base := samplePolicy()
	seen := map[PolicyID]string{base.ID(): "base"}
	for path, p := range altered(t, samplePolicy) {
		if path == ".Invalid" {
			if p.ID() != base.ID() {
				t.Error("the id depends on the invalid tags")
			}
			continue
		}
		if other := seen[p.ID()]; other != "" {
			t.Errorf("%s has the id of %s", path, other)
		}
		seen[p.ID()] = path
	}
}

// FuzzKey compares keys with a naive encoding: two rows have equal keys if and only if fmt prints the
// same of them. The two rows share most of their text, so that an encoding in which values run into
// each other is found.
func FuzzKey(f *testing.F) {
	f.Add("ab", "", "a", "b")
	f.Add("a\x00b", "\x00", "a", "b")
	f.Add("", "a", "a", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		rows := []Row{
			{HeaderFrom: dns.Name(a), EnvelopeFrom: dns.Name(b), AuthSPF: SPFResult{c, d, ""}},
			{HeaderFrom: dns.Name(c), EnvelopeFrom: dns.Name(d), AuthSPF: SPFResult{a, b, ""}},
			{HeaderFrom: dns.Name(a + b), EnvelopeTo: dns.Name(c), AuthSPF: SPFResult{d, "", ""}},
			{HeaderFrom: dns.Name(a), EnvelopeTo: dns.Name(b), AuthSPF: SPFResult{c + d, "", ""}},
			{Reasons: []Reason{{a, b}, {c, d}}},
			{Reasons: []Reason{{a, b + c}, {d, ""}}},
			{Reasons: []Reason{{a, b}}, HeaderFrom: dns.Name(c), EnvelopeFrom: dns.Name(d)},
			{AuthDKIM: []DKIMResult{{dns.Name(a), b, c, d}}},
			{AuthDKIM: []DKIMResult{{dns.Name(a), b, "", ""}, {dns.Name(c), d, "", ""}}},
			{AuthDKIM: []DKIMResult{{dns.Name(a + b), c, d, ""}}},
			{Disposition: Disposition(a), Reasons: []Reason{{b, c}}, HeaderFrom: dns.Name(d)},
		}
		policies := []Policy{
			{Domain: dns.Name(a), P: dmarc.Policy(b), FO: c, Method: dmarc.Method(d)},
			{Domain: dns.Name(a + b), SP: dmarc.Policy(c), NP: dmarc.Policy(d)},
			{Domain: dns.Name(c), P: dmarc.Policy(d), FO: a, Method: dmarc.Method(b)},
		}
		for i := range rows {
			for j := range i {
				if same := naive(rows[i]) == naive(rows[j]); same != (rows[i].Key() == rows[j].Key()) {
					t.Errorf("same is %v, and the keys disagree:\n%+v\n%+v", same, rows[i], rows[j])
				}
			}
		}
		for i := range policies {
			for j := range i {
				if same := naive(policies[i]) == naive(policies[j]); same != (policies[i].ID() == policies[j].ID()) {
					t.Errorf("same is %v, and the ids disagree:\n%+v\n%+v", same, policies[i], policies[j])
				}
			}
		}
	})
}

func naive(v any) string { return fmt.Sprintf("%#v", v) }

// TestSort checks the order that the comment of Batch.Seen promises.
func TestSort(t *testing.T) {
	seen := []Sighting{{"b.example", 1, SeenFail}, {"a.example", 2, SeenFail}, {"a.example", 1, SeenWrote}, {"a.example", 1, SeenFail}}
	slices.SortFunc(seen, Sighting.Compare)
	if !slices.Equal(seen, []Sighting{{"a.example", 1, SeenFail}, {"a.example", 1, SeenWrote}, {"a.example", 2, SeenFail}, {"b.example", 1, SeenFail}}) {
		t.Errorf("got %v", seen)
	}
}
