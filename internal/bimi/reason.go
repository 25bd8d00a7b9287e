package bimi

// The reasons of this package. Those of an [Answer] are defined by the packages that judge
// certificates and pictures.
const (
	ReasonDMARC            = "dmarc"             // skipped: the message does not pass DMARC
	ReasonFrom             = "from"              // skipped: From has several mailboxes, or may mislead a person
	ReasonDKIM             = "dkim"              // skipped: no signature of the author's covers From and the whole body
	ReasonPolicy           = "dmarc_policy"      // skipped: the author's DMARC policy is not enforcing
	ReasonOrganization     = "organization"      // skipped: the policy of the Organizational Domain is not enforcing
	ReasonRegistry         = "registry"          // skipped: the policy is that of a registry (psd=y)
	ReasonVerdict          = "verdict"           // skipped: the message was not accepted for its DMARC pass alone
	ReasonNotFetched       = "not_fetched"       // skipped: the mark is not fetched yet
	ReasonNoRecord         = "no_record"         // none
	ReasonNoCertificate    = "no_certificate"    // none: the record names no certificate, or none vouches for the mark
	ReasonDeclined         = "declined"          // declined
	ReasonSeveralSelectors = "several_selectors" // fail: there are several BIMI-Selector fields
	ReasonSeveralRecords   = "several_records"   // fail
	ReasonRecord           = "record"            // fail: the record is malformed
	ReasonDNS              = "dns"               // temperror: a lookup failed
	ReasonTime             = "time"              // temperror: the message's time was used up
	ReasonInternal         = "internal"          // temperror: a bug of ours
)

// Reasons lists the reasons of this package.
func Reasons() []string {
	return []string{
		ReasonDMARC, ReasonFrom, ReasonDKIM, ReasonPolicy, ReasonOrganization, ReasonRegistry, ReasonVerdict, ReasonNotFetched,
		ReasonNoRecord, ReasonNoCertificate, ReasonDeclined, ReasonSeveralSelectors, ReasonSeveralRecords, ReasonRecord,
		ReasonDNS, ReasonTime, ReasonInternal,
	}
}

// Results lists every result.
func Results() []Result { return []Result{Pass, None, Fail, TempError, Declined, Skipped} }
