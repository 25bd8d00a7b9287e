package taglist

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	for _, tc := range []struct {
		why, in string
		want    []string // the tags, as name=value
		err     error
	}{
		{"one tag", "v=1", []string{"v=1"}, nil},
		{"order is kept", "b=2; a=1", []string{"b=2", "a=1"}, nil},
		{"one semicolon at the end is allowed", "v=1; a=2;", []string{"v=1", "a=2"}, nil},
		{"and white space after it", "v=1;\r\n\t ", []string{"v=1"}, nil},
		{"white space around names and values", " v = 1 ;\r\n\ta\t=\r\n b c ", []string{"v=1", "a=b c"}, nil},
		{"inner folds stay", "b=ab\r\n\tcd", []string{"b=ab\r\n\tcd"}, nil},
		{"an empty value is a value", "p=; v=1", []string{"p=", "v=1"}, nil},
		{"equals signs belong to the value", "bh=abc==; z=a=b", []string{"bh=abc==", "z=a=b"}, nil},
		{"names are compared with case", "a=1; A=2", []string{"a=1", "A=2"}, nil},
		{"digits and underscore after the first letter", "a_1=x", []string{"a_1=x"}, nil},
		{"UTF-8 values, RFC 8616", "d=例え.jp", []string{"d=例え.jp"}, nil},
		{"a duplicate spoils the list", "a=1; b=2; a=1", nil, ErrDuplicate},
		{"nothing at all", "", nil, ErrEmpty},
		{"white space only", " \r\n ", nil, ErrEmpty},
		{"a lone semicolon", ";", nil, ErrEmpty},
		{"an empty piece between", "a=1;;b=2", nil, ErrEmpty},
		{"two semicolons at the end", "a=1;;", nil, ErrEmpty},
		{"no equals sign", "a=1; b", nil, ErrNoValue},
		{"no name", "a=1; =b", nil, ErrName},
		{"a name beginning with a digit", "1a=b", nil, ErrName},
		{"a name beginning with an underscore", "_a=b", nil, ErrName},
		{"white space inside a name", "a b=c", nil, ErrName},
		{"signs around the digits", "a/b=c", nil, ErrName},
		{"signs behind the digits", "a:b=c", nil, ErrName},
		{"signs around the letters", "a@b=c", nil, ErrName},
		{"signs between the letters", "a[b=c", nil, ErrName},
		{"a sign before the small letters", "a`b=c", nil, ErrName},
		{"a sign behind the small letters", "a{b=c", nil, ErrName},
		{"the last letters and digits", "zZ_09=x", []string{"zZ_09=x"}, nil},
		{"NUL in a value", "a=b\x00c", nil, ErrValue},
		{"DEL in a value", "a=b\x7fc", nil, ErrValue},
		{"NUL at the beginning of a value", "a=\x00b", nil, ErrValue},
		{"NUL at the end of a value", "a=b\x00", nil, ErrValue},
		{"bare CR in a value", "a=b\rc", nil, ErrValue},
		{"bare LF in a value", "a=b\n c", nil, ErrValue},
		{"a line break that is not a fold", "a=b\r\nc", nil, ErrValue},
		{"a line break before the semicolon", "a=b\r\n;c=d", nil, ErrValue},
		{"a line break at the end", "a=b\r\n", nil, ErrValue},
		{"as many tags as allowed", manyTags(MaxTags), nil, nil},
		{"one tag too many", manyTags(MaxTags + 1), nil, ErrTooManyTags},
		{"as long as allowed", "a=" + strings.Repeat("x", MaxLen-2), nil, nil},
		{"one octet too long", "a=" + strings.Repeat("x", MaxLen-1), nil, ErrTooLong},
	} {
		list, err := Append(nil, tc.in)
		if !errors.Is(err, tc.err) || tc.err == nil && err != nil {
			t.Errorf("%s: error %v, want %v", tc.why, err, tc.err)
			continue
		}
		if tc.want == nil {
			continue
		}
		var got []string
		for _, tag := range list {
			got = append(got, tag.Name+"="+tag.Value)
			if v, ok := list.Get(tag.Name); !ok || v != tag.Value {
				t.Errorf("%s: Get(%q) = %q, %v", tc.why, tag.Name, v, ok)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.why, got, tc.want)
		}
	}
}

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("t")
		for j := range 8 {
			b.WriteByte("01"[i>>j&1])
		}
		b.WriteString("=x;")
	}
	return b.String()
}

