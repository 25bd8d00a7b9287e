package zone

import (
	"bytes"
	"context"
	"errors"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"sekimori/internal/dns"
)

const (
	minUDPSize = 512 // RFC 1035 §4.2.1
	maxMessage = 65535
	// maxString is the longest character-string (RFC 1035 §3.3).
	maxString = 255
)

var errWrongAddress = errors.New("zone: the address is missing or of the other family")

// question holds what the server needs from a query.
type question struct {
	header dnsmessage.Header
	asked  dnsmessage.Question // its name keeps the letter case of the query
	name   dns.Name
	typ    dns.Type
	edns   bool
	limit  int // the longest answer that may be sent, in octets
}

// reply returns the answer to query, or nil for no answer. It does not use the codec of the
// resolver. If the server and the resolver had one codec, tests would not show a bug that is in its
// encoding and in its decoding.
func (z *Zone) reply(ctx context.Context, query []byte, overTCP bool) []byte {
	q, ok := parseQuestion(query, overTCP)
	if !ok {
		return nil
	}
	z.recordQuery(q.name, q.typ)
	out := z.resolve(q.name, q.typ)
	if sleep(ctx, out.fault.Delay) != nil {
		return nil
	}
	header := dnsmessage.Header{
		ID: q.header.ID, Response: true, Authoritative: true,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true,
	}
	if out.status == dns.NXDomain {
		header.RCode = dnsmessage.RCodeNameError
	}
	empty := outcome{}
	switch out.fault.Kind {
	case Timeout:
		return nil
	case Garbage:
		return bytes.Repeat([]byte{0xc0, 0x0c, 0xff}, 20)
	case WrongID:
		header.ID ^= 0x5555
	case WrongQuestion:
		q.asked.Name = dnsmessage.MustNewName("wrong.invalid.")
	case ServFail:
		header.RCode = dnsmessage.RCodeServerFailure
		return q.build(header, empty)
	case Refused:
		header.RCode = dnsmessage.RCodeRefused
		return q.build(header, empty)
	case Truncate, TruncateTCP:
		if !overTCP || out.fault.Kind == TruncateTCP {
			header.Truncated = true
			return q.build(header, empty)
		}
	}
	msg := q.build(header, out)
	if len(msg) > q.limit {
		header.Truncated = true
		msg = q.build(header, empty)
	}
	return msg
}

func parseQuestion(query []byte, overTCP bool) (question, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response || h.OpCode != 0 {
		return question{}, false
	}
	asked, err := p.Question()
	if err != nil || asked.Class != dnsmessage.ClassINET {
		return question{}, false
	}
	octets := asked.Name.String()
	name, err := octetName(octets[:len(octets)-1])
	if err != nil {
		return question{}, false
	}
	q := question{header: h, asked: asked, name: name, typ: dns.Type(asked.Type), limit: minUDPSize}
	_ = p.SkipAllQuestions()
	_ = p.SkipAllAnswers()
	_ = p.SkipAllAuthorities()
	for {
		rh, err := p.AdditionalHeader()
		if err != nil {
			break
		}
		if rh.Type == dnsmessage.TypeOPT { // RFC 6891 §6.1.2: the class of an OPT record is the UDP payload size
			q.edns, q.limit = true, max(minUDPSize, int(rh.Class))
		}
		if p.SkipAdditional() != nil { // the parser does not advance after an error
			break
		}
	}
	if overTCP {
		q.limit = maxMessage
	}
	return q, true
}

// build packs an answer. It returns nil if the answer cannot be packed.
func (q question) build(h dnsmessage.Header, out outcome) []byte {
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	steps := []func() error{
		b.StartQuestions,
		func() error { return b.Question(q.asked) },
		b.StartAnswers,
		func() error { return addAnswers(&b, q, out) },
		b.StartAuthorities,
		func() error { return addSOA(&b, out) },
		b.StartAdditionals,
		func() error { return addOPT(&b, q) },
	}
	for _, step := range steps {
		if step() != nil {
			return nil
		}
	}
	msg, _ := b.Finish() // nil with an error
	return msg
}

func addAnswers(b *dnsmessage.Builder, q question, out outcome) error {
	owner := q.asked.Name
	for _, c := range out.chain {
		if err := addRecord(b, owner, dns.TypeCNAME, c); err != nil {
			return err
		}
		owner = wireName(c.Host)
	}
	for _, r := range out.records {
		if err := addRecord(b, owner, q.typ, r); err != nil {
			return err
		}
	}
	return nil
}

func addSOA(b *dnsmessage.Builder, out outcome) error {
	if !out.negative {
		return nil
	}
	return addRecord(b, wireName(out.apex), typeSOA, out.soa)
}

func addOPT(b *dnsmessage.Builder, q question) error {
	if !q.edns {
		return nil
	}
	var h dnsmessage.ResourceHeader
	_ = h.SetEDNS0(maxQuery, dnsmessage.RCodeSuccess, false) // it has no error
	return b.OPTResource(h, dnsmessage.OPTResource{})
}

func addRecord(b *dnsmessage.Builder, owner dnsmessage.Name, typ dns.Type, r record) error {
	h := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: uint32(r.ttl / time.Second)}
	host := wireName(r.Host)
	switch typ {
	case dns.TypeA:
		if !r.Addr.Is4() {
			return errWrongAddress
		}
		return b.AResource(h, dnsmessage.AResource{A: r.Addr.As4()})
	case dns.TypeAAAA:
		if !r.Addr.Is6() {
			return errWrongAddress
		}
		return b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: r.Addr.As16()})
	case dns.TypeMX:
		return b.MXResource(h, dnsmessage.MXResource{Pref: r.Preference, MX: host})
	case dns.TypePTR:
		return b.PTRResource(h, dnsmessage.PTRResource{PTR: host})
	case dns.TypeNS:
		return b.NSResource(h, dnsmessage.NSResource{NS: host})
	case dns.TypeCNAME:
		return b.CNAMEResource(h, dnsmessage.CNAMEResource{CNAME: host})
	case typeSOA:
		return b.SOAResource(h, dnsmessage.SOAResource{
			NS: wireName("ns.invalid"), MBox: wireName("hostmaster.invalid"), MinTTL: uint32(r.minimum / time.Second),
		})
	}
	data := []byte{}
	for _, s := range characterStrings(r) {
		data = append(append(data, byte(len(s))), s...)
	}
	h.Type = dnsmessage.Type(typ)
	return b.UnknownResource(h, dnsmessage.UnknownResource{Type: h.Type, Data: data})
}

// characterStrings returns the strings of a TXT record. There is at least one, and none is longer
// than 255 octets.
func characterStrings(r record) []string {
	parts := r.strings
	if len(parts) == 0 {
		parts = []string{r.Text}
	}
	var out []string
	for _, s := range parts {
		for len(s) > maxString {
			out = append(out, s[:maxString])
			s = s[maxString:]
		}
		out = append(out, s)
	}
	return out
}

func wireName(n dns.Name) dnsmessage.Name {
	var out dnsmessage.Name
	out.Length = uint8(copy(out.Data[:], string(n)+"."))
	return out
}
