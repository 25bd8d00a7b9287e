package dns

import (
	"encoding"
	"errors"
	"fmt"
	"testing"
)

// TestPermanent: KindLoop and KindTooLarge are permanent, because they follow from what is
// published. All other errors are temporary.
func TestPermanent(t *testing.T) {
	for k := ErrorKind(1); k.String() != "unknown"; k++ {
		err := fmt.Errorf("wrapped: %w", &Error{Kind: k})
		if want := k == KindLoop || k == KindTooLarge; Permanent(err) != want {
			t.Errorf("%s: permanent %v", k, !want)
		}
	}
	if Permanent(nil) || Permanent(errors.New("strange")) {
		t.Error("an error that is not an *Error counts as permanent")
	}
}

func TestUnmarshalText(t *testing.T) {
	for _, typ := range []Type{0, TypeA, TypeNS, TypeCNAME, TypePTR, TypeMX, TypeTXT, TypeAAAA, 99, 65535} {
		var got Type
		if err := got.UnmarshalText([]byte(typ.String())); err != nil || got != typ {
			t.Errorf("%s: %v, %v", typ, got, err)
		}
	}
	for _, s := range []Status{NoError, NXDomain} {
		var got Status
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	kinds := 0
	for k := ErrorKind(1); k.String() != "unknown"; k++ {
		kinds++
		var got ErrorKind
		if err := got.UnmarshalText([]byte(k.String())); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	if kinds != int(KindTooLarge) {
		t.Errorf("%d kinds have a name", kinds)
	}
	for _, bad := range []struct {
		name string
		to   encoding.TextUnmarshaler
		text string
	}{
		{"a type in lower case", new(Type), "txt"}, {"a number alone", new(Type), "16"}, {"over 16 bits", new(Type), "TYPE65536"},
		{"an empty type", new(Type), ""}, {"an empty status", new(Status), ""}, {"another status", new(Status), "SERVFAIL"},
		{"the text for a number that is not a kind", new(ErrorKind), "unknown"},
	} {
		if err := bad.to.UnmarshalText([]byte(bad.text)); err == nil {
			t.Errorf("%s: %q was read", bad.name, bad.text)
		}
	}
}
