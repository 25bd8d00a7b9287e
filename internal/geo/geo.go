// Package geo finds the country of an address in a file of the MaxMind DB format.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/oschwald/maxminddb-golang/v2"

	"sekimori/internal/ledger"
)

// MaxFile is the largest size of a file of countries, in octets. It is read into memory as a whole, so that
// a file that is replaced in place cannot hurt. Files with countries only have about 10 MB.
const MaxFile = 128 << 20

// lookedAt is how many networks of a file are looked at, to find one with a country.
const lookedAt = 1000

// Countries is a file of countries. Its methods may be called by several goroutines at a time.
type Countries struct {
	db      *maxminddb.Reader
	lookup  func(netip.Addr) maxminddb.Result // of db; a test has another one
	damaged func(error)
	once    sync.Once
}

// errDamaged is the error for a file whose beginning and end are as they should be.
var errDamaged = errors.New("geo: the file is damaged; fetch it again")

// places are where the files of the known publishers have the country's code.
var places = [...][]any{
	{"country", "iso_code"}, // MaxMind, DB-IP, IP2Location
	{"country_code"},        // IPinfo
	{"country"},             // IPinfo, formerly
	{"registered_country", "iso_code"},
}

// Parse reads the content of a file. It keeps data, which must not be changed any more. It looks at the first
// networks only, so damage may be found later: then damaged is called, once for each Countries, and the
// addresses in the damaged part have an unknown country.
func Parse(data []byte, damaged func(error)) (*Countries, error) {
	return parse(func() (*maxminddb.Reader, error) { return maxminddb.OpenBytes(data) }, damaged)
}

// parse does what Parse does with the reader that open returns. A test has another one.
func parse(open func() (*maxminddb.Reader, error), damaged func(error)) (c *Countries, err error) {
	defer func() {
		if v := recover(); v != nil { // by the reader, which others wrote
			c, err = nil, errDamaged
		}
	}()
	db, err := open()
	if err != nil {
		return nil, errors.New("geo: it is not a file of the MaxMind DB format (.mmdb), or it is damaged; fetch it again, and unpack it if it is an archive")
	}
	c = &Countries{db: db, lookup: db.Lookup, damaged: damaged}
	n := 0
	for found := range db.Networks() {
		if found.Err() != nil {
			return nil, errDamaged
		}
		if code, _ := code(found); code != ledger.UnknownCountry {
			return c, nil
		}
		if n++; n == lookedAt {
			break
		}
	}
	return nil, fmt.Errorf("geo: it is a file of the type %q, which has no countries; name one that has, such as GeoLite2-Country.mmdb", db.Metadata.DatabaseType)
}

// Country returns the ISO 3166 code of the country in which an address is, or [ledger.UnknownCountry].
func (c *Countries) Country(addr netip.Addr) (country string) {
	defer func() {
		// The reader is not ours. Whatever a file has in it must not end the daemon.
		if v := recover(); v != nil {
			country = ledger.UnknownCountry
			c.report(fmt.Errorf("geo: the file is damaged; fetch it again: its reader failed: %v", v))
		}
	}()
	country, err := code(c.lookup(addr.Unmap().WithZone("")))
	if err != nil {
		c.report(fmt.Errorf("geo: the file is damaged; fetch it again: %w", err))
	}
	return country
}

func (c *Countries) report(err error) { c.once.Do(func() { c.damaged(err) }) }

// code returns the code of a country, and an error if the file is damaged there. For an address that is not
// in the file, DecodePath leaves the text empty.
func code(found maxminddb.Result) (string, error) {
	for _, place := range places {
		var text string
		err := found.DecodePath(&text, place...)
		if err == nil && text != "" {
			return ledger.CountryWord(text), nil
		}
		if err := damage(err); err != nil {
			return ledger.UnknownCountry, err
		}
	}
	return ledger.UnknownCountry, nil
}

// damage returns an error that says that the file is damaged, or nil for every other one: that a place has
// something else than a text, or that a file of IPv4 has no IPv6 address.
func damage(err error) error {
	var bad maxminddb.InvalidDatabaseError
	if errors.As(err, &bad) {
		return bad
	}
	return nil
}
