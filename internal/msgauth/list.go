package msgauth

import (
	"bytes"
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/spf"
)

// listKinds are the kinds of evidence that a message came through a mailing list. A field such as
// List-Id is enough on its own (see listFields). Any other evidence belongs to one of these kinds:
//
//	program  a field that only list software writes: X-ML-*, *ListServ*, *Listproc*,
//	         List-Software, X-Mailman-* and the like; "Delivered-To: mailing list";
//	         To says "Multiple recipients of"
//	field    a field that names the list or the ways to use it: List-Owner,
//	         List-Subscribe, List-Archive, X-List, X-List-Name and the like, but not
//	         List-Unsubscribe and List-Help, which newsletters have
//	counter  the number of the post: X-Mail-Count, X-Sequence and the like; or
//	         "[name:123]" in the Subject, if another field says that the list has
//	         that name
//	owner    Sender, Errors-To or MAIL FROM is owner-NAME or NAME-owner
//	served   Sender, Errors-To or MAIL FROM is owner-NAME, NAME-request,
//	         NAME-bounces, bounce-NAME-1 or the like; NAME is the local part of an
//	         address in To or Cc with the same domain; and SPF does not say that
//	         MAIL FROM is forged. Or: To or Cc contains the Sender itself, and
//	         that address is also evidence of the kind "address"
//	address  an address in To or Cc is in the domain of MAIL FROM, for which SPF
//	         passed, and is neither a recipient nor MAIL FROM
//
// Evidence of two kinds makes a list. If one kind is "program" or "owner", then "Precedence: bulk"
// counts as a second kind, and so does a Reply-To in the domain for which SPF passed. A newsletter
// may also have a bulk precedence, a bounce address, a Sender and a Reply-To. But its To is the
// recipient, and it has no field of list software.
type listKinds struct{ program, field, counter, owner, served, address bool }

func (k *listKinds) list(bulk, replyTo bool) bool {
	n := 0
	for _, is := range [...]bool{k.program, k.field, k.counter, k.owner, k.served, k.address} {
		if is {
			n++
		}
	}
	return n >= 2 || (k.program || k.owner) && (bulk || replyTo)
}

// Bounds on the addresses and names that are read. A list writes its own address among the first
// ones, but a spoofer could write thousands of addresses.
const (
	maxListAddresses = 32      // read from To, Cc and Reply-To together
	maxAddressText   = 8 << 10 // octets read of one field
	maxListNames     = 8       // names stored from fields and addresses; also the bound for structure.owners
)

// structure is the evidence that isList gathers from the header.
type structure struct {
	kinds   listKinds
	names   []string      // names of the list, in lower case
	owners  []listAddress // addresses in Sender, Errors-To and MAIL FROM that contain one of serviceWords
	sender  listAddress
	written []listAddress // addresses in To and Cc
	replyTo []listAddress
	tag     string // the name before a number in the Subject, such as "ml" in "[ml:12]"
}

// listAddress is an address in lower case.
type listAddress struct {
	local  string
	domain dns.Name
}

// isList reports whether header and envelope are those of a message from a mailing list (see
// listKinds).
func isList(h message.Header, e *Evaluation) bool {
	var s structure
	s.read(h)
	mailFrom := envelopeAddress(&e.MailFrom)
	s.owner(mailFrom)
	if s.kinds == (listKinds{}) && len(s.owners) == 0 && s.tag == "" && s.sender.local == "" {
		return false // only the kind "address" could still be found, and it is not enough alone
	}
	s.addresses(h)
	forged := e.MailFrom.Result == spf.Fail || e.MailFrom.Result == spf.SoftFail
	theirs := func(a listAddress) bool {
		return e.MailFrom.Result == spf.Pass && a != mailFrom && related(a.domain, mailFrom.domain)
	}
	posted := func(a listAddress) bool { return theirs(a) && !isRecipient(a, e.Envelope.Recipients) }
	s.kinds.address = slices.ContainsFunc(s.written, posted)
	s.kinds.served = !forged && s.serves() || posted(s.sender) && slices.Contains(s.written, s.sender)
	s.kinds.counter = s.kinds.counter || s.counted(mailFrom.domain)
	return s.kinds.list(isBulk(h), slices.ContainsFunc(s.replyTo, theirs))
}

// envelopeAddress returns MAIL FROM, or the zero address for the null sender.
func envelopeAddress(c *spf.Check) listAddress {
	at := strings.LastIndexByte(c.Sender, '@')
	if c.NullSender || c.Domain == "" || at < 1 {
		return listAddress{}
	}
	return listAddress{strings.ToLower(c.Sender[:at]), c.Domain}
}

