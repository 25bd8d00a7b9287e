package recent

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sized is a value that writes itself as many octets.
type sized struct{ n int }

func (s sized) AppendBinary(b []byte) ([]byte, error) {
	if s.n < 0 {
		return append(b, "no"...), errors.New("negative")
	}
	return append(b, strings.Repeat("x", s.n)...), nil
}

func (s *sized) UnmarshalBinary(b []byte) error {
	s.n = len(b)
	return nil
}

// kinds has a field of each kind of value.
type kinds struct {
	Text          string
	Bool          bool
	Int           int
	Int64         int64
	Uint8         uint8
	Uint16        uint16
	Uint32        uint32
	Float         float64
	Pointer, Last *string
	List          []string
	Table         map[string]int
	Opaque        sized
	Hidden        string `json:"-"`
	hidden        string
}

// roundTrip returns the encoder of a value, with limit octets free, and the value as it is read again.
func roundTrip[T any](v T, limit int) (*encoder, T) {
	c := newCodecs()
	known := c.learn(reflect.TypeFor[T]())
	e := newEncoder(c)
	e.begin()
	e.limit = known.size + limit
	put(e, &v)
	var got T
	take(&decoder{c, string(e.out), string(e.out)}, &got)
	return e, got
}

func TestKinds(t *testing.T) {
	text := "text"
	for _, v := range []kinds{
		{},
		{Text: "a", Bool: true, Int: -1, Int64: math.MinInt64, Uint8: 255, Uint16: 65535, Uint32: math.MaxUint32, Float: -0.5, Pointer: &text, Last: &text,
			List: []string{}, Table: map[string]int{}, Opaque: sized{255}},
		{Int: 64, Int64: math.MaxInt64, Uint8: 127, Uint16: 128, Uint32: 1 << 21, Float: math.Inf(1), List: []string{"", text, text}, Table: map[string]int{"": 1, text: -2}},
	} {
		if e, got := roundTrip(v, 1000); !reflect.DeepEqual(got, v) || e.truncated {
			t.Errorf("read %+v, written %+v", got, v)
		}
	}
	type node struct{ Next *node }
	if _, got := roundTrip(node{&node{&node{}}}, 1000); got.Next == nil || got.Next.Next == nil || got.Next.Next.Next != nil {
		t.Errorf("a type that contains itself: %+v", got)
	}
	if _, got := roundTrip(kinds{Hidden: "a", hidden: "b"}, 1000); !reflect.DeepEqual(got, kinds{}) {
		t.Errorf("what JSON does not show was kept: %+v", got)
	}
	// A field is not written if it is zero, but an element is.
	type elements struct {
		Lists  [][]string
		Tables []map[string]int
		Opt    []*string
		Pairs  []struct{ A, B string }
	}
	v := elements{[][]string{nil, {}, {text}, nil}, []map[string]int{nil, {}, {text: 0}, nil}, []*string{nil, &text, nil}, make([]struct{ A, B string }, 2)}
	if _, got := roundTrip(v, 1000); !reflect.DeepEqual(got, v) {
		t.Errorf("read %+v, written %+v", got, v)
	}
	for n, want := range map[int]int{0: 0, 1: 1, 255: 255, 256: 0, -1: 0} {
		if _, got := roundTrip([]sized{{n}, {7}}, 1000); got[0].n != want || got[1].n != 7 {
			t.Errorf("a value that takes %d octets: %v", n, got)
		}
	}
}

// TestUnknownTypes: types that a Ring cannot keep are found when it is made.
func TestUnknownTypes(t *testing.T) {
	for _, tt := range []struct {
		of   reflect.Type
		want any
	}{
		{reflect.TypeFor[chan int](), "recent: decisions contain a chan int, which a Ring cannot keep"},
		{reflect.TypeFor[struct{ A []any }](), "recent: decisions contain a interface {}, which a Ring cannot keep"},
		{reflect.TypeFor[map[string]uint64](), "recent: decisions contain a uint64, which a Ring cannot keep"},
		{reflect.TypeFor[map[int]string](), "recent: decisions contain a map[int]string, whose keys are not texts"},
		{reflect.TypeFor[struct{ a int }](), "recent: struct { a int } has no exported fields, and no methods AppendBinary and UnmarshalBinary"},
		{reflect.TypeFor[kinds](), nil},
	} {
		func() {
			defer func() {
				if got := recover(); got != tt.want {
					t.Errorf("%s: %v, want %v", tt.of, got, tt.want)
				}
			}()
			newCodecs().learn(tt.of)
		}()
	}
}

