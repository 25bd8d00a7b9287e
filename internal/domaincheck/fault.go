package domaincheck

import "slices"

// Word names one kind of fault. It is the same in text, JSON, and the tables of a survey.
type Word string

// Grade says how bad a fault is.
type Grade string

// The grades.
const (
	Broken  Grade = "broken"  // receivers cannot use what is published
	Missing Grade = "missing" // nothing is published
	Weak    Grade = "weak"    // it works, but does less than its owner may think
)

// The faults.
const (
	DomainMissing Word = "domain_missing"

	MXNone        Word = "mx_none"
	MXNullNotOnly Word = "mx_null_not_alone"
	MXAddress     Word = "mx_is_address"
	MXHostMissing Word = "mx_host_without_address"
	MXHostAlias   Word = "mx_host_alias"

	SPFNone            Word = "spf_none"
	SPFNotARecord      Word = "spf_not_a_record"
	SPFMultiple        Word = "spf_multiple"
	SPFTooLong         Word = "spf_too_long"
	SPFSyntax          Word = "spf_syntax"
	SPFLookupLimit     Word = "spf_lookup_limit"
	SPFVoidLimit       Word = "spf_void_limit"
	SPFMXLimit         Word = "spf_mx_limit"
	SPFIncludeNone     Word = "spf_include_none"
	SPFRedirectNone    Word = "spf_redirect_none"
	SPFUnusableDNS     Word = "spf_unusable_dns"
	SPFPassAll         Word = "spf_pass_all"
	SPFNeutral         Word = "spf_neutral"
	SPFPTR             Word = "spf_ptr"
	SPFUnknownModifier Word = "spf_unknown_modifier"
	SPFAfterAll        Word = "spf_after_all"
	SPFNearLimit       Word = "spf_near_limit"

	DMARCNone          Word = "dmarc_none"
	DMARCNotARecord    Word = "dmarc_not_a_record"
	DMARCMultiple      Word = "dmarc_multiple"
	DMARCMalformed     Word = "dmarc_malformed"
	DMARCInvalidPolicy Word = "dmarc_invalid_policy"
	DMARCInvalidTag    Word = "dmarc_invalid_tag"
	DMARCUnusableDNS   Word = "dmarc_unusable_dns"
	DMARCHistoric      Word = "dmarc_historic_tag"
	DMARCMonitors      Word = "dmarc_p_none"
	DMARCTesting       Word = "dmarc_testing"
	DMARCNoRUA         Word = "dmarc_no_rua"
	DMARCSubdomains    Word = "dmarc_subdomains_weaker"
	RUAUnverified      Word = "rua_unverified"
	RUAUnusable        Word = "rua_unusable"
	RUAUndeliverable   Word = "rua_undeliverable"

	KeyMissing  Word = "key_missing"
	KeySyntax   Word = "key_syntax"
	KeySeveral  Word = "key_several"
	KeyRevoked  Word = "key_revoked"
	KeyUnusable Word = "key_unusable"
	KeyShort    Word = "key_short"
	KeySmall    Word = "key_below_2048"
	KeyTesting  Word = "key_testing"

	BIMINotARecord   Word = "bimi_not_a_record"
	BIMIMultiple     Word = "bimi_multiple"
	BIMISyntax       Word = "bimi_syntax"
	BIMINotEnforcing Word = "bimi_not_enforcing"

	BIMINoCertificate Word = "bimi_no_certificate"
)

// kind is what is always the same about a fault.
type kind struct {
	word    Word
	subject string // mx, spf, dmarc, dkim or bimi
	grade   Grade
	section string // of the document that says so
	do      string // what to change; %s is the domain
}

