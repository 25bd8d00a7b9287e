package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"sekimori/internal/config"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// maxHeader bounds the header read of a message, in octets: the largest that
// any limits.header_bytes makes sense for, and what own hosts put on top.
const maxHeader = 16 << 20

// readHeader reads a message up to the end of its header. rest is what it has
// read of the body; whole is false if the header is larger than it may be, and
// then only its beginning is returned.
func readHeader(in lines) (h message.Header, rest []byte, whole bool, err error) {
	var raw []byte
	for {
		c, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, false, err
		}
		if len(raw)+len(c.data) > maxHeader {
			h, _ = message.Parse(raw)
			return h, nil, false, nil
		}
		raw = append(raw, c.data...)
		if c.blank() {
			break
		}
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil, false, errors.New("the message is empty")
	}
	h, rest = message.Parse(raw)
	return h, rest, true, nil
}

// judge is one configuration at work.
type judge struct {
	cfg      *config.Config
	verifier *msgauth.Verifier
	rules    policy.Config
	same     bool // it finds the same facts as the live one
}

// facts are what a decision is made of: an evaluation, or why there is none.
type facts struct {
	evaluation *msgauth.Evaluation
	skipped    policy.Reason
	oversize   string
}

// check is a message under way.
type check struct {
	facts
	envelope     msgauth.Envelope
	connection   *msgauth.Connection
	verification *msgauth.Verification
}

// begin starts a message as the daemon does, the same exemptions and limits
// included.
func (j *judge) begin(ctx context.Context, t transaction, whole bool) *check {
	c := &check{envelope: t.envelope}
	switch {
	case t.internal, j.cfg.Trusted.Contains(t.session.Client):
		c.skipped = policy.ReasonTrusted
		return c
	case t.session.Authenticated != "" && j.cfg.Trusted.Authenticated:
		c.skipped = policy.ReasonAuthenticated
		return c
	}
	if c.oversize = oversized(t.header, whole, j.cfg.Limits); c.oversize != "" {
		return c
	}
	verifier := j.verifier
	if !t.received.IsZero() {
		verifier = verifier.At(t.received)
	}
	c.connection = verifier.Connect(ctx, t.session)
	if t.session.HELO != "" {
		c.connection.Helo(t.session.HELO)
	}
	c.verification = c.connection.Begin(t.session, t.envelope)
	c.verification.EndOfHeader(t.header)
	return c
}

// oversized names the limit that the milter would have stopped the message at.
func oversized(h message.Header, whole bool, limits config.Limits) string {
	size := 0
	for _, f := range h {
		n := len(f.Name) + len(f.Value)
		if n > milter.DefaultMaxFieldBytes {
			return milter.OversizeFieldBytes
		}
		size += n
	}
	switch {
	case len(h) > limits.HeaderFields:
		return milter.OversizeHeaderFields
	case !whole || size > int(limits.HeaderBytes):
		return milter.OversizeHeaderBytes
	}
	return ""
}

func (c *check) write(body []byte) {
	if c.verification != nil {
		_, _ = c.verification.Write(body) // hashing does not fail
	}
}

func (c *check) close() {
	if c.verification != nil {
		c.verification.Close()
		c.connection.Close()
	}
}

func (c *check) finish(ctx context.Context) facts {
	defer c.close()
	if c.verification != nil {
		c.evaluation = c.verification.Finish(ctx, c.envelope)
	}
	return c.facts
}

func (j *judge) decide(f facts) decision {
	switch {
	case f.skipped != "":
		return decision{verdict: policy.Skipped(f.skipped)}
	case f.oversize != "":
		return decision{verdict: policy.Oversized(f.oversize, j.rules)}
	}
	return decision{verdict: policy.Decide(f.evaluation, j.rules), author: f.evaluation.From.AuthorDomain}
}

// where names a message for people.
func (m *Message) where() string {
	if m.Name != "" {
		return m.Name
	}
	return fmt.Sprintf("message %d at octet %d", m.Number, m.Offset)
}
