package received

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// readClient finds the client in the comments after "from WORD". MTAs write the client in
// the forms below. WORD is the HELO name of the client, unless a comment has that name.
//
//	from HELO (NAME [ADDRESS]) ...           Postfix, OpenSMTPD, Haraka
//	from HELO (user@NAME [ADDRESS] (may be forged))   Sendmail
//	from HELO ([ADDRESS]:PORT helo=HELO ident=USER)   Exim; with helo=, WORD is the name of the client
//	from [ADDRESS] (helo=HELO)               Exim, of a client without a name
//	from NAME (HELO HELO) (USER@ADDRESS)     qmail, qpsmtpd
//	from [ADDRESS] (HELO HELO)               CommuniGate, with "account USER " if the client logged in
//	from HELO (ADDRESS)                      Exchange, and qmail if HELO is the name
//	from HELO (ADDRESS:PORT)                 XMail
//
// If no comment names a client, the address stays invalid; [Field.movedWithinHost] says what
// that means. A comment in another form that looks like a client is an error. Otherwise the
// field would be taken for one that the host wrote to itself, and the fields below it, which
// the client wrote, would be believed.
func (r *Field) readClient(comments []string) error {
	if len(comments) == 0 {
		return nil
	}
	r.loggedIn = slices.ContainsFunc(comments[1:], saysLogin)
	first := comments[0]
	words := strings.Fields(first)
	switch {
	case first == "[unix socket]", strings.HasSuffix(first, "[local]"): // Cyrus' LMTP, OpenSMTPD
		r.onHost = true
		return nil
	case saysHELO(words):
		return r.afterHELO(words, comments[1:])
	case len(words) > 0 && slices.ContainsFunc(words, isParameter) && !strings.ContainsAny(first, "["):
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

// saysLogin reports whether a comment of Postfix, Sendmail or Courier says that the client
// logged in.
func saysLogin(comment string) bool {
	return strings.HasPrefix(comment, "Authenticated sender: ") || strings.HasPrefix(comment, "authenticated") ||
		strings.HasPrefix(comment, "AUTH: ")
}

// saysHELO reports whether the words are "HELO NAME", "EHLO NAME" or "account USER HELO
// NAME".
func saysHELO(words []string) bool {
	i := len(words) - 2
	return (i == 0 || i == 2 && words[0] == "account") && (strings.EqualFold(words[i], "HELO") || strings.EqualFold(words[i], "EHLO"))
}

// afterHELO reads the forms of qmail and CommuniGate, in which the host chose WORD: it is the
// client's name, "unknown", or the client's address.
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
	if i := strings.LastIndexByte(text, '@'); i >= 0 { // RFC 1413's answer
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

// isParameter reports whether word is a parameter of Exim, such as helo=NAME or port=25.
func isParameter(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && slices.Contains([]string{"helo", "port", "ident"}, name)
}

// exim reads "from [ADDRESS] (helo=NAME port=25 ident=USER)".
func (r *Field) exim(words []string) error {
	addr, ok := literal(r.HELO)
	if !ok {
		return errUnreadable
	}
	r.Address = addr
	r.parameters(words)
	return nil
}

// parameters takes the HELO name from the parameters of Exim. It reports whether there is
// one.
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
	if len(words) > 0 && strings.HasPrefix(words[0], ":") { // a port
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
	if i := strings.LastIndexByte(name, '@'); i >= 0 { // RFC 1413's answer
		name = name[i+1:]
	}
	if name != "unknown" && !strings.Contains(after, "may be forged") {
		r.Name = strings.TrimSuffix(name, ".") // Google writes the dot of the root
	}
	r.Address = addr
	return nil
}

// literal returns ADDRESS of "[ADDRESS]" or "[ADDRESS]:PORT".
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

// address reads an IP address as MTAs write it. An IPv4 address may have a port. The zone of
// a link-local address is dropped, because it has no meaning on another host.
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

// looksLikeAddress reports whether a host may have written word as an address: it consists of
// digits and dots, or of hexadecimal digits and colons.
func looksLikeAddress(word string) bool {
	return strings.Trim(word, "0123456789.:/") == "" || strings.Count(word, ":") > 1 && strings.Trim(word, "0123456789abcdefABCDEF:.%[]") == ""
}
