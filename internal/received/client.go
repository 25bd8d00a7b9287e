package received

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// readClient finds the client in the comments after "from WORD". MTAs write the client in the forms
// below. WORD is the HELO name of the client, unless the form has another place for HELO.
//
//	from HELO (NAME [ADDRESS]) ...           Postfix, OpenSMTPD, Haraka
//	from HELO (user@NAME [ADDRESS] (may be forged))   Sendmail
//	from HELO ([ADDRESS]:PORT helo=HELO ident=USER)   Exim; with helo=, WORD is the name of the client
//	from [ADDRESS] (helo=HELO)               Exim, if the client has no name
//	from NAME (HELO HELO) (USER@ADDRESS)     qmail, qpsmtpd
//	from [ADDRESS] (HELO HELO)               CommuniGate, with "account USER " if the client logged in
//	from HELO (ADDRESS)                      Exchange; also qmail, if HELO is the name of the client
//	from HELO (ADDRESS:PORT)                 XMail
//
// If no comment names a client, r.Address stays invalid; [Field.movedWithinHost] says what that
// means. If a comment looks like a client, but in another form, readClient returns an error.
// Without the error, the field would count as a move of the message within the host. Then the
// fields below it, which the client wrote, would be believed.
//
// readClient also returns an error if two comments name a client. An MTA writes one such comment.
// The other could be a part of a HELO name with parentheses, which the client chose.
func (r *Field) readClient(comments []string) error {
	if len(comments) == 0 {
		return nil
	}
	_, wordIsAddress := literal(r.HELO)
	if err := r.firstComment(comments); err != nil {
		return err
	}
	used := 1
	if saysHELO(strings.Fields(comments[0])) && !wordIsAddress {
		used = 2 // in the form of qmail, the second comment has the address
	}
	if r.Address.IsValid() && slices.ContainsFunc(comments[used:], namesClient) {
		r.Address = netip.Addr{}
		return errUnreadable
	}
	return nil
}

// namesClient reports whether a comment has an address where MTAs write the address of the client:
// in brackets, or alone.
func namesClient(comment string) bool {
	if _, ok := address(strings.TrimSpace(comment[strings.LastIndexByte(comment, '@')+1:])); ok {
		return true
	}
	for rest := comment; ; {
		_, after, ok := strings.Cut(rest, "[")
		if !ok {
			return false
		}
		inner, _, _ := strings.Cut(after, "]")
		if _, ok := address(inner); ok {
			return true
		}
		rest = after
	}
}

// firstComment reads the client from the first comment, and in the form of qmail also from the
// second.
func (r *Field) firstComment(comments []string) error {
	r.loggedIn = slices.ContainsFunc(comments[1:], saysLogin)
	first := comments[0]
	words := strings.Fields(first)
	switch {
	case first == "[unix socket]", strings.HasSuffix(first, "[local]"): // the LMTP server of Cyrus, and OpenSMTPD
		r.onHost = true
		return nil
	case saysHELO(words):
		return r.afterHELO(words, comments[1:])
	case len(words) > 0 && (isParameter(words[0]) || slices.ContainsFunc(words, isParameter) && !strings.Contains(first, "[")):
		return r.exim(words)
	case strings.Contains(first, "["):
		return r.bracketed(first)
	case len(words) == 1:
		if addr, ok := address(words[0]); ok {
			r.Address = addr
			return nil
		}
		if looksLikeAddress(words[0]) {
			return errUnreadable
		}
	}
	return nil
}

// saysLogin reports whether a comment says that the client logged in. It knows the comments of
// Postfix, Sendmail and Courier.
func saysLogin(comment string) bool {
	return strings.HasPrefix(comment, "Authenticated sender: ") || strings.HasPrefix(comment, "authenticated") ||
		strings.HasPrefix(comment, "AUTH: ")
}

// saysHELO reports whether the words are "HELO NAME", "EHLO NAME" or "account USER HELO NAME".
func saysHELO(words []string) bool {
	i := len(words) - 2
	return (i == 0 || i == 2 && words[0] == "account") && (strings.EqualFold(words[i], "HELO") || strings.EqualFold(words[i], "EHLO"))
}

