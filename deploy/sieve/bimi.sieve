# Flags mail with a certified mark (bimi: {enabled: true}), so that a mail client
# can show or sort by it. The topmost BIMI-Indicator is believed only if the
# result above all others in the name of this host says bimi=pass with authority.
# Put your authserv-id in place of mx.example.jp.
require ["fileinto", "imap4flags", "regex", "index"];

if allof (
    exists "BIMI-Indicator",
    header :index 2 :regex "Authentication-Results"
        "^mx\\.example\\.jp;[[:space:]]*bimi=pass[[:space:](].*policy\\.authority=pass"
) {
    addflag "$CertifiedMark";
}
