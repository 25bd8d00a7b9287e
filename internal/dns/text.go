package dns

import (
	"fmt"
	"strconv"
	"strings"
)

// UnmarshalText reads the output of MarshalText.
func (t *Type) UnmarshalText(text []byte) error {
	for _, known := range []Type{TypeA, TypeNS, TypeCNAME, TypePTR, TypeMX, TypeTXT, TypeAAAA} {
		if known.String() == string(text) {
			*t = known
			return nil
		}
	}
	number, ok := strings.CutPrefix(string(text), "TYPE")
	n, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil {
		return fmt.Errorf("dns: %q is not a record type", text)
	}
	*t = Type(n)
	return nil
}

// UnmarshalText reads the output of MarshalText.
func (s *Status) UnmarshalText(text []byte) error {
	for _, known := range []Status{NoError, NXDomain} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("dns: %q is not a status", text)
}

// UnmarshalText reads the output of String, except "unknown".
func (k *ErrorKind) UnmarshalText(text []byte) error {
	for known := KindTimeout; known.String() != unknownKind; known++ {
		if known.String() == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("dns: %q is not a kind of failure", text)
}
