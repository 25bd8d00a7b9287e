package dkim

import (
	"errors"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/taglist"
)

// Params are what a signature field says: a DKIM-Signature, or one of the two
// ARC fields that borrow its syntax (RFC 8617 §4.1).
type Params struct {
	Tags      taglist.List
	Algorithm string // "rsa-sha256" or "ed25519-sha256"
	Domain    dns.Name
	Selector  dns.Name
	Identity  string // AUID, for DKIM-Signature
	B         string // base64 without white space
	Timestamp *int64
	Expires   *int64

	HeaderCanon, BodyCanon Canonicalization
	Headers                []string
	BodyLength             *int64

	signature      []byte
	bodyHash       digest
	identityDomain dns.Name
	keyName        dns.Name // where the key lives; "" if not known yet
	reserved       int64    // of the message's work, for this signature
	b              span
}

// Form tells the fields with this syntax apart.
type Form int

// The three fields.
const (
	FormDKIM    Form = iota // DKIM-Signature
	FormMessage             // ARC-Message-Signature: no v=, i= is the instance
	FormSeal                // ARC-Seal: no v=, h=, bh= either
)

// maxSignedHeaders bounds the names in h=. Work is linear in it; a signature
// that oversigns every registered field name has about 400.
const maxSignedHeaders = 50_000

// ParseParams reads a signature field's value. On error the Params hold what
// could be read, for reporting.
func ParseParams(value string, form Form) (Params, *Error) {
	var p Params
	err := p.parse(value, form, nil)
	return p, err
}

// parse is ParseParams into p; the tags take room's memory.
func (p *Params) parse(value string, form Form, room taglist.List) *Error {
	tags, err := taglist.Append(room, value)
	if err != nil {
		return &Error{PermError, ReasonSyntax, cause(err)}
	}
	p.Tags = tags
	// Every step runs, so that a report has all that can be told.
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

// cause names a taglist error without the sender's text in it.
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
		return "", &Error{PermError, ReasonMissingTag, "no " + name + "="}
	}
	return v, nil
}

func (p *Params) parseVersion(form Form) *Error {
	if form != FormDKIM {
		return nil // RFC 8617 §4.1.2: there is no v= in ARC
	}
	v, err := p.required("v")
	if err != nil {
		return err
	}
	if v != "1" { // RFC 6376 §6.1.1: incompatible version
		return &Error{PermError, ReasonVersion, "v= is not 1"}
	}
	return nil
}

// parseDomain reads d= and s=. Nothing but a plain domain name gets near the
// DNS: "legitimate.example(.attacker.example" and names with NUL have been
// used to make the name looked up and the name shown differ.
func (p *Params) parseDomain() *Error {
	d, err := p.required("d")
	if err != nil {
		return err
	}
	domain, perr := dns.ParseHostname(d)
	if perr != nil || strings.HasSuffix(d, ".") {
		return &Error{PermError, ReasonDomain, "d= is no domain name"}
	}
	p.Domain = domain
	s, err := p.required("s")
	if err != nil {
		return err
	}
	var ok bool
	if p.Selector, ok = parseSelector(s); !ok {
		return &Error{PermError, ReasonDomain, "s= is no selector"}
	}
	if p.keyName, perr = keyName(p.Domain, p.Selector); perr != nil {
		return &Error{PermError, ReasonDomain, "s= and d= together are too long a name"}
	}
	return nil
}

// parseSelector reads one or more labels of the alphabet of host names
// (RFC 6376 §3.1).
func parseSelector(s string) (dns.Name, bool) {
	const below = ".x.x" // makes a host name of a single label
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

// isPlainLabel reports one label as it is looked up, as most selectors are.
func isPlainLabel(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= dns.MaxLabelLen
}

// keyName is where the key lives (RFC 6376 §3.6.2.1).
func keyName(domain, selector dns.Name) (dns.Name, error) {
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
		p.Identity, p.identityDomain = "@"+string(p.Domain), p.Domain
		return nil
	}
	auid, ok := decodeQP(i)
	at := strings.LastIndexByte(auid, '@')
	if !ok || at < 0 || !plainLocalPart(auid[:at]) {
		return &Error{PermError, ReasonSyntax, "i= is no address"}
	}
	domain, err := dns.ParseHostname(auid[at+1:])
	if err != nil || strings.HasSuffix(auid, ".") {
		return &Error{PermError, ReasonSyntax, "i= has no domain name"}
	}
	p.Identity, p.identityDomain = auid, domain
	if auid[at+1:] != string(domain) {
		p.Identity = auid[:at+1] + string(domain)
	}
	if !domain.Under(p.Domain) { // RFC 6376 §6.1.1
		return &Error{PermError, ReasonDomainMismatch, "i= is not within d="}
	}
	return nil
}