func TestGetAbsent(t *testing.T) {
	list, err := Append(nil, "p=")
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := list.Get("p"); v != "" || !ok {
		t.Errorf("empty tag: %q, %v; want present", v, ok)
	}
	if v, ok := list.Get("P"); v != "" || ok {
		t.Errorf("absent tag: %q, %v; want absent", v, ok)
	}
}

func TestTagBounds(t *testing.T) {
	for _, tc := range []struct{ in, without string }{
		{"v=1; b = ab\r\n cd ; h=x", "v=1; b =; h=x"},
		{"b=xyz", "b="},
		{"a=1; b=xyz \r\n ", "a=1; b="},
		{"b=", "b="},
		{"bh=q; b=xyz;", "bh=q; b=;"},
	} {
		list, err := Append(nil, tc.in)
		if err != nil {
			t.Fatalf("%q: %v", tc.in, err)
		}
		tag, ok := list.Tag("b")
		if !ok {
			t.Fatalf("%q: no b=", tc.in)
		}
		if got := tc.in[:tag.Start] + tc.in[tag.End:]; got != tc.without {
			t.Errorf("%q emptied is %q, want %q", tc.in, got, tc.without)
		}
	}
}

func TestAllGoesOnAfterErrors(t *testing.T) {
	var good, bad []string
	for tag, err := range All("v=DMARC1; p=none; ; nonsense; 1x=y; rua=mailto:a@b; p=reject") {
		if err != nil {
			bad = append(bad, tag.Name)
		} else {
			good = append(good, tag.Name+"="+tag.Value)
		}
	}
	if want := []string{"v=DMARC1", "p=none", "rua=mailto:a@b", "p=reject"}; !slices.Equal(good, want) {
		t.Errorf("tags %q, want %q", good, want)
	}
	if want := []string{"", "nonsense", "1x"}; !slices.Equal(bad, want) {
		t.Errorf("errors at %q, want %q", bad, want)
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	count := 0
	for range All("a=1;b=2;c=3") {
		count++
		break
	}
	if count != 1 {
		t.Errorf("%d pieces after break, want 1", count)
	}
}

func TestSplitAndStrip(t *testing.T) {
	if got, want := Split("from : to\r\n\t:subject:", ':'), []string{"from", "to", "subject", ""}; !slices.Equal(got, want) {
		t.Errorf("Split = %q, want %q", got, want)
	}
	if got, want := Split("", ':'), []string{""}; !slices.Equal(got, want) {
		t.Errorf("Split of nothing = %q, want %q", got, want)
	}
	if got := StripFWS("ab \t\r\n cd"); got != "abcd" {
		t.Errorf("StripFWS = %q, want abcd", got)
	}
	if got := StripFWS("abcd"); got != "abcd" {
		t.Errorf("StripFWS = %q, want abcd", got)
	}
}

func FuzzAppend(f *testing.F) {
	for _, s := range []string{
		"v=1; a=rsa-sha256; c=simple/simple;\r\n\td=example.com; s=s1; h=from:to; bh=x==; b=y==",
		"v=DMARC1; p=reject; rua=mailto:a@example.com;", "v=DKIM1;;p=", " = ;", "a=b\r\n", "a=\r\n b\r\n\t;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pieces := 0
		for tag, err := range All(s) {
			pieces++
			if tag.Start > tag.End || tag.End > len(s) {
				t.Fatalf("bounds [%d:%d] outside of %q", tag.Start, tag.End, s)
			}
			if err != nil {
				continue
			}
			if !strings.Contains(s[tag.Start:tag.End], tag.Value) || s[tag.Start-1] != '=' || tag.End < len(s) && s[tag.End] != ';' {
				t.Fatalf("%q: bounds [%d:%d] do not hold value %q", s, tag.Start, tag.End, tag.Value)
			}
		}
		if pieces > MaxTags+1 {
			t.Fatalf("%d pieces", pieces)
		}
		list, err := Append(nil, s)
		if err != nil {
			return
		}
		var out []string
		for _, tag := range list {
			out = append(out, tag.Name+"="+tag.Value)
		}
		again, err := Append(nil, strings.Join(out, ";"))
		if err != nil || len(again) != len(list) {
			t.Fatalf("%q printed does not parse: %v", s, err)
		}
		for i := range list {
			if list[i].Name != again[i].Name || list[i].Value != again[i].Value {
				t.Fatalf("%q: tag %d is %v, printed and parsed %v", s, i, list[i], again[i])
			}
		}
	})
}
