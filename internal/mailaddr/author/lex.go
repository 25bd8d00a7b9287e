package author

import (
	"strings"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
)

// tokenKind tells the lexical tokens of RFC 5322 §3.2 apart.
type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokAtom              // run of atext, dots and 8-bit octets
	tokQuoted            // quoted-string
	tokComment           // comment
	tokSpecial           // one octet that is none of the above
)

// token is a span of the input. Text is the content: without quotes or
// parentheses, quoted pairs and folds undone.
type token struct {
	kind       tokenKind
	start, end int
	text       string
	octet      byte // of a tokSpecial
	// spaced and glued tell what was right before: white space or a fold, or
	// the closing parenthesis of a comment.
	spaced, glued bool
}

// lexer splits a field into tokens, each octet looked at once.
type lexer struct {
	s    string
	pos  int
	utf8 bool // the whole field is valid UTF-8
	last tokenKind
}

func newLexer(s string) lexer { return lexer{s: s, utf8: utf8.ValidString(s)} }

// next returns the next token; at the end it returns tokEnd for ever.
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

// delimited reads a quoted-string or a comment, which nests (RFC 5322 §3.2.2,
// §3.2.4), from its opening octet at l.pos.
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
			// In Shift_JIS and its like a backslash may be half of a character:
			// a client that knows the charset sees no escape here.
			if !l.utf8 {
				return "", &Error{KindAmbiguous, l.pos, "backslash among 8-bit octets that are not UTF-8"}
			}
			if l.pos+1 < len(l.s) && l.s[l.pos+1] != '\r' {
				l.pos++
			}
			b.WriteByte(l.s[l.pos])
		case closing: // first: a quote opens and closes with one octet
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
		case '\r', '\n': // checkOctets let only folds through
		default:
			b.WriteByte(c)
		}
	}
	return "", &Error{KindMalformed, start, "a " + what + " has no end"}
}

// plain is delimited where everything up to the end stands for itself; else
// it reads nothing.
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

// bracketed skips plain text in square brackets, as in "[JIRA] Foo", from after
// the opening one. A reader who takes it for a domain-literal skips the same
// octets, so long as there are no quotes, comments or addresses in it.
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
