package syntax

import (
	"crypto/sha256"
	"errors"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/taglist"
)

// Params are what the tags of a signature field say: of a DKIM-Signature, or of
// one of the two ARC fields that have the same syntax (RFC 8617 §4.1).
type Params struct {
	Tags      taglist.List
	Algorithm string // a=: RSASHA256 or Ed25519SHA256, or rsaSHA1, for which Parse returns an error
	Domain    dns.Name
	Selector  dns.Name
	Identity  string // i=, the AUID; of a DKIM-Signature only
	B         string // b=, base64 without white space
	Timestamp *int64 // t=
	Expires   *int64 // x=

	HeaderCanon, BodyCanon Canonicalization
	Headers                []string // h=, as written
	BodyLength             *int64   // l=

	Signature      []byte            // b=, decoded
	BodyHash       [sha256.Size]byte // bh=, decoded
	IdentityDomain dns.Name          // the domain of i=
	KeyName        dns.Name          // the name in the DNS at which the key is published
	BSpan          Span              // where the value of b= is in the field's value
}

// Span is a part of a field's value: value[Start:End].
type Span struct{ Start, End int }

// Form says which of the three fields with this syntax is read.
type Form int

// The three fields.
const (
	FormDKIM    Form = iota // DKIM-Signature
	FormMessage             // ARC-Message-Signature: it has no v=, and its i= is the instance
	FormSeal                // ARC-Seal: like ARC-Message-Signature, but without h= and bh=
)

// maxSignedHeaders is the maximum number of names in h=. The work grows with this
// number. A signature that names every registered field twice has about 400 names.
const maxSignedHeaders = 50_000

// Parse reads the value of a signature field into p, which must be empty. After
// an error p holds what could be read. The tags of p use the memory of tags. If
// tags is nil, Parse allocates memory.
func (p *Params) Parse(value string, form Form, tags taglist.List) *Error {
	tags, err := taglist.Append(tags, value)
	if err != nil {
		return &Error{FaultSyntax, cause(err)}
	}
	p.Tags = tags
	// The steps below all run, even if an earlier step found an error. So the result
	// can name the domain, the selector and the algorithm of a malformed signature.
	first := p.parseVersion(form)
	first = earlier(first, p.parseDomain())
	first = earlier(first, p.parseIdentity(form))
	first = earlier(first, p.parseAlgorithm())
	first = earlier(first, p.parseSignature())
	first = earlier(first, p.parseTimes())
	if form != FormSeal {
		first = earlier(first, p.parseCanonicalization())
		first = earlier(first, p.parseHeaders())
		first = earlier(first, p.parseBody())
		first = earlier(first, p.parseQuery())
	}
	return first
}

func earlier(a, b *Error) *Error {
	if a != nil {
		return a
	}
	return b
}

// cause returns what a taglist error says, without the sender's text in it.
func cause(err error) string {
	for _, known := range []error{taglist.ErrTooLong, taglist.ErrTooManyTags, taglist.ErrEmpty, taglist.ErrNoValue,
		taglist.ErrName, taglist.ErrValue, taglist.ErrDuplicate} {
		if errors.Is(err, known) {
			return strings.TrimPrefix(known.Error(), "taglist: ")
		}
	}
	return "malformed tag list"
}

func (p *Params) required(name string) (string, *Error) {
	v, ok := p.Tags.Get(name)
	if !ok || v == "" {
		return "", &Error{FaultMissingTag, "no " + name + "="}
	}
	return v, nil
}

func (p *Params) parseVersion(form Form) *Error {
	if form != FormDKIM {
		return nil // RFC 8617 §4.1.2: ARC has no v=
	}
	v, err := p.required("v")
	if err != nil {
		return err
	}
	if v != "1" { // RFC 6376 §6.1.1: incompatible version
		return &Error{FaultVersion, "v= is not 1"}
	}
	return nil
}

