package dkim

import "context"

// Verdict is what became of one signature.
type Verdict struct {
	Err       *Error // nil: it verifies and nothing speaks against it
	Key       *Key   // the key that verified it, or the first one found; may be nil
	Uncovered int64  // octets of the canonical body past l=
}

// CheckExpiration applies x= (RFC 6376 §3.5). Expired is "fail", because
// RFC 6376 §6.1.1 calls it a permanent failure of a signature that is well
// formed. t= refuses nothing: see [Signature.Ahead]. The options must have
// their defaults.
func (p *Params) CheckExpiration(o Options) *Error {
	if p.Expires != nil && *p.Expires < o.Now.Add(-max(o.Skew, 0)).Unix() {
		return &Error{Fail, ReasonExpired, "the signature has expired"}
	}
	return nil
}

// ahead reports whether t= is later than our clock and the skew allow.
func (p *Params) ahead(o Options) bool {
	return p.Timestamp != nil && *p.Timestamp > o.Now.Add(max(o.Skew, 0)).Unix()
}

// Verify checks a signature, found in the header's given field, over header
// and body (RFC 6376 §6.1.3). It ends the body and waits for the key until ctx
// is done; a key that did not come does not matter if the body was changed.
func (m *Message) Verify(ctx context.Context, p *Params, field int, l *Lookup, o Options) Verdict {
	defer m.Release(p)
	uncovered, bodyErr := m.checkBody(p)
	c := m.candidates(p, field, o)
	v := tryKeys(ctx, p, l, o, func(k *Key) *Error {
		if bodyErr != nil {
			return bodyErr
		}
		return c.check(k)
	})
	v.Uncovered = uncovered
	switch {
	case v.Err == nil:
		v.Err = checkLength(p, uncovered, o)
	case v.Err.Result == TempError && bodyErr != nil:
		v.Err = bodyErr
	}
	return v
}

// VerifySum checks a signature over a hash made elsewhere, as ARC-Seal's is.
func (m *Message) VerifySum(ctx context.Context, p *Params, sum [32]byte, l *Lookup, o Options) Verdict {
	defer m.Release(p)
	return tryKeys(ctx, p, l, o, func(k *Key) *Error {
		if !k.opens(p.signature) {
			return errMismatch()
		}
		if !m.budget.spend(p, k.work()) {
			return errNoWork()
		}
		if !k.verifies(sum, p.signature) {
			return errMismatch()
		}
		return nil
	})
}

func errMismatch() *Error {
	return &Error{Fail, ReasonSignature, "the signed header was changed or the key is another"}
}

// tryKeys goes through the keys of a selector. Unless one of them verifies, the
// first one's objection counts, or one that leaves more open.
func tryKeys(ctx context.Context, p *Params, l *Lookup, o Options, verify func(*Key) *Error) Verdict {
	keys, err := l.Keys(ctx)
	if err != nil {
		return Verdict{Err: err}
	}
	use := Use{
		Algorithm: p.Algorithm, MinRSABits: o.MinRSABits, MaxRSABits: o.MaxRSABits,
		SubdomainIdentity: p.identityDomain != "" && p.identityDomain != p.Domain,
	}
	var v Verdict
	for i := range keys {
		err := keys[i].Check(use)
		if err == nil {
			err = verify(&keys[i])
		}
		if err == nil {
			return Verdict{Key: &keys[i]}
		}
		if v.Err == nil || leavesOpen(err) > leavesOpen(v.Err) {
			v = Verdict{Err: err, Key: &keys[i]}
		}
	}
	return v // keysOf gives a key or an error
}

// leavesOpen ranks objections by how little they say about the signature.
func leavesOpen(err *Error) int {
	switch {
	case err.Reason == ReasonWorkLimit:
		return 2
	case err.Result == Neutral:
		return 1
	}
	return 0
}

// checkBody compares the body with bh= and returns how many octets of the
// canonical body lie past l=.
func (m *Message) checkBody(p *Params) (uncovered int64, err *Error) {
	m.body.close()
	sum, length, ok := m.body.sum(p.BodyCanon, p.limit())
	switch {
	case !ok: // RFC 6376 §3.5: l= must not exceed the body
		return 0, &Error{PermError, ReasonBeyondBody, "l= is more than the body has"}
	case sum != p.bodyHash:
		return 0, &Error{Fail, ReasonBodyHash, "the body was changed"}
	case p.BodyLength != nil:
		return length - *p.BodyLength, nil
	}
	return 0, nil
}

// checkLength applies the policy for l= to a signature that verifies: whoever
// appends to the body of such a message says what he likes in the signer's
// name (RFC 6376 §8.2).
func checkLength(p *Params, uncovered int64, o Options) *Error {
	switch {
	case p.BodyLength == nil:
	case o.BodyLength == BodyLengthFail:
		return &Error{Fail, ReasonBodyLength, "signatures with l= are not accepted"}
	case o.BodyLength == BodyLengthCovered && uncovered > 0:
		return &Error{Policy, ReasonBodyLength, "l= leaves a part of the body unsigned"}
	}
	return nil
}