// afterHELO reads the forms of qmail and CommuniGate. In these forms, WORD is chosen by the host:
// it is the name of the client, "unknown", or the address of the client.
func (r *Field) afterHELO(words, rest []string) error {
	word := r.HELO
	r.HELO, r.loggedIn = words[len(words)-1], r.loggedIn || words[0] == "account"
	if addr, ok := literal(word); ok {
		r.Address = addr
		return nil
	}
	if len(rest) == 0 {
		return errUnreadable
	}
	text := strings.TrimSpace(rest[0])
	if i := strings.LastIndexByte(text, '@'); i >= 0 { // USER is the answer of an ident server (RFC 1413)
		text = text[i+1:]
	}
	addr, ok := address(text)
	if !ok {
		return errUnreadable
	}
	r.Address = addr
	if !strings.EqualFold(word, "unknown") {
		r.Name = word
	}
	return nil
}

// isParameter reports whether word is a parameter that Exim writes, such as helo=NAME or port=25.
func isParameter(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && slices.Contains([]string{"helo", "port", "ident"}, name)
}

// exim reads "from [ADDRESS] (helo=NAME port=25 ident=USER)". NAME may be another address in
// brackets, which the client chose.
func (r *Field) exim(words []string) error {
	addr, ok := literal(r.HELO)
	if !ok || slices.ContainsFunc(words, func(w string) bool { return !isParameter(w) }) {
		return errUnreadable
	}
	r.Address = addr
	r.parameters(words)
	return nil
}

// parameters sets the HELO name if the parameters of Exim have one. It reports whether they do.
func (r *Field) parameters(words []string) bool {
	for _, w := range words {
		if helo, ok := strings.CutPrefix(w, "helo="); ok {
			r.HELO = helo
			return true
		}
	}
	return false
}

// bracketed reads "NAME [ADDRESS]", "user@NAME [ADDRESS] (may be forged)",
// "[ADDRESS]" and "[ADDRESS]:PORT helo=NAME".
func (r *Field) bracketed(comment string) error {
	name, rest, _ := strings.Cut(comment, "[")
	inner, after, ok := strings.Cut(rest, "]")
	name, after = strings.TrimSpace(name), strings.TrimSpace(after)
	if !ok || strings.ContainsAny(name, " \t()[]") {
		return errUnreadable
	}
	addr, ok := address(inner)
	if !ok {
		return errUnreadable
	}
	words := strings.Fields(after)
	if len(words) > 0 && strings.HasPrefix(words[0], ":") { // ":PORT" after the bracket
		if _, err := strconv.ParseUint(words[0][1:], 10, 16); err != nil {
			return errUnreadable
		}
		words = words[1:]
	}
	switch {
	case len(words) == 0, strings.HasPrefix(words[0], "("):
	case !slices.ContainsFunc(words, func(w string) bool { return !isParameter(w) }):
		if word := r.HELO; r.parameters(words) && name == "" {
			if _, ok := literal(word); !ok {
				name = word
			}
		}
	default:
		return errUnreadable
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 { // user is the answer of an ident server (RFC 1413)
		name = name[i+1:]
	}
	if name != "unknown" && !strings.Contains(after, "may be forged") {
		r.Name = strings.TrimSuffix(name, ".") // Google writes a dot at the end of the name
	}
	r.Address = addr
	return nil
}

// literal returns the address in "[ADDRESS]" or "[ADDRESS]:PORT".
func literal(word string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(word, "[")
	if !ok {
		return netip.Addr{}, false
	}
	inner, port, ok := strings.Cut(inner, "]")
	if !ok || port != "" && !strings.HasPrefix(port, ":") {
		return netip.Addr{}, false
	}
	return address(inner)
}

// address parses an IP address as MTAs write it. An IPv4 address may have a port. The zone of a
// link-local address is dropped, because it has no meaning on another host.
func address(s string) (netip.Addr, bool) {
	const tag = "IPv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		s = s[len(tag):]
	}
	if at, err := netip.ParseAddrPort(s); err == nil && at.Addr().Is4() {
		return at.Addr(), true
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" && !addr.IsLinkLocalUnicast() {
		return netip.Addr{}, false
	}
	return addr.WithZone("").Unmap(), true
}

// looksLikeAddress reports whether a host could have meant word as an address, because word
// consists of digits and dots, or of hexadecimal digits and colons.
func looksLikeAddress(word string) bool {
	return strings.Trim(word, "0123456789.:/") == "" || strings.Count(word, ":") > 1 && strings.Trim(word, "0123456789abcdefABCDEF:.%[]") == ""
}
