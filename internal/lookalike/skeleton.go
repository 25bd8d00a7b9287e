package lookalike

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The letters that stand for the letters and digits of ASCII in a skeleton: "l" for "i", as in UTS #39, and
// for each digit the letter that looks most like it.
const (
	letters = "abcdefghljklmnopqrstuvwxyz"
	digits  = "olzeasbtbg"
)

// ascii returns what stands for an ASCII character in a skeleton. A space stands for those that separate
// words.
func ascii(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z':
		return letters[c-'a']
	case 'A' <= c && c <= 'Z':
		return letters[c-'A']
	case '0' <= c && c <= '9':
		return digits[c-'0']
	case c == '-', c == '.':
		return c
	case c == '|', c == '!':
		return 'l'
	case c == '$':
		return 's'
	}
	return ' '
}

// folder makes skeletons. It does not change once it is made.
type folder struct {
	table map[rune]string
}

func newFolder() *folder {
	f := &folder{table: map[rune]string{}}
	for line := range strings.Lines(table) {
		target, sources, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for _, r := range sources {
			f.table[r] = target
		}
	}
	return f
}

// skeleton appends the skeleton of s to dst: what s looks like, in lower case, without accents, in full
// width for kana and in half width for the rest, with hiragana as katakana. Hyphens and dots stay, and
// every other character between words becomes one space. Two texts that look alike have the same skeleton.
func (f *folder) skeleton(dst []byte, s string) []byte {
	begin := len(dst)
	if isASCII(s) {
		for i := range len(s) {
			dst = appendByte(dst, begin, s[i])
		}
		return dst
	}
	// Accents are taken off before the composition, so that "é" in one and in two characters are the same.
	s = norm.NFKC.String(strings.Map(withoutAccents, norm.NFKD.String(s)))
	for _, r := range s {
		dst = f.appendRune(dst, begin, r)
	}
	return dst
}

// withoutAccents drops the accents of Latin, Greek and Cyrillic letters, and characters that are not seen.
// The marks of kana stay, because they make other letters.
func withoutAccents(r rune) rune {
	if '\u0300' <= r && r <= '\u036f' || unicode.In(r, unicode.Cf, unicode.Variation_Selector) {
		return -1
	}
	return r
}

func (f *folder) appendRune(dst []byte, begin int, r rune) []byte {
	if r < utf8.RuneSelf {
		return appendByte(dst, begin, byte(r))
	}
	if 'ぁ' <= r && r <= 'ゖ' {
		r += 'ァ' - 'ぁ' // hiragana as katakana
	}
	target, ok := f.table[r]
	if !ok {
		r = unicode.ToLower(r)
		target, ok = f.table[r]
	}
	switch {
	case !ok && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)):
		return utf8.AppendRune(dst, r)
	case !ok:
		return appendByte(dst, begin, ' ')
	}
	for _, t := range target {
		if t < utf8.RuneSelf {
			dst = appendByte(dst, begin, byte(t))
		} else {
			dst = utf8.AppendRune(dst, t)
		}
	}
	return dst
}

// appendByte appends an ASCII character. It joins "rn" to "m" and "vv" to "w", which look alike in many
// fonts, and several spaces to one.
func appendByte(dst []byte, begin int, c byte) []byte {
	mapped := ascii(c)
	last := byte(' ')
	if len(dst) > begin {
		last = dst[len(dst)-1]
	}
	switch {
	case mapped == ' ' && last == ' ':
		return dst
	case mapped == 'n' && last == 'r':
		dst[len(dst)-1] = 'm'
		return dst
	case mapped == 'v' && last == 'v':
		dst[len(dst)-1] = 'w'
		return dst
	}
	return append(dst, mapped)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
