package wire

import (
	"encoding/binary"
	"strings"
)

// The functions of this file write replies and edits, octet for octet, as go-milter does.
// go-milter would allocate a buffer of 4 KB for each of them, which would be a quarter of all
// memory that a message takes.

// open begins a frame in the write buffer. Everything that is appended to t.out.b before the call
// of shut is the payload of the frame. The returned index "begin" is the argument for shut.
func (t *Transport) open(code byte) (begin int) {
	head := [...]byte{4: code}
	t.Append(head[:])
	return len(t.out.b) - len(head)
}

// shut ends the frame that begins at the index "begin": it sets the frame's length.
func (t *Transport) shut(begin int) {
	frame := t.out.b[begin:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
}

// Reply writes the frame of a reply. The first octet of r is the code of the frame.
func (t *Transport) Reply(r string) {
	begin := t.open(r[0])
	t.out.b = append(t.out.b, r[1:]...)
	if r[0] == CodeReply {
		t.out.b = append(t.out.b, 0) // the text ends with a NUL
	}
	t.shut(begin)
}

// InsertHeader writes the frame that makes the MTA insert a field at index.
func (t *Transport) InsertHeader(index int, name, value string) {
	t.edit(codeInsertHeader, index, name, value)
}

// ChangeHeader writes the frame that makes the MTA give the index-th field called name a new
// value. An empty value deletes the field.
func (t *Transport) ChangeHeader(index int, name, value string) {
	t.edit(codeChangeHeader, index, name, value)
}

// edit writes an edit of the header. A CRLF in a fold becomes LF, because Postfix would make CR
// CR LF of a CRLF.
func (t *Transport) edit(code byte, index int, name, value string) {
	begin := t.open(code)
	b := binary.BigEndian.AppendUint32(t.out.b, uint32(index))
	b = append(append(b, name...), 0)
	for {
		line, rest, fold := strings.Cut(value, "\r\n")
		b = append(b, line...)
		if !fold {
			break
		}
		b = append(b, '\n')
		value = rest
	}
	b = append(b, 0)
	t.out.b = b
	t.shut(begin)
}

// Quarantine writes the frame that makes the MTA hold the message.
func (t *Transport) Quarantine(reason string) {
	begin := t.open(codeQuarantine)
	t.out.b = append(append(t.out.b, reason...), 0)
	t.shut(begin)
}
