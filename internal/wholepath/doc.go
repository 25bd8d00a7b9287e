// Package wholepath tests the daemon as a whole: sessions made of a fuzzer's
// bytes, differences to other implementations, and every limit of the code.
//
// # Limits
//
// What a stranger can make large, long or many, and where it ends. TestBounds
// holds the table to the code; go test ./internal/wholepath -update writes it.
//
//	limit                               value     unit                                    configuration         why
//	admin.maxAnswerBytes                67108864  octets                                  -                     what a command takes from the daemon
//	admin.maxErrorBytes                 1024      octets                                  -                     of a refusal, shown to somebody
//	admin.maxHeaderBytes                16384     octets                                  -                     a scraper's request has a few hundred
//	admin.maxQueries                    4         requests at a time                      -                     each may be answered by some MiB
//	admin.maxReserved                   4         descriptors                             -                     kept for clients when MTAs have taken all others
//	admin.maxScrapes                    4         requests at a time                      -                     a scrape collects every series
//	app.maxHung                         16        reloads given up                        -                     each still waits for a file and holds a goroutine
//	arc.maxSets                         50        sets                                    -                     RFC 8617 §5.2 step 1
//	authres.maxFieldLen                 16384     octets                                  -                     Sendmail refuses 32 KiB of header
//	authres.maxHeadLen                  2048      octets                                  -                     what comes before an authserv-id; longer is taken for forged
//	authres.maxKeywordLen               40        octets                                  -                     the longest registered keyword has 16
//	authres.maxLabel                    63        octets of an A-label                    -                     a label has no more (RFC 1035 §2.3.4); longer is not decoded
//	authres.maxParseLen                 65536     octets                                  -                     MTAs cut fields at 60,000
//	authres.maxPrefix                   64        characters of b=                        -                     signatures that agree in more are copies
//	authres.maxProperties               32        properties of a result                  -                     ours have five
//	authres.maxResults                  100       results of a field                      -                     a sender chooses how many signatures there are
//	authres.maxTraceLen                 4096      octets of Received-SPF                  -                     others write under 1,000; longer is taken for forged
//	authres.maxValueLen                 255       octets of a value                       -                     lines stay under 998 (RFC 5322 §2.1.1)
//	authres.maxWord                     1012      octets of a word                        -                     four times a domain name: every octet escaped
//	blind.maxMTAs                       256       addresses of MTAs                       -                     warned of what they do not offer, once each
//	config.maxAuthservID                255       octets                                  -                     a host name
//	config.maxClockSkew                 24h0m0s   time                                    -                     beyond it x= would mean nothing
//	config.maxConsentTimeout            5s        time                                    -                     Sendmail waits 10 s for the answer to RCPT
//	config.maxFailureTTL                5m0s      time                                    -                     RFC 9520 §3.2
//	config.maxHostsFile                 1048576   octets of /etc/hosts                    -                     the host's own line stands at its beginning
//	config.maxMessageBudget             4m0s      time                                    -                     no MTA waits longer for the end of a message
//	config.maxRecent                    100000    decisions                               -                     remembered; see recent.maxBytes
//	config.maxRules                     1000      rules                                   -                     every message is compared with each
//	config.maxSignaturesCeil            50        signatures                              -                     each is a key lookup and a result
//	config.maxServers                   8         servers                                 -                     each is a label value of the metrics
//	config.maxSubjectStamp              40        characters                              -                     the subject itself must stay readable
//	config.maxUnixPath                  107       octets                                  -                     sockaddr_un
//	config/strict.MaxFile               1048576   octets                                  -                     the configuration is read whole
//	config/strict.MaxProblems           50        problems                                -                     a list somebody reads
//	config/strict.maxExcerpt            120       octets                                  -                     an excerpt in an error fits a terminal
//	config/strict.maxNesting            100       brackets open                           -                     the YAML parser recurses
//	consent.maxCached                   100000    answers                                 -                     anyone can make up recipients
//	consent.maxConnections              8         lookups at a time                       -                     each has a connection to the socketmap
//	consent.maxListFile                 67108864  octets                                  -                     some two million addresses
//	consent.maxListLine                 1024      octets                                  -                     an address has 320
//	consent.maxReply                    4096      octets                                  -                     a socketmap answers with one word
//	consent.maxReplyDigits              4         digits                                  -                     of the length of an answer
//	consent.maxSilent                   3         lookups without an answer               -                     then the socketmap is left alone for a second
//	console.maxRows                     100       decisions of a page                     -                     more is not read but searched
//	console.maxSamples                  1441      samples                                 -                     a day of the verdicts' chart, one a minute
//	console.maxSearchBytes              512       octets                                  -                     searched for; a domain name has 253
//	dkim.defaultMaxRSABits              8192      bits                                    -                     the cost of a key grows with the square
//	dkim.defaultMaxSignatures           10        signatures verified                     dkim.max_signatures   RFC 6376 §6.1 allows a limit
//	dkim.defaultSkew                    5m0s      time                                    dkim.clock_skew       clocks differ
//	dkim.maxCachedKeyBytes              8388608   octets                                  -                     parsed keys kept for the next message
//	dkim.maxCachedKeys                  8192      keys                                    -                     parsed keys kept for the next message
//	dkim.maxCachedRecord                2048      octets                                  -                     a longer key record is read each time
//	dkim.maxFields                      4096      fields read                             -                     more than the milter lets through
//	dkim.maxForms                       9         forms of a header                       -                     what MTAs do not show of it is tried: spaces, Return-Path
//	dkim.maxIndexKept                   16384     octets or entries                       -                     memory of a header's index kept for the next message
//	dkim.maxKeys                        4         keys at a name                          -                     RFC 6376 §3.6.2.2 leaves several undefined
//	dkim.maxOperations                  64        verifications of a message              -                     of RSA of 2,048 bits; ten signatures and 50 ARC sets fit
//	dkim.maxParallelLookups             16        queries in flight                       -                     an ARC chain can name a hundred keys
//	dkim.maxReported                    64        signatures reported                     -                     the results fit into a field
//	dkim.maxSpaceForms                  128       mixtures of spaces                      -                     searched where the MTA does not show the space behind the colon
//	dkim.maxSpaceOctets                 262144    octets                                  -                     hashed for that search
//	dkim/syntax.maxLengthDigits         76        digits of l=                            -                     RFC 6376 §3.5
//	dkim/syntax.maxSignedHeaders        50000     names in h=                             -                     work is linear in it
//	dmarc.DefaultMaxWalks               10        tree walks                              -                     one for each identifier, eight queries each
//	dmarc.MaxPSLLen                     16777216  octets                                  -                     the list has 300 KiB
//	dmarc.MaxRecordLen                  16384     octets                                  -                     real records are under 1 KiB
//	dmarc.MaxURIs                       100       destinations                            -                     each could be sent a report
//	dmarc.maxPSLLineLen                 4096      octets                                  -                     a rule is a domain name
//	dmarc.maxSupposed                   3         failed names                            -                     each may hold four things; mostly one name fails
//	dmarc.maxWalkLabels                 8         labels                                  -                     RFC 9989 §4.10
//	dns.MaxChain                        8         CNAMEs of an answer                     -                     RFC 1034 §3.6.2 wants none in a row
//	dns.MaxLabelLen                     63        octets                                  -                     RFC 1035 §2.3.4
//	dns.MaxNameLen                      253       octets                                  -                     RFC 1035 §2.3.4, as text
//	dns.MaxRecords                      256       records of a section                    -                     RFC 7208 §4.6.4 stops at 10 of most
//	dns.MaxTextOctets                   32768     octets of TXT                           -                     the longest key worth verifying has 2 KiB
//	forwarders.maxAuthors               200       author domains                          -                     of a source of failing mail; three are enough to propose it
//	forwarders.maxLine                  65536     octets of a log's line                  -                     the daemon's have under 32 KiB
//	forwarders.maxNames                 5         client names                            -                     of a source; of more the domain is named
//	forwarders.maxSources               20000     sources of failing mail                 -                     strangers choose names and addresses
//	iprev.MaxNames                      10        names                                   -                     RFC 8601 §3 leaves the number open; SPF's
//	judge.MaxConsentLookups             4         lookups of a message                    -                     its other recipients queue
//	label.MaxForged                     10000     fields deleted                          -                     of a message over a limit; Postfix takes half a minute for them, and four times that for twice as many
//	label.MaxOutlined                   4096      fields of one name                      -                     of a message over a limit; those after them all go
//	label.maxLabel                      900       octets of our field                     -                     opendmarc reads no field over 990; results that DMARC used, or that passed, stay
//	label.maxLocal                      64        octets of a local part                  -                     RFC 5321 §4.5.3.1.1; of a longer one the domain is shown
//	label.maxSubject                    50000     octets of a stamped subject             -                     Postfix cuts fields at 60,000
//	mailaddr/author.MaxCommentDepth     10        comments nested                         -                     clients nest none
//	mailaddr/author.MaxFromLen          32768     octets                                  -                     in the part an MTA cut off there might be the author
//	mailaddr/author.MaxMailboxes        100       authors                                 -                     people sign in dozens
//	mailaddr.MaxPathLen                 2048      octets                                  -                     RFC 5321 §4.5.3.1.3 asks for 256
//	mailaddr/encodedword.maxWordDepth   3         encoded words nested                    -                     none may be; some clients decode again
//	milter.DefaultMaxEnvelopeBytes      2097152   octets of MAIL and RCPT                 -                     10,000 recipients of 200 octets
//	milter.DefaultMaxFieldBytes         262144    octets of a field                       -                     Postfix cuts at 60,000, Sendmail sends more
//	milter.DefaultMaxFrame              1048576   octets                                  -                     libmilter's own
//	milter.DefaultMaxHeaderBytes        1048576   octets of a header                      limits.header_bytes   ten times what Postfix lets through
//	milter.DefaultMaxHeaderFields       2000      fields                                  limits.header_fields  ordinary mail has a hundred
//	milter.DefaultMaxMacroBytes         65536     octets a connection                     -                     macros repeat a few SMTP lines
//	milter.DefaultMaxRecipients         10000     recipients                              limits.recipients     Postfix takes 1,000
//	milter.DefaultMaxSessions           10000     connections                             limits.max_sessions   a hundred times Postfix's processes
//	milter.DefaultEndOfMessageTimeout   5m0s      time                                    -                     Postfix's milter_content_timeout
//	milter.DefaultFrameTimeout          30s       time                                    -                     the rest of a frame once it has begun
//	milter.DefaultIdleTimeout           6m0s      time                                    limits.idle_timeout   above the 300 s after which Postfix gives up on its client
//	milter.DefaultTransferTimeout       2h0m0s    time                                    -                     a large message on a slow line
//	milter.DefaultWriteTimeout          30s       time                                    -                     an MTA that does not read
//	milter.maxAcceptBackoff             1s        time                                    -                     between tries to accept when sockets ran out
//	milter/wire.maxCommandFrame         65536     octets                                  -                     an SMTP line has 2,048 in Postfix
//	milter/wire.maxBeginning            16384     octets                                  -                     kept of a header field longer than a frame may be
//	milter/wire.maxPassedOver           67108864  octets                                  -                     of such a field; the rest is read and thrown away
//	milter.maxDrainIdle                 20s       time                                    -                     a restart waits for the next message of a silent client
//	milter.maxEditBytes                 60000     octets of a value written               -                     Postfix cuts there
//	milter.maxRefusing                  256       connections                             -                     being told that there are too many
//	milter.maxLoggedErrors              10        protocol errors logged in a minute      -                     who reaches the socket could fill the log
//	milter.maxStart                     8192      octets of a field                       -                     shown of a message over a limit that goes on
//	milter.maxUnsent                    65536     octets of edits                         -                     then they are sent before the reply
//	msgauth.maxFormKeys                 3         DNS lookups of a message                -                     keys of signatures refused for their form; an author has one for each algorithm
//	msgauth.maxAuthorLookups            96        lookups at a time                       -                     keys of the authors' organizations, which decide
//	msgauth.maxChainKeys                4         lookups at a time                       -                     keys of one message's ARC sets
//	msgauth.maxChainLookups             32        lookups at a time                       -                     keys of ARC
//	msgauth.maxClientLookups            224       lookups at a time                       -                     SPF and iprev
//	msgauth.maxKeyLookups               64        lookups at a time                       -                     other keys of DKIM
//	msgauth.maxMessageLookups           8         lookups at a time                       -                     of a sort, of one message
//	msgauth.maxOrganizationLookups      8         lookups at a time                       -                     of a sort, for one organization
//	msgauth.maxPolicyLookups            64        lookups at a time                       -                     DMARC
//	msgauth.maxSealerLookups            4         lookups at a time                       -                     keys of one organization's ARC sets
//	msgauth.maxAddressText              8192      octets of a field                       -                     addresses of a list stand at the beginning
//	msgauth.maxListAddresses            32        addresses                               -                     a list is written to at one or a few
//	msgauth.maxListNames                8         names of a list                         -                     a list has one
//	msgauth.maxListDomains              4         domains                                 -                     a list has one List-Id
//	msgauth.maxSPFLookups               150       DNS lookups of a message                -                     10 terms of up to 10 names each (RFC 7208 section 4.6.4)
//	msgauth.maxDKIMLookups              64        DNS lookups of a message                -                     one for each signature that is verified
//	msgauth.maxDMARCLookups             96        DNS lookups of a message                -                     walks of at most 8 (RFC 9989 section 4.10), for author and 10 identifiers
//	msgauth.maxARCLookups               102       DNS lookups of a message                -                     two for each of 50 sets
//	msgauth.maxIPRevLookups             24        DNS lookups of a message                -                     a PTR and the addresses of 10 names
//	msgauth.maxReserve                  2s        time                                    -                     kept of dns.message_budget for alignment
//	recent.MaxEntries                   100000    decisions                               admin.recent          remembered; see recent.maxBytes
//	recent.maxAnswerBytes               4194304   octets of memory                        -                     an answer is encoded in one piece
//	recent.maxBytes                     67108864  octets                                  -                     all decisions remembered
//	recent.maxDecisionBytes             65536     octets                                  -                     a sender can make 100 times that of signatures and traces
//	recent.maxElements                  200       of a list                               -                     SPF traces of honest domains are shorter
//	recent.maxLimit                     500       decisions of an answer                  -                     somebody reads them
//	recent.maxTextBytes                 4096      octets of a text                        -                     policy records are shorter
//	recent.maxValueBytes                512       octets of a parameter                   -                     a domain name has 253
//	received.maxReceived                16384     octets of a field                       -                     MTAs write under 1,000
//	replay.maxAnswers                   1000000   DNS answers                             -                     of a snapshot, in memory
//	replay.maxDomains                   100000    author domains                          -                     a row each; the rest share one
//	replay.maxHeader                    16777216  octets of a header                      -                     and what one's own hosts put on top
//	replay.maxListed                    10000     messages                                -                     named in a list; the rest are counted
//	replay.maxRows                      100       rows of a table                         -                     somebody reads them
//	replay.maxSnapshotLine              1048576   octets of a line                        -                     an answer has at most 64 KiB on the wire
//	resolver.maxLargeTTL                1m0s      time                                    -                     an answer with more text than anybody needs is kept
//	resolver.maxOrphans                 32        queries that nobody waits for any more  -                     the next message may need the answer
//	resolver.maxPrefetches              32        queries that nobody waits for           -                     the other sockets are for those who do
//	resolver.maxSmallText               4096      octets of TXT                           -                     more is kept briefly, in a sixteenth of the cache
//	resolver.maxQueryTime               10s       time                                    -                     a question that nobody waits for any more
//	resolver/upstream.MaxInflight       512       sockets                                 -                     questions outlive a message that left
//	resolver/upstream.maxFailures       5         answers missing or useless              -                     then a server is asked after the others
//	resolver/upstream.maxPipelined      64        queries on a TLS connection             -                     servers hang up on clients that ask for more
//	resolver/upstream.maxProbePause     30s       time                                    -                     between two probes of a server that is down
//	resolver/upstream.maxRestarts       4         questions                               -                     an alias chain that leaves its answer
//	resolver/upstream.maxReserved       8         descriptors                             -                     kept for queries when MTAs have taken all others
//	resolver/upstream.maxStrays         256       packets that are no answer              -                     who sends more is guessing; TCP is asked
//	resolver/upstream.maxSystemServers  3         servers of resolv.conf                  -                     resolv.conf(5)
//	resolver/upstream.DefaultTimeout    2s        time                                    dns.timeout           one try at one server
//	resolver/upstream.defaultRounds     2         tries at each server                    -                     all within dns.message_budget
//	smtp.MaxLen                         510       octets                                  -                     RFC 5321 §4.5.3.1.5
//	spf.DefaultMaxQueries               123       queries of a check                      -                     more than RFC 7208 §4.6.4 can need
//	spf.MaxExplanationLen               400       octets                                  -                     shares a reply line
//	spf.MaxHosts                        10        names of an MX or PTR answer            -                     RFC 7208 §4.6.4
//	spf.MaxLookups                      10        terms                                   -                     RFC 7208 §4.6.4
//	spf.MaxRecordLen                    8192      octets                                  -                     RFC 7208 §3.4 asks for 450
//	spf.MaxTraceSteps                   1000      steps                                   -                     eleven records could hold 20,000 terms
//	spf.MaxVoidLookups                  2         terms that find nothing                 -                     RFC 7208 §4.6.4
//	spf.maxExpansion                    16384     octets                                  -                     a domain name has 253
//	spf.maxKeep                         65536     parts                                   -                     RFC 7208 §7.3 asks for 127
//	spf.maxMacroValue                   1024      octets                                  -                     the client chooses it
//	spf.maxMacros                       128       macros of a term                        -                     each is copied from what a client chose
//	taglist.MaxLen                      1048576   octets                                  -                     a header field stays under it
//	taglist.MaxTags                     128       tags                                    -                     the registries know about fifteen
//	telemetry.maxKnownAuthors           4096      names                                   -                     anyone can make up authors; what is kept of one is a number
//	telemetry.maxLineKept               8192      octets                                  -                     memory of a record's buffer kept for the next
//	telemetry.maxLogged                 256       octets of a value                       -                     a record is one line somebody reads
//	telemetry.maxNativeBuckets          160       buckets                                 -                     memory of a histogram
//	telemetry.maxQueuedLog              4194304   octets                                  -                     a log reader that stands still must not stop mail
package wholepath
