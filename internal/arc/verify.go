package arc

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
)

// Verifier validates the chain of one message. It is not safe for concurrent
// use.
type Verifier struct {
	message *dkim.Message
	options dkim.Options
	sets    []set
	failed  *failure // failure that the header alone shows, without the body and the keys; nil if none
}

// NewVerifier collects the ARC sets and checks the chain's structure. It does no
// I/O. The caller writes the body to m. The options on keys, times and l= apply
// to ARC as they do to DKIM.
func NewVerifier(m *dkim.Message, o dkim.Options) *Verifier {
	v := &Verifier{message: m, options: o.WithDefaults()}
	v.sets, v.failed = collect(m)
	if v.failed == nil && len(v.sets) > 0 {
		v.failed = checkChain(v.sets)
	}
	if v.failed == nil && len(v.sets) > 0 {
		v.failed = checkFrom(m, len(v.sets))
	}
	if v.failed == nil && len(v.sets) > 0 {
		v.failed = v.reserve()
	}
	if v.failed != nil {
		return v
	}
	// The lookups for the newest set come first: if this set fails, so does the
	// chain.
	for i := len(v.sets) - 1; i >= 0; i-- {
		s := &v.sets[i]
		if s.message.err == nil {
			s.message.err = s.message.CheckExpiration(v.options)
		}
		if s.message.err == nil {
			m.WantBody(&s.message.Pending)
			m.WantKey(&s.message.Pending)
		}
		m.WantKey(&s.seal.Pending)
	}
	return v
}

// reserve sets aside the work of verifying the newest ARC-Message-Signature and
// every seal, because the status of the chain depends on them. The older message
// signatures do not change the status. They are verified at the end, as far as
// work is left. If the message has too little work left, reserve returns a
// failure.
func (v *Verifier) reserve() *failure {
	newest := &v.sets[len(v.sets)-1].message
	enough := newest.err != nil || v.message.Reserve(&newest.Pending)
	for i := len(v.sets) - 1; i >= 0 && enough; i-- {
		enough = v.message.Reserve(&v.sets[i].seal.Pending)
	}
	if enough {
		return nil
	}
	v.release()
	return &failure{reason: ReasonWorkLimit, detail: "verifying the chain would take more arithmetic than a message may"}
}

// release gives back the work that was reserved.
func (v *Verifier) release() {
	for i := range v.sets {
		v.message.Release(&v.sets[i].message.Pending)
		v.message.Release(&v.sets[i].seal.Pending)
	}
}

// checkFrom refuses messages that do not have exactly one From, as package dkim
// does: a mail client may show another From than the signed one (RFC 6376 §8.15).
func checkFrom(m *dkim.Message, newest int) *failure {
	fail := failure{reason: ReasonMessageSignature, instance: newest}
	switch n := m.Count("from"); {
	case n == 0:
		fail.signature, fail.detail = dkim.ReasonFromMissing, "the message has no From"
	case n > 1:
		fail.signature, fail.detail = dkim.ReasonMultipleFrom, "the message has more than one From"
	default:
		return nil
	}
	return &fail
}

// Start begins all key lookups in the background and returns at once, as
// [dkim.Verifier.Start] does. It does not repeat lookups that have begun.
func (v *Verifier) Start(ctx context.Context, r dns.Resolver) { v.message.Start(ctx, r) }

// Finish ends the body, waits for the keys until ctx is done and returns the
// result for the chain.
func (v *Verifier) Finish(ctx context.Context) Result {
	r := Result{Status: None, Sets: v.describe()}
	if len(v.sets) == 0 && v.failed == nil {
		return r
	}
	f := v.failed
	if f == nil {
		f = v.verifyNewest(ctx, &r)
	}
	if f == nil {
		f = v.verifySeals(ctx)
	}
	if f != nil {
		v.release()
		r.Status, r.Reason, r.Instance, r.Signature, r.Detail = f.status(), f.reason, f.instance, f.signature, f.detail
		return r
	}
	v.verifyOlder(ctx, &r)
	r.Status = Pass
	r.RemoteIP = remoteIP(v.sets[len(v.sets)-1].payload)
	return r
}

