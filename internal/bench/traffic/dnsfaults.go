package traffic

import "encoding/binary"

// The faults of a name server are the kinds of DNSOptions.Faults. Over TCP, a
// fault that changes the length of the answer also ends the connection.
const (
	FaultNone          = "none"
	FaultServFail      = "servfail"
	FaultRefused       = "refused"
	FaultSilent        = "silent"        // no answer at all
	FaultTruncate      = "truncate"      // truncated over UDP; over TCP the answer is cut short
	FaultClose         = "close"         // truncated over UDP; over TCP the connection ends without an answer
	FaultGarbage       = "garbage"       // octets that are not a DNS message
	FaultWrongID       = "wrongid"       // only an answer with another ID
	FaultWrongQuestion = "wrongquestion" // an answer about another name
	FaultFlood         = "flood"         // many forged answers before the true one
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

// spoil returns the datagrams to send instead of a true answer. The slices may
// share the memory of answer.
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
		other[headerLen+1] ^= 2 // changes a letter of the name in the question
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

// failure returns the answer with rcode and without its records. It has no EDNS,
// which is optional in an answer.
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

// forged returns the answer as a forger would send it who does not know the ID.
func forged(answer []byte) []byte {
	out := append([]byte(nil), answer...)
	out[0] ^= 0x55
	return out
}

// spoilTCP returns the octets to write instead of a true answer with its length
// in front. If it returns none, the connection just ends.
func spoilTCP(kind string, framed []byte) []byte {
	switch kind {
	case FaultNone, FaultFlood:
		return framed
	case FaultTruncate: // the length is that of the whole, and half of it is sent
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
