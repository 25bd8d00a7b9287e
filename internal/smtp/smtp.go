// Package smtp builds the SMTP replies that refuse a message (RFC 5321 §4.2, RFC 3463).
//
// The text of a reply may repeat octets of a stranger, such as a domain. Only [New] makes such text
// safe to send. If the reply of a milter is malformed, an MTA refuses or rewrites it, and some MTAs
// then accept the message. Therefore [Reply.Validate] is strict. Package milter doubles each '%' in
// the text, because the milter protocol requires it.
package smtp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sekimori/internal/printable"
)

// Reply codes (RFC 5321 §4.2.3).
const (
	CodeLocalError = 451 // temporary: try again later
	CodeNoRoom     = 452 // temporary: no space for this recipient or message now (RFC 5321 §4.5.3.1.10)
	CodeRefused    = 550 // permanent: refused for policy reasons
	CodeTooBig     = 552 // permanent: the message is over a size limit
)

// Enhanced status codes (RFC 3463 and its registry). The first digit is always the first digit of
// the reply code.
const (
	EnhancedSystem       = "4.3.0"  // X.3.0: other mail system status, here an error on this host
	EnhancedStorage      = "4.3.1"  // X.3.1: mail system full
	EnhancedUnavailable  = "4.3.2"  // X.3.2: system not accepting network messages
	EnhancedRecipients   = "4.5.3"  // X.5.3: too many recipients
	EnhancedTooBig       = "5.3.4"  // X.3.4: message too big for system
	EnhancedRefused      = "5.7.1"  // X.7.1: delivery not authorized, message refused
	EnhancedKeyTempError = "4.7.5"  // X.7.5: cryptographic failure, here a key that could not be fetched now (RFC 6376 §6.1.2)
	EnhancedSPFFail      = "5.7.23" // RFC 7372 §3.2: SPF validation failed
	EnhancedSPFTempError = "4.7.24" // RFC 7372 §3.2, temporary: the policy could not be fetched now
	EnhancedMultiple     = "5.7.26" // RFC 7372 §3.4: multiple authentication checks failed
)

// MaxLen is the length of the longest reply in octets, without its CRLF. RFC 5321 §4.5.3.1.5 allows
// 512 octets with the CRLF.
const MaxLen = 510

// minText is the lowest limit that New passes to printable.Marked. Marked needs three octets for
// the "..." at the end of a text that it cuts.
const minText = 3

// Reply is an SMTP reply of one line, without its CRLF.
type Reply struct {
	// Code is 400 to 559, and its second digit is at most 5.
	Code int `json:"code"`
	// Enhanced is the enhanced status code (RFC 3463). Its first digit is that of Code.
	Enhanced string `json:"enhanced"`
	// Text is printable ASCII.
	Text string `json:"text"`
}

// The errors of Validate.
var (
	ErrCode     = errors.New("smtp: reply code is not 4yz or 5yz")
	ErrEnhanced = errors.New("smtp: malformed enhanced status code")
	ErrClass    = errors.New("smtp: reply code and enhanced status code differ in class")
	ErrText     = errors.New("smtp: reply text is empty or holds an octet that is not printable ASCII")
	ErrLength   = errors.New("smtp: reply is longer than 510 octets")
)

// New returns a reply with a text that is safe to send. Every character that is not printable ASCII
// becomes '?'. A text that is too long for one line is cut and ends in "...". The daemon itself
// chooses the values of "code" and "enhanced", so New does not check or change them. Validate
// checks them.
func New(code int, enhanced, text string) Reply {
	space := MaxLen - len(strconv.Itoa(code)) - len(enhanced) - 2
	return Reply{Code: code, Enhanced: enhanced, Text: printable.Marked(strings.TrimSpace(text), max(space, minText))}
}

// With returns the reply with the suffix at the end of its text. If the line becomes too long, the
// text before the suffix is cut and ends in "...". The suffix must be printable ASCII and leave
// space for a text.
func (r Reply) With(suffix string) Reply {
	space := MaxLen - len(r.String()) + len(r.Text) - len(suffix)
	r.Text = printable.Marked(r.Text, max(space, minText)) + suffix
	return r
}

// Validate returns an error if an MTA would refuse or rewrite the reply.
func (r Reply) Validate() error {
	// RFC 5321 §4.2: the second digit is 0 to 5.
	if r.Code < 400 || r.Code > 559 || r.Code/10%10 > 5 {
		return fmt.Errorf("%w: %d", ErrCode, r.Code)
	}
	if !validEnhanced(r.Enhanced) {
		return fmt.Errorf("%w: %q", ErrEnhanced, r.Enhanced)
	}
	if int(r.Enhanced[0]-'0') != r.Code/100 {
		return fmt.Errorf("%w: %d %s", ErrClass, r.Code, r.Enhanced)
	}
	if strings.TrimSpace(r.Text) == "" {
		return ErrText
	}
	for i := 0; i < len(r.Text); i++ {
		if r.Text[i] < ' ' || r.Text[i] > '~' {
			return fmt.Errorf("%w: octet %d is 0x%02x", ErrText, i, r.Text[i])
		}
	}
	if n := len(r.String()); n > MaxLen {
		return fmt.Errorf("%w: %d", ErrLength, n)
	}
	return nil
}

// validEnhanced reports whether s is an enhanced status code (RFC 3463 §2): class "." subject
// "." detail, with one to three digits each and no leading zeros.
func validEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || (parts[0] != "4" && parts[0] != "5") {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || (len(p) > 1 && p[0] == '0') {
			return false
		}
		for i := 0; i < len(p); i++ {
			if p[i] < '0' || p[i] > '9' {
				return false
			}
		}
	}
	return true
}

// String returns the reply as it is sent, without its CRLF.
func (r Reply) String() string {
	return strconv.Itoa(r.Code) + " " + r.Enhanced + " " + r.Text
}