// read gathers evidence from every field. The addresses in To and Cc are read later, and only if
// they can matter.
func (s *structure) read(h message.Header) {
	var buffer [32]byte // large enough for the longest name that is evidence
	var one [1]listAddress
	for i := range h {
		name, ok := lower(buffer[:0], h[i].Name)
		if !ok {
			continue
		}
		value := h[i].Value
		switch string(name) {
		case "sender", "errors-to", "x-errors-to", "resent-sender":
			for _, a := range appendAddresses(one[:0], value, 1) {
				s.owner(a)
				if string(name) == "sender" {
					s.sender = a
				}
			}
		case "subject":
			s.tag = countedTag(value)
		case "list-software":
			s.kinds.program = true
		case "list-owner", "list-subscribe", "list-archive":
			s.kinds.field = true
		case "delivered-to":
			s.kinds.program = s.kinds.program || hasPrefixFold(strings.TrimSpace(value), "mailing list ")
		case "to":
			s.kinds.program = s.kinds.program || hasPrefixFold(strings.TrimLeft(value, "\"'( \t\r\n"), "multiple recipients of ")
		default:
			if rest, ok := bytes.CutPrefix(name, []byte("x-")); ok {
				s.extension(rest, value)
			}
		}
	}
}

// These tables hold the names of X- fields that are evidence, in lower case and without "X-".
var (
	// programs are names of list software. The first word of the field's name is compared with
	// them.
	programs = words("autoshare ecartis egroups ezmlm fml letterrip listar listbox liststar mailman majordomo minimalist ml mlmmj quickml smartlist sympa")
	// listNames and counters are compared with the whole name of the field, without its hyphens.
	listNames = words("list listaddress listadmin listarchive listhost listname listowner listpost listsubscribe listversion" +
		" maillist mailinglist mdmailinglist")
	counters = words("articlecount listcount listsequence mailcount mailcounter mailnumber mailsequence messagecount" +
		" mlcount mlcounter mlnumber mlsequence postcount postnumber seqno sequence sequencenumber serialno")
	// serverWords may stand anywhere in the name of the field, without its hyphens.
	serverWords = []string{"listserv", "listproc", "listmanager", "listsoftware", "mlserver"}
)

// words makes a set of the words in text.
func words(text string) map[string]bool {
	table := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		table[word] = true
	}
	return table
}

// extension reads an X- field. name is the field's name without "X-"; its octets are overwritten.
// One field is evidence of at most one kind.
func (s *structure) extension(name []byte, value string) {
	first, _, _ := bytes.Cut(name, []byte("-"))
	program := programs[string(first)]
	joined := slices.DeleteFunc(name, func(c byte) bool { return c == '-' })
	switch {
	case counters[string(joined)]:
		s.kinds.counter = s.kinds.counter || isCount(value)
		return
	case program, slices.ContainsFunc(serverWords, func(w string) bool { return strings.Contains(string(joined), w) }):
		s.kinds.program = true
	case listNames[string(joined)]:
		s.kinds.field = true
	default:
		return
	}
	if bytes.HasSuffix(joined, []byte("name")) || string(joined) == "list" {
		s.name(strings.ToLower(strings.TrimSpace(message.Unfold(value))))
	}
}

func (s *structure) name(n string) {
	if n != "" && len(s.names) < maxListNames {
		s.names = append(s.names, n)
	}
}

// ownerWord is the only one of serviceWords that newsletters do not use.
const ownerWord = "owner"

// serviceWords are words in the addresses that a list uses for purposes other than posts, such as
// "request" in NAME-request.
var serviceWords = words("adm admin approval bounce bounces error errors outgoing owner relay request return returns")

// owner records a, an address of Sender, Errors-To or MAIL FROM, if one of its words is in
// serviceWords.
func (s *structure) owner(a listAddress) {
	n, service, owner := 0, false, false
	for word := range strings.FieldsFuncSeq(a.local, isSeparator) {
		n++
		service = service || serviceWords[word]
		owner = owner || word == ownerWord
	}
	if n > 1 && service && len(s.owners) < maxListNames {
		s.owners = append(s.owners, a)
		s.kinds.owner = s.kinds.owner || owner
	}
}

// isSeparator reports whether r may stand between the name of a list and a service
// word in an address.
func isSeparator(r rune) bool { return r == '-' || r == '=' || r == '+' || r == '_' || r == '*' }

// addresses reads To, Cc and Reply-To.
func (s *structure) addresses(h message.Header) {
	for i := range h {
		f := &h[i]
		to := &s.written
		switch {
		case f.Is("To"), f.Is("Cc"):
		case f.Is("Reply-To"):
			to = &s.replyTo
		default:
			continue
		}
		*to = appendAddresses(*to, f.Value, maxListAddresses-len(s.written)-len(s.replyTo))
	}
}

