package received

import (
	"errors"

	"sekimori/internal/message"
)

var errNoField = errors.New("the message has no received field")

// Topmost returns the topmost Received field. The host that handed the message on wrote
// this field. Topmost returns an error if the field names no client, or if the client
// cannot be read. It does not read another field instead, because strangers may have
// written the others. The exception is qmail, which writes two fields for each message. If
// the topmost field is a note of qmail (see invoked), the next field is read, unless that
// is a note again.
func Topmost(h message.Header) (Field, error) {
	note := false
	for _, f := range h {
		if !f.Is("Received") {
			continue
		}
		if !note && invoked(f.Value) {
			note = true
			continue
		}
		r, err := Parse(f.Value)
		switch {
		case err != nil:
			return r, err
		case !r.Address.IsValid():
			return r, errUnreadable
		}
		return r, nil
	}
	return Field{}, errNoField
}
