// Package geo finds the country of an address in a file of the MaxMind DB format.
package geo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"sekimori/internal/ledger"
)

// MaxFile is the largest size of a file of countries, in octets. It is read into memory as a whole, so that
// a file that is replaced in place cannot hurt. Files with countries only have about 10 MB.
const MaxFile = 128 << 20

// lookedAt is how many networks of a file are looked at, to find one with a country.
const lookedAt = 1000

// Countries is a file of countries. Its methods may be called by several goroutines at a time.
type Countries struct{ db *maxminddb.Reader }

// places are where the files of the known publishers have the country's code.
var places = [...][]any{
	{"country", "iso_code"}, // MaxMind, DB-IP, IP2Location
	{"country_code"},        // IPinfo
	{"country"},             // IPinfo, formerly
	{"registered_country", "iso_code"},
}

// Parse reads the content of a file. It keeps data, which must not be changed any more.
func Parse(data []byte) (*Countries, error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, errors.New("geo: it is not a file of the MaxMind DB format (.mmdb), or it is damaged; fetch it again, and unpack it if it is an archive")
	}
	c := &Countries{db}
	n := 0
	for found := range db.Networks() {
		if found.Err() != nil {
			return nil, errors.New("geo: the file is damaged; fetch it again")
		}
		if code(found) != ledger.UnknownCountry {
			return c, nil
		}
		if n++; n == lookedAt {
			break
		}
	}
	return nil, fmt.Errorf("geo: it is a file of the type %q, which has no countries; name one that has, such as GeoLite2-Country.mmdb", db.Metadata.DatabaseType)
}

// Country returns the ISO 3166 code of the country in which an address is, or [ledger.UnknownCountry].
func (c *Countries) Country(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return ledger.UnknownCountry
	}
	return code(c.db.Lookup(addr))
}

func code(found maxminddb.Result) string {
	if !found.Found() {
		return ledger.UnknownCountry
	}
	for _, place := range places {
		var text string
		if found.DecodePath(&text, place...) == nil && text != "" {
			return ledger.CountryWord(text)
		}
	}
	return ledger.UnknownCountry
}
