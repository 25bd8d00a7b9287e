package author

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestRefusals has a field for each reason for which a mailbox-list is refused: its kind, the octet at which
// it is noticed, and its words. Parse reads some of these fields as slips all the same.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		// the field as a whole
		{``, `no_address 0: the field names no author`},
		{` ,(x),`, `no_address 0: the field names no author`},
		{` Doe`, `malformed 1: text without an address`},
		{` Doe, x`, `malformed 1: text without an address`},
		{` a@a.example, Doe`, `malformed 14: text without an address`},
		{` x: y`, `ambiguous 2: group syntax`},
		{` x: <a@a.example>;`, `ambiguous 17: group syntax`},
		{` "x\" <b@b.example>" <a@a.example>`, `ambiguous 1: quotes that readers end in different places, and an address of another domain`},
		{` a@a.example, =?utf-8?Q?=3Cb=40b.example=3E?= <c@a.example>`, `ambiguous 0: ` + hiddenAddress},
		{strings.Repeat("a@a.example,", MaxMailboxes+1), `too_large 1200: more than 100 mailboxes`},
		// octets
		{" a\x00", `malformed 2: NUL octet`},
		{" a\rb", `malformed 2: CR that is not part of a fold`},
		{" a\nb", `malformed 2: bare LF`},
		{" a\x01", `malformed 2: control octet`},
		{" a\x7f", `malformed 2: control octet`},
		// quotes, comments and special characters
		{` "a`, `malformed 1: a quoted string has no end`},
		{` (a`, `malformed 1: a comment has no end`},
		{strings.Repeat("(", MaxCommentDepth+1), `too_large 10: comments nested more than 10 deep`},
		{" \"\xff \\a\" <a@a.example>", `ambiguous 4: backslash among 8-bit octets that are not UTF-8`},
		{` x [ <a@a.example>`, `malformed 3: square bracket outside quotes`},
		{` <a@a.example>\,<b@b.example>`, `ambiguous 14: backslash outside quotes`},
		{` x > <a@a.example>`, `malformed 3: stray special character`},
		{` <a@a.example> (b@b.example, c)`, `ambiguous 15: address among special characters within a comment`},
		{` (b@b.example)`, `ambiguous 1: address in a comment that stands alone`},
		{` a@a.example (b@b.example)`, `ambiguous 13: ` + otherInComment},
		// an address without angle brackets
		{` a@a.example x`, `ambiguous 13: text after an address without angle brackets`},
		{` a@a.example(x)`, `ambiguous 12: comment that touches an address`},
		{` (x)a@a.example`, `ambiguous 4: comment that touches an address`},
		{` a@a.example@b.example`, `ambiguous 12: second "@" in one address`},
		{` <a@a.example>@b.example`, `ambiguous 14: second "@" in one address`},
		{` x a@a.example`, `ambiguous 4: unquoted "@" in a display name`},
		{` [x]@a.example`, `ambiguous 4: unquoted "@" in a display name`},
		{` ;@a.example`, `ambiguous 2: unquoted "@" in a display name`},
		{` :@a.example`, `ambiguous 2: unquoted "@" in a display name`},
		{` @handle @a.example`, `ambiguous 1: unquoted "@" in a display name`},
		{` a @a.example`, `ambiguous 3: white space or comment before "@"`},
		{` a(x)@a.example`, `ambiguous 5: white space or comment before "@"`},
		{` b@b.example <a@a.example>`, `ambiguous 1: unquoted address of another domain in a display name`},
		// an address in angle brackets
		{` <a@a.example> [x]`, `malformed 15: text after an address in angle brackets`},
		{` a@a.example [x]`, `ambiguous 13: text after an address without angle brackets`},
		{` <a@a.example> x`, `malformed 15: text after an address in angle brackets`},
		{` <a@a.example> <`, `malformed 15: second angle bracket in one mailbox`},
		{` <>`, `no_address 1: the angle brackets are empty`},
		{` <@b.example:a@a.example>`, `ambiguous 2: source route`},
		{` <(x)a@a.example>`, `ambiguous 2: comment within angle brackets`},
		{` <,a@a.example>`, `malformed 2: angle brackets without an address`},
		{` <`, `malformed 2: angle brackets without an address`},
		{` <a`, `ambiguous 3: local part not followed by "@"`},
		{` <a b@a.example>`, `ambiguous 3: local part not followed by "@"`},
		{` <a@a.example`, `malformed 1: angle bracket without an end`},
		{` <a@a.example b>`, `ambiguous 14: something besides one address within angle brackets`},
		{` <a@a.example (x`, `malformed 14: a comment has no end`},
		// the local part
		{" \xff@a.example", `malformed 1: 8-bit octets in an address that are not UTF-8`},
		{" =?x@a.example", `ambiguous 1: encoded word in an address`},
		{" a\u200b@a.example", `ambiguous 1: invisible character in an address`},
		{` ""@a.example`, `malformed 1: address without a local part`},
		{` "a\b"@a.example`, `ambiguous 1: quoted pair in a local part`},
		{` "a b"@a.example`, `ambiguous 1: special character in a quoted local part`},
		// the domain
		{` a@`, `malformed 3: address without a domain`},
		{` a@,`, `malformed 3: address without a domain`},
		{` <a@>`, `malformed 4: address without a domain`},
		{` <a@[192.0.2.1]>`, `malformed 4: address literal for a domain`},
		{` <a@ a.example>`, `ambiguous 4: something besides a domain after "@"`},
		{" a@\xff.example", `malformed 3: 8-bit octets in an address that are not UTF-8`},
		{" a@b\u200b.example", `ambiguous 3: invisible character in an address`},
		{` a@b..example`, `malformed 3: domain that is not a host name`},
		{" a@ｂ.example", `ambiguous 3: internationalized domain that is not in its valid form`},
		// encoded words
		{` =?utf-7?Q?x?= <a@a.example>`, `ambiguous 16: an encoded word is in a charset that could hide an address`},
		{` x <a@a.example> (=?utf-7?Q?x?=)`, `ambiguous 4: an encoded word is in a charset that could hide an address`},
		{` =?utf-8?Q?=3Cb=40b.example?= <a@a.example>`, `ambiguous 31: ` + hiddenAddress},
		{` x <a@a.example> (=?utf-8?Q?=3Cb=40b.example=3E?=)`, `ambiguous 4: ` + hiddenAddress},
		{` =?utf-8?Q?a=3C?= "b@b.example" <a@a.example>`, `ambiguous 33: ` + hiddenAddress},
		{` "=?utf-8?Q?a" <a@a.example> (=3Cb=40b.example=3E?=)`, `ambiguous 0: ` + hiddenAddress},
		// unencoded double-byte text
		{" \x1bX", `malformed 1: control octet`},
		{" \x1b$B4", `malformed 4: unencoded ISO-2022-JP that does not end`},
		{" \x1b$B4X", `malformed 5: unencoded ISO-2022-JP that does not end`},
		{" \x1b$B4 X", `malformed 5: unencoded ISO-2022-JP that does not end`},
		{" \x1b$@a.b\x1b(B <a@a.example>", `ambiguous 1: unencoded text whose octets spell an address`},
		{" \x1b$B4@\x1b(Ba.b <a@a.example>", `ambiguous 0: unencoded text whose octets spell an address`},
		{" \x1b$B4X\x1b(B <a@例え.example>", `ambiguous 12: internationalized domain beside unencoded text`},
		{" \x1b$B4X\x1b(B <a@a.example>, b@a.example", `ambiguous 12: several "@" beside unencoded text`},
		{" \x1b$B4X\x1b(B =?x <a@a.example>", `ambiguous 0: encoded word beside unencoded text`},
	} {
		_, err := parseList(tt.value)
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%q: %v", tt.value, err)
			continue
		}
		if got := fmt.Sprintf("%s %d: %s", refused.Kind, refused.Offset, refused.Detail); got != tt.want {
			t.Errorf("%q: %s\nwant %s", tt.value, got, tt.want)
		}
	}
}
