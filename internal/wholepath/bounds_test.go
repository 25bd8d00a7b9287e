package wholepath

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bound is one entry of the table bounds.
type bound struct {
	name  string // package.constant; the package is its path below internal
	value string
	unit  string
	why   string
	key   string // the key of the configuration that changes it, "" if it is fixed
	tests string // names of the tests at the limit and beyond it, each as package.Test
}

// bounds is the table of the limits on everything that a stranger can make large, long or numerous.
// A limit is a constant whose name matches limitName. TestBounds fails if such a constant is not in
// the table, if its value differs, or if a test in the table does not exist.
var bounds = []bound{
	{"admin.maxAnswerBytes", "67108864", "octets", "a command reads an answer of the daemon into memory", "", "admin.TestClient"},
	{"admin.maxErrorBytes", "1024", "octets", "an error is shown to a person", "", "admin.TestClient"},
	{"admin.maxHeaderBytes", "16384", "octets", "a scraper's request has a few hundred", "", "wholepath.TestBoundAdminHeader"},
	{"admin.maxQueries", "4", "requests at a time", "the answer to each may have some MiB", "", "admin.TestBoundQueries"},
	{"admin.maxReserved", "4", "descriptors", "kept for clients of the admin address when MTAs have taken all others", "", "faults.TestNoDescriptors"},
	{"admin.maxScrapes", "4", "requests at a time", "a scrape collects every series", "", "wholepath.TestBoundAdminScrapes"},
	{"app.maxHung", "16", "reloads given up", "each still waits for a file in a goroutine of its own", "", "app.TestReloadOfHungFile"},
	{"app.maxKeyFile", "65536", "octets of a key file", "a private key has a few thousand", "", "app.TestPasswords"},
	{"app.maxMarkFile", "1048576", "octets of a file", "of bimi.roots and bimi.ct_logs; a certificate has some thousand", "", "app.TestMarkFiles"},
	{"app.maxPasswordFile", "4096", "octets of a file", "a password is one line", "", "app.TestPasswords"},
	{"app.maxReadings", "8", "readings", "of the last minute, also if the clock is set back", "", "app.TestMinute"},
	{"arc.maxSets", "50", "sets", "RFC 8617 §5.2 step 1", "", "arc.TestChain attack.TestARC"},
	{"authres.maxFieldLen", "16384", "octets", "Sendmail refuses 32 KiB of header", "", "authres.TestFormatBounds"},
	{"authres.maxHeadLen", "2048", "octets", "before an authserv-id; a field with more counts as forged", "", "authres.TestClaimed"},
	{"authres.maxKeywordLen", "40", "octets", "the longest registered keyword has 16", "", "wholepath.TestBoundResults"},
	{"authres.maxLabel", "63", "octets of an A-label", "a label has at most 63 (RFC 1035 §2.3.4); a longer one is not decoded", "",
		"authres.TestClaimedNamesOfOtherScripts"},
	{"authres.maxParseLen", "65536", "octets", "MTAs cut fields at 60,000", "", "authres.TestParseErrors"},
	{"authres.maxPrefix", "64", "characters of b=", "signatures whose b= begins with the same 64 characters are copies of each other", "",
		"authres.TestSignaturePrefixes"},
	{"authres.maxProperties", "32", "properties of a result", "the results that sekimori writes have five", "", "wholepath.TestBoundResults"},
	{"authres.maxResults", "100", "results of a field", "a sender chooses how many signatures there are", "", "wholepath.TestBoundResults"},
	{"authres.maxTraceLen", "4096", "octets of Received-SPF", "other programs write under 1,000; a longer field counts as forged", "", "authres.TestClaimedSPF"},
	{"authres.maxValueLen", "255", "octets of a value", "lines stay under 998 (RFC 5322 §2.1.1)", "", "wholepath.TestBoundResults"},
	{"authres.maxWord", "1012", "octets of a word", "four times a domain name, because every octet may be escaped", "", "authres.TestClaimed"},
	{"bimi/mark.MaxCRL", "10485760", "octets of a revocation list", "a CA's server, or who is on the way to it, chooses how long it is", "", "bimi/mark.TestParseCRL"},
	{"bimi/mark.MaxPEM", "65536", "octets of a file with certificates", "real ones have 6 to 18 KB", "", "bimi/mark.TestPEM"},
	{"bimi/mark.maxAhead", "5m0s", "time", "a log's or a CA's clock may be ahead of ours", "", "bimi/mark.TestRevocation bimi/mark.TestChanges"},
	{"bimi/mark.maxCRLURL", "2048", "octets of an address", "a certificate names where its revocation list is", "", "bimi/mark.TestPlaces"},
	{"bimi/mark.maxCRLURLs", "4", "addresses of a revocation list", "each may be fetched; real certificates name one or two", "", "bimi/mark.TestPlaces"},
	{"bimi/mark.maxCertificates", "6", "certificates of a file", "each may be verified with; a chain has three or four", "", "bimi/mark.TestPEM"},
	{"bimi/mark.maxElements", "100", "elements of an ASN.1 sequence", "a certificate has about ten extensions", "", "bimi/mark.TestParseLogotype bimi/mark.TestWithoutSCTs"},
	{"bimi/mark.maxIDPNames", "20", "places of a revocation list", "each is compared", "", "bimi/mark.TestParseCRL"},
	{"bimi/mark.maxKeyBits", "8192", "bits of an RSA key", "a file's author chooses the key, and a long one takes long to verify with", "", "bimi/mark.TestLargeKey"},
	{"bimi/mark.maxLifetimeDays", "825", "days", "of a mark certificate, by the requirements for issuance", "", "bimi/mark.TestChanges"},
	{"bimi/mark.maxLogotype", "61440", "octets of a logotype extension", "holds the largest picture in base64", "", "bimi/mark.TestParseLogotype"},
	{"bimi/mark.maxNames", "20", "names of a certificate", "are told; all are compared", "", "bimi/mark.TestNamesAreBounded"},
	{"bimi/mark.maxPath", "4", "certificates of a chain", "with the root; real ones have three", "", "bimi/mark.TestLongChain"},
	{"bimi/mark.maxRevoked", "50000", "entries of a revocation list", "parsing takes 200 octets for each; fewer mark certificates were ever issued", "", "bimi/mark.TestParseCRL"},
	{"bimi/mark.maxRoots", "100", "mark roots", "an operator's file may be the wrong one", "", "bimi/mark.TestParseRoots"},
	{"bimi/mark.maxSCTs", "10", "timestamps of a certificate", "each may cost a signature; real ones have one to three", "", "bimi/mark.TestParseSCTs"},
	{"bimi/mark.maxText", "200", "octets of a text of a certificate", "a person reads it", "", "bimi/mark.TestNamesAreBounded"},
	{"bimi/svg.MaxOctets", "32768", "octets of a picture, uncompressed", "the profile asks for 32 KB", "", "bimi/svg.TestBounds bimi/svg.TestUncompress"},
	{"bimi/svg.maxCompressed", "65536", "octets of a compressed picture", "it is smaller than the picture", "", "bimi/svg.TestUncompress"},
	{"bimi/svg.maxDepth", "64", "elements within each other", "real pictures have fewer than ten", "", "bimi/svg.TestBounds"},
	{"bimi/svg.maxDrawn", "20000", "elements that are drawn", "an element may be used again and again, also within itself", "", "bimi/svg.TestDrawn"},
	{"bimi/svg.maxNamed", "40", "octets of a name or value", "a problem quotes it", "", "bimi/svg.TestProblems"},
	{"bimi/svg.maxProblems", "20", "problems of a picture", "a person reads them", "", "bimi/svg.TestProblems"},
	{"bimi/svg.maxTitle", "64", "characters of a picture's title", "the profile's advice", "", "bimi/svg.TestBounds"},
	{"bimi/svg.maxTokens", "20000", "tags and texts of a picture", "in case that MaxOctets is raised", "", "bimi/svg.TestTokens"},
	{"bimi.maxRecordLen", "16384", "octets of a record", "two URIs and a long list of local parts fit", "", "bimi.TestParseRecord"},
	{"bimi.maxSelectorField", "998", "octets of BIMI-Selector", "a selector has at most 253", "", "bimi.TestParseSelector"},
	{"bimi.maxURILen", "2048", "octets of a URI", "of a picture or a certificate; web servers take no longer ones", "", "bimi.TestParseRecord"},
	{"config.maxHistory", "9600h0m0s", "time", "the store looks into every day", "", "config.TestBadInput"},
	{"console.MaxTry", "1048576", "octets of a request", "that tries a message in the console", "", "console.TestTryBounds"},
	{"console.maxAnswers", "8", "answers of the store", "that the console keeps for a minute; the largest have some MiB", "", "console.TestAskIsBounded"},
	{"console.maxWaiting", "16", "viewers", "that wait for the store, which answers one at a time; others are refused", "", "console.TestAskIsBounded"},
	{"console.maxTries", "10", "messages", "that are tried one right after the other; then one every 3 s", "", "console.TestTryBounds"},
	{"console.maxTryRecipients", "100", "recipients", "of a message that is tried", "", "console.TestTry"},
	{"farm.MaxHosts", "1000", "heartbeats", "that are read; a daemon that crashes all the time leaves many", "", "store/sqlite.TestFarm"},
	{"geo.MaxFile", "134217728", "octets of a file", "it is read into memory; files of countries have about ten million octets", "", "app.TestCountries"},
	{"history.MaxBlockRows", "64", "records of a block", "a search reads whole blocks", "", "history.TestUnpackBounds"},
	{"history.MaxBlockSize", "1048576", "octets of JSON", "after which a block takes no further record", "", "history/archive.TestFoundIsBounded"},
	{"history.maxRecord", "1048576", "octets of JSON", "a decision has at most 64 KiB, of which each octet may become six", "", "history.TestUnpackBounds"},
	{"history.maxUnpacked", "2097152", "octets", "that are unpacked of a block, however small it was packed", "", "history.TestUnpackBounds"},
	{"history/archive.maxBlocks", "8", "blocks", "in memory during a search; each has a MiB or two at most", "", "history/archive.TestPages"},
	{"history/archive.maxExamined", "5000", "records", "that a search reads; the caller goes on where it ended", "", "history/archive.TestPages"},
	{"history/archive.maxFound", "4194304", "octets of JSON", "of the records that a search returns", "", "history/archive.TestFoundIsBounded"},
	{"history/archive.maxGathered", "25165824", "octets", "of decisions in memory while the store takes none; senders choose how long they are", "", "history/archive.TestNeverBlocks"},
	{"history/archive.maxQueue", "4096", "decisions", "that wait to be gathered; beyond it, they are dropped and counted", "", "history/archive.TestNeverBlocks"},
	{"history/archive.maxSignatureText", "16", "characters", "of the value of a signature that are kept", "", "history/archive.TestShortened"},
	{"bounce.maxCommand", "16384", "octets of a line", "the MTA may not break long lines", "", "bounce.TestLongLines"},
	{"bounce.maxConns", "32", "connections", "Postfix makes 20", "", "bounce.TestConnections"},
	{"bounce.maxDrain", "5s", "time", "for a message that has begun when the daemon stops", "", "bounce.TestStop bounce.TestTimes"},
	{"bounce.maxLine", "4096", "octets of a line", "RFC 5322 §2.1.1 allows 998", "", "bounce.TestBounds"},
	{"bounce.maxNested", "4", "multiparts in each other", "gateways wrap bounces", "", "bounce.TestBounds"},
	{"bounce.maxReply", "500", "octets", "of a reply that is kept and shown", "", "bounce.TestStatus"},
	{"bounce.maxScanned", "1048576", "octets of a message", "before the end of the delivery status", "", "bounce.TestBounds"},
	{"bounce.maxSession", "10m0s", "time", "of a connection", "", "bounce.TestTimes"},
	{"bounce.maxSilence", "1m0s", "time", "for the next command, or for a whole message", "", "bounce.TestTimes"},
	{"bounce.maxStatus", "65536", "octets of a delivery status", "Postfix returns one for each recipient, and a report has one", "", "bounce.TestBounds"},
	{"bounce.maxType", "4096", "octets of Content-Type", "as long as a line that is read", "", "bounce.TestBounds"},
	{"bounce.maxWrite", "10s", "time", "for an MTA that does not read", "", "bounce.TestTimes"},
	{"collect.maxIDs", "4096", "identities of policies", "remembered, because to compute one takes long", "", "collect.TestManyPolicies"},
	{"collect.maxIdentities", "4", "policies of a domain and window", "one more than the store keeps apart; a domain could change its record all the time", "", "collect.TestManyPolicies"},
	{"collect.maxUnfinished", "256", "messages at a time", "as many as package msgauth waits for after their reply", "", "collect.TestBoundUnfinished"},
	{"collect.maxQueue", "16384", "observations", "three seconds of 5,000 messages a second; beyond it, they are dropped and counted", "", "collect.TestNeverBlocks"},
	{"collect.maxQueueOctets", "16777216", "octets", "of the observations in the queue; senders choose how long they are", "", "collect.TestQueueOctets"},
	{"collect.maxSightings", "50000", "domains of a day", "forgers name domains without end", "", "collect.TestSightings"},
	{"collect.maxSpoolFile", "67108864", "octets of a file", "a batch has some MiB", "", "collect.TestTorn"},
	{"collect.maxTableOctets", "67108864", "octets", "rows in memory while the store takes none; a forger can make up rows without end", "", "collect.TestFlood"},
	{"collect.maxWritten", "20", "domains of a message", "those to which a user wrote", "", "collect.TestCorrespondents"},
	{"config.MaxClasses", "50", "classes", "a page with more is of no use to a reader", "", "config.TestBadInput config.TestMaxClasses"},
	{"config.maxAuthservID", "255", "octets", "a host name", "", "wholepath.TestBoundConfig"},
	{"config.maxBounceLocal", "20", "octets", "\"+\" and the token of a delivery follow, and a local part has 64", "", "config.TestBadInput"},
	{"config.maxCTLogs", "50", "files", "about ten logs take mark certificates", "", "config.TestBadInput"},
	{"config.maxClockSkew", "24h0m0s", "time", "with a larger one, x= would mean nothing", "", "config.TestBadInput"},
	{"config.maxConsentTimeout", "5s", "time", "Sendmail waits 10 s for the answer to RCPT", "", "config.TestBadInput"},
	{"config.maxDNSBLs", "8", "zones", "each costs a question for the domain of a report and one for each destination", "", "config.TestTooLongLists"},
	{"config.maxFailureTTL", "5m0s", "time", "RFC 9520 §3.2", "", "wholepath.TestBoundConfig"},
	{"config.maxFailures", "1000000", "failure reports a day", "more would be a mistake", "", "config.TestBadInput"},
	{"config.maxGroup", "63", "octets", "ledger.group stands in every row", "", "config.TestBadInput"},
	{"config.maxHostsFile", "1048576", "octets of /etc/hosts", "the line of the host itself is near the beginning", "", "config.TestFullName"},
	{"config.maxMarkWait", "2s", "time", "a message holds a connection of the MTA while it waits", "", "config.TestBadInput"},
	{"config.maxMessageBudget", "4m0s", "time", "no MTA waits longer for the end of a message", "", "wholepath.TestBoundConfig"},
	{"config.maxRecent", "100000", "decisions", "recent.maxBytes bounds the memory that they take", "", "config.TestBadInput config.TestGoodInput"},
	{"config.maxReportAddresses", "20", "destinations of a report", "an author domain chooses how many it names", "", "config.TestBadInput"},
	{"config.maxReportList", "10000", "entries", "the list is searched for every report", "", "config.TestTooLongLists"},
	{"config.maxReportRate", "1000", "mails a second", "an MTA takes no more", "", "config.TestBadInput"},
	{"config.maxReportRows", "10000000", "rows of a report", "more would not fit into a mail", "", "config.TestTooLongLists"},
	{"config.maxReportText", "255", "octets", "the text stands in every report", "", "config.TestTooLongLists"},
	{"config.maxRoots", "50", "files", "fewer than ten issuers exist", "", "config.TestBadInput"},
	{"config.maxRules", "10000", "rules", "each adds a series to the metrics and a row to the console", "", "config.TestTooManyRules"},
	{"config.maxSignaturesCeil", "50", "signatures", "each causes a key lookup and a result", "", "wholepath.TestBoundConfig"},
	{"config.maxServers", "8", "servers", "each is a label value of the metrics", "", "config.TestDNSProblems"},
	{"config.maxSpamSigns", "20", "header fields", "each is compared with every field of a message", "", "config.TestBadInput"},
	{"config.maxSubjectStamp", "40", "characters", "the subject must stay readable", "", "config.TestBadInput"},
	{"config.maxWatchName", "32", "octets of the name of a watch list", "it is a label of metrics and a word in the message's label", "", "config.TestBadInput"},
	{"config.maxUnixPath", "107", "octets", "sockaddr_un", "", "wholepath.TestBoundConfig"},
	{"config/strict.MaxFile", "4194304", "octets", "the configuration is read whole", "", "config.TestLoad"},
	{"config/strict.MaxProblems", "50", "problems", "a person reads the list", "", "config.TestManyProblems"},
	{"config/strict.maxExcerpt", "120", "octets", "an excerpt in an error fits a terminal", "", "config/strict.TestExcerpt"},
	{"config/strict.maxNesting", "100", "brackets open", "the YAML parser recurses", "", "wholepath.TestBoundConfig"},
	{"consent.maxCached", "100000", "answers", "anyone can make up recipients", "", "consent.TestCacheIsBounded"},
	{"consent.maxConnections", "8", "lookups at a time", "each has a connection to the socketmap", "", "consent.TestConcurrent"},
	{"consent.maxListFile", "67108864", "octets", "some two million addresses", "", "consent.TestFileBounds"},
	{"consent.maxListLine", "1024", "octets", "an address has 320", "", "consent.TestBadFile"},
	{"consent.maxReply", "4096", "octets", "a socketmap answers with one word", "", "consent.TestSocketmapFails"},
	{"consent.maxReplyDigits", "4", "digits", "in the length of an answer", "", "consent.TestSocketmapFails"},
	{"consent.maxSilent", "3", "lookups without an answer", "after these, the socketmap is not asked until a second has passed", "",
		"consent.TestSocketmapSilent"},
	{"console.maxMarks", "100", "marks of a page", "each has a picture of up to 45 KB", "", "console.TestManyMarks"},
	{"console.maxRows", "100", "decisions of a page", "for more, a person searches", "", "console.TestPages"},
	{"console.maxSamples", "1441", "samples", "one a minute: a day of the chart of verdicts", "", "console.TestHistoryIsBounded"},
	{"console.maxSearchBytes", "512", "octets", "of a search; a domain name has 253", "", "console.TestDecisions"},
	{"dispatch/failures.maxAddresses", "5000", "failure reports", "whose bounces are recognized: those of several days", "", "dispatch/failures.TestBounds"},
	{"dispatch/failures.maxDecide", "30s", "time", "for the lookups of a failure report", "", "dispatch/failures.TestSlowDNS"},
	{"dispatch/failures.maxKnown", "10000", "domains", "of which is remembered whether they get failure reports", "", "dispatch/failures.TestBounds"},
	{"dispatch/failures.maxKnownTime", "1h0m0s", "time", "for which that is remembered", "", "dispatch/failures.TestMerge dispatch/failures.TestKnownTime"},
	{"dispatch/failures.maxQueued", "1000", "incidents", "that wait; each has a few KiB", "", "dispatch/failures.TestOfferNeverBlocks"},
	{"dispatch/failures.maxSubmit", "2m0s", "time", "for handing a failure report to the MTA", "", "dispatch/failures.TestSlowMTA"},
	{"dispatch.maxHorizon", "12h0m0s", "time", "for which a report is put off because of others to the same destination", "", "dispatch.TestHosts dispatch.TestHorizon"},
	{"dispatch.maxHosts", "10000", "destination domains", "whose pace is remembered; strangers choose their names", "", "dispatch.TestHostsAreBounded"},
	{"dispatch.maxPatience", "5s", "time", "for which a report waits for its turn before it is put off", "", "dispatch.TestHosts dispatch.TestHorizon"},
	{"dispatch.maxWorkers", "16", "reports at a time", "a slow destination holds one of them", "", "dispatch.TestTarpit dispatch.TestMTADown"},
	{"dkim.MaxRSABits", "8192", "bits", "the cost of a key grows with the square of its length", "", "attack.TestDKIMKeys"},
	{"dkim.defaultMaxSignatures", "10", "signatures verified", "RFC 6376 §6.1 allows a limit", "dkim.max_signatures",
		"dkim.TestManySignatures attack.TestDKIMManySignatures"},
	{"dkim.defaultSkew", "5m0s", "time", "clocks of hosts differ", "dkim.clock_skew", "dkim.TestVerifyRules"},
	{"dkim.maxCachedKeyBytes", "8388608", "octets", "parsed keys kept for the next message", "", "dkim.TestKeyCacheBounds"},
	{"dkim.maxCachedKeys", "8192", "keys", "parsed keys kept for the next message", "", "dkim.TestKeyCacheBounds"},
	{"dkim.maxCachedRecord", "2048", "octets", "a longer key record is read each time", "", "dkim.TestKeyCacheKeeps"},
	{"dkim.maxFields", "4096", "fields read", "more than the milter lets through", "", "dkim.TestManyFields"},
	{"dkim.maxForms", "9", "forms of a header", "tried because MTAs do not show spaces and Return-Path to milters as they were signed", "",
		"dkim.TestLeadingSpace"},
	{"dkim.maxIndexKept", "16384", "octets or entries", "memory of a header's index kept for the next message", "", "dkim.TestIndexKept"},
	{"dkim.maxKeys", "4", "keys at a name", "RFC 6376 §3.6.2.2 does not define several keys", "", "attack.TestDKIMKeys"},
	{"dkim.maxOperations", "64", "verifications of a message", "its unit is RSA of 2,048 bits; ten signatures and 50 ARC sets need fewer", "",
		"dkim.TestWorkLimit msgauth.TestWork attack.TestKeyWork"},
	{"dkim.maxParallelLookups", "16", "queries in flight", "an ARC chain can name a hundred keys", "", "dkim.TestParallelLookups"},
	{"dkim.maxReported", "64", "signatures reported", "the results fit into a field", "", "dkim.TestManyFields"},
	{"dkim.maxSpaceForms", "128", "mixtures of spaces", "tried if the MTA does not show the space after the colon", "", "dkim.TestLeadingSpace"},
	{"dkim.maxSpaceOctets", "262144", "octets", "hashed while mixtures of spaces are tried", "", "dkim.TestLeadingSpace"},
	{"dkim/syntax.maxLengthDigits", "76", "digits of l=", "RFC 6376 §3.5", "", "dkim.TestVerifyRules"},
	{"dkim/syntax.maxSignedHeaders", "50000", "names in h=", "the work grows with their number", "", "attack.TestDKIMSignedHeaders dkim/syntax.TestParseErrors"},
	{"dmarc.DefaultMaxWalks", "10", "tree walks", "one for each identifier, with eight queries each", "", "wholepath.TestBoundWalks"},
	{"dmarc.MaxPSLLen", "16777216", "octets", "the list has 300 KiB", "", "dmarc.TestLoadPSLRefuses"},
	{"dmarc.MaxRecordLen", "16384", "octets", "real records are under 1 KiB", "", "wholepath.TestBoundPolicyRecord"},
	{"dmarc.MaxURIs", "100", "destinations", "each may get reports", "", "dmarc.TestParseRecordBounds"},
	{"dmarc.maxPSLLineLen", "4096", "octets", "a rule is a domain name", "", "dmarc.TestLoadPSLRefuses"},
	{"dmarc.maxSupposed", "3", "failed names", "all combinations of their possible answers are tried; usually one name fails", "", "dmarc.TestManyFailed"},
	{"dmarc.maxWalkLabels", "8", "labels", "RFC 9989 §4.10", "", "dmarc.TestWalkNames"},
	{"dns.MaxChain", "8", "CNAMEs of an answer", "RFC 1034 §3.6.2 discourages chains", "", "resolver/dnswire.TestDecode"},
	{"dns.MaxLabelLen", "63", "octets", "RFC 1035 §2.3.4", "", "dns.TestParseName wholepath.TestBoundNames"},
	{"dns.MaxNameLen", "253", "octets", "RFC 1035 §2.3.4, as text", "", "dns.TestParseName wholepath.TestBoundNames"},
	{"dns.MaxRecords", "256", "records of a section", "RFC 7208 §4.6.4 limits most to 10", "", "resolver/dnswire.TestDecode"},
	{"dns.MaxTextOctets", "32768", "octets of TXT", "the longest key worth verifying has 2 KiB", "", "attack.TestDNSLies"},
	{"domaincheck.maxHosts", "20", "hosts", "of the MX records of a domain that is checked; a domain has a handful", "", "domaincheck.TestBounds"},
	{"domaincheck.maxShown", "300", "octets", "of a stranger's record in a sentence", "", "domaincheck.TestBounds"},
	{"doctor.maxTable", "1048576", "octets of a table of Postfix", "a person writes header_checks", "", "doctor.TestReadTable"},
	{"explain.maxShownValue", "4096", "octets of a field", "BIMI-Indicator has up to 59,000", "", "explain.TestLongField"},
	{"filter.maxDateLen", "64", "octets of a Date", "a usual one has 31; a longer one is not compared with our clock", "", "filter.TestParseDate"},
	{"forwarders.maxAuthors", "200", "author domains", "of one source of failing mail; three are enough to propose it", "", "forwarders.TestBounded"},
	{"forwarders.maxLine", "65536", "octets of a log's line", "the daemon writes lines under 32 KiB", "", "forwarders.TestReadLog"},
	{"forwarders.maxNames", "5", "client names", "of one source; for a source with more, the domain is shown", "", "forwarders.TestBounded"},
	{"forwarders.maxSources", "20000", "sources of failing mail", "strangers choose names and addresses", "", "forwarders.TestBounded"},
	{"holdqueue.maxComplaint", "4096", "octets", "of what a program of the MTA writes to standard error", "", "holdqueue.TestPrograms"},
	{"holdqueue.maxHeader", "262144", "octets of a header", "the label is near the top", "", "holdqueue.TestHeaderIsBounded"},
	{"holdqueue.maxLabels", "1000", "messages", "reading a label runs a program", "", "holdqueue.TestLabelsAreBounded"},
	{"holdqueue.maxLine", "16777216", "octets of a line", "it has all recipients of a message", "", "holdqueue.TestPrograms"},
	{"holdqueue.maxMessages", "10000", "messages", "in a list; the rest are only counted", "", "holdqueue.TestListIsBounded"},
	{"holdqueue.maxReasons", "30", "reasons", "each has a series; the daemon has fewer", "", "holdqueue.TestMetricsAreBounded"},
	{"holdqueue.maxRecipients", "10", "recipients", "of a message in the list; the rest are only counted", "", "holdqueue.TestHeaderIsBounded"},
	{"iprev.MaxNames", "10", "names", "RFC 8601 §3 leaves the number open; SPF allows the same number", "", "iprev.TestCheck"},
	{"judge.MaxConsentLookups", "4", "lookups of a message", "the lookups for its other recipients wait until one of these has ended", "",
		"judge.TestConsentQueue"},
	{"label.MaxForged", "10000", "fields deleted", "of a message over a limit; Postfix takes half a minute for this number, and two minutes for twice as many",
		"", "filter.TestFlood"},
	{"label.MaxOutlined", "4096", "fields of one name", "of a message over a limit; all fields after them are deleted", "", "filter.TestOutline"},
	{"label.maxIndicator", "59000", "octets of BIMI-Indicator", "Postfix cuts fields at 60,000, and a picture that was cut is broken", "",
		"label.TestMarkFields e2e.TestMarkPostfixCut"},
	{"label.maxMarkURI", "900", "octets of a URI", "in BIMI-Location, where it cannot be folded; a line has at most 998 (RFC 5322 §2.1.1)", "", "label.TestMarkFields"},
	{"label.maxLabel", "900", "octets of our field", "opendmarc does not read a field over 990; results that passed or that DMARC used are not left out", "",
		"label.TestLongLabel"},
	{"label.maxLine", "900", "octets of a line", "in a stamped subject; a line has at most 998 (RFC 5322 §2.1.1)", "", "label.TestSubject"},
	{"label.maxLocal", "64", "octets of a local part", "RFC 5321 §4.5.3.1.1; for an address with a longer local part, only the domain is shown", "",
		"label.TestSender"},
	{"label.maxSubject", "50000", "octets of a stamped subject", "Postfix cuts fields at 60,000", "", "label.TestSubject"},
	{"lookalike.MaxDomains", "1000", "domains", "of all watch lists together", "", "lookalike.TestBounds"},
	{"lookalike.MaxLists", "20", "watch lists", "each has three time series", "", "lookalike.TestBounds"},
	{"lookalike.MaxNameLen", "100", "octets of a watched display name", "mail programs show no more", "", "lookalike.TestBounds"},
	{"lookalike.MaxNames", "1000", "display names", "of all watch lists together", "", "lookalike.TestBounds"},
	{"lookalike.maxBrands", "32", "parts of an Author Domain", "compared with the brands of the watch lists", "", "lookalike.TestBounds"},
	{"lookalike.maxDisplay", "256", "octets of a display name", "compared with the watch lists; mail programs show no more", "", "lookalike.TestBounds"},
	{"lookalike.maxDisplays", "4", "display names of a message", "compared with the watch lists; a message has one author", "", "lookalike.TestBounds"},
	{"watchlist.maxQuarters", "672", "intervals of 15 minutes", "a week, of each watch list", "", "watchlist.TestBounds"},
	{"watchlist.maxSamples", "20", "messages", "of each watch list are remembered that failed, and as many lookalikes", "", "watchlist.TestBounds"},
	{"watchlist.maxWord", "256", "octets", "of a queue id or domain of a sample", "", "watchlist.TestBounds"},
	{"domaincheck.maxSeen", "20", "keys", "of the ledger that check looks at", "", "domaincheck.TestSeen"},
	{"learn.maxAsked", "1024", "author domains", "that wait to be looked up; beyond it, they are asked for at their next message", "", "learn.TestBounds"},
	{"learn.maxKnown", "20000", "author domains", "with passing mail, of which it is known what is usual; with most networks they take 50 MB", "", "learn.TestBounds"},
	{"learn.maxPreload", "2000", "author domains", "looked up at the start", "", "learn.TestPreload"},
	{"learn.maxSearched", "2000", "domains", "looked at for breakages every hour: those that wrote most", "", "learn.TestSearch"},
	{"learn.maxUnknown", "20000", "author domains", "of which the store knows nothing; forgers make up any number", "", "learn.TestBounds"},
	{"ledger.MaxCarried", "8", "domains of a network", "whose mail passes from there; how many more there are does not matter", "", "store/sqlite.TestLedger"},
	{"ledger.MaxSending", "8", "networks of a domain and day, for SPF", "a domain sends from few; a forger can use any number", "", "ledger.TestForgersOfSPF ledger.TestFirstRest"},
	{"ledger.MaxSigners", "16", "signers of a domain and day", "a domain has few; a forger can write any selector", "", "ledger.TestMergeRest ledger.TestTableBounds"},
	{"ledger.MaxSources", "256", "networks of an author domain", "more than 64 say nothing any more", "", "store/sqlite.TestLedger"},
	{"ledger.MaxUsual", "64", "networks of an author domain", "whose mail comes from more has new ones all the time", "", "ledger.TestNetworks"},
	{"ledger.maxAuthors", "50000", "author domains of a day in memory", "while the store takes none", "", "ledger.TestTableBounds"},
	{"ledger.maxEntrySigners", "4", "signers of a message", "a sender can write any number of signatures", "", "ledger.TestObserve"},
	{"ledger.maxRows", "50000", "domains of a day in memory", "while the store takes none; beyond it, messages are dropped and counted", "", "ledger.TestTableBounds"},
	{"ledger.maxSources", "100000", "networks in memory", "while the store takes none", "", "ledger.TestTableBounds"},
	{"ledger.maxTableSigners", "32", "signers of a domain in memory", "twice as many as are kept, so that a forger's do not take the places of others", "", "ledger.TestTableBounds"},
	{"ledger.maxTableSending", "16", "networks of a domain in memory, for SPF", "twice as many as are kept", "", "ledger.TestForgersOfSPF"},
	{"readiness/gather.maxMore", "40", "domains", "for which sekimori readiness searches the history, because the sample has few messages of them", "", "readiness/gather.TestBounds"},
	{"readiness/gather.maxRecords", "12800", "decisions of the history", "read by sekimori readiness, spread over the days", "", "readiness/gather.TestBounds"},
	{"readiness.MaxDomains", "300", "domains", "judged by sekimori readiness, those with the most hits; the rest is counted", "", "readiness.TestBounds"},
	{"readiness.MaxSamples", "20000", "messages", "looked at by sekimori readiness; each takes 500 octets", "", "readiness.TestBounds"},
	{"readiness.maxHosts", "5", "hosts of a stream", "named by sekimori readiness", "", "readiness.TestBounds"},
	{"readiness.maxOwners", "64", "authors, names and networks of a host", "told apart by sekimori readiness; its rules ask for a few", "", "readiness.TestBounds"},
	{"readiness.maxRules", "20", "rules", "proposed by sekimori readiness; a person has to look at each", "", "readiness.TestBounds"},
	{"readiness.maxSelectors", "4", "signatures of a message", "looked at by sekimori readiness", "", "readiness.TestBounds"},
	{"senders.MaxLimit", "1000", "senders", "listed by sekimori senders", "", "senders.TestBounds"},
	{"senders.maxNetworks", "256", "networks of a sender", "listed by sekimori senders", "", "senders.TestBounds"},
	{"mailaddr/author.MaxCommentDepth", "10", "comments nested", "mail clients do not nest comments", "", "wholepath.TestBoundFrom"},
	{"mailaddr/author.MaxFromLen", "32768", "octets", "an MTA may have cut a longer field, and the missing part might name the author", "",
		"mailaddr/author.TestParseBounds"},
	{"mailaddr/author.MaxMailboxes", "100", "authors", "mail signed by dozens of people is in use", "", "mailaddr/author.TestParseBounds"},
	{"mailaddr.MaxPathLen", "2048", "octets", "RFC 5321 §4.5.3.1.3 asks for 256", "", "wholepath.TestBoundFrom mailaddr.TestParsePathRefuses"},
	{"mailaddr/encodedword.maxWordDepth", "3", "encoded words nested", "nesting is not allowed, but some clients decode twice", "",
		"mailaddr/encodedword.TestWordDepth"},
	{"milter.DefaultMaxEnvelopeBytes", "2097152", "octets of MAIL and RCPT", "10,000 recipients of 200 octets", "",
		"wholepath.TestBoundMessage milter.TestOversizeEnvelope"},
	{"milter.DefaultMaxFieldBytes", "262144", "octets of a field", "Postfix cuts at 60,000, Sendmail sends more", "", "wholepath.TestBoundMessage"},
	{"milter.DefaultMaxFrame", "1048576", "octets", "the limit of libmilter", "", "attack.TestMilterPeerLies milter.TestMalformedFrameClosesOneSession"},
	{"milter.DefaultMaxHeaderBytes", "1048576", "octets of a header", "ten times what Postfix lets through", "limits.header_bytes",
		"wholepath.TestBoundMessage"},
	{"milter.DefaultMaxHeaderFields", "2000", "fields", "ordinary mail has a hundred", "limits.header_fields", "wholepath.TestBoundMessage"},
	{"milter.DefaultMaxMacroBytes", "65536", "octets a connection", "macros have the content of a few SMTP lines", "",
		"milter.TestMalformedFrameClosesOneSession"},
	{"milter.DefaultMaxRecipients", "10000", "recipients", "Postfix takes 1,000", "limits.recipients", "wholepath.TestBoundMessage"},
	{"milter.DefaultMaxSessions", "10000", "connections", "a hundred times Postfix's processes", "limits.max_sessions", "milter.TestSoftLimitIsToldTempfail"},
	{"milter.DefaultEndOfMessageTimeout", "5m0s", "time", "Postfix's milter_content_timeout", "", "milter.TestEndOfMessageHasADeadline"},
	{"milter.DefaultFrameTimeout", "30s", "time", "for the rest of a frame that has begun", "", "milter.TestTimeouts milter.TestTricklingFrame"},
	{"milter.DefaultIdleTimeout", "6m0s", "time", "above the 300 s after which Postfix gives up on its client", "limits.idle_timeout", "milter.TestTimeouts"},
	{"milter.DefaultTransferTimeout", "2h0m0s", "time", "for a large message on a slow line", "", "milter.TestTimeouts"},
	{"milter.DefaultWriteTimeout", "30s", "time", "for an MTA that does not read", "", "milter.TestMTADeafWhileWaiting"},
	{"milter.maxAcceptBackoff", "1s", "time", "between attempts to accept when there are no descriptors", "", "milter.TestAcceptBacksOffAndGoesOn"},
	{"milter/wire.maxCommandFrame", "65536", "octets", "an SMTP line has 2,048 in Postfix", "",
		"milter/wire.TestFrameBounds milter.TestMalformedFrameClosesOneSession wholepath.TestBoundCommand"},
	{"milter/wire.maxBeginning", "16384", "octets", "kept of a header field that is longer than a frame may be", "", "milter/wire.TestLongField"},
	{"milter/wire.maxPassedOver", "67108864", "octets", "of a header field that is longer than a frame may be; they are read and dropped", "",
		"milter/wire.TestFrameBounds"},
	{"milter.maxDrainIdle", "20s", "time", "for the next message of a silent client before a restart closes its session", "",
		"milter.TestShutdownOfIdleSessions"},
	{"milter.maxEditBytes", "60000", "octets of a value written", "Postfix cuts longer values", "", "milter.TestInvalidEdits"},
	{"milter.maxRefusing", "256", "connections", "that are being refused because there are too many", "", "milter.TestHardLimit"},
	{"milter.maxLoggedErrors", "10", "protocol errors logged in a minute", "anyone who reaches the socket could fill the log", "",
		"milter.TestProtocolErrorsAreRationed"},
	{"milter.maxStart", "8192", "octets of a field", "passed on of each field after a message has exceeded a limit", "", "milter.TestOutline"},
	{"milter.maxUnsent", "65536", "octets of edits", "with more, edits are sent before the reply is complete", "", "milter.TestManyDeletions"},
	{"msgauth.MaxSPFAhead", "50", "questions of an SPF check", "asked early; the most that dns.spf_ahead may be", "dns.spf_ahead", "spf.TestLookAhead"},
	{"msgauth.maxFormKeys", "3", "DNS lookups of a message", "keys of signatures that are refused for their form; an author has one for each algorithm", "",
		"msgauth.TestFormKeys"},
	{"msgauth.maxAuthorLookups", "96", "lookups at a time", "keys of the authors' organizations, on which DMARC depends", "", "msgauth.TestSilentKeysOfOthers"},
	{"msgauth.maxChainKeys", "4", "lookups at a time", "keys of one message's ARC sets", "", "msgauth.TestOneMessage"},
	{"msgauth.maxChainLookups", "32", "lookups at a time", "keys of ARC", "", "msgauth.TestSilentKeysOfOthers"},
	{"msgauth.maxClientLookups", "224", "lookups at a time", "SPF and iprev", "", "msgauth.TestSilentKeysOfOthers attack.TestClientsThatLeave"},
	{"msgauth.maxKeyLookups", "64", "lookups at a time", "other keys of DKIM", "", "msgauth.TestSilentKeysOfOthers attack.TestSilentKeysOfOthers"},
	{"msgauth.maxMessageLookups", "8", "lookups at a time", "of one kind, for one message", "", "msgauth.TestOneMessage"},
	{"msgauth.maxOrganizationLookups", "8", "lookups at a time", "of one kind, for one organization", "", "msgauth.TestOneMessage"},
	{"msgauth.maxPolicyLookups", "64", "lookups at a time", "policies of DMARC", "", "msgauth.TestSilentKeysOfOthers"},
	{"msgauth.maxSealerLookups", "4", "lookups at a time", "keys of one organization's ARC sets", "", "msgauth.TestOneMessage"},
	{"msgauth.maxAddressText", "8192", "octets of a field", "the addresses of a list are at the beginning", "", "msgauth.TestListStructureIsBounded"},
	{"msgauth.maxListAddresses", "32", "addresses", "a list has one address or a few", "", "msgauth.TestListStructureIsBounded"},
	{"msgauth.maxListNames", "8", "names of a list", "a list has one", "", "msgauth.TestListStructureIsBounded"},
	{"msgauth.maxListDomains", "4", "domains", "a list has one List-Id", "", "msgauth.TestListDomains"},
	{"msgauth.maxBIMILookups", "8", "DNS lookups of a message", "four for the record, and one for each label above the author's", "", "msgauth.TestMarkLookups"},
	{"msgauth.maxSPFLookups", "200", "DNS lookups of a message", "10 terms of up to 10 names each (RFC 7208 section 4.6.4), and MaxSPFAhead", "", "msgauth.TestStageLookups"},
	{"msgauth.maxDKIMLookups", "64", "DNS lookups of a message", "one for each signature that is verified", "", "msgauth.TestStageLookups"},
	{"msgauth.maxDMARCLookups", "96", "DNS lookups of a message", "walks of at most 8 (RFC 9989 section 4.10), for author and 10 identifiers", "",
		"msgauth.TestStageLookups"},
	{"msgauth.maxARCLookups", "102", "DNS lookups of a message", "two for each of 50 sets", "", "msgauth.TestStageLookups"},
	{"msgauth.maxIPRevLookups", "24", "DNS lookups of a message", "a PTR and the addresses of 10 names", "", "msgauth.TestStageLookups"},
	{"msgauth.maxWholeHeaders", "16777216", "octets", "headers of messages whose keys are waited for after the reply", "", "msgauth.TestBoundWholes"},
	{"msgauth.maxWholeTime", "2s", "time", "results are waited for after the reply, for DMARC reports", "", "msgauth.TestWhole"},
	{"msgauth.maxWholes", "256", "messages at a time", "each has results that are waited for after the reply", "", "msgauth.TestBoundWholes"},
	{"msgauth.maxReserve", "2s", "time", "the part of dns.message_budget that is reserved for alignment", "", "msgauth.TestSilentKeyIsNoWayOut"},
	{"mtaconf.maxDuration", "999h0m0s", "time", "sums of times must not overflow", "", "mtaconf.TestDuration"},
	{"mtaconf.maxFile", "4194304", "octets of a sendmail.cf", "those of the m4 macros have 65,000", "", "mtaconf.TestReadSendmail"},
	{"mtaconf.maxOutput", "4194304", "octets of postconf's output", "Postfix 3.7 prints 60,000", "", "mtaconf.TestPostconfFails"},
	{"recent.MaxEntries", "100000", "decisions", "recent.maxBytes bounds the memory that they take", "admin.recent", "recent.TestRingIsBounded"},
	{"recent.maxAnswerBytes", "4194304", "octets of memory", "an answer is encoded in one piece", "", "recent.TestAnswerIsBounded"},
	{"recent.maxBytes", "33554432", "octets", "of all decisions that are remembered", "", "recent.TestRingIsBounded"},
	{"recent.maxDecisionBytes", "65536", "octets", "signatures and traces of one message could take 100 times as much", "", "recent.TestDecisionIsBounded"},
	{"recent.maxElements", "200", "elements of a list", "SPF traces of honest domains are shorter", "", "recent.TestDecisionIsBounded"},
	{"recent.maxLimit", "500", "decisions of an answer", "a person reads them", "", "recent.TestHandler"},
	{"recent.maxTextBytes", "4096", "octets of a text", "policy records are shorter", "", "recent.TestDecisionIsBounded"},
	{"recent.maxValueBytes", "512", "octets of a parameter", "a domain name has 253", "", "recent.TestHandler"},
	{"received.maxReceived", "16384", "octets of a field", "MTAs write under 1,000", "", "received.TestParse"},
	{"report.maxAhead", "10m0s", "time", "a stamp further ahead comes from a wrong clock", "", "report.TestWindowFor"},
	{"report.maxObservation", "2048", "octets", "a queue holds thousands of observations", "", "report.TestObservationIsBounded"},
	{"report.maxSubject", "1024", "octets of a Subject", "two domain names and the words of RFC 9990 §3.5.2", "", "report.TestAboutReports"},
	{"report.maxSignatures", "10", "signatures of a row", "as many as are verified by default; RFC 9990 §3.1.3 allows 100", "", "report.TestObservationIsBounded"},
	{"replay.maxAnswers", "1000000", "DNS answers", "of a snapshot, which is in memory", "", "replay.TestSnapshotIsBounded"},
	{"replay.maxDomains", "100000", "author domains", "each has a row; the rest share one", "", "replay.TestSummaryIsBounded"},
	{"replay.maxHeader", "16777216", "octets of a header", "including the fields that our own hosts added on top", "", "replay.TestHeaderIsBounded"},
	{"replay.maxListed", "10000", "messages", "in a list; the rest are only counted", "", "replay.TestSummaryIsBounded"},
	{"replay.maxRows", "100", "rows of a table", "a person reads them", "", "replay.TestSummaryIsBounded"},
	{"replay.maxSnapshotLine", "1048576", "octets of a line", "an answer has at most 64 KiB on the wire", "", "replay.TestSnapshotFile"},
	{"report.MaxLate", "48h0m0s", "time", "a report for a window that ended longer ago helps nobody", "", "report.TestWindowFor store/sqlite.TestStore"},
	{"report.MaxJobs", "200000", "reports a window", "twice those of a farm with 10⁸ messages a day", "", "report.TestTakes store/sqlite.TestStore"},
	{"report.MaxOwned", "1000", "reports a window on the names below a registered domain", "a wildcard record makes a policy domain of every name", "",
		"report.TestTakes store/sqlite.TestStore"},
	{"report.MaxPolicies", "3", "reports a domain and window", "a report describes one policy, and a domain can change its record all the time", "",
		"store/sqlite.TestStore"},
	{"report/aggregate.maxError", "500", "octets of the element error", "nobody reads more", "", "report/aggregate.TestHostileText"},
	{"report/aggregate.maxLocalPart", "64", "octets of a Report-ID before the @", "RFC 5321 §4.5.3.1.1", "", "report/aggregate.TestNewReportID"},
	{"report/aggregate.maxName", "255", "octets of a name in a report", "a domain name has at most 253, a selector too", "", "report/aggregate.TestHostileText"},
	{"report/aggregate.maxText", "500", "octets of a text in a report", "texts are the operator's or ours, and short", "", "report/aggregate.TestHostileText"},
	{"report/aggregate.maxUnique", "24", "octets", "in a Report-ID, so that there is room for the date and the domain", "", "report/aggregate.TestNewReportID"},
	{"report/compose.maxAddress", "320", "octets of an address", "64 of local part and 255 of domain (RFC 5321 §4.5.3.1)", "", "report/compose.TestAddress"},
	{"report/compose.maxDisplayName", "200", "octets of a display name", "the field From stays short", "", "report/compose.TestHeader"},
	{"report/compose.maxMessageID", "320", "octets of a message id", "it cannot be folded", "", "report/compose.TestHeader"},
	{"report/compose.maxSubject", "900", "octets of a subject", "it has two domain names and a Report-ID", "", "report/compose.TestHeader"},
	{"report/failure.maxAuthors", "5", "mailboxes of From", "told in a failure report", "", "report/failure.TestBounds"},
	{"report/failure.maxBetween", "4", "octets", "between a recipient's local part and its domain, when a failure report is searched for recipients", "", "report/failure.TestScrub"},
	{"report/failure.maxDomains", "10000", "domains", "each with up to one message that waits for its failure report", "", "report/failure.TestLimiterIsBounded"},
	{"report/failure.maxField", "2048", "octets of a header field", "told in a failure report", "", "report/failure.TestBounds"},
	{"report/failure.maxRecipients", "100", "recipients", "a failure report is searched for each; a message with more gives none", "", "report/failure.TestObserveRefuses"},
	{"report/failure.maxSignatures", "5", "signatures", "told in a failure report", "", "report/failure.TestBounds"},
	{"report/failure.maxValue", "900", "octets of a value", "a line of a failure report has less than 998 (RFC 5322 §2.1.1)", "", "report/failure.TestBounds"},
	{"resolver.maxLargeTTL", "1m0s", "time", "how long an answer with unusually much text is kept", "", "resolver.TestLargeAnswers"},
	{"resolver.maxOrphans", "32", "queries without a waiting message", "the next message may need the answers", "", "resolver.TestQuestionsNobodyWaitsFor"},
	{"resolver.maxPrefetches", "32", "queries in advance", "the other sockets are for queries that a message waits for", "",
		"resolver.TestPrefetchesAreBounded"},
	{"resolver.maxSmallText", "4096", "octets of TXT", "an answer with more is kept for a minute, in a sixteenth of the cache", "",
		"resolver.TestLargeAnswers resolver.TestLargeAnswersFlushNothing"},
	{"resolver.maxQueryTime", "10s", "time", "for a query that no message waits for any more", "", "resolver.TestCacheQueryOutlivesItsWaiter"},
	{"resolver/dnswire.maxPointers", "126", "compression pointers of a name", "a name has at most 127 labels; a loop of pointers must end", "",
		"resolver/dnswire.TestPointersAreBounded"},
	{"resolver/upstream.maxAge", "2s", "time", "a UDP socket, with its random port, gets no further query when it is older", "",
		"resolver/upstream.TestOldSocketsAreClosed"},
	{"resolver/upstream.maxIdle", "64", "UDP sockets", "kept without a query; they count as open sockets", "",
		"resolver/upstream.TestOneQueryOnASocket resolver/upstream.TestIdleSocketsCountAsOpen"},
	{"resolver/upstream.maxUses", "8", "queries of a UDP socket", "one after the other; then the port changes", "", "resolver/upstream.TestPorts"},
	{"resolver/upstream.MaxInflight", "544", "sockets", "a query continues after its message has ended", "", "resolver/upstream.TestInflightIsBounded"},
	{"resolver/upstream.maxFailures", "5", "answers missing or useless", "after these, the server is asked only after the other servers", "",
		"resolver/upstream.TestServerOfNoUse"},
	{"resolver/upstream.maxPipelined", "64", "queries on a TLS connection", "servers close connections with more", "",
		"resolver/upstream.TestTLSPipelineIsBounded"},
	{"resolver/upstream.maxProbePause", "30s", "time", "between two probes of a server that is down", "", "resolver/upstream.TestDeadServer"},
	{"resolver/upstream.maxRestarts", "4", "questions", "for an alias chain that is not complete in one answer", "",
		"resolver/upstream.TestClientFollowsChains"},
	{"resolver/upstream.maxReserved", "8", "descriptors", "kept for queries when MTAs have taken all others", "", "resolver/upstream.TestReserve"},
	{"resolver/upstream.maxStrays", "256", "packets that are not the answer",
		"more of them are an attempt to guess the ID, so the question is repeated over TCP", "", "resolver/upstream.TestFloodOfForgeries attack.TestDNSLies"},
	{"resolver/upstream.maxSystemServers", "3", "servers of resolv.conf", "resolv.conf(5)", "", "resolver/upstream.TestServersFromResolvConf"},
	{"resolver/upstream.DefaultTimeout", "2s", "time", "for one try at one server", "dns.timeout", "resolver/upstream.TestExchangeGivesUpAtTheDeadline"},
	{"resolver/upstream.defaultRounds", "2", "tries at each server", "all tries together end with dns.message_budget", "",
		"resolver/upstream.TestClientNextServer"},
	{"probe.maxIncludes", "3", "records below each other", "the search for an address that may send asks DNS for each", "", "probe.TestOriginIsBounded"},
	{"probe.maxTried", "20", "addresses", "each costs an SPF check", "", "probe.TestOriginIsBounded"},
	{"policy.MaxHelp", "150", "octets", "the end of a reply line, after the reply's own text", "policy.reply", "policy.TestHelp config.TestBadInput"},
	{"reporting.maxCopies", "1000", "reports that one command decides about", "each costs DNS queries", "", "reporting.TestSend"},
	{"reporting.maxListed", "10000", "reports in a list", "a farm has a hundred thousand a day", "", "reporting.TestListReports"},
	{"status.maxSuppressions", "50", "suppressed destinations in the status", "the command lists all", "", "status.TestSummarizeReports"},
	{"report/destination.MaxDestinations", "20", "destinations of a report", "each causes queries and a mail; this is the most that can be configured", "",
		"report/destination.TestManyURIs"},
	{"report/destination.MaxQueries", "417", "DNS queries for a report", "the sum of the queries for all destinations and block lists", "",
		"report/destination.TestMaxQueries"},
	{"report/destination.MaxZones", "8", "DNS block lists", "each is asked for every destination", "", "report/destination.TestMaxQueries"},
	{"report/destination.maxAddress", "254", "octets of an address", "RFC 5321 §4.5.3.1.3, without the angle brackets", "", "report/destination.TestParseMailto"},
	{"report/destination.maxLocal", "64", "octets of a local part", "RFC 5321 §4.5.3.1.1", "", "report/destination.TestParseMailto"},
	{"report/destination.maxNamed", "5", "destinations in a sentence", "a record has up to a hundred", "", "report/destination.TestManyURIs"},
	{"report/destination.maxOfHost", "12", "DNS queries for a destination", "tree walk, agreement, MX and addresses", "", "report/destination.TestMaxQueries"},
	{"report/destination.maxShown", "200", "octets of a record in a sentence", "a person reads it", "", "report/destination.TestManyURIs"},
	{"report/destination.maxWalk", "8", "DNS queries of a tree walk", "RFC 9989 §4.10", "", "report/destination.TestMaxQueries"},
	{"report.MaxTokenLen", "30", "octets", "a delivery id has at most 19 digits", "", "report.TestBounceToken report.TestBounceLocal"},
	{"smtp.MaxLen", "510", "octets", "RFC 5321 §4.5.3.1.5", "", "smtp.TestValidate"},
	{"spf.MaxQueries", "123", "queries of a check", "RFC 7208 §4.6.4 allows fewer", "", "spf.TestMaxQueries"},
	{"spf.MaxExplanationLen", "400", "octets", "is a part of a reply line", "", "spf.TestExplanationIsBounded"},
	{"spf.MaxHosts", "10", "names of an MX or PTR answer", "RFC 7208 §4.6.4", "", "spf.TestCases"},
	{"spf.maxUnderWay", "6", "questions of an SPF check", "asked early and without an answer", "", "spf.TestLookAheadBehindSilence"},
	{"spf.MaxLookups", "10", "terms", "RFC 7208 §4.6.4", "", "spf.TestCases wholepath.TestBoundSPF"},
	{"spf.MaxRecordLen", "8192", "octets", "RFC 7208 §3.4 asks for 450", "", "wholepath.TestBoundSPF spf.TestRecordTooLong"},
	{"spf.MaxTraceSteps", "1000", "steps", "eleven records could hold 20,000 terms", "", "spf.TestTraceIsBounded"},
	{"spf.MaxVoidLookups", "2", "terms that find nothing", "RFC 7208 §4.6.4", "", "spf.TestCases wholepath.TestBoundSPF"},
	{"spf.maxExpansion", "16384", "octets", "a domain name has 253", "", "wholepath.TestBoundMacros"},
	{"spf.maxKeep", "65536", "parts", "RFC 7208 §7.3 asks for 127", "", "wholepath.TestBoundMacros"},
	{"spf.maxMacroValue", "1024", "octets", "the client chooses the value", "", "wholepath.TestBoundMacros spf.TestLongClientValues"},
	{"spf.maxMacros", "128", "macros of a term", "the client chooses the text that each copies", "", "wholepath.TestBoundMacros"},
	{"survey.MaxCache", "16777216", "octets of DNS answers", "a survey asks for most answers only once", "", "survey.TestCache"},
	{"survey.maxDomains", "1000000", "domains of a list", "a day at the usual rate; the names take 100 MB", "", "survey.TestReadList"},
	{"survey.maxExamples", "5", "examples of a fault", "the file of the survey has all", "", "survey.TestExamples"},
	{"survey.maxInvalid", "10", "lines without a domain", "that the result names", "", "survey.TestReadList"},
	{"survey.maxLine", "4096", "octets of a line", "a name has at most 253", "", "survey.TestReadList"},
	{"survey.maxStateLine", "65536", "octets of an entry", "an entry has a few hundred", "", "survey.TestStateFile"},
	{"taglist.MaxLen", "1048576", "octets", "a header field is shorter", "", "taglist.TestAppend"},
	{"taglist.MaxTags", "128", "tags", "the registries have about fifteen", "", "taglist.TestAppend attack.TestDKIMTags"},
	{"stats.maxCountries", "15", "countries on the page", "the others are added up there; spammers come from all", "", "stats.TestManyCountries"},
	{"store/postgres.maxName", "253", "octets of a domain", "a domain name has no more, and an index takes 2,700", "", "store/postgres.TestBoundName"},
	{"submit.maxAddress", "254", "octets of an address", "RFC 5321 §4.5.3.1.3, without its angle brackets", "", "submit.TestEnvelope"},
	{"submit.maxID", "100", "octets of an envelope id", "RFC 3461 §4.4", "", "submit.TestEnvelope"},
	{"submit.maxPassword", "4096", "octets of a password file", "it may be the wrong file", "", "submit.TestNew"},
	{"submit.maxReply", "500", "octets", "of a reply that is kept and shown; a line of SMTP has at most 512", "", "submit.TestReplies"},
	{"submit.maxServerReply", "131072", "octets", "of the mail server at a time; the certificates of TLS are among them", "", "submit.TestReplies"},
	{"dns/suffix.MaxRemembered", "4096", "names", "anyone can invent author domains, and each takes memory", "", "telemetry.TestAuthorDomainsConcurrently"},
	{"telemetry.maxLineKept", "8192", "octets", "the part of a record's buffer that is kept for the next record", "", "telemetry.TestLineKept"},
	{"telemetry.maxLogged", "256", "octets of a value", "a person reads the record, which is one line", "", "telemetry.TestRecord wholepath.TestBoundLog"},
	{"telemetry.maxMarkBytes", "64", "octets", "the client library panics at an exemplar that is longer than 128 characters", "", "telemetry.FuzzExemplar"},
	{"telemetry.maxNativeBuckets", "160", "buckets", "more buckets would take more memory for each histogram", "", "telemetry.TestMetrics"},
	{"telemetry.maxQueuedLog", "4194304", "octets", "a log reader that does not read must not stop mail", "", "telemetry.TestLogWriterNeverBlocks"},
	{"topology.maxMTAs", "256", "addresses of MTAs", "for each MTA, the log warns once about milter features that it does not offer", "", "topology.TestMTAs"},
	{"indicators.maxDomains", "40000", "Organizational Domains", "whose last fetch, or whose messages, are remembered", "", "indicators.TestLimitsAreBounded indicators.TestTenMessages"},
	{"indicators.maxListOctets", "33554432", "octets", "of the revocation lists in memory", "", "indicators.TestLists"},
	{"indicators.maxListURLs", "3", "places", "of a revocation list that are tried; a certificate names them", "", "indicators.TestManyPlaces"},
	{"indicators.maxLists", "64", "revocation lists", "in memory; only authorities below a mark root name them", "", "indicators.TestLists"},
	{"indicators.maxOfDomain", "4", "marks", "of one Organizational Domain that wait to be fetched", "", "indicators.TestManyMarksOfADomain"},
	{"indicators.maxPace", "100ms", "time", "between two fetches", "", "indicators.TestPace"},
	{"indicators.maxQueue", "1000", "marks", "that wait to be fetched", "", "indicators.TestFullQueue"},
	{"indicators.maxStoreTime", "5s", "time", "for the store to give or take a mark", "", "indicators.TestSlowStore"},
	{"indicators.maxWait", "2s", "time", "that a message waits for a mark, if the operator allows it", "bimi.wait", "indicators.TestWait"},
	{"indicators.maxWork", "45s", "time", "for one mark, with its certificate and revocation lists", "", "indicators.TestSlowMark"},
	{"indicators.maxWorkers", "4", "marks", "that are fetched at the same time", "", "indicators.TestFullQueue"},
	{"webfetch.maxAddresses", "4", "addresses", "of a name that are tried", "", "webfetch.TestSecondAddress"},
	{"webfetch.maxCRL", "10485760", "octets", "of a revocation list; those of large authorities have some MiB", "", "webfetch.TestSizes"},
	{"webfetch.maxCertificate", "65536", "octets", "of a mark certificate with its chain; real ones have 6 to 18 KB", "", "webfetch.TestSizes"},
	{"webfetch.maxDial", "2s", "time", "for the connection to one address", "", "webfetch.TestServer"},
	{"webfetch.maxError", "400", "octets", "of an error that is shown; a server chooses where it redirects to", "", "webfetch.TestHostileText"},
	{"webfetch.maxFields", "100", "header fields", "of a response", "", "webfetch.TestHeaders"},
	{"webfetch.maxHeader", "32768", "octets", "of the header of a response", "", "webfetch.TestHeaders"},
	{"webfetch.maxHeaderTime", "5s", "time", "until the header of a response is there", "", "webfetch.TestTimes webfetch.TestSilentServer"},
	{"webfetch.maxPicture", "65536", "octets", "of a picture; a valid one has 32 KiB", "", "webfetch.TestSizes"},
	{"webfetch.maxRedirects", "3", "redirects", "of a fetch", "", "webfetch.TestRedirects"},
	{"webfetch.maxTime", "10s", "time", "of a fetch", "", "webfetch.TestTimes"},
	{"webfetch.maxURL", "2048", "octets", "of a URL; the record and redirects choose it", "", "webfetch.TestCheckURL"},
}

