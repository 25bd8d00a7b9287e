# Files mail by X-Sekimori-Verdict (headers: {verdict: true}). Only the daemon
# writes the field: it deletes fields of that name from outside. Mail that did not
# pass the daemon (local mail, trusted networks) has no such field and is kept.
require ["fileinto", "mailbox", "imap4flags"];

# The author is probably forged: file the message out of the inbox. A message that
# the daemon holds comes here too, once the postmaster releases it.
if header :is "X-Sekimori-Verdict" ["fail-quarantine", "local-quarantine", "invalid-from"] {
    fileinto :create "Junk";
    stop;
}

# Nothing speaks for the author, but the message is not refused: the author's
# domain asks for nothing, the recipient opted out, or this host does not enforce
# all policies yet. Mark the message and keep it.
if header :is "X-Sekimori-Verdict" ["fail-none", "fail-ramp", "fail-monitor", "fail-opted-out", "no-policy-spf-fail"] {
    addflag "$Unverified";
}
