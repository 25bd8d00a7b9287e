package dkim

import (
	"context"

	"sekimori/internal/dkim/syntax"
)

// Pending is a signature that was read and is not verified yet.
type Pending struct {
	syntax.Params
	Field int // the index of the signature field in the header

	lookup   *Lookup // the lookup of the key; set by WantKey
	reserved int64   // work that Reserve has set aside for this signature and that was not spent yet
}

// Read reads the signature field at an index of the header. After an error the
// Pending holds what could be read.
func (m *Message) Read(field int, form syntax.Form) (Pending, *Error) {
	p := Pending{Field: field}
	err := p.Parse(m.index.header[field].Value, form, nil)
	return p, malformed(err)
}

// Verdict is the outcome for one signature.
type Verdict struct {
	Err       *Error // nil if the signature verifies and local policy accepts it
	Uncovered int64  // octets of the canonical body after those that l= covers

	key *syntax.Key // the key that verified the signature, or the key that Err is about; nil if no key was found
}

// CheckExpiration applies x= (RFC 6376 §3.5). An expired signature gets "fail",
// because RFC 6376 §6.1.1 calls expiration a permanent failure of a well-formed
// signature. A t= in the future is accepted: see [Signature.Ahead]. o must have
// its defaults (see [Options.WithDefaults]).
func (p *Pending) CheckExpiration(o Options) *Error {
	if p.Expires != nil && *p.Expires < o.Now.Add(-max(o.Skew, 0)).Unix() {
		return &Error{Fail, ReasonExpired, "the signature has expired"}
	}
	return nil
}

// ahead reports whether t= is later than now by more than the skew.
func (p *Pending) ahead(o Options) bool {
	return p.Timestamp != nil && *p.Timestamp > o.Now.Add(max(o.Skew, 0)).Unix()
}

// Verify checks a signature over header and body (RFC 6376 §6.1.3). The caller
// must have called WantBody and WantKey. Verify ends the body and waits for the
// key until ctx is done. If the body was changed, the signature fails even if no
// key came.
func (m *Message) Verify(ctx context.Context, p *Pending, o Options) Verdict {
	defer m.Release(p)
	uncovered, bodyErr := m.checkBody(&p.Params)
	c := m.candidates(p, o)
	v := tryKeys(ctx, p, o, func(k *syntax.Key) *Error {
		if bodyErr != nil {
			return bodyErr
		}
		return c.check(k)
	})
	v.Uncovered = uncovered
	switch {
	case v.Err == nil:
		v.Err = checkLength(&p.Params, uncovered, o)
	case v.Err.Result == TempError && bodyErr != nil:
		v.Err = bodyErr
	}
	return v
}

// VerifySum checks a signature over a hash that the caller made, as package arc
// does for ARC-Seal. The caller must have called WantKey.
func (m *Message) VerifySum(ctx context.Context, p *Pending, sum [32]byte, o Options) Verdict {
	defer m.Release(p)
	return tryKeys(ctx, p, o, func(k *syntax.Key) *Error {
		if !fits(k, p.Signature) {
			return errMismatch()
		}
		if !m.budget.spend(p, workOf(k)) {
			return errNoWork()
		}
		if !verifies(k, sum, p.Signature) {
			return errMismatch()
		}
		return nil
	})
}

func errMismatch() *Error {
	return &Error{Fail, ReasonSignature, "the signed header was changed or the key is another"}
}

// tryKeys tries the keys of a selector one after the other. If none of them
// verifies the signature, the error is that of the first key, unless leavesOpen
// ranks the error of a later key higher.
func tryKeys(ctx context.Context, p *Pending, o Options, verify func(*syntax.Key) *Error) Verdict {
	keys, err := p.lookup.wait(ctx)
	if err != nil {
		return Verdict{Err: err}
	}
	var v Verdict
	for i := range keys {
		err := malformed(keys[i].Check(&p.Params))
		if err == nil {
			err = checkStrength(&keys[i], o)
		}
		if err == nil {
			err = verify(&keys[i])
		}
		if err == nil {
			return Verdict{key: &keys[i]}
		}
		if v.Err == nil || leavesOpen(err) > leavesOpen(v.Err) {
			v = Verdict{Err: err, key: &keys[i]}
		}
	}
	return v // there was at least one key, so v.Err is set
}

// leavesOpen ranks errors. The less an error proves against the signature, the
// higher is its rank.
func leavesOpen(err *Error) int {
	switch {
	case err.Reason == ReasonWorkLimit:
		return 2
	case err.Result == Neutral:
		return 1
	}
	return 0
}

// checkBody compares the body with bh=. It returns the number of octets of the
// canonical body that follow those that l= covers.
func (m *Message) checkBody(p *syntax.Params) (uncovered int64, err *Error) {
	m.body.close()
	sum, length, ok := m.body.sum(p.BodyCanon, limitOf(p))
	switch {
	case !ok: // RFC 6376 §3.5: l= must not exceed the body
		return 0, &Error{PermError, ReasonBeyondBody, "l= is larger than the body"}
	case sum != p.BodyHash:
		return 0, &Error{Fail, ReasonBodyHash, "the body was changed"}
	case p.BodyLength != nil:
		return length - *p.BodyLength, nil
	}
	return 0, nil
}

// checkLength applies the policy for l= to a signature that verifies. If l= does
// not cover the whole body, anybody can append text, and recipients believe that
// the signer wrote this text (RFC 6376 §8.2).
func checkLength(p *syntax.Params, uncovered int64, o Options) *Error {
	switch {
	case p.BodyLength == nil:
	case o.BodyLength == BodyLengthFail:
		return &Error{Fail, ReasonBodyLength, "signatures with l= are not accepted"}
	case o.BodyLength == BodyLengthCovered && uncovered > 0:
		return &Error{Policy, ReasonBodyLength, "l= leaves a part of the body unsigned"}
	}
	return nil
}
