package history

import (
	"crypto/sha256"
	"strings"

	"sekimori/internal/dns"
)

// Hint has a few bits of what the keys of a record leave out: the part of the author domain and of the sender's
// domain below the registered domain, and the sender's address. So a search for news.bank.example need not unpack
// all mail of bank.example, and one for an address not all mail of its domain. Different texts can have the same
// bits, so the reader of a record must still compare. 0 means that nothing is known, as in what earlier versions
// kept.
type Hint int16

// hintPart is a part of a Hint: bits values, of which the first is at the bit shift.
type hintPart struct {
	name        string // hashed too, and stored, so it must not change
	shift, bits int
	least       uint32 // smallest value
}

// The parts have 15 bits together, so a Hint is not negative. That of the author domain is never 0, so a Hint is
// not either.
var (
	pathHint   = hintPart{"path", 0, 6, 0}
	senderHint = hintPart{"sender", 6, 4, 0}
	authorHint = hintPart{"author", 10, 5, 1}
)

// of returns the bits of a text.
func (p *hintPart) of(text string) Hint {
	sum := sha256.Sum256([]byte(p.name + " " + text))
	values := uint32(1)<<p.bits - p.least
	return Hint((p.least + (uint32(sum[0])<<8|uint32(sum[1]))%values) << p.shift) //nolint:gosec // 15 bits
}

// mask returns all bits of the part.
func (p *hintPart) mask() Hint { return (1<<p.bits - 1) << p.shift }

// hint makes a search pass over records in which the part has other bits than text.
func (k *KeyIn) hint(p hintPart, text string) {
	k.Mask |= p.mask()
	k.Hint = k.Hint&^p.mask() | p.of(text)
}

// Allows reports whether the hint of a record lets it be what is looked for.
func (k *KeyIn) Allows(h Hint) bool { return h == 0 || h&k.Mask == k.Hint }

// HintOf returns the hint of a record: of the author domain, and of the envelope sender and its domain.
func HintOf(author, sender dns.Name, path string) Hint {
	return authorHint.of(label(author)) | senderHint.of(label(sender)) | pathHint.of(folded(path))
}

// label returns the label of d before its registered domain, or "" if d is a registered domain or has none.
// Domains below d have the same label.
func label(d dns.Name) string {
	o := owner(d)
	if len(o) >= len(d) {
		return ""
	}
	above := string(d[:len(d)-len(o)-1])
	return above[strings.LastIndexByte(above, '.')+1:]
}

// folded returns a text that is the same for texts that strings.EqualFold calls equal.
func folded(text string) string { return strings.ToLower(strings.ToUpper(text)) }
