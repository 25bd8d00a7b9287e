package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"sekimori/internal/message"
)

// maxHeader limits how much of a header is read, in octets. It is more than any sensible
// limits.header_bytes together with the fields that the site's own hosts add.
const maxHeader = 16 << 20

// readHeader reads the header of a message. rest is the beginning of the body, if a part of the
// body was read together with the header. whole is false if the header is larger than maxHeader. In
// that case h is only the beginning of the header.
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

// where tells a person where the message is: its file, or its place in the mbox.
func (m *Message) where() string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("message %d at octet %d", m.Number, m.Offset)
}
