package authres

import (
	"strings"
	"unicode/utf8"

	"sekimori/internal/printable"
)

// maxParseLen is the length of the longest field that Parse reads. MTAs do not accept such long
// fields.
const maxParseLen = 64 << 10

// Parse reads the value of an Authentication-Results field by the grammar of RFC 8601 §2.2. Each
// fold must be CRLF and white space. A version other than 1 is an error, because §2.2 says not to
// interpret such a field. Parse keeps the comment after the value of a result, and drops all other
// comments.
//
// Parse accepts two things that the grammar does not allow, because they are common in real mail.
// An unquoted property value may hold '/' and '=' (in header.b). A property without a ptype
// (action=none) is skipped.
//
// The error is a [*SyntaxError].
func Parse(value string) (Field, error) {
	p := &parser{s: value}
	f, err := p.field()
	if err != nil {
		return Field{}, err
	}
	return f, nil
}

func (p *parser) field() (f Field, err error) {
	if len(p.s) > maxParseLen {
		return f, &SyntaxError{maxParseLen, "field is too long"}
	}
	if !utf8.ValidString(p.s) {
		return f, p.fail("field is not valid UTF-8")
	}
	f.UTF8 = !printable.IsASCII(p.s)
	if f.AuthServID, err = p.authServID(); err != nil {
		return f, err
	}
	if err := p.version("authres-version"); err != nil {
		return f, err
	}
	for first := true; first || !p.atEnd(); first = false {
		if err := p.expect(';'); err != nil {
			return f, err
		}
		if err := p.cfws(); err != nil {
			return f, err
		}
		if first && p.noResult() {
			return f, nil
		}
		r, err := p.result()
		if err != nil {
			return f, err
		}
		f.Results = append(f.Results, r)
	}
	return f, nil
}

// authServID reads [CFWS] authserv-id [CFWS].
func (p *parser) authServID() (string, error) {
	if err := p.cfws(); err != nil {
		return "", err
	}
	id, err := p.value()
	if err != nil {
		return "", err
	}
	return id, p.cfws()
}

// version reads [1*DIGIT [CFWS]].
func (p *parser) version(what string) error {
	start := p.pos
	for !p.atEnd() && '0' <= p.s[p.pos] && p.s[p.pos] <= '9' {
		p.pos++
	}
	if start == p.pos {
		return nil
	}
	if strings.TrimLeft(p.s[start:p.pos], "0") != "1" {
		p.pos = start
		return p.fail("unknown " + what)
	}
	return p.cfws()
}

// noResult reads "none" [CFWS] at the end of the field, or nothing.
func (p *parser) noResult() bool {
	start := p.pos
	if word, err := p.keyword(); err == nil && strings.EqualFold(word, "none") && p.cfws() == nil && p.atEnd() {
		return true
	}
	p.pos = start
	return false
}

// result reads methodspec [CFWS reasonspec] [CFWS 1*propspec].
func (p *parser) result() (r Result, err error) {
	if r.Method, err = p.keywordCFWS(); err != nil {
		return r, err
	}
	if p.next() == '/' {
		p.pos++
		if err := p.cfws(); err != nil {
			return r, err
		}
		if err := p.version("method-version"); err != nil {
			return r, err
		}
	}
	if err := p.expect('='); err != nil {
		return r, err
	}
	if err := p.cfws(); err != nil {
		return r, err
	}
	p.comment = nil
	if r.Value, err = p.keywordCFWS(); err != nil {
		return r, err
	}
	if p.comment != nil {
		r.Comment = *p.comment
	}
	for !p.atEnd() && p.next() != ';' {
		if err := p.detail(&r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// detail reads one reasonspec or propspec with the CFWS after it.
func (p *parser) detail(r *Result) error {
	word, err := p.keywordCFWS()
	if err != nil {
		return err
	}
	if p.next() == '.' {
		p.pos++
		if err := p.cfws(); err != nil {
			return err
		}
		name, err := p.keywordCFWS()
		if err != nil {
			return err
		}
		value, err := p.assigned((*parser).pvalue)
		if err != nil {
			return err
		}
		r.Properties = append(r.Properties, Property{PType(word), name, value})
		return nil
	}
	if strings.EqualFold(word, "reason") && r.Reason == "" && r.Properties == nil {
		r.Reason, err = p.assigned((*parser).value)
		return err
	}
	_, err = p.assigned((*parser).pvalue) // a property without a ptype is skipped
	return err
}

// assigned reads "=" [CFWS] value [CFWS].
func (p *parser) assigned(read func(*parser) (string, error)) (string, error) {
	if err := p.expect('='); err != nil {
		return "", err
	}
	if err := p.cfws(); err != nil {
		return "", err
	}
	v, err := read(p)
	if err != nil {
		return "", err
	}
	return v, p.cfws()
}
