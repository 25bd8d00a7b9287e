package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"sekimori/internal/dns"
)

// snapshotHeader is the first line of the file.
type snapshotHeader struct {
	Version int       `json:"sekimori_dns_snapshot"`
	Created time.Time `json:"created"`
}

// snapshotLine is an answer or a failure in the file.
type snapshotLine struct {
	Name      octets           `json:"name"`
	Type      dns.Type         `json:"type"`
	Status    dns.Status       `json:"status,omitzero"`
	Canonical octets           `json:"canonical,omitzero"`
	Records   []snapshotRecord `json:"records,omitempty"`
	TTL       int64            `json:"ttl,omitempty"` // TTL in seconds when the answer was received
	AD        bool             `json:"ad,omitempty"`
	Error     string           `json:"error,omitempty"` // the text of a dns.ErrorKind
}

type snapshotRecord struct {
	Addr       string `json:"addr,omitempty"`
	Host       octets `json:"host,omitzero"`
	Preference uint16 `json:"preference,omitempty"`
	Text       octets `json:"text,omitzero"`
}

// octets is a text with any octets. In JSON it is a string, or {"base64": "..."} if the text is not
// UTF-8.
type octets string

// MarshalJSON implements json.Marshaler.
func (o octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(map[string][]byte{"base64": []byte(o)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *octets) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte("{")) {
		var encoded struct {
			Base64 []byte `json:"base64"`
		}
		err := json.Unmarshal(raw, &encoded)
		*o = octets(encoded.Base64)
		return err
	}
	return json.Unmarshal(raw, (*string)(o))
}

// newSnapshotLine returns the line for the outcome of a question, or nil if the question was given up.
func newSnapshotLine(q question, answer dns.Answer, err error) *snapshotLine {
	l := &snapshotLine{Name: octets(q.name), Type: q.typ}
	if err != nil {
		var failed *dns.Error
		if !errors.As(err, &failed) || failed.AskerGaveUp() {
			return nil
		}
		l.Error = failed.Kind.String()
		return l
	}
	l.Status, l.Canonical, l.TTL, l.AD = answer.Status, octets(answer.Canonical), int64(answer.TTL/time.Second), answer.Authenticated
	for _, r := range answer.Records {
		kept := snapshotRecord{Host: octets(r.Host), Preference: r.Preference, Text: octets(r.Text)}
		if r.Addr.IsValid() {
			kept.Addr = r.Addr.String()
		}
		l.Records = append(l.Records, kept)
	}
	return l
}
