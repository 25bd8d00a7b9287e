package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"slices"

	"sekimori/internal/dkim/syntax"
)

// wholeBody is the limit of a signature without l=.
const wholeBody = int64(-1)

// limitOf returns the number of octets of the canonical body that a signature
// covers, or wholeBody.
func limitOf(p *syntax.Params) int64 {
	if p.BodyLength == nil {
		return wholeBody
	}
	return *p.BodyLength
}

// digest is a SHA-256 value. RFC 8301 allows no other hash.
type digest = [sha256.Size]byte

// bodyHashes computes the body hashes for all signatures of one message. It runs
// each canonicalization that a signature asks for once. For a signature with l=
// it takes the hash of the first l= octets while the body arrives.
type bodyHashes struct {
	cache           *Cache
	simple, relaxed *canonicalizer
	closed          bool
}

// want asks for the hash of the beginning of the canonical body. limit is the
// number of octets to hash, or wholeBody. want must be called before the first
// write.
func (b *bodyHashes) want(c syntax.Canonicalization, limit int64) {
	p := &b.simple
	if c == syntax.Relaxed {
		p = &b.relaxed
	}
	if *p == nil {
		*p = b.cache.body(c == syntax.Relaxed)
	}
	(*p).sink.mark(limit)
}

// release gives the memory back to the cache. sum must not be called afterwards.
func (b *bodyHashes) release() {
	b.cache.reuseBody(b.simple)
	b.cache.reuseBody(b.relaxed)
	b.simple, b.relaxed, b.closed = nil, nil, true
}

func (b *bodyHashes) write(p []byte) {
	if b.simple != nil {
		b.simple.write(p)
	}
	if b.relaxed != nil {
		b.relaxed.write(p)
	}
}

func (b *bodyHashes) close() {
	if b.closed {
		return
	}
	b.closed = true
	for _, c := range []*canonicalizer{b.simple, b.relaxed} {
		if c != nil {
			c.close()
		}
	}
}

// sum returns the hash that was asked for with want, and the length of the
// canonical body. ok is false if the body is shorter than limit. close must be
// called first.
func (b *bodyHashes) sum(c syntax.Canonicalization, limit int64) (sum digest, length int64, ok bool) {
	from := b.simple
	if c == syntax.Relaxed {
		from = b.relaxed
	}
	if from == nil {
		return digest{}, 0, false
	}
	s := &from.sink
	if limit == wholeBody {
		return s.whole, s.length, true
	}
	i, found := slices.BinarySearch(s.limits, limit)
	if !found || i >= len(s.sums) {
		return digest{}, s.length, false
	}
	return s.sums[i], s.length, true
}

// bodySink hashes the canonical octets. For each length in its list "limits" it
// keeps the hash of that many octets from the beginning of the body.
type bodySink struct {
	hash   hash.Hash
	limits []int64  // the lengths for which a hash is wanted; ascending, distinct
	sums   []digest // sums[i] is the hash of the first limits[i] octets, for the limits reached so far
	length int64    // number of octets hashed so far
	buf    []byte   // collects small pieces, because SHA-256 is faster on long pieces
	whole  digest
}

// sinkBuffer is the size of bodySink.buf.
const sinkBuffer = 4096

func (s *bodySink) mark(limit int64) {
	if limit == wholeBody {
		return
	}
	if i, found := slices.BinarySearch(s.limits, limit); !found {
		s.limits = slices.Insert(s.limits, i, limit)
	}
}

func (s *bodySink) add(p []byte) {
	if len(s.buf)+len(p) > cap(s.buf) {
		s.flush()
		if len(p) >= cap(s.buf) {
			s.digest(p)
			return
		}
	}
	s.buf = append(s.buf, p...)
}

func (s *bodySink) flush() {
	s.digest(s.buf)
	s.buf = s.buf[:0]
}

// digest hashes p. For each limit that is reached inside p, it keeps the hash of
// the octets before the limit. hash.Sum does not change the running state, so one
// running hash is enough for all signatures with l=.
func (s *bodySink) digest(p []byte) {
	for len(s.sums) < len(s.limits) {
		left := s.limits[len(s.sums)] - s.length
		if left > int64(len(p)) {
			break
		}
		s.hash.Write(p[:left])
		p = p[left:]
		s.length += left
		s.sums = append(s.sums, digest{})
		s.hash.Sum(s.sums[len(s.sums)-1][:0])
	}
	s.hash.Write(p)
	s.length += int64(len(p))
}

func (s *bodySink) close() {
	s.flush()
	s.hash.Sum(s.whole[:0])
}

// canonicalizer brings a body that arrives in chunks into canonical form. It
// does not store octets that it holds back: a count and two flags say which
// octets these are.
type canonicalizer struct {
	relaxed bool
	sink    bodySink
	lines   int64 // number of CRLFs held back, which are dropped if the body ends here
	wsp     bool  // relaxed only: white space is held back, which is dropped if the line ends here
	cr      bool  // a CR is held back: the next octet decides whether it begins a CRLF or is content
	content bool  // octets other than line ends were written
}