// parseDomain reads d= and s=. It accepts plain domain names only:
// attackers have used "legitimate.example(.attacker.example" and names with NUL
// to make a mail client show one name while the verifier looks up another.
func (p *Params) parseDomain() *Error {
	d, err := p.required("d")
	if err != nil {
		return err
	}
	domain, perr := dns.ParseHostname(d)
	if perr != nil || strings.HasSuffix(d, ".") {
		return &Error{FaultDomain, "d= is not a domain name"}
	}
	p.Domain = domain
	s, err := p.required("s")
	if err != nil {
		return err
	}
	var ok bool
	if p.Selector, ok = parseSelector(s); !ok {
		return &Error{FaultDomain, "s= is not a selector"}
	}
	if p.KeyName, perr = KeyName(p.Domain, p.Selector); perr != nil {
		return &Error{FaultDomain, "s= and d= together are too long a name"}
	}
	return nil
}

// parseSelector reads one or more labels of letters, digits, hyphens and
// underscores (RFC 6376 §3.1).
func parseSelector(s string) (dns.Name, bool) {
	const below = ".x.x" // added because ParseHostname refuses a single label
	if strings.HasSuffix(s, ".") {
		return "", false
	}
	if isPlainLabel(s) {
		return dns.Name(s), true
	}
	n, err := dns.ParseHostname(s + below)
	if err != nil {
		return "", false
	}
	return n[:len(n)-len(below)], true
}

// isPlainLabel reports whether s is one label that needs no conversion before it
// is looked up. Most selectors are such labels.
func isPlainLabel(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= dns.MaxLabelLen
}

// KeyName returns the name at which the key of a domain and selector is
// published (RFC 6376 §3.6.2.1).
func KeyName(domain, selector dns.Name) (dns.Name, error) {
	if domain == "" {
		return domain.Prepend(string(selector) + "._domainkey")
	}
	return dns.ParseName(string(selector) + "._domainkey." + string(domain))
}

func (p *Params) parseIdentity(form Form) *Error {
	if form != FormDKIM || p.Domain == "" {
		return nil
	}
	i, ok := p.Tags.Get("i")
	if !ok {
		p.Identity, p.IdentityDomain = "@"+string(p.Domain), p.Domain
		return nil
	}
	auid, _ := decodeQP(i) // "" if i= is malformed
	at := strings.LastIndexByte(auid, '@')
	if at < 0 || !plainLocalPart(auid[:at]) {
		return &Error{FaultSyntax, "i= is not an address"}
	}
	domain, err := dns.ParseHostname(auid[at+1:])
	if err != nil || strings.HasSuffix(auid, ".") {
		return &Error{FaultSyntax, "i= has no domain name"}
	}
	p.Identity, p.IdentityDomain = auid, domain
	if auid[at+1:] != string(domain) {
		p.Identity = auid[:at+1] + string(domain)
	}
	if !domain.Under(p.Domain) { // forbidden by RFC 6376 §6.1.1
		return &Error{FaultDomainMismatch, "i= is not within d="}
	}
	return nil
}

// plainLocalPart refuses local parts that may look like another address when a
// mail client shows them. These have a control character, a quote inside, or an
// unquoted "@", space or backslash.
func plainLocalPart(s string) bool {
	quoted := len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"'
	if quoted {
		s = s[1 : len(s)-1]
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f || c == '"':
			return false
		case !quoted && (c == ' ' || c == '@' || c == '\\'):
			return false
		}
	}
	return true
}

func (p *Params) parseAlgorithm() *Error {
	a, err := p.required("a")
	if err != nil {
		return err
	}
	for _, known := range []string{RSASHA256, Ed25519SHA256, rsaSHA1} {
		if strings.EqualFold(a, known) {
			p.Algorithm = known
		}
	}
	switch p.Algorithm {
	case "":
		return &Error{FaultAlgorithm, "a= is not an algorithm known here"}
	case rsaSHA1: // RFC 8301 §3.1: MUST NOT be used for verifying
		return &Error{FaultAlgorithmSHA1, "rsa-sha1 must not be used"}
	}
	return nil
}

