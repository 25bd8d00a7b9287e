// Package wholepath tests the daemon as a whole. It runs sessions made by a fuzzer,
// compares results with other implementations, and checks the limits of the code.
//
// # Limits
//
// The table has the limits on everything that a stranger can make large, long or
// numerous. TestBounds compares the table with the code. The command
// go test ./internal/wholepath -update writes it.
//
//	limit                               value     unit                                    configuration         why
//	admin.maxAnswerBytes                67108864  octets                                  -                     a command reads an answer of the daemon into memory
//	admin.maxErrorBytes                 1024      octets                                  -                     an error is shown to a person
//	admin.maxHeaderBytes                16384     octets                                  -                     a scraper's request has a few hundred
//	admin.maxQueries                    4         requests at a time                      -                     the answer to each may have some MiB
//	admin.maxReserved                   4         descriptors                             -                     kept for clients of the admin address when MTAs have taken all others
//	admin.maxScrapes                    4         requests at a time                      -                     a scrape collects every series
//	app.maxHung                         16        reloads given up                        -                     each still waits for a file in a goroutine of its own
//	app.maxKeyFile                      65536     octets of a key file                    -                     a private key has a few thousand
//	app.maxPasswordFile                 4096      octets of a file                        -                     a password is one line
//	arc.maxSets                         50        sets                                    -                     RFC 8617 §5.2 step 1
//	authres.maxFieldLen                 16384     octets                                  -                     Sendmail refuses 32 KiB of header
//	authres.maxHeadLen                  2048      octets                                  -                     before an authserv-id; a field with more counts as forged
//	authres.maxKeywordLen               40        octets                                  -                     the longest registered keyword has 16
//	authres.maxLabel                    63        octets of an A-label                    -                     a label has at most 63 (RFC 1035 §2.3.4); a longer one is not decoded
//	authres.maxParseLen                 65536     octets                                  -                     MTAs cut fields at 60,000
//	authres.maxPrefix                   64        characters of b=                        -                     signatures whose b= begins with the same 64 characters are copies of each other
//	authres.maxProperties               32        properties of a result                  -                     the results that sekimori writes have five
//	authres.maxResults                  100       results of a field                      -                     a sender chooses how many signatures there are
//	authres.maxTraceLen                 4096      octets of Received-SPF                  -                     other programs write under 1,000; a longer field counts as forged
//	authres.maxValueLen                 255       octets of a value                       -                     lines stay under 998 (RFC 5322 §2.1.1)
//	authres.maxWord                     1012      octets of a word                        -                     four times a domain name, because every octet may be escaped
//	bounce.maxCommand                   16384     octets of a line                        -                     the MTA may not break long lines
//	bounce.maxConns                     32        connections                             -                     Postfix makes 20
//	bounce.maxDrain                     5s        time                                    -                     for a message that has begun when the daemon stops
//	bounce.maxLine                      4096      octets of a line                        -                     RFC 5322 §2.1.1 allows 998
//	bounce.maxNested                    4         multiparts in each other                -                     gateways wrap bounces
//	bounce.maxReply                     500       octets                                  -                     of a reply that is kept and shown
//	bounce.maxScanned                   1048576   octets of a message                     -                     before the end of the delivery status
//	bounce.maxSession                   10m0s     time                                    -                     of a connection
//	bounce.maxSilence                   1m0s      time                                    -                     for the next command, or for a whole message
//	bounce.maxStatus                    65536     octets of a delivery status             -                     Postfix returns one for each recipient, and a report has one
//	bounce.maxType                      4096      octets of Content-Type                  -                     as long as a line that is read
//	bounce.maxWrite                     10s       time                                    -                     for an MTA that does not read
//	collect.maxIDs                      4096      identities of policies                  -                     remembered, because to compute one takes long
//	collect.maxIdentities               4         policies of a domain and window         -                     one more than the store keeps apart; a domain could change its record all the time
//	collect.maxUnfinished               256       messages at a time                      -                     as many as package msgauth waits for after their reply
//	collect.maxQueue                    16384     observations                            -                     three seconds of 5,000 messages a second; beyond it, they are dropped and counted
//	collect.maxQueueOctets              16777216  octets                                  -                     of the observations in the queue; senders choose how long they are
//	collect.maxSightings                50000     domains of a day                        -                     forgers name domains without end
//	collect.maxSpoolFile                67108864  octets of a file                        -                     a batch has some MiB
//	collect.maxTableOctets              67108864  octets                                  -                     rows in memory while the store takes none; a forger can make up rows without end
//	collect.maxWritten                  20        domains of a message                    -                     those to which a user wrote
//	config.maxAuthservID                255       octets                                  -                     a host name
//	config.maxBounceLocal               20        octets                                  -                     "+" and the token of a delivery follow, and a local part has 64
//	config.maxClockSkew                 24h0m0s   time                                    -                     with a larger one, x= would mean nothing
//	config.maxConsentTimeout            5s        time                                    -                     Sendmail waits 10 s for the answer to RCPT
//	config.maxDNSBLs                    10        zones                                   -                     each costs two questions for a report
//	config.maxFailureTTL                5m0s      time                                    -                     RFC 9520 §3.2
//	config.maxFailures                  1000000   failure reports a day                   -                     more would be a mistake
//	config.maxHostsFile                 1048576   octets of /etc/hosts                    -                     the line of the host itself is near the beginning
//	config.maxMessageBudget             4m0s      time                                    -                     no MTA waits longer for the end of a message
//	config.maxRecent                    100000    decisions                               -                     recent.maxBytes bounds the memory that they take
//	config.maxReportAddresses           50        destinations of a report                -                     an author domain chooses how many it names
//	config.maxReportList                10000     entries                                 -                     the list is searched for every report
//	config.maxReportRate                1000      mails a second                          -                     an MTA takes no more
//	config.maxReportRows                10000000  rows of a report                        -                     more would not fit into a mail
//	config.maxReportText                255       octets                                  -                     the text stands in every report
//	config.maxRules                     10000     rules                                   -                     each adds a series to the metrics and a row to the console
//	config.maxSignaturesCeil            50        signatures                              -                     each causes a key lookup and a result
//	config.maxServers                   8         servers                                 -                     each is a label value of the metrics
//	config.maxSpamSigns                 20        header fields                           -                     each is compared with every field of a message
//	config.maxSubjectStamp              40        characters                              -                     the subject must stay readable
//	config.maxUnixPath                  107       octets                                  -                     sockaddr_un
//	config/strict.MaxFile               4194304   octets                                  -                     the configuration is read whole
//	config/strict.MaxProblems           50        problems                                -                     a person reads the list
//	config/strict.maxExcerpt            120       octets                                  -                     an excerpt in an error fits a terminal
//	config/strict.maxNesting            100       brackets open                           -                     the YAML parser recurses
//	consent.maxCached                   100000    answers                                 -                     anyone can make up recipients
//	consent.maxConnections              8         lookups at a time                       -                     each has a connection to the socketmap
//	consent.maxListFile                 67108864  octets                                  -                     some two million addresses
//	consent.maxListLine                 1024      octets                                  -                     an address has 320
//	consent.maxReply                    4096      octets                                  -                     a socketmap answers with one word
//	consent.maxReplyDigits              4         digits                                  -                     in the length of an answer
//	consent.maxSilent                   3         lookups without an answer               -                     after these, the socketmap is not asked until a second has passed
//	console.maxRows                     100       decisions of a page                     -                     for more, a person searches
//	console.maxSamples                  1441      samples                                 -                     one a minute: a day of the chart of verdicts
//	console.maxSearchBytes              512       octets                                  -                     of a search; a domain name has 253
//	dispatch/failures.maxAddresses      5000      failure reports                         -                     whose bounces are recognized: those of several days
//	dispatch/failures.maxDecide         30s       time                                    -                     for the lookups of a failure report
//	dispatch/failures.maxKnown          10000     domains                                 -                     of which is remembered whether they get failure reports
//	dispatch/failures.maxKnownTime      1h0m0s    time                                    -                     for which that is remembered
//	dispatch/failures.maxQueued         1000      incidents                               -                     that wait; each has a few KiB
//	dispatch/failures.maxSubmit         2m0s      time                                    -                     for handing a failure report to the MTA
//	dispatch.maxHorizon                 12h0m0s   time                                    -                     for which a report is put off because of others to the same destination
//	dispatch.maxHosts                   10000     destination domains                     -                     whose pace is remembered; strangers choose their names
//	dispatch.maxPatience                5s        time                                    -                     for which a report waits for its turn before it is put off
//	dispatch.maxWorkers                 16        reports at a time                       -                     a slow destination holds one of them
//	dkim.MaxRSABits                     8192      bits                                    -                     the cost of a key grows with the square of its length
//	dkim.defaultMaxSignatures           10        signatures verified                     dkim.max_signatures   RFC 6376 §6.1 allows a limit
//	dkim.defaultSkew                    5m0s      time                                    dkim.clock_skew       clocks of hosts differ
//	dkim.maxCachedKeyBytes              8388608   octets                                  -                     parsed keys kept for the next message
//	dkim.maxCachedKeys                  8192      keys                                    -                     parsed keys kept for the next message
//	dkim.maxCachedRecord                2048      octets                                  -                     a longer key record is read each time
//	dkim.maxFields                      4096      fields read                             -                     more than the milter lets through
//	dkim.maxForms                       9         forms of a header                       -                     tried because MTAs do not show spaces and Return-Path to milters as they were signed
//	dkim.maxIndexKept                   16384     octets or entries                       -                     memory of a header's index kept for the next message
//	dkim.maxKeys                        4         keys at a name                          -                     RFC 6376 §3.6.2.2 does not define several keys
//	dkim.maxOperations                  64        verifications of a message              -                     its unit is RSA of 2,048 bits; ten signatures and 50 ARC sets need fewer
//	dkim.maxParallelLookups             16        queries in flight                       -                     an ARC chain can name a hundred keys
//	dkim.maxReported                    64        signatures reported                     -                     the results fit into a field
//	dkim.maxSpaceForms                  128       mixtures of spaces                      -                     tried if the MTA does not show the space after the colon
//	dkim.maxSpaceOctets                 262144    octets                                  -                     hashed while mixtures of spaces are tried
//	dkim/syntax.maxLengthDigits         76        digits of l=                            -                     RFC 6376 §3.5
//	dkim/syntax.maxSignedHeaders        50000     names in h=                             -                     the work grows with their number
//	dmarc.DefaultMaxWalks               10        tree walks                              -                     one for each identifier, with eight queries each
//	dmarc.MaxPSLLen                     16777216  octets                                  -                     the list has 300 KiB
//	dmarc.MaxRecordLen                  16384     octets                                  -                     real records are under 1 KiB
//	dmarc.MaxURIs                       100       destinations                            -                     each may get reports
//	dmarc.maxPSLLineLen                 4096      octets                                  -                     a rule is a domain name
//	dmarc.maxSupposed                   3         failed names                            -                     all combinations of their possible answers are tried; usually one name fails
//	dmarc.maxWalkLabels                 8         labels                                  -                     RFC 9989 §4.10
//	dns.MaxChain                        8         CNAMEs of an answer                     -                     RFC 1034 §3.6.2 discourages chains
//	dns.MaxLabelLen                     63        octets                                  -                     RFC 1035 §2.3.4
//	dns.MaxNameLen                      253       octets                                  -                     RFC 1035 §2.3.4, as text
//	dns.MaxRecords                      256       records of a section                    -                     RFC 7208 §4.6.4 limits most to 10
//	dns.MaxTextOctets                   32768     octets of TXT                           -                     the longest key worth verifying has 2 KiB
//	doctor.maxTable                     1048576   octets of a table of Postfix            -                     a person writes header_checks
//	filter.maxDateLen                   64        octets of a Date                        -                     a usual one has 31; a longer one is not compared with our clock
//	forwarders.maxAuthors               200       author domains                          -                     of one source of failing mail; three are enough to propose it
//	forwarders.maxLine                  65536     octets of a log's line                  -                     the daemon writes lines under 32 KiB
//	forwarders.maxNames                 5         client names                            -                     of one source; for a source with more, the domain is shown
//	forwarders.maxSources               20000     sources of failing mail                 -                     strangers choose names and addresses
//	holdqueue.maxComplaint              4096      octets                                  -                     of what a program of the MTA writes to standard error
//	holdqueue.maxHeader                 262144    octets of a header                      -                     the label is near the top
//	holdqueue.maxLabels                 1000      messages                                -                     reading a label runs a program
//	holdqueue.maxLine                   16777216  octets of a line                        -                     it has all recipients of a message
//	holdqueue.maxMessages               10000     messages                                -                     in a list; the rest are only counted
//	holdqueue.maxReasons                30        reasons                                 -                     each has a series; the daemon has fewer
//	holdqueue.maxRecipients             10        recipients                              -                     of a message in the list; the rest are only counted
//	iprev.MaxNames                      10        names                                   -                     RFC 8601 §3 leaves the number open; SPF allows the same number
//	judge.MaxConsentLookups             4         lookups of a message                    -                     the lookups for its other recipients wait until one of these has ended
//	label.MaxForged                     10000     fields deleted                          -                     of a message over a limit; Postfix takes half a minute for this number, and two minutes for twice as many
//	label.MaxOutlined                   4096      fields of one name                      -                     of a message over a limit; all fields after them are deleted
//	label.maxLabel                      900       octets of our field                     -                     opendmarc does not read a field over 990; results that passed or that DMARC used are not left out
//	label.maxLine                       900       octets of a line                        -                     in a stamped subject; a line has at most 998 (RFC 5322 §2.1.1)
//	label.maxLocal                      64        octets of a local part                  -                     RFC 5321 §4.5.3.1.1; for an address with a longer local part, only the domain is shown
//	label.maxSubject                    50000     octets of a stamped subject             -                     Postfix cuts fields at 60,000
//	mailaddr/author.MaxCommentDepth     10        comments nested                         -                     mail clients do not nest comments
//	mailaddr/author.MaxFromLen          32768     octets                                  -                     an MTA may have cut a longer field, and the missing part might name the author
//	mailaddr/author.MaxMailboxes        100       authors                                 -                     mail signed by dozens of people is in use
//	mailaddr.MaxPathLen                 2048      octets                                  -                     RFC 5321 §4.5.3.1.3 asks for 256
//	mailaddr/encodedword.maxWordDepth   3         encoded words nested                    -                     nesting is not allowed, but some clients decode twice
//	milter.DefaultMaxEnvelopeBytes      2097152   octets of MAIL and RCPT                 -                     10,000 recipients of 200 octets
//	milter.DefaultMaxFieldBytes         262144    octets of a field                       -                     Postfix cuts at 60,000, Sendmail sends more
//	milter.DefaultMaxFrame              1048576   octets                                  -                     the limit of libmilter
//	milter.DefaultMaxHeaderBytes        1048576   octets of a header                      limits.header_bytes   ten times what Postfix lets through
//	milter.DefaultMaxHeaderFields       2000      fields                                  limits.header_fields  ordinary mail has a hundred
//	milter.DefaultMaxMacroBytes         65536     octets a connection                     -                     macros have the content of a few SMTP lines
//	milter.DefaultMaxRecipients         10000     recipients                              limits.recipients     Postfix takes 1,000
//	milter.DefaultMaxSessions           10000     connections                             limits.max_sessions   a hundred times Postfix's processes
//	milter.DefaultEndOfMessageTimeout   5m0s      time                                    -                     Postfix's milter_content_timeout
//	milter.DefaultFrameTimeout          30s       time                                    -                     for the rest of a frame that has begun
//	milter.DefaultIdleTimeout           6m0s      time                                    limits.idle_timeout   above the 300 s after which Postfix gives up on its client
//	milter.DefaultTransferTimeout       2h0m0s    time                                    -                     for a large message on a slow line
//	milter.DefaultWriteTimeout          30s       time                                    -                     for an MTA that does not read
//	milter.maxAcceptBackoff             1s        time                                    -                     between attempts to accept when there are no descriptors
//	milter/wire.maxCommandFrame         65536     octets                                  -                     an SMTP line has 2,048 in Postfix
//	milter/wire.maxBeginning            16384     octets                                  -                     kept of a header field that is longer than a frame may be
//	milter/wire.maxPassedOver           67108864  octets                                  -                     of a header field that is longer than a frame may be; they are read and dropped
//	milter.maxDrainIdle                 20s       time                                    -                     for the next message of a silent client before a restart closes its session
//	milter.maxEditBytes                 60000     octets of a value written               -                     Postfix cuts longer values
//	milter.maxRefusing                  256       connections                             -                     that are being refused because there are too many
//	milter.maxLoggedErrors              10        protocol errors logged in a minute      -                     anyone who reaches the socket could fill the log
//	milter.maxStart                     8192      octets of a field                       -                     passed on of each field after a message has exceeded a limit
//	milter.maxUnsent                    65536     octets of edits                         -                     with more, edits are sent before the reply is complete
//	msgauth.MaxSPFAhead                 50        questions of an SPF check               dns.spf_ahead         asked early; the most that dns.spf_ahead may be
//	msgauth.maxFormKeys                 3         DNS lookups of a message                -                     keys of signatures that are refused for their form; an author has one for each algorithm
//	msgauth.maxAuthorLookups            96        lookups at a time                       -                     keys of the authors' organizations, on which DMARC depends
//	msgauth.maxChainKeys                4         lookups at a time                       -                     keys of one message's ARC sets
//	msgauth.maxChainLookups             32        lookups at a time                       -                     keys of ARC
//	msgauth.maxClientLookups            224       lookups at a time                       -                     SPF and iprev
//	msgauth.maxKeyLookups               64        lookups at a time                       -                     other keys of DKIM
//	msgauth.maxMessageLookups           8         lookups at a time                       -                     of one kind, for one message
//	msgauth.maxOrganizationLookups      8         lookups at a time                       -                     of one kind, for one organization
//	msgauth.maxPolicyLookups            64        lookups at a time                       -                     policies of DMARC
//	msgauth.maxSealerLookups            4         lookups at a time                       -                     keys of one organization's ARC sets
//	msgauth.maxAddressText              8192      octets of a field                       -                     the addresses of a list are at the beginning
//	msgauth.maxListAddresses            32        addresses                               -                     a list has one address or a few
//	msgauth.maxListNames                8         names of a list                         -                     a list has one
//	msgauth.maxListDomains              4         domains                                 -                     a list has one List-Id
//	msgauth.maxSPFLookups               200       DNS lookups of a message                -                     10 terms of up to 10 names each (RFC 7208 section 4.6.4), and MaxSPFAhead
//	msgauth.maxDKIMLookups              64        DNS lookups of a message                -                     one for each signature that is verified
//	msgauth.maxDMARCLookups             96        DNS lookups of a message                -                     walks of at most 8 (RFC 9989 section 4.10), for author and 10 identifiers
//	msgauth.maxARCLookups               102       DNS lookups of a message                -                     two for each of 50 sets
//	msgauth.maxIPRevLookups             24        DNS lookups of a message                -                     a PTR and the addresses of 10 names
//	msgauth.maxWholeHeaders             16777216  octets                                  -                     headers of messages whose keys are waited for after the reply
//	msgauth.maxWholeTime                2s        time                                    -                     results are waited for after the reply, for DMARC reports
//	msgauth.maxWholes                   256       messages at a time                      -                     each has results that are waited for after the reply
//	msgauth.maxReserve                  2s        time                                    -                     the part of dns.message_budget that is reserved for alignment
//	mtaconf.maxDuration                 999h0m0s  time                                    -                     sums of times must not overflow
//	mtaconf.maxFile                     4194304   octets of a sendmail.cf                 -                     those of the m4 macros have 65,000
//	mtaconf.maxOutput                   4194304   octets of postconf's output             -                     Postfix 3.7 prints 60,000
//	recent.MaxEntries                   100000    decisions                               admin.recent          recent.maxBytes bounds the memory that they take
//	recent.maxAnswerBytes               4194304   octets of memory                        -                     an answer is encoded in one piece
//	recent.maxBytes                     33554432  octets                                  -                     of all decisions that are remembered
//	recent.maxDecisionBytes             65536     octets                                  -                     signatures and traces of one message could take 100 times as much
//	recent.maxElements                  200       elements of a list                      -                     SPF traces of honest domains are shorter
//	recent.maxLimit                     500       decisions of an answer                  -                     a person reads them
//	recent.maxTextBytes                 4096      octets of a text                        -                     policy records are shorter
//	recent.maxValueBytes                512       octets of a parameter                   -                     a domain name has 253
//	received.maxReceived                16384     octets of a field                       -                     MTAs write under 1,000
//	report.maxAhead                     10m0s     time                                    -                     a stamp further ahead comes from a wrong clock
//	report.maxObservation               2048      octets                                  -                     a queue holds thousands of observations
//	report.maxSubject                   1024      octets of a Subject                     -                     two domain names and the words of RFC 9990 §3.5.2
//	report.maxSignatures                10        signatures of a row                     -                     as many as are verified by default; RFC 9990 §3.1.3 allows 100
//	replay.maxAnswers                   1000000   DNS answers                             -                     of a snapshot, which is in memory
//	replay.maxDomains                   100000    author domains                          -                     each has a row; the rest share one
//	replay.maxHeader                    16777216  octets of a header                      -                     including the fields that our own hosts added on top
//	replay.maxListed                    10000     messages                                -                     in a list; the rest are only counted
//	replay.maxRows                      100       rows of a table                         -                     a person reads them
//	replay.maxSnapshotLine              1048576   octets of a line                        -                     an answer has at most 64 KiB on the wire
//	report.MaxLate                      48h0m0s   time                                    -                     a report for a window that ended longer ago helps nobody
//	report.MaxPolicies                  3         reports a domain and window             -                     a report describes one policy, and a domain can change its record all the time
//	report/aggregate.maxError           500       octets of the element error             -                     nobody reads more
//	report/aggregate.maxLocalPart       64        octets of a Report-ID before the @      -                     RFC 5321 §4.5.3.1.1
//	report/aggregate.maxName            255       octets of a name in a report            -                     a domain name has at most 253, a selector too
//	report/aggregate.maxText            500       octets of a text in a report            -                     texts are the operator's or ours, and short
//	report/aggregate.maxUnique          24        octets                                  -                     in a Report-ID, so that there is room for the date and the domain
//	report/compose.maxAddress           320       octets of an address                    -                     64 of local part and 255 of domain (RFC 5321 §4.5.3.1)
//	report/compose.maxDisplayName       200       octets of a display name                -                     the field From stays short
//	report/compose.maxMessageID         320       octets of a message id                  -                     it cannot be folded
//	report/compose.maxSubject           900       octets of a subject                     -                     it has two domain names and a Report-ID
//	report/failure.maxAuthors           5         mailboxes of From                       -                     told in a failure report
//	report/failure.maxBetween           4         octets                                  -                     between a recipient's local part and its domain, when a failure report is searched for recipients
//	report/failure.maxDomains           10000     domains                                 -                     each with up to one message that waits for its failure report
//	report/failure.maxField             2048      octets of a header field                -                     told in a failure report
//	report/failure.maxRecipients        100       recipients                              -                     a failure report is searched for each; a message with more gives none
//	report/failure.maxSignatures        5         signatures                              -                     told in a failure report
//	report/failure.maxValue             900       octets of a value                       -                     a line of a failure report has less than 998 (RFC 5322 §2.1.1)
//	resolver.maxLargeTTL                1m0s      time                                    -                     how long an answer with unusually much text is kept
//	resolver.maxOrphans                 32        queries without a waiting message       -                     the next message may need the answers
//	resolver.maxPrefetches              32        queries in advance                      -                     the other sockets are for queries that a message waits for
//	resolver.maxSmallText               4096      octets of TXT                           -                     an answer with more is kept for a minute, in a sixteenth of the cache
//	resolver.maxQueryTime               10s       time                                    -                     for a query that no message waits for any more
//	resolver/dnswire.maxPointers        126       compression pointers of a name          -                     a name has at most 127 labels; a loop of pointers must end
//	resolver/upstream.maxAge            2s        time                                    -                     a UDP socket, with its random port, gets no further query when it is older
//	resolver/upstream.maxIdle           64        UDP sockets                             -                     kept without a query; they count as open sockets
//	resolver/upstream.maxUses           8         queries of a UDP socket                 -                     one after the other; then the port changes
//	resolver/upstream.MaxInflight       544       sockets                                 -                     a query continues after its message has ended
//	resolver/upstream.maxFailures       5         answers missing or useless              -                     after these, the server is asked only after the other servers
//	resolver/upstream.maxPipelined      64        queries on a TLS connection             -                     servers close connections with more
//	resolver/upstream.maxProbePause     30s       time                                    -                     between two probes of a server that is down
//	resolver/upstream.maxRestarts       4         questions                               -                     for an alias chain that is not complete in one answer
//	resolver/upstream.maxReserved       8         descriptors                             -                     kept for queries when MTAs have taken all others
//	resolver/upstream.maxStrays         256       packets that are not the answer         -                     more of them are an attempt to guess the ID, so the question is repeated over TCP
//	resolver/upstream.maxSystemServers  3         servers of resolv.conf                  -                     resolv.conf(5)
//	resolver/upstream.DefaultTimeout    2s        time                                    dns.timeout           for one try at one server
//	resolver/upstream.defaultRounds     2         tries at each server                    -                     all tries together end with dns.message_budget
//	probe.maxIncludes                   3         records below each other                -                     the search for an address that may send asks DNS for each
//	probe.maxTried                      20        addresses                               -                     each costs an SPF check
//	policy.MaxHelp                      150       octets                                  policy.reply          the end of a reply line, after the reply's own text
//	reporting.maxCopies                 1000      reports that one command decides about  -                     each costs DNS queries
//	reporting.maxListed                 10000     reports in a list                       -                     a farm has a hundred thousand a day
//	status.maxSuppressions              50        suppressed destinations in the status   -                     the command lists all
//	report/destination.MaxDestinations  20        destinations of a report                -                     each causes queries and a mail; this is the most that can be configured
//	report/destination.MaxQueries       417       DNS queries for a report                -                     the sum of the queries for all destinations and block lists
//	report/destination.MaxZones         8         DNS block lists                         -                     each is asked for every destination
//	report/destination.maxAddress       254       octets of an address                    -                     RFC 5321 §4.5.3.1.3, without the angle brackets
//	report/destination.maxLocal         64        octets of a local part                  -                     RFC 5321 §4.5.3.1.1
//	report/destination.maxNamed         5         destinations in a sentence              -                     a record has up to a hundred
//	report/destination.maxOfHost        12        DNS queries for a destination           -                     tree walk, agreement, MX and addresses
//	report/destination.maxShown         200       octets of a record in a sentence        -                     a person reads it
//	report/destination.maxWalk          8         DNS queries of a tree walk              -                     RFC 9989 §4.10
//	report.MaxTokenLen                  30        octets                                  -                     a delivery id has at most 19 digits
//	smtp.MaxLen                         510       octets                                  -                     RFC 5321 §4.5.3.1.5
//	spf.MaxQueries                      123       queries of a check                      -                     RFC 7208 §4.6.4 allows fewer
//	spf.MaxExplanationLen               400       octets                                  -                     is a part of a reply line
//	spf.MaxHosts                        10        names of an MX or PTR answer            -                     RFC 7208 §4.6.4
//	spf.maxUnderWay                     6         questions of an SPF check               -                     asked early and without an answer
//	spf.MaxLookups                      10        terms                                   -                     RFC 7208 §4.6.4
//	spf.MaxRecordLen                    8192      octets                                  -                     RFC 7208 §3.4 asks for 450
//	spf.MaxTraceSteps                   1000      steps                                   -                     eleven records could hold 20,000 terms
//	spf.MaxVoidLookups                  2         terms that find nothing                 -                     RFC 7208 §4.6.4
//	spf.maxExpansion                    16384     octets                                  -                     a domain name has 253
//	spf.maxKeep                         65536     parts                                   -                     RFC 7208 §7.3 asks for 127
//	spf.maxMacroValue                   1024      octets                                  -                     the client chooses the value
//	spf.maxMacros                       128       macros of a term                        -                     the client chooses the text that each copies
//	taglist.MaxLen                      1048576   octets                                  -                     a header field is shorter
//	taglist.MaxTags                     128       tags                                    -                     the registries have about fifteen
//	store/postgres.maxName              253       octets of a domain                      -                     a domain name has no more, and an index takes 2,700
//	submit.maxAddress                   254       octets of an address                    -                     RFC 5321 §4.5.3.1.3, without its angle brackets
//	submit.maxID                        100       octets of an envelope id                -                     RFC 3461 §4.4
//	submit.maxPassword                  4096      octets of a password file               -                     it may be the wrong file
//	submit.maxReply                     500       octets                                  -                     of a reply that is kept and shown; a line of SMTP has at most 512
//	submit.maxServerReply               131072    octets                                  -                     of the mail server at a time; the certificates of TLS are among them
//	telemetry.maxKnownAuthors           4096      names                                   -                     anyone can invent author domains, and each takes memory
//	telemetry.maxLineKept               8192      octets                                  -                     the part of a record's buffer that is kept for the next record
//	telemetry.maxLogged                 256       octets of a value                       -                     a person reads the record, which is one line
//	telemetry.maxMarkBytes              64        octets                                  -                     the client library panics at an exemplar that is longer than 128 characters
//	telemetry.maxNativeBuckets          160       buckets                                 -                     more buckets would take more memory for each histogram
//	telemetry.maxQueuedLog              4194304   octets                                  -                     a log reader that does not read must not stop mail
//	topology.maxMTAs                    256       addresses of MTAs                       -                     for each MTA, the log warns once about milter features that it does not offer
package wholepath
