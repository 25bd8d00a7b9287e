// Package mailaddr reads the addresses DMARC and SPF depend on: the argument
// of MAIL and RCPT ([ParsePath], RFC 5321 §4.1.2) and the author in the From
// field ([ParseFrom], RFC 5322 §3.6.2).
//
// A verifier is worth only as much as its agreement with the reader's mail
// client on who the author is. ParseFrom therefore accepts what clients write
// and show, also where RFC 5322 calls it obsolete or wrong, and refuses
// everything two readers could take for two authors, also where RFC 5322
// allows it. A refusal is a [*FromError] that says what and where.
//
// # What is accepted
//
//	a@b.example                        bare address
//	<a@b.example>  < a@b.example >     angle-addr, white space at its edges
//	John Q. Public <a@b.example>       dots in a phrase (obs-phrase)
//	[JIRA] Foo <a@b.example>           plain text in square brackets in a phrase
//	"any <x@y>, text" <a@b.example>    quoted-string: never an address
//	=?utf-8?B?...?= <a@b.example>      encoded words of any charset but UTF-7
//	(c) John (c) <a@b.example> (c)     comments between words, 10 deep
//	a@b.example (John)                 the old style: white space before the comment
//	a@b.example <a@b.example>          unquoted address of the very same domain
//	Doe, John <a@b.example>            unquoted , : ; and @ in the name of the only address,
//	Foo: bar <a@b.example>             where no reader finds another domain (loose.go)
//	ESC $ B ... ESC ( B <a@b.example>  raw ISO-2022-JP, Shift_JIS and the like in the name of
//	                                   the only address, on the same terms (legacy.go)
//	a@b.example, , c@b.example,        lists, empty elements (obs-mbox-list)
//	a..b.@b.example  "a..b"@b.example  dots anywhere in a local part, as Japanese carriers issue
//	a@b.example.  root@localhost       final dot, single label
//	用户@例え.jp                         RFC 6532; the domain becomes A-labels
//	folds anywhere white space may be, also lines of white space only (obs-FWS)
//
// # What is refused
//
//	missing            no From field
//	multiple_fields    several From fields, equal or not
//	multiple_domains   mailboxes of several distinct domains
//	no_address         empty field, "<>", "undisclosed:;", ", ,"
//	too_large          over 32 KiB, 100 mailboxes, or 10 nested comments
//	malformed          NUL, other control octets, bare CR or LF; nothing with an "@"; unbalanced
//	                   quotes, comments, brackets; "<<a@b>>", "<a@b> <c@d>", text after ">";
//	                   address literals and names that are no host names; 8-bit octets in an
//	                   address that are no UTF-8
//	ambiguous          unquoted "@" in a phrase; closed groups with members; routes "<@x:a@b>";
//	                   comments or white space around "@", within or touching an address;
//	                   "@" in the comment of a bare address, "<x@y>" in any comment;
//	                   backslashes outside quotes; quoted local parts of anything but letters,
//	                   digits, dots and the like; encoded words in an address or text that
//	                   decodes to "<x@y>" of another domain, NUL, CR or LF; invisible and bidi
//	                   characters in an address; U-labels that are not in their one valid form
//
// Everything costs time linear in the input and never recurses.
package mailaddr
