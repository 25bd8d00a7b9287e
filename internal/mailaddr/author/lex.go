package author

import (
	"strings"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
)

// tokenKind is the kind of a lexical token of RFC 5322 §3.2.
type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokAtom              // a run of atext, dots and 8-bit octets
	tokQuoted            // a quoted-string
	tokComment           // a comment
	tokSpecial           // any other octet
)

// token is a span of the input. Its text is without the quotes or parentheses around it. Quoted
// pairs in the text are replaced by their characters, and folds are removed.
type token struct {
	kind       tokenKind
	start, end int
	text       string
	octet      byte // the octet of a tokSpecial
	// spaced says that white space or a fold is right before the token. glued says that a comment
	// is right before it.
	spaced, glued bool
}

// lexer splits a field into tokens.
type lexer struct {
	s    string
	pos  int
	utf8 bool // the whole field is valid UTF-8
	last tokenKind
}

func newLexer(s string) lexer { return lexer{s: s, utf8: utf8.ValidString(s)} }

// next returns the next token. At the end of the field, and at every call after that, it returns a
// tokEnd.
func (l *lexer) next() (token, error) {
	before := l.pos
	for l.pos < len(l.s) && isFWS(l.s[l.pos]) {
		l.pos++
	}
	t := token{start: l.pos, spaced: l.pos > before}
	t.glued = l.last == tokComment && !t.spaced
	var err error
	switch {
	case l.pos == len(l.s):
		t.kind = tokEnd
	case mailaddr.IsAtom(l.s[l.pos]):
		t.kind = tokAtom
		for l.pos < len(l.s) && mailaddr.IsAtom(l.s[l.pos]) {
			l.pos++
		}
		t.text = l.s[t.start:l.pos]
	case l.s[l.pos] == '"':
		t.kind = tokQuoted
		t.text, err = l.delimited('"', '"', "quoted string")
	case l.s[l.pos] == '(':
		t.kind = tokComment
		t.text, err = l.delimited('(', ')', "comment")
	default:
		t.kind, t.octet = tokSpecial, l.s[l.pos]
		l.pos++
	}
	t.end = l.pos
	l.last = t.kind
	return t, err
}

// delimited reads a quoted-string or a comment, which begins at l.pos (RFC 5322 §3.2.2, §3.2.4).
// Comments may be nested.
func (l *lexer) delimited(open, closing byte, what string) (string, error) {
	start := l.pos
	if text, ok := l.plain(open, closing); ok {
		return text, nil
	}
	depth := 1
	var b strings.Builder
	for l.pos++; l.pos < len(l.s); l.pos++ {
		switch c := l.s[l.pos]; c {
		case '\\':
			// In Shift_JIS and similar charsets, a backslash may be half of a character. A client
			// that knows the charset sees no quoted pair here.
			if !l.utf8 {
				return "", &Error{KindAmbiguous, l.pos, "backslash among 8-bit octets that are not UTF-8"}
			}
			if l.pos+1 < len(l.s) && l.s[l.pos+1] != '\r' {
				l.pos++
			}
			b.WriteByte(l.s[l.pos])
		case closing: // checked before the opening octet, because a quote both opens and closes a quoted-string
			if depth--; depth == 0 {
				l.pos++
				return b.String(), nil
			}
			b.WriteByte(c)
		case open:
			if depth++; depth > MaxCommentDepth {
				return "", &Error{KindTooLarge, l.pos, "comments nested more than 10 deep"}
			}
			b.WriteByte(c)
		case '\r', '\n': // part of a fold, because checkOctets has refused all others
		default:
			b.WriteByte(c)
		}
	}
	return "", &Error{KindMalformed, start, "a " + what + " has no end"}
}

// plain does the same as delimited for a text without nested comments, quoted pairs and folds. For
// any other text it reports false and does not move l.pos.
func (l *lexer) plain(open, closing byte) (string, bool) {
	for i := l.pos + 1; i < len(l.s); i++ {
		switch c := l.s[i]; c {
		case closing:
			text := l.s[l.pos+1 : i]
			l.pos = i + 1
			return text, true
		case open, '\\', '\r', '\n':
			return "", false
		}
	}
	return "", false
}

// bracketed reads plain text in square brackets, as in "[JIRA] Foo". l.pos is after the opening
// bracket. Some programs treat the text as a domain-literal. They skip the same octets, as long as
// there are no quotes, comments or addresses in the text.
func (l *lexer) bracketed() (string, bool) {
	start := l.pos
	for ; l.pos < len(l.s); l.pos++ {
		switch c := l.s[l.pos]; {
		case c == ']':
			text := l.s[start:l.pos]
			l.pos++
			return text, true
		case mailaddr.IsAtom(c), c == ' ', c == '\t', c == ':':
		default:
			return "", false
		}
	}
	return "", false
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

func isFWS(c byte) bool { return isWSP(c) || c == '\r' || c == '\n' }
