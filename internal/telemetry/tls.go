package telemetry

import "slices"

// tlsVersions lists the names that MTAs (that is, OpenSSL) give the versions of TLS.
var tlsVersions = []string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

// The values of the label "version" of the series messages_tls_total for a connection
// without TLS, and for a version that is not in tlsVersions.
const (
	tlsNone  = "none"
	tlsOther = "other"
)

// tlsLabel returns the label value for what the MTA says about the TLS of a connection.
func tlsLabel(version string) string {
	switch {
	case version == "":
		return tlsNone
	case slices.Contains(tlsVersions, version):
		return version
	}
	return tlsOther
}