// kinds has every fault, in the order in which tables list them.
var kinds = [...]kind{
	{DomainMissing, "domain", Missing, "RFC 8020 section 2", "check the spelling; otherwise register the domain, or publish its zone"},

	{MXNone, "mx", Weak, "RFC 5321 section 5.1", "publish MX records; if the domain takes no mail, publish the null MX: MX 0 ."},
	{MXNullNotOnly, "mx", Broken, "RFC 7505 section 3", "take out the null MX (MX 0 .), or all other MX records"},
	{MXAddress, "mx", Broken, "RFC 5321 section 5.1", "write the host's name, not its address, in the MX record"},
	{MXHostMissing, "mx", Broken, "RFC 5321 section 5.1", "publish an A or AAAA record for the host, or take out its MX record"},
	{MXHostAlias, "mx", Weak, "RFC 2181 section 10.3", "write the name that the alias leads to in the MX record"},

	{SPFNone, "spf", Missing, "RFC 7208 section 3", `publish a TXT record such as "v=spf1 mx -all" at %s; if the domain sends no mail: "v=spf1 -all"`},
	{SPFNotARecord, "spf", Broken, "RFC 7208 section 4.5", `let the record begin with "v=spf1" and a space`},
	{SPFMultiple, "spf", Broken, "RFC 7208 section 3.2", "merge the SPF records of %s into one"},
	{SPFTooLong, "spf", Broken, "RFC 7208 section 3.4", "shorten the record to below 450 octets"},
	{SPFSyntax, "spf", Broken, "RFC 7208 section 4.6", "correct the term; one mistake makes the whole record invalid"},
	{SPFLookupLimit, "spf", Broken, "RFC 7208 section 4.6.4", "take out terms that need lookups (include, a, mx, ptr, exists, redirect) until at most 10 are left, those in included records counted"},
	{SPFVoidLimit, "spf", Broken, "RFC 7208 section 4.6.4", "take out terms that name hosts without records; 2 are allowed"},
	{SPFMXLimit, "spf", Broken, "RFC 7208 section 4.6.4", "replace mx by the addresses that send; it may lead to 10 hosts at most"},
	{SPFIncludeNone, "spf", Broken, "RFC 7208 section 5.2", "take out the include; its target has no SPF record"},
	{SPFRedirectNone, "spf", Broken, "RFC 7208 section 6.1", "correct or take out the redirect; its target has no SPF record"},
	{SPFUnusableDNS, "spf", Broken, "RFC 7208 section 2.6.7", "take out the loop of aliases, or the records that make the answer too large"},
	{SPFPassAll, "spf", Weak, "RFC 7208 section 5.1", "end the record with -all or ~all; as it is, everybody may send for the domain"},
	{SPFNeutral, "spf", Weak, "RFC 7208 section 2.6.2", "end the record with -all or ~all; as it is, it says nothing about strangers"},
	{SPFPTR, "spf", Weak, "RFC 7208 section 5.5", "replace ptr by ip4, ip6 or a; ptr should not be used"},
	{SPFUnknownModifier, "spf", Weak, "RFC 7208 section 6", "take it out, or write a mechanism with a colon if that was meant; receivers ignore it"},
	{SPFAfterAll, "spf", Weak, "RFC 7208 section 5.1", "move all to the end; terms after it are ignored"},
	{SPFNearLimit, "spf", Weak, "RFC 7208 section 4.6.4", "replace an include by the addresses that send; if an included record grows by one lookup, the record breaks"},

	{DMARCNone, "dmarc", Missing, "RFC 9989 section 4.10.1", `publish a TXT record at _dmarc.%s, to begin with "v=DMARC1; p=none; rua=mailto:..."`},
	{DMARCNotARecord, "dmarc", Broken, "RFC 9989 section 4.7", `let the record begin with "v=DMARC1;", in upper case and without a space before it`},
	{DMARCMultiple, "dmarc", Broken, "RFC 9989 section 4.10", "leave only one record at _dmarc.%s; receivers discard all of them"},
	{DMARCMalformed, "dmarc", Broken, "RFC 9989 section 4.7", "write each tag only once"},
	{DMARCInvalidPolicy, "dmarc", Broken, "RFC 9989 section 4.10.1", "write none, quarantine or reject in p, sp and np"},
	{DMARCInvalidTag, "dmarc", Broken, "RFC 9989 section 4.8", "correct the tag, or take it out; receivers use its default"},
	{DMARCUnusableDNS, "dmarc", Broken, "RFC 9989 section 5.3.6", "take out the loop of aliases, or the records that make the answer too large"},
	{DMARCHistoric, "dmarc", Weak, "RFC 9989 section 9.3", "take the tag out; receivers ignore it. For a trial there is t=y"},
	{DMARCMonitors, "dmarc", Weak, "RFC 9989 section 4.7", "read the reports, then go on to p=quarantine and p=reject; with p=none, forged mail is delivered"},
	{DMARCTesting, "dmarc", Weak, "RFC 9989 section 4.7", "take out t=y when the trial is over; with it, receivers act one step milder"},
	{DMARCNoRUA, "dmarc", Weak, "RFC 9989 section 4.7", "add rua=mailto:... to learn who sends for the domain, and what fails"},
	{DMARCSubdomains, "dmarc", Weak, "RFC 9989 section 4.7", "take out the milder sp or np, or say there what p says; forgers use subdomains"},
	{RUAUnverified, "dmarc", Broken, "RFC 9990 section 4", "let the owner of the destination publish the record that agrees, or use an address of your own; receivers send no report there"},
	{RUAUnusable, "dmarc", Broken, "RFC 9990 section 3.5", "write mailto: and one plain address, each address once, and only a few; receivers send no report there"},
	{RUAUndeliverable, "dmarc", Broken, "RFC 9990 section 3.5", "correct the domain of the address; it takes no mail"},

	{KeyMissing, "dkim", Missing, "RFC 6376 section 6.1.2", "publish the public key, or stop signing with this selector"},
	{KeySyntax, "dkim", Broken, "RFC 6376 section 3.6.1", "publish the record that your signer prints, in one piece and without other characters"},
	{KeySeveral, "dkim", Broken, "RFC 6376 section 3.6.2.2", "leave one key record at the name, and use another selector for the other key"},
	{KeyRevoked, "dkim", Broken, "RFC 6376 section 3.6.1", "publish the public key in p=, or stop signing with this selector"},
	{KeyUnusable, "dkim", Broken, "RFC 6376 section 6.1.2", "correct k=, h= or s= of the key record; receivers refuse signatures made with it"},
	{KeyShort, "dkim", Broken, "RFC 8301 section 3.2", "sign with a new key of 2048 bits; receivers refuse keys below 1024"},
	{KeySmall, "dkim", Weak, "RFC 8301 section 3.2", "sign with a new key of 2048 bits"},
	{KeyTesting, "dkim", Weak, "RFC 6376 section 3.6.1", "take out t=y; with it, receivers treat a signature that fails as if there were none"},

	{BIMINotARecord, "bimi", Broken, "BIMI draft section 4.2", `let the record begin with "v=BIMI1;"`},
	{BIMIMultiple, "bimi", Broken, "BIMI draft section 7.2", "leave only one BIMI record at the name"},
	{BIMISyntax, "bimi", Broken, "BIMI draft section 4.2", "correct the tag; the mark is not shown"},
	{BIMINotEnforcing, "bimi", Weak, "BIMI draft section 7.1", "publish p=quarantine or p=reject without t=y, and no sp=none; otherwise the mark is not shown"},
	{BIMINoCertificate, "bimi", Weak, "BIMI draft section 4.2", "add a=https://... with a mark certificate; most receivers show no mark without one"},
}

// Words lists every fault, in the order in which tables list them.
func Words() []Word {
	out := make([]Word, len(kinds))
	for i, k := range kinds {
		out[i] = k.word
	}
	return out
}

func kindOf(w Word) kind {
	if i := slices.IndexFunc(kinds[:], func(k kind) bool { return k.word == w }); i >= 0 {
		return kinds[i]
	}
	return kind{word: w}
}

// Grade says how bad the fault is.
func (w Word) Grade() Grade { return kindOf(w).grade }

// Section says which document the fault offends against, such as "RFC 7208 section 4.5".
func (w Word) Section() string { return kindOf(w).section }

// Subject is mx, spf, dmarc, dkim, bimi or domain.
func (w Word) Subject() string { return kindOf(w).subject }
