package author

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"sekimori/internal/mailaddr"
)

// parser reads the mailbox-list of RFC 5322 §3.4, one mailbox after the other.
type parser struct {
	lexer
	boxes   []Mailbox
	offsets []int // offset of the address of each mailbox
	text    loose
	quotes  quotes
	seen    sight // what mail programs see in display names and comments
	slip    bool  // the field was read by slip.go
}

func newParser(s string) *parser {
	return &parser{lexer: newLexer(s), text: loose{at: -1}, quotes: quotes{oddAt: -1}}
}

// list parses the whole field.
func (p *parser) list() error {
	for {
		more, err := p.mailbox()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if p.quotes.foreign && p.quotes.oddAt >= 0 {
		return &Error{KindAmbiguous, p.quotes.oddAt, "quotes that readers end in different places, and an address of another domain"}
	}
	if p.text.at >= 0 {
		return p.checkLoose()
	}
	switch {
	case len(p.boxes) == 0:
		return &Error{KindNoAddress, 0, "the field names no author"}
	case len(p.boxes) > 1 && p.seen&seesAngle != 0:
		return &Error{KindAmbiguous, 0, hiddenAddress}
	}
	return p.checkWords()
}

// secondDomain returns the offset of the first mailbox whose domain differs from the domain of the
// first mailbox.
func (p *parser) secondDomain() int {
	for i, m := range p.boxes {
		if m.Domain != p.boxes[0].Domain {
			return p.offsets[i]
		}
	}
	return 0
}

// addrSpec is an address as it is written in the field.
type addrSpec struct {
	found  bool
	local  token
	domain string
	start  int // offset of the address
	at     int // offset of the domain
}

// text is a sequence of words with spaces between them. It needs no copy of the word if there is
// only one.
type text struct {
	one  string // the first word that is not empty
	more strings.Builder
}

func (t *text) String() string {
	if t.more.Len() > 0 {
		return t.more.String()
	}
	return t.one
}

// add adds a word. If space is set, there is a space before the word.
func (t *text) add(word string, space bool) {
	if t.one == "" {
		t.one = word
		return
	}
	if t.more.Len() == 0 {
		const others = 32 // space for further words, in octets
		t.more.Grow(len(t.one) + len(word) + others)
		t.more.WriteString(t.one)
	}
	if space {
		t.more.WriteByte(' ')
	}
	t.more.WriteString(word)
}

// element is the part of the field between two commas.
type element struct {
	words    int   // number of words in the phrase so far
	last     token // the last word
	phrase   text
	comments text
	bare     addrSpec // the address without angle brackets
	angle    addrSpec // the address in angle brackets
	unsafe   int      // offset of a comment with an "@", or -1
}

// mailbox parses the field up to the next comma and reports whether there was a comma.
func (p *parser) mailbox() (more bool, err error) {
	e := element{unsafe: -1}
	for {
		t, err := p.next()
		if err != nil {
			return false, err
		}
		p.noteQuotes(t)
		switch t.kind {
		case tokEnd:
			return false, p.finish(&e, t)
		case tokComment:
			err = e.comment(t)
		case tokAtom, tokQuoted:
			err = e.word(t)
		default:
			if t.octet == ',' {
				return true, p.finish(&e, t)
			}
			err = p.special(&e, t)
		}
		if err != nil {
			return false, err
		}
	}
}

// word adds a word to the phrase. A word after an address is an error.
func (e *element) word(t token) error {
	switch {
	case e.angle.found:
		return &Error{KindMalformed, t.start, "text after an address in angle brackets"}
	case e.bare.found:
		return &Error{KindAmbiguous, t.start, "text after an address without angle brackets"}
	}
	e.words++
	e.last = t
	e.phrase.add(t.text, t.text != ":" && t.text != ";")
	return nil
}

// comment adds a comment. Many mail programs do not know comments (CVE-2020-12272). Therefore a
// comment may not hold an address together with angle brackets, quotes or list separators, and it
// may not touch an address without angle brackets.
func (e *element) comment(t token) error {
	if i := strings.IndexByte(t.text, '@'); i >= 0 {
		if strings.ContainsAny(t.text, "<>,;:\"") {
			return &Error{KindAmbiguous, t.start, "address among special characters within a comment"}
		}
		if e.unsafe < 0 {
			e.unsafe = t.start
		}
	}
	if e.bare.found && !e.angle.found && !t.spaced && !t.glued {
		return &Error{KindAmbiguous, t.start, "comment that touches an address"}
	}
	e.comments.add(t.text, true)
	return nil
}

// special handles an octet that is not part of a word.
func (p *parser) special(e *element, t token) error {
	switch t.octet {
	case '@':
		return p.bare(e, t)
	case '<':
		return p.angle(e, t)
	case '[':
		text, ok := p.bracketed()
		if !ok {
			return &Error{KindMalformed, t.start, "square bracket outside quotes"}
		}
		return e.word(token{kind: tokSpecial, start: t.start, end: p.pos, text: "[" + text + "]"})
	case ':':
		return p.colon(e, t)
	case ';':
		return p.semicolon(e, t)
	case '\\': // as in "<a@b>\,<c@d>", figure 8d of the paper "Composition Kills"
		return &Error{KindAmbiguous, t.start, "backslash outside quotes"}
	}
	return &Error{KindMalformed, t.start, "stray special character"}
}

// bare reads the domain of an address without angle brackets. t is the "@" of the address. RFC 5322
// §4.4 allows white space and comments around the "@". Some programs do not know that rule and
// would see another address. Therefore such an address is refused.
func (p *parser) bare(e *element, t token) error {
	switch {
	case p.handle(e, t):
		return e.word(token{kind: tokSpecial, start: t.start, end: t.end, text: "@"})
	case e.angle.found || e.bare.found:
		return &Error{KindAmbiguous, t.start, `second "@" in one address`}
	case e.words != 1 || e.last.kind == tokSpecial:
		return &Error{KindAmbiguous, t.start, `unquoted "@" in a display name`}
	case t.spaced || t.glued:
		return &Error{KindAmbiguous, t.start, `white space or comment before "@"`}
	case e.last.glued:
		return &Error{KindAmbiguous, e.last.start, "comment that touches an address"}
	}
	e.bare = addrSpec{found: true, local: e.last, start: e.last.start, at: p.pos}
	var err error
	e.bare.domain, err = p.domainText()
	return err
}

// angle reads an address in angle brackets. t is the opening bracket.
func (p *parser) angle(e *element, t token) error {
	if e.angle.found {
		return &Error{KindMalformed, t.start, "second angle bracket in one mailbox"}
	}
	local, err := p.next()
	if err != nil {
		return err
	}
	switch {
	case local.kind == tokAtom || local.kind == tokQuoted:
	case local.kind == tokSpecial && local.octet == '>':
		return &Error{KindNoAddress, t.start, "the angle brackets are empty"}
	case local.kind == tokSpecial && local.octet == '@': // obs-route
		return &Error{KindAmbiguous, local.start, "source route"}
	case local.kind == tokComment:
		return &Error{KindAmbiguous, local.start, "comment within angle brackets"}
	default:
		return &Error{KindMalformed, local.start, "angle brackets without an address"}
	}
	if p.pos == len(p.s) || p.s[p.pos] != '@' {
		return &Error{KindAmbiguous, p.pos, `local part not followed by "@"`}
	}
	p.pos++
	e.angle = addrSpec{found: true, local: local, start: local.start, at: p.pos}
	if e.angle.domain, err = p.domainText(); err != nil {
		return err
	}
	end, err := p.next()
	if err != nil {
		return err
	}
	switch {
	case end.kind == tokSpecial && end.octet == '>':
		return nil
	case end.kind == tokEnd:
		return &Error{KindMalformed, t.start, "angle bracket without an end"}
	}
	return &Error{KindAmbiguous, end.start, "something besides one address within angle brackets"}
}

// domainText returns the octets of a domain at the current position.
func (p *parser) domainText() (string, error) {
	start := p.pos
	for p.pos < len(p.s) && mailaddr.IsAtom(p.s[p.pos]) {
		p.pos++
	}
	p.last = tokAtom
	if p.pos > start {
		return p.s[start:p.pos], nil
	}
	switch {
	case p.pos == len(p.s) || p.s[p.pos] == '>' || p.s[p.pos] == ',':
		return "", &Error{KindMalformed, start, "address without a domain"}
	case p.s[p.pos] == '[':
		return "", &Error{KindMalformed, start, "address literal for a domain"}
	}
	return "", &Error{KindAmbiguous, start, `something besides a domain after "@"`}
}

// otherInComment is the refusal of a comment beside an address without a display name. A mail
// program uses such a comment as the author's name, and might use an address in it as the author's
// address.
const otherInComment = "a comment holds an address of another domain"

// finish makes a mailbox of an element. t is the comma after the element, or the end of the field.
func (p *parser) finish(e *element, t token) error {
	addr := &e.angle
	if !addr.found {
		addr = &e.bare
	}
	switch {
	case !addr.found && e.words == 0 && e.unsafe >= 0:
		return &Error{KindAmbiguous, e.unsafe, "address in a comment that stands alone"}
	case !addr.found && e.words == 0: // an empty element of a list (obs-mbox-list)
		return nil
	case !addr.found:
		return p.textOnly(e)
	// The name may repeat the address, also in quotes, as in 'a@b' <a@b>.
	case e.angle.found && e.bare.found && !strings.EqualFold(strings.TrimSuffix(e.bare.domain, "'"), e.angle.domain):
		return &Error{KindAmbiguous, e.bare.start, "unquoted address of another domain in a display name"}
	case len(p.boxes) == MaxMailboxes:
		return &Error{KindTooLarge, addr.start, "more than 100 mailboxes"}
	}
	local, err := localPart(addr.local)
	if err != nil {
		return err
	}
	domain, err := authorDomain(addr.domain, addr.at)
	if err != nil {
		return err
	}
	display, seen, refusal := decodeWords(e.phrase.String(), addr.domain)
	comments, inComments, refusal2 := decodeWords(e.comments.String(), addr.domain)
	if inComments&seesAngle != 0 || seen&seesAngle != 0 && !e.angle.found {
		refusal = hiddenAddress
	}
	if refusal = cmp.Or(refusal, refusal2); refusal != "" {
		return &Error{KindAmbiguous, addr.start, refusal}
	}
	isName := !e.angle.found || e.words == 0 // without another name, mail programs show the comment as the name
	mayHoldAddress := e.unsafe >= 0 || comments != e.comments.String()
	if isName && mayHoldAddress && !oneDomain(e.comments.String(), string(domain)) {
		return &Error{KindAmbiguous, max(e.unsafe, addr.start), otherInComment}
	}
	p.seen |= seen
	if inComments&(seesName|seesAlike|seesOther) != 0 { // if there is another name, mail programs do not show the comment as the name
		p.seen |= seesOther
	}
	switch {
	case !e.angle.found: // the phrase is the local part, so the name is in the comment
		display = comments
	case e.bare.found:
		display = e.bare.local.text + "@" + e.bare.domain
	case len(p.text.names) > 0:
		display = strings.Join(append(p.text.names, display), ", ")
	}
	p.text.bare = !e.angle.found // checkLoose uses bare only if the field has one mailbox
	if e.angle.found {
		p.quotes.foreign = p.quotes.foreign || foreignAddress(e.phrase.String(), e.angle.domain)
		p.quotes.commented = p.quotes.commented || foreignAddress(e.comments.String(), e.angle.domain)
	}
	p.boxes = append(p.boxes, Mailbox{DisplayName: strings.ToValidUTF8(display, "�"), Local: local, Domain: domain})
	p.offsets = append(p.offsets, addr.start)
	return nil
}

// localPart checks a local part. It accepts dots anywhere, because addresses such as
// a..b@ and a.@ exist.
func localPart(t token) (string, error) {
	refuse := func(detail string) (string, error) { return "", &Error{KindAmbiguous, t.start, detail} }
	switch {
	case !utf8.ValidString(t.text):
		return "", &Error{KindMalformed, t.start, "8-bit octets in an address that are not UTF-8"}
	case strings.Contains(t.text, "=?"):
		return refuse("encoded word in an address") // RFC 2047 §5 forbids encoded words in an address
	case hasHidden(t.text):
		return refuse("invisible character in an address")
	case t.text == "":
		return "", &Error{KindMalformed, t.start, "address without a local part"}
	}
	if t.kind == tokQuoted {
		// A program that does not know quotes would end the local part at a special character. A
		// program that does not know quoted pairs would end it at a quote after a backslash.
		if t.end-t.start != len(t.text)+2 {
			return refuse("quoted pair in a local part")
		}
		for i := 0; i < len(t.text); i++ {
			if !mailaddr.IsAtom(t.text[i]) {
				return refuse("special character in a quoted local part")
			}
		}
	}
	return t.text, nil
}