// serves reports whether one of s.owners is a service address of an address in To or Cc, as
// owner-ml@b.example is a service address of ml@b.example.
func (s *structure) serves() bool {
	for _, owner := range s.owners {
		for _, a := range s.written {
			if related(owner.domain, a.domain) && serves(owner.local, a.local) {
				s.name(a.local)
				return true
			}
		}
	}
	return false
}

// serves reports whether local is the local part of a service address of list, such as owner-ml or
// ml-bounces for ml.
func serves(local, list string) bool {
	if rest, ok := strings.CutPrefix(local, list); ok && rest != "" && isSeparator(rune(rest[0])) {
		word, _ := cutSeparator(rest[1:])
		return serviceWords[word]
	}
	word, rest := cutSeparator(local)
	rest, ok := strings.CutPrefix(rest, list)
	return ok && serviceWords[word] && (rest == "" || isSeparator(rune(rest[0])))
}

// cutSeparator returns the text before the first separator and the text after it.
func cutSeparator(s string) (before, after string) {
	if i := strings.IndexFunc(s, isSeparator); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// countedTag returns the name in the first brackets of a Subject if they hold a name and a number,
// such as "[name:123]" or "(name 123)". Otherwise it returns "".
func countedTag(subject string) string {
	open := strings.IndexAny(subject, "[(")
	if open < 0 {
		return ""
	}
	tag := subject[open+1:]
	end := strings.IndexAny(tag, "])")
	if end < 0 {
		return ""
	}
	tag = tag[:end]
	const between = " :,.#-"
	named := strings.TrimRight(tag, "0123456789")
	name := strings.TrimRight(named, between)
	if len(named) == len(tag) || len(name) == len(named) {
		return "" // no number, or nothing before it
	}
	return strings.ToLower(name)
}

// counted reports whether the name in the Subject is the name of a list: another field contains the
// same name, or an address in To or Cc has the domain of MAIL FROM, and that name as its local
// part.
func (s *structure) counted(domain dns.Name) bool {
	return s.tag != "" && (slices.Contains(s.names, s.tag) ||
		slices.ContainsFunc(s.written, func(a listAddress) bool { return a.local == s.tag && related(a.domain, domain) }))
}

// related reports whether the domains are equal, or one is below the other.
func related(a, b dns.Name) bool { return a != "" && b != "" && (a.Under(b) || b.Under(a)) }

// isRecipient reports whether a is a recipient. It ignores case, because lists and their
// subscribers do.
func isRecipient(a listAddress, recipients []string) bool {
	return slices.ContainsFunc(recipients, func(r string) bool {
		r = strings.TrimSuffix(strings.TrimPrefix(r, "<"), ">")
		at := len(a.local)
		return len(r) == at+1+len(a.domain) && r[at] == '@' && strings.EqualFold(r[:at], a.local) && strings.EqualFold(r[at+1:], string(a.domain))
	})
}

// appendAddresses reads plain addresses from a field, at most as many as "limit" says, and skips
// quoted strings and comments. That is enough here, because the addresses are only evidence.
func appendAddresses(to []listAddress, value string, limit int) []listAddress {
	value = value[:min(len(value), maxAddressText)]
	start := 0
	for i := 0; i < len(value) && limit > 0; i++ {
		switch c := value[i]; {
		case c == '"', c == '(':
			i = skipQuoted(value, i)
			start = i + 1
		case c == '@':
			end := i + 1
			for end < len(value) && isAddressOctet(value[end]) {
				end++
			}
			if domain, err := dns.ParseHostname(value[i+1 : end]); err == nil && start < i {
				to = append(to, listAddress{strings.ToLower(value[start:i]), domain})
				limit--
			}
			i, start = end-1, end
		case !isAddressOctet(c):
			start = i + 1
		}
	}
	return to
}

// skipQuoted returns the end of the quoted string or comment that begins at i.
func skipQuoted(value string, i int) int {
	closing := value[i]
	if closing == '(' {
		closing = ')'
	}
	for i++; i < len(value) && value[i] != closing; i++ {
		if value[i] == '\\' {
			i++
		}
	}
	return i
}

// isAddressOctet reports whether c may be in a plain local part or a domain.
func isAddressOctet(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_+=!#$%&'*/?^`{|}~", c) >= 0
}

// lower appends a field's name in lower case to the slice "to". It returns false if the name does
// not fit, because such a long name cannot be evidence.
func lower(to []byte, name string) ([]byte, bool) {
	if len(name) > cap(to) {
		return nil, false
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to, true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// isCount reports whether value can be the number of a post: a number alone, or a number after the
// name of a list.
func isCount(value string) bool {
	words := strings.Fields(value[:min(len(value), maxAddressText)])
	if len(words) == 0 || len(words) > 2 {
		return false
	}
	number := words[len(words)-1]
	return len(number) < 11 && strings.Trim(number, "0123456789") == ""
}
