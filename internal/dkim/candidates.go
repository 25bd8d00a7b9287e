package dkim

import (
	"crypto/ed25519"
	"strings"
)

// An MTA does not hand a message on as it came: it removes fields, cuts others
// off, and some do not show the space behind the colon. What a signature covers
// is therefore tried in every form that the message may have had, and where
// none matches, but what was signed cannot have been seen here, nobody can say
// that the message was changed.

// form is one way to complete what the MTA does not show.
type form struct {
	space      bool   // a space stood before every value
	returnPath string // the value of a Return-Path that is not there any more; "" is none
}

// maxForms is how many forms there are of one message: two of leading spaces
// for each of three of Return-Path.
const maxForms = 6

// droppedFields are those that Postfix removes before a milter sees the message
// (message_drop_headers), in lower case.
var droppedFields = [...]string{"bcc", "content-length", "resent-bcc", returnPathField}

const returnPathField = "return-path"

// candidates are the header hashes that one signature may have been made for.
type candidates struct {
	message *Message
	params  *Params
	field   int

	spaces  bool   // it is not known whether spaces stood before the values
	path    string // the value of a Return-Path that the signature covers and that is not there; "" is none
	sums    [maxForms]digest
	hashed  int  // of sums
	altered bool // the MTA cut or changed a signed field
}

func (m *Message) candidates(p *Params, field int, o Options) candidates {
	c := candidates{message: m, params: p, field: field}
	c.spaces = o.LeadingSpaceUnknown && p.HeaderCanon == Simple
	if o.ReturnPath != "" && c.dropped(returnPathField) {
		c.path = o.ReturnPath
	}
	return c
}

// forms is how many forms there are.
func (c *candidates) forms() int {
	n := 1
	switch c.path {
	case "":
	case "<>": // without its brackets it is none
		n = 2
	default:
		n = 3
	}
	if c.spaces {
		n *= 2
	}
	return n
}

// form is the i-th form, the likeliest first.
func (c *candidates) form(i int) (f form) {
	if c.spaces {
		f.space = i%2 == 0
		i /= 2
	}
	switch i {
	case 1:
		f.returnPath = c.path
	case 2:
		f.returnPath = strings.Trim(c.path, "<>")
	}
	return f
}

// sum is the hash of the message in its i-th form; they are made in order.
func (c *candidates) sum(i int) digest {
	for ; c.hashed <= i; c.hashed++ {
		var altered bool
		c.sums[c.hashed], altered = c.message.index.headerHash(c.params, c.field, c.form(c.hashed))
		c.altered = c.altered || altered
	}
	return c.sums[i]
}

// check verifies the signature under k.
func (c *candidates) check(k *Key) *Error {
	signature := c.params.signature
	if !k.opens(signature) {
		return errMismatch()
	}
	_, each := k.public.(ed25519.PublicKey) // RSA tells at once what was signed
	var s opened
	for i := range c.forms() {
		if i == 0 || each {
			if !c.message.budget.spend(c.params, k.work()) {
				return errNoWork()
			}
			s = k.open(signature)
		}
		if s.covers(c.sum(i)) {
			return nil
		}
	}
	return c.mismatch(&s)
}

// dropped reports whether the signature names a field that is not there.
func (c *candidates) dropped(name string) bool {
	for _, signed := range c.params.Headers {
		if strings.EqualFold(name, signed) {
			return c.message.Count(name) == 0
		}
	}
	return false
}

// mismatch is what to say where no form matches. A signature that the holder of
// the key never made is none of the message in whatever form.
func (c *candidates) mismatch(s *opened) *Error {
	if !s.genuine {
		return errMismatch()
	}
	for _, name := range droppedFields {
		if c.dropped(name) {
			return &Error{Neutral, ReasonDroppedField, "the signature covers a field that MTAs remove: " + name}
		}
	}
	switch {
	case c.altered:
		return &Error{Neutral, ReasonNotVerifiable, "the MTA hands on a signed field truncated or changed"}
	case c.spaces:
		return &Error{Neutral, ReasonLeadingSpace, "the MTA does not show how the signed values begin"}
	}
	return errMismatch()
}
