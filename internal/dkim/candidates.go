package dkim

import (
	"crypto/rsa"
	"math"
	"strings"

	"sekimori/internal/dkim/syntax"
)

// A milter does not see a message as the client sent it: the MTA removes some
// fields and truncates others, and some MTAs do not show the space after the
// colon. So a signature is verified over several forms that the message may have
// had. If no form matches, but the MTA may have changed a signed field, the
// result is neutral, because the difference may come from the MTA.

// form is one guess at the parts of the message that the MTA does not show.
type form struct {
	// bare has a bit for each of the first 64 fields that are hashed. If the bit is
	// set, the guess is that the value of this field began without a space,
	// although it has one here.
	bare       uint64
	returnPath string // the value of the Return-Path that the MTA removed; "" if there was none
}

// maxForms is the largest number of forms of a message: three guesses at the
// spaces, combined with three guesses at Return-Path.
const maxForms = 9

// spaceForms is the number of guesses at the spaces. The guesses are: all values
// began with a space; all values did, except those that begin on the next line;
// no value did.
const spaceForms = 3

// droppedFields are the fields that Postfix removes before a milter sees the message
// (message_drop_headers), in lower case.
var droppedFields = [...]string{"bcc", "content-length", "resent-bcc", returnPathField}

const returnPathField = "return-path"

// candidates are the header hashes that a signature may have been made for, one
// for each form.
type candidates struct {
	message *Message
	pending *Pending

	spacesUnknown bool   // the MTA does not show whether a space came before the values
	folded        uint64 // has the bits of form.bare for the values that begin on the next line
	path          string // the value of a Return-Path that the signature covers and the MTA removed; "" if there is none
	sums          [maxForms]digest
	hashed        int  // sums[:hashed] are known
	altered       bool // the MTA may have cut or changed a signed field
}

func (m *Message) candidates(p *Pending, o Options) candidates {
	c := candidates{message: m, pending: p}
	if c.spacesUnknown = o.LeadingSpaceUnknown && p.HeaderCanon == syntax.Simple; c.spacesUnknown {
		for slot, value := range m.index.signedValues(p) {
			if strings.HasPrefix(value, " \r\n") {
				c.folded |= 1 << slot // no bit is set for the 65th field and later ones
			}
		}
	}
	if o.ReturnPath != "" && c.dropped(returnPathField) {
		c.path = o.ReturnPath
	}
	return c
}

// forms returns the number of forms.
func (c *candidates) forms() int {
	n := 1
	switch c.path {
	case "":
	case "<>": // without its brackets this path is empty, as in the form without Return-Path
		n = 2
	default:
		n = 3
	}
	if c.spacesUnknown {
		n *= spaceForms
	}
	return n
}

// form returns the i-th form. The likeliest form is the first.
func (c *candidates) form(i int) (f form) {
	if c.spacesUnknown {
		f.bare = [spaceForms]uint64{0, c.folded, math.MaxUint64}[i%spaceForms]
		i /= spaceForms
	}
	switch i {
	case 1:
		f.returnPath = c.path
	case 2:
		f.returnPath = strings.Trim(c.path, "<>")
	}
	return f
}

// sum returns the header hash of the i-th form.
func (c *candidates) sum(i int) digest {
	for ; c.hashed <= i; c.hashed++ {
		var altered bool
		c.sums[c.hashed], altered = c.message.index.headerHash(c.pending, c.form(c.hashed))
		c.altered = c.altered || altered
	}
	return c.sums[i]
}

// check verifies the signature under k.
func (c *candidates) check(k *syntax.Key) *Error {
	if !fits(k, c.pending.Signature) {
		return errMismatch()
	}
	if pub, ok := k.Public.(*rsa.PublicKey); ok {
		return c.checkRSA(k, pub)
	}
	for i := range c.forms() {
		if !c.message.budget.spend(c.pending, workOf(k)) {
			return errNoWork()
		}
		if verifies(k, c.sum(i), c.pending.Signature) {
			return nil
		}
	}
	return c.mismatch()
}