// status returns NotEvaluated if there was too little work left to verify the
// chain, because such a chain did not fail. Otherwise it returns Fail.
func (f *failure) status() Status {
	if f.reason == ReasonWorkLimit {
		return NotEvaluated
	}
	return Fail
}

func (v *Verifier) describe() []Set {
	var out []Set
	for i := range v.sets {
		s := &v.sets[i]
		cv, _ := s.seal.Tags.Get("cv")
		switch cv {
		case "none", "pass", "fail":
		default:
			cv = "" // do not repeat text that the sender chose
		}
		out = append(out, Set{
			Instance: i + 1, Sealer: s.seal.Domain, Selector: string(s.seal.Selector), CV: cv,
			MessageDomain: s.message.Domain, MessageSelector: string(s.message.Selector),
			AuthResults: s.payload,
		})
	}
	return out
}

// verifyMessage verifies the ARC-Message-Signature of v.sets[i] and sets
// MessagePass.
func (v *Verifier) verifyMessage(ctx context.Context, i int, r *Result) *dkim.Error {
	s := &v.sets[i].message
	err := s.err
	if err == nil {
		err = v.message.Verify(ctx, &s.Pending, v.options).Err
	}
	r.Sets[i].MessagePass = err == nil
	return err
}

// verifyNewest checks the newest ARC-Message-Signature, which must verify
// (RFC 8617 §5.2 step 4).
func (v *Verifier) verifyNewest(ctx context.Context, r *Result) *failure {
	newest := len(v.sets) - 1
	if err := v.verifyMessage(ctx, newest, r); err != nil {
		return signatureFailure(ReasonMessageSignature, newest+1, err)
	}
	return nil
}

// verifyOlder verifies the other ARC-Message-Signatures, the newest first. It
// stops at the first one that does not verify, or when the message has too little
// work left (RFC 8617 §5.2 step 5).
func (v *Verifier) verifyOlder(ctx context.Context, r *Result) {
	for i := len(v.sets) - 2; i >= 0; i-- {
		if v.verifyMessage(ctx, i, r) != nil {
			r.OldestPass = i + 2
			return
		}
	}
}

func signatureFailure(reason Reason, instance int, err *dkim.Error) *failure {
	if err.Reason == dkim.ReasonWorkLimit {
		reason = ReasonWorkLimit
	}
	return &failure{
		reason: reason, instance: instance, signature: err.Reason,
		detail: fmt.Sprintf("set %d: %s", instance, err.Detail),
	}
}

// verifySeals checks every ARC-Seal, the newest first (RFC 8617 §5.2 step 6).
func (v *Verifier) verifySeals(ctx context.Context) *failure {
	sums, err := v.sealSums()
	if err != nil {
		return signatureFailure(ReasonSealSignature, 0, &dkim.Error{Reason: dkim.ReasonInternal, Detail: err.Error()})
	}
	for i := len(v.sets) - 1; i >= 0; i-- {
		s := &v.sets[i].seal
		if verdict := v.message.VerifySum(ctx, &s.Pending, sums[i], v.options); verdict.Err != nil {
			return signatureFailure(ReasonSealSignature, i+1, verdict.Err)
		}
	}
	return nil
}

// sealSums returns the hash that each seal signs. A seal covers all sets from
// the first to its own. Of each set it covers the results, the message signature
// and the seal, in relaxed form. The seal itself comes last, with b= emptied and
// without CRLF (RFC 8617 §5.1.1). One running hash goes through the chain and is
// cloned at each seal. So the cost grows with the number of sets, not with its
// square.
func (v *Verifier) sealSums() ([][32]byte, error) {
	running := sha256.New().(hash.Cloner)
	sums := make([][32]byte, len(v.sets))
	for i := range v.sets {
		s := &v.sets[i]
		running.Write(v.message.RelaxedField(s.results))
		running.Write(v.message.RelaxedField(s.message.Field))
		fork, err := running.Clone()
		if err != nil {
			return nil, err
		}
		fork.Write(v.message.RelaxedUnsigned(&s.seal.Pending))
		fork.Sum(sums[i][:0])
		running.Write(v.message.RelaxedField(s.seal.Field))
	}
	return sums, nil
}