// plainLocalPart keeps local parts out that read as something else when shown:
// with controls, or with an unquoted "@" or quote in them.
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

// The algorithms verified (RFC 8301 §3.1, RFC 8463 §3).
const (
	rsaSHA256     = "rsa-sha256"
	ed25519SHA256 = "ed25519-sha256"
	rsaSHA1       = "rsa-sha1"
)

func (p *Params) parseAlgorithm() *Error {
	a, err := p.required("a")
	if err != nil {
		return err
	}
	for _, known := range []string{rsaSHA256, ed25519SHA256, rsaSHA1} {
		if strings.EqualFold(a, known) {
			p.Algorithm = known
		}
	}
	switch p.Algorithm {
	case "":
		return &Error{PermError, ReasonAlgorithm, "a= is no algorithm known here"}
	case rsaSHA1: // RFC 8301 §3.1: MUST NOT be used for verifying
		return &Error{PermError, ReasonAlgorithmSHA1, "rsa-sha1 must not be used"}
	}
	return nil
}

func (p *Params) parseSignature() *Error {
	b, err := p.required("b")
	if err != nil {
		return err
	}
	tag, _ := p.Tags.Tag("b")
	p.b = span{tag.Start, tag.End}
	p.B = taglist.StripFWS(b)
	sig, ok := decodeBase64(p.B)
	if !ok {
		p.B = ""
		return &Error{PermError, ReasonSyntax, "b= is no base64"}
	}
	p.signature = sig
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
			first = &Error{PermError, ReasonSyntax, tag.name + "= is no number"}
			continue
		}
		*tag.to = &n
	}
	if first == nil && p.Timestamp != nil && p.Expires != nil && *p.Expires <= *p.Timestamp {
		return &Error{PermError, ReasonSyntax, "x= is not after t="} // RFC 6376 §3.5
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
			return &Error{PermError, ReasonCanonicalization, "c= is no canonicalization known here"}
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
		return &Error{PermError, ReasonTooManyHeaders, "h= names too many fields"}
	}
	p.Headers = taglist.Split(h, ':')
	from := false
	for _, name := range p.Headers {
		if !validFieldName(name) {
			return &Error{PermError, ReasonSyntax, "h= holds something that is no field name"}
		}
		from = from || strings.EqualFold(name, "from")
	}
	if !from { // RFC 6376 §5.4, §6.1.1
		return &Error{PermError, ReasonFromNotSigned, "h= lacks From"}
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

// maxLengthDigits is how many digits l= may have (RFC 6376 §3.5: 1*76DIGIT).
const maxLengthDigits = 76

func (p *Params) parseBody() *Error {
	v, err := p.required("bh")
	if err != nil {
		return err
	}
	var room [64]byte // more than the hash has
	bh, ok := appendBase64(room[:0], taglist.StripFWS(v))
	if p.Algorithm != rsaSHA1 && (!ok || len(bh) != len(p.bodyHash)) {
		return &Error{PermError, ReasonSyntax, "bh= is no SHA-256 hash"}
	}
	copy(p.bodyHash[:], bh)
	if l, ok := p.Tags.Get("l"); ok {
		n, ok := parseUint(l)
		if !ok || len(l) > maxLengthDigits {
			return &Error{PermError, ReasonSyntax, "l= is not a number of at most 76 digits"}
		}
		p.BodyLength = &n
	}
	return nil
}

// limit is how much of the canonical body is signed.
func (p *Params) limit() int64 {
	if p.BodyLength == nil {
		return wholeBody
	}
	return *p.BodyLength
}

func (p *Params) parseQuery() *Error {
	q, ok := p.Tags.Get("q")
	if !ok {
		return nil
	}
	for _, method := range taglist.Split(q, ':') {
		if strings.EqualFold(method, "dns/txt") || strings.EqualFold(method, "dns") {
			return nil // "dns" alone was the draft's spelling and is still about
		}
	}
	return &Error{PermError, ReasonQueryMethod, "q= offers no way to the key known here"}
}
