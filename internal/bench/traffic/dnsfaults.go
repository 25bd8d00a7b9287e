package traffic

import "encoding/binary"

// The faults of a name server, kinds of DNSOptions.Faults. Over TCP those that
// only make sense in a datagram end the connection.
const (
	FaultNone          = "none"
	FaultServFail      = "servfail"
	FaultRefused       = "refused"
	FaultSilent        = "silent"        // no answer at all
	FaultTruncate      = "truncate"      // come again over TCP; there the answer is cut short
	FaultClose         = "close"         // truncated; over TCP the connection ends instead of an answer
	FaultGarbage       = "garbage"       // octets that are no message
	FaultWrongID       = "wrongid"       // an answer to nobody's question, and no other
	FaultWrongQuestion = "wrongquestion" // an answer about another name
	FaultFlood         = "flood"         // a forger's answers, many, before the true one
)

// floodAnswers is how many forged answers FaultFlood sends.
const floodAnswers = 64

func validFault(kind string) error {
	return oneOf(FaultNone, FaultServFail, FaultRefused, FaultSilent, FaultTruncate, FaultClose,
		FaultGarbage, FaultWrongID, FaultWrongQuestion, FaultFlood)(kind)
}

const (
	headerLen    = 12 // RFC 1035 §4.1.1
	flagTC       = 1 << 9
	rcodeServ    = 2
	rcodeRefused = 5
)

// spoil returns the datagrams to send for a true answer. The slices may share
// the answer's memory.
func spoil(kind string, answer []byte) [][]byte {
	if len(answer) < headerLen {
		return nil
	}
	switch kind {
	case FaultServFail:
		return [][]byte{failure(answer, rcodeServ)}
	case FaultRefused:
		return [][]byte{failure(answer, rcodeRefused)}
	case FaultSilent:
		return nil
	case FaultTruncate, FaultClose:
		cut := failure(answer, 0)
		binary.BigEndian.PutUint16(cut[2:], binary.BigEndian.Uint16(cut[2:])|flagTC)
		return [][]byte{cut}
	case FaultGarbage:
		return [][]byte{append(append([]byte(nil), answer[:2]...), 0xff, 0xff, 0xc0, 0x0c, 0xc0)}
	case FaultWrongID:
		return [][]byte{forged(answer)}
	case FaultWrongQuestion:
		other := append([]byte(nil), answer...)
		other[headerLen+1] ^= 2 // a letter of the name asked
		return [][]byte{other}
	case FaultFlood:
		out := make([][]byte, 0, floodAnswers+1)
		for i := range floodAnswers {
			f := forged(answer)
			f[1] ^= byte(i + 1)
			out = append(out, f)
		}
		return append(out, answer)
	}
	return [][]byte{answer}
}

// failure is the answer without its records. What is left of the additional
// section is not worth keeping: EDNS is optional in an answer.
func failure(answer []byte, rcode byte) []byte {
	i := headerLen
	for i < len(answer) && answer[i] != 0 {
		i += 1 + int(answer[i])
	}
	out := append([]byte(nil), answer[:min(i+5, len(answer))]...)
	out[3] = out[3]&0xf0 | rcode
	clear(out[6:headerLen])
	return out
}

// forged is the answer as somebody would send it who does not know the id.
func forged(answer []byte) []byte {
	out := append([]byte(nil), answer...)
	out[0] ^= 0x55
	return out
}

// spoilTCP returns what to write for a true answer with its length in front;
// none ends the connection.
func spoilTCP(kind string, framed []byte) []byte {
	switch kind {
	case FaultNone, FaultFlood:
		return framed
	case FaultTruncate: // announced whole, sent in half
		return framed[:2+(len(framed)-2)/2]
	case FaultServFail, FaultRefused, FaultWrongID, FaultWrongQuestion:
		out := []byte{0, 0}
		for _, m := range spoil(kind, framed[2:]) {
			out = append(out, m...)
		}
		binary.BigEndian.PutUint16(out, uint16(len(out)-2))
		return out
	case FaultGarbage:
		return []byte{0, 3, 0xff, 0xff, 0xff}
	}
	return nil
}
