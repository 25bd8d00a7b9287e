package authres

import "strings"

// parser is a cursor over one field value.
type parser struct {
	s   string
	pos int
	// comment is the first comment that cfws has read since the caller last set comment to nil.
	comment *string
}

func (p *parser) fail(msg string) error { return &SyntaxError{p.pos, msg} }

func (p *parser) atEnd() bool { return p.pos >= len(p.s) }

// next returns the octet at the cursor, or 0 at the end.
func (p *parser) next() byte {
	if p.atEnd() {
		return 0
	}
	return p.s[p.pos]
}

func (p *parser) expect(c byte) error {
	if p.atEnd() || p.s[p.pos] != c {
		return p.fail("expected '" + string(c) + "'")
	}
	p.pos++
	return nil
}

// fold skips a CRLF with white space after it, and reports whether there was one (RFC 5322 §3.2.2,
// FWS).
func (p *parser) fold() bool {
	rest := p.s[p.pos:]
	if len(rest) < 3 || rest[:2] != "\r\n" || rest[2] != ' ' && rest[2] != '\t' {
		return false
	}
	p.pos += 2
	return true
}

// cfws reads [CFWS], optional white space and comments (RFC 5322 §3.2.2).
func (p *parser) cfws() error {
	for !p.atEnd() {
		switch c := p.s[p.pos]; c {
		case ' ', '\t':
			p.pos++
		case '\r':
			if !p.fold() {
				return p.fail("bare CR, or CRLF without white space after it")
			}
		case '(':
			text, err := p.readComment()
			if err != nil {
				return err
			}
			if p.comment == nil {
				p.comment = &text
			}
		default:
			return nil
		}
	}
	return nil
}

// readComment returns a comment's text without the outer parentheses.
func (p *parser) readComment() (string, error) { return p.delimited("comment", '(', ')') }

// quotedString returns the text of a quoted-string without the quotes.
func (p *parser) quotedString() (string, error) { return p.delimited("quoted-string", '"', '"') }

// delimited reads a comment or a quoted-string. The cursor is at the opening octet. It returns the
// text up to the matching closing octet, without folds and without the backslashes of quoted-pairs.
// It counts the depth of nested comments instead of calling itself.
func (p *parser) delimited(what string, open, closing byte) (string, error) {
	var b strings.Builder
	depth := 1
	p.pos++
	for !p.atEnd() {
		c := p.s[p.pos]
		switch {
		case c == '\r' && p.fold():
			continue
		case c == '\\':
			if err := p.quotedPair(&b); err != nil {
				return "", err
			}
			continue
		case c == closing: // checked before the opening octet, because a quote both opens and closes a quoted-string
			depth--
		case c == open:
			depth++
		case isControl(c):
			return "", p.fail("control character in a " + what)
		}
		p.pos++
		if depth == 0 {
			return b.String(), nil
		}
		b.WriteByte(c)
	}
	return "", p.fail(what + " without an end")
}

// quotedPair reads a backslash and the character after it, and writes that character to b.
func (p *parser) quotedPair(b *strings.Builder) error {
	p.pos++
	if p.atEnd() || isControl(p.s[p.pos]) {
		return p.fail("backslash without a character after it")
	}
	b.WriteByte(p.s[p.pos])
	p.pos++
	return nil
}

// isControl reports whether c is a control character that neither a comment nor a
// quoted-string may hold. A tab is allowed.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// keyword reads a Keyword (RFC 5321): letters, digits and hyphens. The last character is not a
// hyphen.
func (p *parser) keyword() (string, error) {
	start := p.pos
	for !p.atEnd() && (isAlnum(p.s[p.pos]) || p.s[p.pos] == '-') {
		p.pos++
	}
	word := p.s[start:p.pos]
	if word == "" || word[len(word)-1] == '-' {
		p.pos = start
		return "", p.fail("expected a keyword")
	}
	return word, nil
}

func (p *parser) keywordCFWS() (string, error) {
	word, err := p.keyword()
	if err != nil {
		return "", err
	}
	return word, p.cfws()
}

// value reads token / quoted-string (RFC 2045 §5.1).
func (p *parser) value() (string, error) {
	if p.next() == '"' {
		return p.quotedString()
	}
	start := p.pos
	for !p.atEnd() && isTokenChar(p.s[p.pos]) {
		p.pos++
	}
	if start == p.pos {
		return "", p.fail("expected a value")
	}
	return p.s[start:p.pos], nil
}

// pvalue reads value / [[local-part] "@"] domain-name. A quoted local part
// keeps its quotes.
func (p *parser) pvalue() (string, error) {
	if p.next() == '"' {
		local, err := p.quotedString()
		if err != nil || p.next() != '@' {
			return local, err
		}
		p.pos++
		start := p.pos
		domain := p.run()
		if !isDomainName(domain) {
			p.pos = start
			return "", p.fail("expected a domain")
		}
		return quote(local) + "@" + domain, nil
	}
	start := p.pos
	v := p.run()
	if local, domain, ok := strings.Cut(v, "@"); ok {
		if (local == "" || isDotAtom(local)) && isDomainName(domain) {
			return v, nil
		}
	} else if isLooseToken(v) || isDomainName(v) {
		return v, nil
	}
	p.pos = start
	return "", p.fail("expected a property value")
}

// run reads the octets that an unquoted property value may have.
func (p *parser) run() string {
	start := p.pos
	for !p.atEnd() && (isAtext(p.s[p.pos]) || p.s[p.pos] == '.' || p.s[p.pos] == '@') {
		p.pos++
	}
	return p.s[start:p.pos]
}

// isLooseToken reports whether s is a token. '/' and '=' are allowed, too, because base64 is often
// written without quotes.
func isLooseToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isTokenChar(c) && c != '/' && c != '=' {
			return false
		}
	}
	return s != ""
}
