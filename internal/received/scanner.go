package received

import "strings"

// scanner takes words off a field's text.
type scanner struct{ rest string }

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t\r\n") }

// peek returns the next octet after white space, 0 at the end.
func (s *scanner) peek() byte {
	s.skipSpace()
	if s.rest == "" {
		return 0
	}
	return s.rest[0]
}

// word returns what comes before the next white space or comment, "(" where a
// comment begins, and "" at the end.
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

// value is a word before a date that could not be read.
func (s *scanner) value() string { return strings.TrimSuffix(s.word(), ";") }

// comment returns the text up to the ")" that ends the comment begun, comments
// within included; false if none does.
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
