package dkim

import (
	"context"
	"slices"
	"strings"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// fieldName is the name of a signature field, in lower case.
const fieldName = "dkim-signature"

const (
	// maxFields is the maximum number of DKIM-Signature fields that are read, from
	// the top. Package milter lets fewer fields through by default. The limit here
	// is high, because the author's field may be below any number of fields that
	// other signers have added.
	maxFields = 4096
	// maxReported is the maximum number of signatures that Finish returns, so that
	// the results fit into a header field. (Finish returns more only if
	// Options.MaxSignatures is larger.) Finish returns the signatures that were
	// verified and the topmost of the others. Ordinary mail has one to three
	// signatures. Mail that went through mailing lists has up to ten.
	maxReported = 64
)

// Verifier verifies the DKIM signatures of one message. It is not safe for
// concurrent use.
type Verifier struct {
	message    Message
	options    Options
	signatures []Signature // the result of Finish
	checks     []check     // checks[i] belongs to signatures[i]
	omitted    int
	memory     [usualSignatures]check // backing array of checks for most messages
}

// usualSignatures is the number of signatures that most messages do not exceed.
const usualSignatures = 2

// check is a signature that gets its result step by step.
type check struct {
	*Signature
	pending Pending // pending.lookup is nil if NewVerifier has already found the result
}

// NewVerifier reads the DKIM-Signature fields, at most maxFields of them, and
// decides which signatures are verified. It does no I/O. Close must be called.
func NewVerifier(h message.Header, o Options) *Verifier {
	v := &Verifier{options: o.WithDefaults()}
	v.message.init(h, o.Cache)
	var few [16]int
	fields := v.message.index.appendNamed(few[:0], fieldName)
	if len(fields) > maxFields {
		v.omitted = len(fields) - maxFields
		fields = fields[:maxFields]
	}
	v.signatures = make([]Signature, len(fields))
	if v.checks = v.memory[:]; len(fields) > len(v.memory) {
		v.checks = make([]check, len(fields))
	}
	v.checks = v.checks[:len(fields)]
	for i, at := range fields {
		v.checks[i].Signature = &v.signatures[i]
		v.checks[i].read(&v.message, at)
	}
	v.judgeFrom()
	v.judgeExpiration()
	v.pick()
	v.dropExcess()
	return v
}

// dropExcess drops signatures until maxReported are left. It drops only
// signatures that already have a result, the lowest first.
func (v *Verifier) dropExcess() {
	if len(v.checks) <= maxReported {
		return
	}
	free := maxReported
	for i := range v.checks {
		if !v.checks[i].settled() {
			free--
		}
	}
	// These are copies, so that the dropped signatures are freed.
	checks, signatures := make([]check, 0, maxReported), make([]Signature, 0, maxReported)
	for i := range v.checks {
		c := &v.checks[i]
		if c.settled() && free <= 0 {
			continue
		}
		if c.settled() {
			free--
		}
		checks, signatures = append(checks, *c), append(signatures, *c.Signature)
	}
	for i := range checks {
		checks[i].Signature = &signatures[i]
	}
	v.omitted += len(v.checks) - len(checks)
	v.checks, v.signatures = checks, signatures
}

// read parses one field.
func (c *check) read(m *Message, at int) {
	p := &c.pending
	p.Field = at
	err := p.Parse(m.index.header[at].Value, syntax.FormDKIM, m.index.tags[:0])
	if cap(p.Tags) > cap(m.index.tags) {
		m.index.tags = p.Tags
	}
	p.Tags = nil // its memory is used for the tags of the next field
	*c.Signature = Signature{
		Field: at, Domain: p.Domain, Identity: p.Identity, Selector: string(p.Selector), Algorithm: p.Algorithm,
		SignedHeaders: p.Headers, Timestamp: p.Timestamp, Expiration: p.Expires, BodyLength: p.BodyLength, B: p.B,
	}
	c.Canonicalization = canonicalizationText(p.HeaderCanon, p.BodyCanon)
	if err != nil {
		c.settle(malformed(err))
	}
}

// canonicalizationText returns c= in full, or "" if c= could not be read.
func canonicalizationText(header, body syntax.Canonicalization) string {
	switch {
	case header == syntax.Relaxed && body == syntax.Relaxed:
		return "relaxed/relaxed" // needs no allocation for most signatures
	case header != "":
		return string(header) + "/" + string(body)
	}
	return ""
}

func (c *check) settle(err *Error) {
	c.Result, c.Reason, c.Detail = err.Result, err.Reason, err.Detail
}

func (c *check) settled() bool { return c.Result != "" }

// settleAll gives the result err to all signatures that have no result yet.
func (v *Verifier) settleAll(err *Error) {
	for i := range v.checks {
		if !v.checks[i].settled() {
			v.checks[i].settle(err)
		}
	}
}

// judgeFrom refuses messages that do not have exactly one From field, because a
// mail client may show another From than the signed one (RFC 6376 §8.15).
func (v *Verifier) judgeFrom() {
	switch n := v.message.Count("from"); {
	case n == 0: // RFC 6376 §5.4: From must be signed
		v.settleAll(&Error{PermError, ReasonFromMissing, "the message has no From"})
	case n > 1:
		v.settleAll(&Error{Policy, ReasonMultipleFrom, "the message has more than one From"})
	}
}

func (v *Verifier) judgeExpiration() {
	for i := range v.checks {
		if c := &v.checks[i]; !c.settled() {
			c.Ahead = c.pending.ahead(v.options)
			if err := c.pending.CheckExpiration(v.options); err != nil {
				c.settle(err)
			}
		}
	}
}

// pick chooses the signatures that are verified, the author's first. It
// registers the keys and body hashes that they need.
func (v *Verifier) pick() {
	var few [16]int
	open := few[:0]
	for i := range v.checks {
		if !v.checks[i].settled() {
			open = append(open, i)
		}
	}
	slices.SortStableFunc(open, func(a, b int) int {
		return v.distance(v.checks[a].Domain) - v.distance(v.checks[b].Domain)
	})
	for n, i := range open {
		c := &v.checks[i]
		if n >= v.options.MaxSignatures {
			c.settle(&Error{Policy, ReasonTooManySignatures, "more signatures than are verified"})
			continue
		}
		if !v.message.Reserve(&c.pending) {
			c.settle(errNoWork())
			continue
		}
		v.message.WantBody(&c.pending)
		v.message.WantKey(&c.pending)
	}
}

// distance ranks a signing domain by how likely it is to align with the author's
// domain. 0 is the most likely.
func (v *Verifier) distance(d dns.Name) int {
	prefer := v.options.Prefer
	switch {
	case prefer == "" || d == prefer:
		return 0
	case prefer.Under(d) || d.Under(prefer):
		return 1
	case prefer.Under(parent(d)): // domains with the same parent may be of one organization
		return 2
	}
	return 3
}

// parent returns the name above d, or d itself if the name above has fewer than
// two labels.
func parent(d dns.Name) dns.Name {
	_, up, _ := strings.Cut(string(d), ".")
	if !strings.Contains(up, ".") {
		return d
	}
	return dns.Name(up)
}

// Message returns the data that the signatures share. Package arc uses it to
// verify the ARC chain of the same message without a second index or body hash.
func (v *Verifier) Message() *Message { return &v.message }

// QueryNames returns the names at which Start looks for keys.
func (v *Verifier) QueryNames() []dns.Name { return v.message.QueryNames() }

// Omitted returns the number of DKIM-Signature fields for which Finish gives no
// result, because there are more than maxFields or maxReported of them.
func (v *Verifier) Omitted() int { return v.omitted }

// Start begins all key lookups in the background and returns at once. The
// lookups end when ctx is done or Close is called.
func (v *Verifier) Start(ctx context.Context, r dns.Resolver) { v.message.Start(ctx, r) }

// Write takes the next octets of the body, CRLF as received, in any chunks. It
// never fails.
func (v *Verifier) Write(p []byte) (int, error) { return v.message.Write(p) }

// Close ends the lookups and gives the memory back. Finish must not be called
// afterwards. Close may be called again.
func (v *Verifier) Close() { v.message.Close() }

// Finish ends the body, waits for the keys until ctx is done and returns the
// signatures in the order of their fields, the topmost first. If a key did not come,
// the signature gets a temperror, unless no key could verify it.
func (v *Verifier) Finish(ctx context.Context) []Signature {
	for i := range v.checks {
		if c := &v.checks[i]; !c.settled() {
			v.verify(ctx, c)
		}
	}
	return v.signatures
}

func (v *Verifier) verify(ctx context.Context, c *check) {
	verdict := v.message.Verify(ctx, &c.pending, v.options)
	c.Uncovered = verdict.Uncovered
	if key := verdict.key; key != nil {
		c.KeyType, c.KeyBits, c.Testing, c.KeyAuthenticated = key.Type, key.Bits, key.Testing, c.pending.lookup.authenticated
	}
	if verdict.Err != nil {
		c.settle(verdict.Err)
		c.NotWaited = c.Result == TempError && c.pending.lookup.givenUp
		return
	}
	c.Result = Pass
}
