package received

import "strings"

// scanner takes words from the beginning of a field's text.
type scanner struct{ rest string }

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t\r\n") }

// peek skips white space and returns the next octet, or 0 at the end.
func (s *scanner) peek() byte {
	s.skipSpace()
	if s.rest == "" {
		return 0
	}
	return s.rest[0]
}

// word takes the text up to the next white space or comment. It returns "(" if a comment begins,
// and "" at the end of the text.
func (s *scanner) word() string {
	if s.peek() == '(' {
		s.rest = s.rest[1:]
		return "("
	}
	n := strings.IndexAny(s.rest, " \t\r\n(")
	if n < 0 {
		n = len(s.rest)
	}
	word := s.rest[:n]
	s.rest = s.rest[n:]
	return word
}

// value takes a word and returns it without a semicolon at its end. The semicolon separates the
// date from the text before it.
func (s *scanner) value() string { return strings.TrimSuffix(s.word(), ";") }

// comment takes the rest of a comment after its "(". It returns the text of the comment, with
// nested comments. It reports false if the comment is not closed.
func (s *scanner) comment() (string, bool) {
	depth := 1
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				text := s.rest[:i]
				s.rest = s.rest[i+1:]
				return text, true
			}
		}
	}
	return "", false
}
