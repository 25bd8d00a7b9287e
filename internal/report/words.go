package report

// Word says what became of a job or a delivery.
type Word string

// The words for a report that was sent or could not be delivered, and the words for a report that was
// withheld, in the order in which they are checked. The first one that applies is the outcome.
const (
	Sent    Word = "sent"    // the MTA took it
	Refused Word = "refused" // the MTA or the destination refused it for good
	Failed  Word = "failed"  // it could not be submitted until the next window closed

	Waiting Word = "waiting" // of a delivery: will be tried again

	WithheldOff            Word = "off"             // report.aggregate.send is false
	WithheldNever          Word = "never"           // on the operator's list
	WithheldLoop           Word = "loop"            // the job counts only mail about reports
	WithheldNotEstablished Word = "not_established" // the domain is too new to us
	WithheldSpam           Word = "spam"            // more than half of the messages were marked as spam
	WithheldNotRequested   Word = "not_requested"   // the record is gone, or asks for no reports now
	WithheldUnusable       Word = "unusable"        // not a mailto URI with one plain address, or one too many
	WithheldUnverified     Word = "unverified"      // an external destination that did not agree (§4)
	WithheldUndeliverable  Word = "undeliverable"   // no mail server
	WithheldListed         Word = "listed"          // on one of the operator's DNS block lists
	WithheldSuppressed     Word = "suppressed"      // reports to it came back
)

// Withheld lists the words for withheld reports in the order in which they are checked.
var Withheld = []Word{WithheldOff, WithheldNever, WithheldLoop, WithheldNotEstablished, WithheldSpam, WithheldNotRequested, WithheldUnusable,
	WithheldUnverified, WithheldUndeliverable, WithheldListed, WithheldSuppressed}