// TestCut has values that just fit into a limit, and those that do not.
func TestCut(t *testing.T) {
	long := strings.Repeat("x", maxTextBytes)
	for _, tt := range []struct {
		text  string
		limit int
		want  string
		cut   bool
	}{
		{long, 1 << 20, long, false},
		{long + "y", 1 << 20, long + "...", true},
		{long, maxTextBytes + 3, long, false},
		{long, maxTextBytes + 2, "", true},
		{"abc", 6, "abc", false}, {"abc", 5, "", true},
		{"", 0, "", false},
	} {
		if e, got := roundTrip(struct{ A string }{tt.text}, tt.limit); got.A != tt.want || e.truncated != tt.cut || e.used > max(e.limit, 16) {
			t.Errorf("%d octets of %d: %d octets, truncated %t, %d used", len(tt.text), tt.limit, len(got.A), e.truncated, e.used)
		}
	}
	for _, tt := range []struct{ n, limit, want int }{
		{maxElements, 1 << 20, maxElements}, {maxElements + 1, 1 << 20, maxElements},
		{3, 3 * 8, 3}, {3, 3*8 - 1, 2}, {3, 7, 0}, {3, 0, 0}, {0, 0, 0},
	} {
		e, got := roundTrip(make([]int, tt.n), tt.limit)
		if len(got) != tt.want || got == nil || e.truncated != (tt.want < tt.n) || e.used != 24+8*tt.want {
			t.Errorf("list of %d with %d octets: %d elements, truncated %t, %d used", tt.n, tt.limit, len(got), e.truncated, e.used)
		}
	}
	if _, got := roundTrip(make([]bool, 4), 3); len(got) != 3 {
		t.Errorf("%d elements of an octet each", len(got))
	}
	seven := 7
	for limit, want := range map[int]*int{8: &seven, 7: nil} {
		if e, got := roundTrip(&seven, limit); (got == nil) != (want == nil) || got != nil && *got != 7 || e.truncated != (want == nil) {
			t.Errorf("a pointer with %d octets: %v, truncated %t", limit, got, e.truncated)
		}
	}
	const each = 2 * (16 + 8) // an element of a map, approximately
	for limit, want := range map[int]int{2 * each: 2, 2*each - 1: 1, each: 1, each - 1: 0, 0: 0} {
		e, got := roundTrip(map[string]int{"a": 1, "b": 2}, limit)
		if len(got) != want || got == nil || e.truncated != (want < 2) || e.used != 8+each*want {
			t.Errorf("a map with %d octets: %v, truncated %t, %d used", limit, got, e.truncated, e.used)
		}
	}
	// A list that takes more than the limit already leaves no room for the next.
	if _, got := roundTrip(struct{ A, B []int }{[]int{1}, []int{2}}, 8); len(got.A) != 1 || len(got.B) != 0 {
		t.Errorf("%v", got)
	}
}

// TestBegin: an encoder keeps nothing of the decision before.
func TestBegin(t *testing.T) {
	s := NewSealer()
	e, d := newEncoder(s.codecs), ordinary()
	d.Evaluation.Cost = nil // a map has no order
	first := e.seal(d, epoch, 0)
	e.truncated, e.limit = true, 1
	if again := e.seal(d, epoch, 0); again != first {
		t.Error("the second decision is written in another way")
	}
	if weight := int(binary.BigEndian.Uint32([]byte(first))); weight != e.used {
		t.Errorf("weight %d, want %d", weight, e.used)
	}
}

// TestRepeated: a text of three octets and more is written once.
func TestRepeated(t *testing.T) {
	for _, tt := range []struct {
		texts []string
		size  int
	}{
		{[]string{"ab", "ab"}, 1 + 3 + 3}, {[]string{"abc", "abc"}, 1 + 4 + 1}, {[]string{"abc", "abd", "abc"}, 1 + 4 + 4 + 1},
		{[]string{"abc", "ab", "a"}, 1 + 4 + 3 + 2}, {[]string{"abc", "abc", "abc", "abc"}, 1 + 4 + 3},
	} {
		if e, got := roundTrip(tt.texts, 1000); !slices.Equal(got, tt.texts) || len(e.out) != tt.size {
			t.Errorf("%q is read as %q, of %d octets", tt.texts, got, len(e.out))
		}
	}
	// Texts that differ only in their length, or in one of three octets, have slots of their own.
	for name, text := range map[string]func(i int) string{
		"length": func(i int) string { return strings.Repeat("a", i+3) },
		"first":  func(i int) string { return string(rune('a'+i)) + "..." },
		"middle": func(i int) string { return ".." + string(rune('a'+i)) + "." },
		"last":   func(i int) string { return "..." + string(rune('a'+i)) },
	} {
		seen := map[int]bool{}
		for i := range 26 {
			seen[slot(text(i))] = true
		}
		if len(seen) != 26 {
			t.Errorf("%s: 26 texts have %d slots", name, len(seen))
		}
	}
}
