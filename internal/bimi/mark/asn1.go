package mark

import (
	"encoding/asn1"
	"errors"
)

// maxElements bounds the elements of one sequence in a logotype, a certificate or the extension of a
// revocation list. The extensions of a certificate are about ten.
const maxElements = 100

var errASN1 = errors.New("mark: the ASN.1 is not valid")

// elements returns the elements of one constructed value, which must be all of der. It goes one level
// deep, so that nobody can make a parser recurse.
func elements(der []byte, class, tag int) ([]asn1.RawValue, error) {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || len(rest) > 0 || outer.Class != class || outer.Tag != tag || !outer.IsCompound {
		return nil, errASN1
	}
	return split(outer.Bytes)
}

// split returns the elements that follow each other in b.
func split(b []byte) ([]asn1.RawValue, error) {
	var all []asn1.RawValue
	for len(b) > 0 {
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(b, &one)
		if err != nil || len(all) == maxElements {
			return nil, errASN1
		}
		all, b = append(all, one), rest
	}
	return all, nil
}

// is reports whether a value has a class and tag.
func is(v asn1.RawValue, class, tag int, compound bool) bool {
	return v.Class == class && v.Tag == tag && v.IsCompound == compound
}