func newCanonicalizer() *canonicalizer {
	return &canonicalizer{sink: bodySink{hash: sha256.New(), buf: make([]byte, 0, sinkBuffer)}}
}

// begin makes c ready for another body.
func (c *canonicalizer) begin(relaxed bool) {
	s := &c.sink
	s.hash.Reset()
	*c = canonicalizer{relaxed: relaxed, sink: bodySink{hash: s.hash, limits: s.limits[:0], sums: s.sums[:0], buf: s.buf[:0]}}
}

var (
	crlf = []byte("\r\n")
	// crlfs is a block of line ends, to write long runs of them quickly.
	crlfs = bytes.Repeat(crlf, sinkBuffer/len(crlf)/2)
)

func (c *canonicalizer) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if c.cr {
		c.cr = false
		if p[0] == '\n' {
			c.endLine()
			p = p[1:]
		} else {
			c.emit(crlf[:1]) // a bare CR is content
		}
	}
	if c.relaxed {
		c.writeRelaxed(p)
	} else {
		c.writeSimple(p)
	}
}

// writeSimple writes a chunk but holds back the line ends at its end
// (RFC 6376 §3.4.3).
func (c *canonicalizer) writeSimple(p []byte) {
	end, lines, cr := len(p), int64(0), false
	if end > 0 && p[end-1] == '\r' {
		end--
		cr = true
	}
	for end >= 2 && p[end-1] == '\n' && p[end-2] == '\r' {
		end -= 2
		lines++
	}
	if end > 0 {
		c.emit(p[:end])
	}
	c.lines += lines
	c.cr = cr
}

// writeRelaxed works line by line (RFC 6376 §3.4.4).
func (c *canonicalizer) writeRelaxed(p []byte) {
	if !c.wsp && bytes.IndexByte(p, ' ') < 0 && bytes.IndexByte(p, '\t') < 0 {
		c.writeSimple(p) // nothing to reduce without white space; most large mail is base64, which has none
		return
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			c.text(p)
			return
		}
		if i > 0 {
			c.text(p[:i])
			p = p[i:]
		}
		n := 1 // all CRs of a run are content, except the last
		for n < len(p) && p[n] == '\r' {
			n++
		}
		if n > 1 {
			c.emit(p[:n-1])
			p = p[n-1:]
		}
		switch {
		case len(p) == 1:
			c.cr = true
			return
		case p[1] == '\n':
			c.endLine()
			p = p[2:]
		default:
			c.emit(p[:1])
			p = p[1:]
		}
	}
}

// text writes a part of a line with its white space reduced.
func (c *canonicalizer) text(p []byte) {
	if bytes.IndexByte(p, '\t') < 0 && !bytes.Contains(p, twoSpaces) {
		// Most lines have no tab and no double space. In them, only a space at the
		// beginning or the end needs care.
		if len(p) > 0 && p[0] == ' ' {
			c.wsp = true
			p = p[1:]
		}
		body, trailing := bytes.CutSuffix(p, twoSpaces[:1])
		if len(body) > 0 {
			c.emit(body)
			c.wsp = trailing
		}
		return
	}
	for len(p) > 0 {
		n := 0
		for n < len(p) && (p[n] == ' ' || p[n] == '\t') {
			n++
		}
		if n > 0 {
			c.wsp = true
			p = p[n:]
		}
		for n = 0; n < len(p) && p[n] != ' ' && p[n] != '\t'; n++ {
		}
		if n > 0 {
			c.emit(p[:n])
			p = p[n:]
		}
	}
}

var twoSpaces = []byte("  ")

// endLine holds a CRLF back and drops white space before it.
func (c *canonicalizer) endLine() {
	c.wsp = false
	c.lines++
}

// emit writes the octets that were held back, and then p. The caller must know
// that p is content.
func (c *canonicalizer) emit(p []byte) {
	c.flushLines()
	if c.wsp {
		c.wsp = false
		c.sink.add(twoSpaces[:1])
	}
	c.content = true
	c.sink.add(p)
}

func (c *canonicalizer) flushLines() {
	if c.lines == 1 {
		c.lines = 0
		c.sink.add(crlf)
	}
	for c.lines > 0 {
		n := min(c.lines, int64(len(crlfs)/len(crlf)))
		c.sink.add(crlfs[:n*int64(len(crlf))])
		c.lines -= n
	}
}

// close ends the body with exactly one CRLF. An empty body stays empty under
// relaxed, and becomes one CRLF under simple (RFC 6376 §3.4.3, §3.4.4).
func (c *canonicalizer) close() {
	if c.cr {
		c.cr = false
		c.emit(crlf[:1])
	}
	if c.content || !c.relaxed {
		c.sink.add(crlf)
	}
	c.sink.close()
}
