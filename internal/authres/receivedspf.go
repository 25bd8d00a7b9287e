package authres

import "net/netip"

// ReceivedSPFName is the name of the header field that FormatReceivedSPF
// writes the value of.
const ReceivedSPFName = "Received-SPF"

// ReceivedSPF is what a Received-SPF field records (RFC 7208 §9.1). Empty
// values are left out, but for an empty EnvelopeFrom, which is the null
// reverse-path.
type ReceivedSPF struct {
	Result       string     // the RFC's word: pass, fail, softfail, neutral, none, temperror, permerror
	Comment      string     // prose for people, of ours
	Receiver     string     // host name of the verifier
	ClientIP     netip.Addr // address of the SMTP client
	EnvelopeFrom string     // envelope sender
	HELO         string     // HELO or EHLO argument
	Identity     string     // the identity checked: mailfrom or helo
	Mechanism    string     // the mechanism that matched
	Problem      string     // why temperror or permerror
	UTF8         bool       // as in Field
}

// FormatReceivedSPF returns the value of a Received-SPF field as it goes on
// the wire, beginning with a space and folded by CRLF SP. Values are dot-atoms
// or quoted-strings and made safe as [Field.Format] does.
func FormatReceivedSPF(r ReceivedSPF) string {
	l := lines{col: len(ReceivedSPFName) + len(":")}
	l.begin()
	l.b = append(l.b, cleanKeyword(r.Result)...)
	l.end()
	if r.Comment != "" {
		l.begin()
		l.b = appendComment(l.b, cleanText(r.Comment, r.UTF8))
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
		if kv.value == "" && kv.key != "envelope-from" {
			continue
		}
		value := cleanText(kv.value, r.UTF8)
		l.begin()
		l.b = append(append(l.b, kv.key...), '=')
		// The grammar wants a dot-atom, which may hold '='; what is no token
		// is quoted all the same.
		if isDotAtom(value) && isToken(value) {
			l.b = append(l.b, value...)
		} else {
			l.b = appendQuoted(l.b, value)
		}
		l.b = append(l.b, ';')
		l.end()
	}
	return string(l.b)
}
