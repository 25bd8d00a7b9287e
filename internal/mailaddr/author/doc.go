// Package mailaddr reads the addresses DMARC and SPF depend on: the argument
// of MAIL and RCPT ([ParsePath], RFC 5321 §4.1.2) and the author in the From
// field ([Parse], RFC 5322 §3.6.2).
//
// A verifier is worth only as much as its agreement with the reader's mail
// client on who the author is. Parse therefore follows one principle: a
// field is refused only where two readers could see different domains. What
// clients write and show is accepted, also where RFC 5322 calls it obsolete or
// wrong. What two readers could take for authors of two domains is refused, also
// where RFC 5322 allows it. A refusal is a [*Error] that says what and where.
//
// Where an address counts:
//
//   - An address in a comment beside an address without angle brackets, or without
//     any other name, is one that a reader may take for the author's: the comment
//     may hold addresses of the author's own domain only. Beside a name and angle
//     brackets nobody does.
//   - An address in a display name, quoted or in encoded words, does not count
//     (RFC 2047 §5). A person may be misled by it all the same: the field is
//     accepted with a [Note].
//   - So is an encoded word in the display name of the only mailbox that decodes to
//     one address in angle brackets, with the note that tags: a person takes it for
//     the author. Where such a word stands for itself, in a comment or among
//     several mailboxes, or where readers decode it differently, it does count.
//     So do encoded quotes and parentheses that turn an address of another domain
//     out of the quotes or the comment it stands in.
//   - A domain counts only if it could exist. Some readers leave out white space:
//     "foo@a.example Foo" is foo@a.examplefoo to them, which is nobody's domain,
//     but "ceo@bank.c om" is ceo@bank.com.
//
// # How a field is read
//
// First as a mailbox-list, generously (mailbox.go), with text that should have
// been quoted in the name of the only address (loose.go) and unencoded
// double-byte text (legacy.go). If that fails, as a slip: in every way a reader
// might (slip.go, domains.go).
//
// # What is accepted
//
//	a@b.example                        bare address
//	<a@b.example>  < a@b.example >     angle-addr, white space at its edges
//	John Q. Public <a@b.example>       dots in a phrase (obs-phrase)
//	[JIRA] Foo <a@b.example>           plain text in square brackets in a phrase
//	"any <x@y>, text" <a@b.example>    quoted-string: never an address
//	=?utf-8?B?...?= <a@b.example>      encoded words of any charset whose octets can be judged
//	                                   (charset.go): not UTF-7, BOCU-1 and the like
//	(c) John (c) <a@b.example> (c)     comments between words, 10 deep
//	a@b.example (John)                 the old style, also a@b.example(John)
//	a@b.example (c@b.example)          a comment that holds the author's own domain
//	a@b.example (x @ y)                a comment with an "@" before no domain
//	a@b.example <a@b.example>          unquoted address of the very same domain
//	Doe, John <a@b.example>            unquoted , : ; and @ in the name of the only address,
//	Foo: bar <a@b.example>             where no reader finds another domain
//	ESC $ B ... ESC ( B <a@b.example>  raw ISO-2022-JP, Shift_JIS and the like in the name of
//	                                   the only address, on the same terms
//	a@b.example, , c@b.example,        lists, empty elements (obs-mbox-list)
//	a..b.@b.example  "a..b"@b.example  dots anywhere in a local part, as Japanese carriers issue
//	a@b.example.  root@localhost       final dot, single label
//	用户@例え.jp                         RFC 6532; the domain becomes A-labels
//	folds anywhere white space may be, also lines of white space only (obs-FWS)
//	"Doe, John, <a@b.example>          slips that show one domain: quotes, comments and brackets
//	Foo a@b.example  <<a@b.example>>   that are not closed, doubled or missing; text after the
//	Foo <a@b.example>;  "a b"@b.example  address; groups; quoted local parts of anything
//
// # What is refused
//
//	missing            no From field
//	multiple_fields    several From fields, equal or not
//	multiple_domains   mailboxes of several distinct domains
//	no_address         no domain in any reading: empty field, "<>", "MAILER-DAEMON",
//	                   "undisclosed:;", ", ,", address literals
//	too_large          over 32 KiB, 100 mailboxes, or 10 nested comments
//	malformed          NUL, other control octets, bare CR or LF; names that are not host names;
//	                   8-bit octets in an address that are not UTF-8; and of what slip.go cannot
//	                   read, "<a@b> <c@d>", text after ">", what is not closed
//	ambiguous          of what slip.go cannot read, unquoted "@" in a phrase, routes "<@x:a@b>",
//	                   comments or white space around "@" or within an address;
//	                   an address of another domain in the comment of a bare address;
//	                   encoded words in an address, in a charset that could hide anything, or
//	                   text that decodes to "<x@y>" of another domain, NUL, CR or LF; invisible
//	                   and bidi characters in an address; U-labels that are not in their one
//	                   valid form
//
// Everything costs time linear in the input and never recurses.
package author
