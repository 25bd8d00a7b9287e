package milter

import (
	"encoding/binary"
	"strings"
)

// Frames of edits (Sendmail's libmilter, mfdef.h). They and the replies are
// written here, octet for octet as go-milter does: it makes a buffer of 4 KB for
// each, a quarter of all memory that a message takes.
const (
	codeInsertHeader = 'i' // SMFIR_INSHEADER
	codeChangeHeader = 'm' // SMFIR_CHGHEADER
	codeQuarantine   = 'q' // SMFIR_QUARANTINE
)

// open begins a frame that flush sends; what is appended to t.out.b until shut
// is its payload. begin is for shut.
func (t *transport) open(code byte) (begin int) {
	head := [...]byte{4: code}
	t.write(head[:])
	return len(t.out.b) - len(head)
}

// shut ends the frame: its length is known.
func (t *transport) shut(begin int) {
	frame := t.out.b[begin:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
}

// reply writes the frame of a reply, whose first octet is its code.
func (t *transport) reply(r Reply) {
	begin := t.open(r[0])
	t.out.b = append(t.out.b, r[1:]...)
	if r[0] == codeReply {
		t.out.b = append(t.out.b, 0) // its text ends with a NUL
	}
	t.shut(begin)
}

// edit writes an edit of the header. Folds become LF: of CRLF Postfix makes
// two CR.
func (t *transport) edit(code byte, index int, name, value string) {
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

// quarantine asks the MTA to hold the message.
func (t *transport) quarantine(reason string) {
	begin := t.open(codeQuarantine)
	t.out.b = append(append(t.out.b, reason...), 0)
	t.shut(begin)
}
