package dkim

import (
	"crypto/rsa"
	"math/bits"

	"sekimori/internal/dkim/syntax"
)

// Senders choose the keys, and with them the cost of a verification: a key of
// 8,192 bits with a large exponent costs about a hundred times as much as an
// ordinary one, and a message may ask for hundreds of verifications. So every
// verification has a weight, and the sum of the weights is limited for each
// message.
//
// The unit is one step of an exponentiation with a modulus of 64 bits. A step with a
// longer modulus weighs (bits/64)² units. A verification has one step for each bit of
// the exponent, one more for each bit that is set, and setupSteps for the values that
// crypto/rsa first computes from the modulus.
//
// The weights are not exact. Above 2,048 bits crypto/rsa has no assembly and
// takes 2.4 times as long as its weight says. If the MTA may have changed a
// signed field, checkRSA does up to two exponentiations that are not counted.
// msgauth.BenchmarkWorstMessage measures up to 4 ms of CPU time for a message. With
// the exponentiations that are not counted it may be about 10 ms; that is an estimate
// from the time of single operations.
const (
	// ordinaryWork is the weight of a verification under a key of 2,048 bits with
	// the exponent 65537. It takes 29 µs (AMD EPYC, Go 1.26).
	ordinaryWork = (2048 / 64) * (2048 / 64) * (17 + 2 + setupSteps)
	setupSteps   = 13
	// ed25519Work is the weight of a verification under Ed25519. Such a
	// verification takes 1.7 times as long as an ordinary one but counts as one, so
	// that a chain of 50 sets with Ed25519 keys stays below the limit.
	ed25519Work = ordinaryWork
	// maxOperations is the limit for the work of one message, in ordinary
	// operations. It is enough for ten signatures and a chain of 50 ARC sets.
	maxOperations = 64
)

// rsaWork is the weight of one verification under an RSA key.
func rsaWork(size, exponent int) int64 {
	// For a size between two multiples of 512 bits, crypto/rsa takes as long as for
	// the larger multiple. Above 2,048 bits the same is true of multiples of 1,024
	// bits.
	const small, usual = 512, 1024
	step := usual
	if size <= 2*usual {
		step = small
	}
	limbs := int64((size + step - 1) / step * step / 64)
	steps := bits.Len(uint(exponent)) + bits.OnesCount(uint(exponent)) + setupSteps
	return limbs * limbs * int64(steps)
}

// workOf is the weight of one verification under k.
func workOf(k *syntax.Key) int64 {
	if pub, ok := k.Public.(*rsa.PublicKey); ok {
		return rsaWork(k.Bits, pub.E)
	}
	return ed25519Work
}

// budget counts the work that the signatures of one message have taken and may
// still take.
type budget struct {
	free  int64 // neither spent nor reserved for a signature
	spent int64
}

// Reserve sets aside the work of verifying p under a key with the exponent
// 65537. The key has not arrived yet, but the length of b= tells the size of the
// key. If no accepted key has this size, no work is needed. Reserve returns
// false if the message has too little work left. Release gives back the work
// that was not spent.
func (m *Message) Reserve(p *Pending) bool {
	const ordinaryExponent = 1<<16 + 1
	need := int64(0)
	switch size := 8 * len(p.Signature); {
	case p.Algorithm == syntax.Ed25519SHA256:
		need = ed25519Work
	case size <= MaxRSABits:
		need = rsaWork(size, ordinaryExponent)
	}
	if need > m.budget.free {
		return false
	}
	m.budget.free -= need
	p.reserved = need
	return true
}

// Release gives back the work that was reserved for a signature and not spent.
func (m *Message) Release(p *Pending) {
	m.budget.free += p.reserved
	p.reserved = 0
}

// spend takes work from the reserve of a signature first, then from the work
// that is not reserved. If both together are too little, it takes nothing and
// returns false.
func (b *budget) spend(p *Pending, work int64) bool {
	if work > p.reserved+b.free {
		return false
	}
	reserved := min(work, p.reserved)
	p.reserved -= reserved
	b.free -= work - reserved
	b.spent += work
	return true
}

// Operations returns how much public-key arithmetic the signatures of the
// message took. The unit is one verification with an RSA key of 2,048 bits and
// the exponent 65537.
func (m *Message) Operations() float64 { return float64(m.budget.spent) / ordinaryWork }

// errNoWork is the result of a signature if too little work is left to verify
// it. It is not a fail, because the signature may be good. It is not a temporary
// error, because the message would need as much work the next time.
func errNoWork() *Error {
	return &Error{Policy, ReasonWorkLimit, "verifying it would take more arithmetic than a message may"}
}