// checkRSA verifies the likeliest form with crypto/rsa. If this form does not match
// and the MTA may have changed a signed field, the hash inside the signature tells
// which form was signed, if any.
func (c *candidates) checkRSA(k *syntax.Key, pub *rsa.PublicKey) *Error {
	if !c.message.budget.spend(c.pending, workOf(k)) {
		return errNoWork()
	}
	if verifyRSA(pub, c.sum(0), c.pending.Signature) {
		return nil
	}
	why := c.mismatch()
	if why.Result == Fail { // nothing shows that the MTA changed the message, so no other form is tried
		return why
	}
	signed, genuine := signedDigest(pub, c.pending.Signature)
	switch {
	case !genuine: // the key did not make this signature
		return errMismatch()
	case c.find(signed) && verifyRSA(pub, signed, c.pending.Signature):
		return nil
	}
	return why
}

// find reports whether some form of the message has the hash that was signed.
func (c *candidates) find(signed digest) bool {
	for i := range c.forms() {
		if c.sum(i) == signed {
			return true
		}
	}
	return c.spacesUnknown && c.search(signed)
}

const (
	// maxSpaceForms is the maximum number of mixtures of values with and without a
	// space that are tried.
	maxSpaceForms = 128
	// maxSpaceOctets is the maximum number of octets that are hashed for all
	// mixtures.
	maxSpaceOctets = 256 << 10
)

// search looks for the form that was signed among the forms in which some values
// began with a space and other values did not. It begins with the forms in which the
// fewest values had no space.
func (c *candidates) search(signed digest) bool {
	var slots []int
	size := 0
	for slot, value := range c.message.index.signedValues(c.pending) {
		size += len(value)
		// If a value has two spaces here, it is known to have begun with a space,
		// because the MTA removes only one space and package milter puts one back.
		if slot < 64 && strings.HasPrefix(value, " ") && !strings.HasPrefix(value, "  ") {
			slots = append(slots, slot)
		}
	}
	slots = slots[:min(len(slots), 62)]
	tries := min(maxSpaceForms, maxSpaceOctets/max(size, 1))
	for without := 1; without <= len(slots); without++ {
		for set := uint64(1)<<without - 1; set < 1<<len(slots); set = nextSet(set) {
			if tries--; tries < 0 {
				return false
			}
			if sum, _ := c.message.index.headerHash(c.pending, form{bare: spread(set, slots)}); sum == signed {
				return true
			}
		}
	}
	return false
}

// nextSet returns the next larger number that has the same number of 1 bits.
func nextSet(set uint64) uint64 {
	lowest := set & -set
	carried := set + lowest
	return carried | (carried^set)>>2/lowest
}

// spread returns a number in which bit slots[i] is 1 if bit i of set is 1. All
// other bits are 0.
func spread(set uint64, slots []int) (bare uint64) {
	for i, slot := range slots {
		bare |= set >> i & 1 << slot
	}
	return bare
}

// dropped reports whether h= of the signature has this name although the message
// has no field with this name.
func (c *candidates) dropped(name string) bool {
	for _, signed := range c.pending.Headers {
		if strings.EqualFold(name, signed) {
			return c.message.Count(name) == 0
		}
	}
	return false
}

// mismatch is the result if no form matches: neutral if the MTA may have changed
// a signed field, otherwise fail.
func (c *candidates) mismatch() *Error {
	for _, name := range droppedFields {
		if c.dropped(name) {
			return &Error{Neutral, ReasonDroppedField, "the signature covers a field that MTAs remove: " + name}
		}
	}
	switch {
	case c.altered:
		return &Error{Neutral, ReasonNotVerifiable, "the MTA hands on a signed field truncated or changed"}
	case c.spacesUnknown:
		return &Error{Neutral, ReasonLeadingSpace, "the MTA does not show how the signed values begin"}
	}
	return errMismatch()
}
