package authres

import "net/netip"

// ReceivedSPFName is the name of the header field whose value FormatReceivedSPF
// returns.
const ReceivedSPFName = "Received-SPF"

// ReceivedSPF has the contents of a Received-SPF field (RFC 7208 §9.1). Empty values are left out
// of the field. But if NullSender is set, an empty EnvelopeFrom is written.
type ReceivedSPF struct {
	Result       string     // the RFC's word: pass, fail, softfail, neutral, none, temperror, permerror
	Comment      string     // a text that sekimori itself chooses, for people
	Receiver     string     // host name of the verifier
	ClientIP     netip.Addr // address of the SMTP client
	EnvelopeFrom string     // envelope sender, or its domain alone
	NullSender   bool       // the envelope sender is null, and EnvelopeFrom is ""
	HELO         string     // HELO or EHLO argument
	Identity     string     // the identity checked: mailfrom or helo
	Mechanism    string     // the SPF mechanism that matched
	Problem      string     // one word for the reason of temperror or permerror
	UTF8         bool       // allows characters beyond ASCII, as Field.UTF8 does
}

// FormatReceivedSPF returns the value of a Received-SPF field as it is sent. It begins with a
// space, and each fold is CRLF SP. Values are dot-atoms or quoted-strings. A value that
// [Field.Format] would leave out is left out here, too.
func FormatReceivedSPF(r ReceivedSPF) string {
	l := lines{col: len(ReceivedSPFName) + len(":")}
	l.begin()
	l.b = append(l.b, cleanKeyword(r.Result)...)
	l.end()
	if r.Comment != "" {
		l.begin()
		l.b = appendComment(l.b, cleanProse(r.Comment, &commentChars, r.UTF8))
		l.end()
	}
	ip := ""
	if r.ClientIP.IsValid() {
		ip = r.ClientIP.Unmap().WithZone("").String()
	}
	for _, kv := range []struct{ key, value string }{
		{"receiver", r.Receiver},
		{"client-ip", ip},
		{"envelope-from", r.EnvelopeFrom},
		{"helo", r.HELO},
		{"identity", r.Identity},
		{"mechanism", r.Mechanism},
		{"problem", r.Problem},
	} {
		null := r.NullSender && kv.key == "envelope-from"
		if !null && !isWritable(kv.value, r.UTF8) {
			continue
		}
		l.begin()
		l.b = append(append(l.b, kv.key...), '=')
		// The grammar asks for a dot-atom or a quoted-string. A dot-atom that is neither a domain
		// name nor a token is quoted, because some programs would misread it.
		if isDomainName(kv.value) || isDotAtom(kv.value) && isToken(kv.value) {
			l.b = append(l.b, kv.value...)
		} else {
			l.b = appendQuoted(l.b, kv.value)
		}
		l.b = append(l.b, ';')
		l.end()
	}
	return string(l.b)
}
