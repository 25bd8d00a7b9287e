package traffic

import "encoding/binary"

// The kinds of faults in DNSOptions.Faults. Over TCP, the connection is closed after a faulty
// answer whose length differs from that of the true answer.
const (
	FaultNone          = "none"
	FaultServFail      = "servfail"
	FaultRefused       = "refused"
	FaultSilent        = "silent"        // no answer at all
	FaultTruncate      = "truncate"      // over UDP the answer is marked as truncated; over TCP only half of it is sent
	FaultClose         = "close"         // over UDP the answer is marked as truncated; over TCP the connection is closed without an answer
	FaultGarbage       = "garbage"       // octets that are not a DNS message
	FaultWrongID       = "wrongid"       // an answer with a wrong ID, and no true answer
	FaultWrongQuestion = "wrongquestion" // an answer about another name
	FaultFlood         = "flood"         // many forged answers with wrong IDs before the true answer
)

// floodAnswers is the number of forged answers that FaultFlood sends.
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

// spoil returns the datagrams to be sent instead of a true answer. The datagrams may share memory
// with the argument "answer".
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
		other[headerLen+1] ^= 2 // changes a letter of the name in the question section
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

// failure returns an answer with rcode, the question section and no records. It has no EDNS record,
// which is optional.
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

// forged returns the answer with a wrong ID. An attacker who has to guess the ID would send such
// answers.
func forged(answer []byte) []byte {
	out := append([]byte(nil), answer...)
	out[0] ^= 0x55
	return out
}

// spoilTCP returns the octets to be sent instead of the argument "framed", which is a true answer
// with its length in front. If spoilTCP returns no octets, the connection is closed.
func spoilTCP(kind string, framed []byte) []byte {
	switch kind {
	case FaultNone, FaultFlood:
		return framed
	case FaultTruncate: // the length in front is that of the whole answer, but only half of the octets are sent
		return framed[:2+(len(framed)-2)/2]
	case FaultServFail, FaultRefused, FaultWrongID, FaultWrongQuestion:
		out := make([]byte, 2)
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
