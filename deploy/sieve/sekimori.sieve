# Files mail by X-Sekimori-Verdict (headers: {verdict: true}). The field is ours
# alone: the daemon deletes whatever claims the name from outside. What did not
# pass the daemon (local mail, trusted networks) has none and is kept.
require ["fileinto", "mailbox", "imap4flags"];

# The author is not who he says: out of the inbox. What the daemon holds comes
# here too, once the postmaster releases it.
if header :is "X-Sekimori-Verdict" ["fail-quarantine", "local-quarantine", "invalid-from"] {
    fileinto :create "Junk";
    stop;
}

# Nothing speaks for the author, but his domain asks for nothing, the recipient
# opted out, or this host only watches or is on the way to more: marked, kept.
if header :is "X-Sekimori-Verdict" ["fail-none", "fail-ramp", "fail-monitor", "fail-opted-out", "no-policy-spf-fail"] {
    addflag "$Unverified";
}