// limitName matches the names of constants that must be in the table bounds.
var limitName = regexp.MustCompile(`^(default|Default)?(max|Max)[A-Z]|^Default\w*Timeout$|^default(Rounds|Skew)$`)

// TestBounds compares the table bounds with the constants in the code.
func TestBounds(t *testing.T) {
	listed := map[string]bound{}
	for _, b := range bounds {
		listed[b.name] = b
		if b.unit == "" || b.why == "" || b.tests == "" {
			t.Errorf("%s: the row is not complete", b.name)
		}
	}
	constants, tests := readPackages(t)
	for name, value := range constants {
		switch b, ok := listed[name]; {
		case !ok:
			t.Errorf("%s = %s bounds something, but is not in the table", name, value)
		case b.value != value:
			t.Errorf("%s is %s, the table says %s", name, value, b.value)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is in the table and not in the code", name)
	}
	for _, b := range bounds {
		for _, test := range strings.Fields(b.tests) {
			if !tests[test] {
				t.Errorf("%s: there is no %s", b.name, test)
			}
		}
	}
}

// readPackages parses the packages below internal (up to two levels deep). It returns the values of
// the limits as shown in the table, and the names of all tests.
func readPackages(t *testing.T) (constants map[string]string, tests map[string]bool) {
	t.Helper()
	var files []string
	for _, depth := range []string{"../*/*.go", "../*/*/*.go"} {
		found, err := filepath.Glob(depth)
		if err != nil || len(found) < 10 {
			t.Fatalf("%s: %d files, %v", depth, len(found), err)
		}
		files = append(files, found...)
	}
	constants, tests = map[string]string{}, map[string]bool{}
	known := map[string]ast.Expr{} // the values of all constants, by package.constant
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		isTest := strings.HasSuffix(path, "_test.go")
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if isTest && n.Recv == nil {
					tests[pkg+"."+n.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range n.Specs {
					v, ok := spec.(*ast.ValueSpec)
					if ok && n.Tok == token.CONST && !isTest && len(v.Values) == 1 {
						known[pkg+"."+v.Names[0].Name] = v.Values[0]
					}
				}
			}
			return true
		})
	}
	for name, expr := range known {
		pkg, id, _ := strings.Cut(name, ".")
		if !limitName.MatchString(id) || forTests[pkg] {
			continue
		}
		constants[name] = show(eval(pkg, expr, known), expr)
	}
	return constants, tests
}

