package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"sekimori/internal/message"
)

// maxHeader bounds the header that is read of a message, in octets. It is more
// than any sensible limits.header_bytes and the fields that the site's own hosts
// add.
const maxHeader = 16 << 20

// readHeader reads a message up to the end of its header. rest is the part of
// the body that was read with it. whole is false if the header is larger than
// maxHeader; then h is only its beginning.
func readHeader(in lines) (h message.Header, rest []byte, whole bool, err error) {
	var raw []byte
	for {
		c, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, false, err
		}
		if len(raw)+len(c.data) > maxHeader {
			h, _ = message.Parse(raw)
			return h, nil, false, nil
		}
		raw = append(raw, c.data...)
		if c.blank() {
			break
		}
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil, false, errors.New("the message is empty")
	}
	h, rest = message.Parse(raw)
	return h, rest, true, nil
}

// where returns a message's file or position for people.
func (m *Message) where() string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("message %d at octet %d", m.Number, m.Offset)
}