func (p *Params) parseSignature() *Error {
	b, err := p.required("b")
	if err != nil {
		return err
	}
	tag, _ := p.Tags.Tag("b")
	p.BSpan = Span{tag.Start, tag.End}
	p.B = taglist.StripFWS(b)
	sig, ok := decodeBase64(p.B)
	if !ok {
		p.B = ""
		return &Error{FaultSyntax, "b= is not valid base64"}
	}
	p.Signature = sig
	return nil
}

func (p *Params) parseTimes() (first *Error) {
	for _, tag := range []struct {
		name string
		to   **int64
	}{{"t", &p.Timestamp}, {"x", &p.Expires}} {
		v, ok := p.Tags.Get(tag.name)
		if !ok {
			continue
		}
		n, ok := parseUint(v)
		if !ok {
			first = &Error{FaultSyntax, tag.name + "= is not a number"}
			continue
		}
		*tag.to = &n
	}
	if first == nil && p.Timestamp != nil && p.Expires != nil && *p.Expires <= *p.Timestamp {
		return &Error{FaultSyntax, "x= is not after t="} // RFC 6376 §3.5
	}
	return first
}

func (p *Params) parseCanonicalization() *Error {
	p.HeaderCanon, p.BodyCanon = Simple, Simple
	c, ok := p.Tags.Get("c")
	if !ok {
		return nil
	}
	header, body, both := strings.Cut(c, "/")
	if !both {
		body = string(Simple) // RFC 6376 §3.5: "relaxed" is "relaxed/simple"
	}
	for _, part := range []struct {
		text string
		to   *Canonicalization
	}{{header, &p.HeaderCanon}, {body, &p.BodyCanon}} {
		switch Canonicalization(strings.ToLower(part.text)) {
		case Simple:
			*part.to = Simple
		case Relaxed:
			*part.to = Relaxed
		default:
			return &Error{FaultCanonicalization, "c= is not a canonicalization known here"}
		}
	}
	return nil
}

func (p *Params) parseHeaders() *Error {
	h, err := p.required("h")
	if err != nil {
		return err
	}
	if strings.Count(h, ":") >= maxSignedHeaders {
		return &Error{FaultTooManyHeaders, "h= names too many fields"}
	}
	p.Headers = taglist.Split(h, ':')
	from := false
	for _, name := range p.Headers {
		if !validFieldName(name) {
			return &Error{FaultSyntax, "h= has something that is not a field name"}
		}
		from = from || strings.EqualFold(name, "from")
	}
	if !from { // From must be signed (RFC 6376 §5.4, §6.1.1)
		return &Error{FaultFromNotSigned, "h= lacks From"}
	}
	return nil
}

func validFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// maxLengthDigits is the maximum number of digits of l= (RFC 6376 §3.5: 1*76DIGIT).
const maxLengthDigits = 76

func (p *Params) parseBody() *Error {
	v, err := p.required("bh")
	if err != nil {
		return err
	}
	var buf [64]byte // enough for a SHA-256 hash, so decoding needs no allocation
	bh, ok := appendBase64(buf[:0], taglist.StripFWS(v))
	if p.Algorithm != rsaSHA1 && (!ok || len(bh) != len(p.BodyHash)) {
		return &Error{FaultSyntax, "bh= is not a SHA-256 hash"}
	}
	copy(p.BodyHash[:], bh)
	if l, ok := p.Tags.Get("l"); ok {
		n, ok := parseUint(l)
		if !ok || len(l) > maxLengthDigits {
			return &Error{FaultSyntax, "l= is not a number of at most 76 digits"}
		}
		p.BodyLength = &n
	}
	return nil
}

func (p *Params) parseQuery() *Error {
	q, ok := p.Tags.Get("q")
	if !ok {
		return nil
	}
	for _, method := range taglist.Split(q, ':') {
		if strings.EqualFold(method, "dns/txt") || strings.EqualFold(method, "dns") {
			return nil // "dns" alone was the spelling of a draft, and some signers still write it
		}
	}
	return &Error{FaultQueryMethod, "q= offers no way to the key that is known here"}
}
