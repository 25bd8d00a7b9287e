package wire

import (
	"encoding/binary"
	"strings"
)

// Replies and edits are written here, octet for octet as go-milter does: it
// makes a buffer of 4 KB for each, a quarter of all memory that a message takes.

// open begins a frame that Flush sends; what is appended to t.out.b until shut
// is its payload. begin is for shut.
func (t *Transport) open(code byte) (begin int) {
	head := [...]byte{4: code}
	t.Append(head[:])
	return len(t.out.b) - len(head)
}

// shut ends the frame: its length is known.
func (t *Transport) shut(begin int) {
	frame := t.out.b[begin:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
}

// Reply writes the frame of a reply, whose first octet is its code.
func (t *Transport) Reply(r string) {
	begin := t.open(r[0])
	t.out.b = append(t.out.b, r[1:]...)
	if r[0] == CodeReply {
		t.out.b = append(t.out.b, 0) // its text ends with a NUL
	}
	t.shut(begin)
}

// InsertHeader has the MTA put a field at index.
func (t *Transport) InsertHeader(index int, name, value string) {
	t.edit(codeInsertHeader, index, name, value)
}

// ChangeHeader gives the index-th field of the name a new value. An empty one
// deletes it.
func (t *Transport) ChangeHeader(index int, name, value string) {
	t.edit(codeChangeHeader, index, name, value)
}

// edit writes an edit of the header. Folds become LF: of CRLF Postfix makes
// two CR.
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

// Quarantine asks the MTA to hold the message.
func (t *Transport) Quarantine(reason string) {
	begin := t.open(codeQuarantine)
	t.out.b = append(append(t.out.b, reason...), 0)
	t.shut(begin)
}
