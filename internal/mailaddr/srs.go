package mailaddr

import "strings"

// IsSRS reports whether a local part was written by the Sender Rewriting Scheme, with which
// forwarders rewrite the return path. Such a local part begins with "SRS0" or "SRS1", followed by
// "=", "+" or "-". IsSRS does not check the text after that.
func IsSRS(local string) bool {
	if len(local) < len("SRS0=") {
		return false
	}
	scheme, separator := strings.ToUpper(local[:len("SRS0")]), local[len("SRS0")]
	return (scheme == "SRS0" || scheme == "SRS1") && strings.IndexByte("=+-", separator) >= 0
}