// forTests lists packages that read no input from strangers. Their limits are not in the table.
var forTests = map[string]bool{
	"conformance": true, "attack": true, "e2e": true, "wholepath": true, "demo": true, "bench/load": true, "bench/traffic": true,
	"dns/zone": true, "milter/client": true,
}

// eval computes the value of a constant expression made of literals, other constants and units of
// time.
func eval(pkg string, expr ast.Expr, known map[string]ast.Expr) constant.Value {
	switch x := expr.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(x.Value, x.Kind, 0)
	case *ast.ParenExpr:
		return eval(pkg, x.X, known)
	case *ast.Ident:
		if e, ok := known[pkg+"."+x.Name]; ok {
			return eval(pkg, e, known)
		}
	case *ast.SelectorExpr:
		switch x.Sel.Name {
		case "Millisecond":
			return constant.MakeInt64(int64(time.Millisecond))
		case "Second":
			return constant.MakeInt64(int64(time.Second))
		case "Minute":
			return constant.MakeInt64(int64(time.Minute))
		case "Hour":
			return constant.MakeInt64(int64(time.Hour))
		}
		from := fmt.Sprint(x.X)
		if e, ok := known[from+"."+x.Sel.Name]; ok {
			return eval(from, e, known)
		}
	case *ast.BinaryExpr:
		a, b := eval(pkg, x.X, known), eval(pkg, x.Y, known)
		if x.Op == token.SHL {
			n, _ := constant.Uint64Val(b)
			return constant.Shift(a, x.Op, uint(n))
		}
		return constant.BinaryOp(a, x.Op, b)
	}
	return constant.MakeUnknown()
}

// show formats a value as it is written in the table: as a duration if the expression uses package
// time, else as a number.
func show(v constant.Value, expr ast.Expr) string {
	timed := false
	ast.Inspect(expr, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		timed = timed || ok && fmt.Sprint(s.X) == "time"
		return true
	})
	if n, ok := constant.Int64Val(v); ok && timed {
		return time.Duration(n).String()
	}
	return v.ExactString()
}
