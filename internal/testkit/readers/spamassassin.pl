# Reads a JSON array of Authentication-Results values, writes what SpamAssassin sees in each: its plugin AuthRes, which
# parses, and in "spf" its plugin SPF, which is on as Debian installs it and takes the last "; spf=" of the field.
use strict;
use warnings;
use Encode;
use JSON::PP;
use Mail::SpamAssassin;

my @words = qw(pass neutral none fail softfail permerror temperror);
my $rules = join '', map { "header SPF_\U$_\E eval:check_for_spf_$_()\nscore SPF_\U$_\E 1\n" } @words;
my $sa = Mail::SpamAssassin->new({
    dont_copy_prefs => 1, require_rules => 0, rules_filename => '/nonexistent', site_rules_filename => '/nonexistent', userstate_dir => '/nonexistent',
    config_text => "loadplugin Mail::SpamAssassin::Plugin::Check\nloadplugin Mail::SpamAssassin::Plugin::SPF\nloadplugin Mail::SpamAssassin::Plugin::AuthRes\n"
        . "authres_networks all\nauthres_trusted_authserv mx.here.example\n"
        . "dns_available no\nuse_bayes 0\n$rules",
});
local $/;
my @out;
for my $value (@{ decode_json(<STDIN>) }) {
    my $field = encode('UTF-8', $value);
    $field =~ s/\r\n/\n/g;
    my $mail = $sa->parse("Authentication-Results:$field\n"
        . "Received: from mail.attacker.example (mail.attacker.example [192.0.2.66])\n\tby mx.here.example (Postfix) with ESMTP id 4Q;\n\tMon, 2 Mar 2026 10:00:00 +0000\n"
        . "From: a\@bank.example\nSubject: s\nDate: Mon, 2 Mar 2026 10:00:00 +0000\nMessage-ID: <1\@attacker.example>\n\nbody\n");
    my $status = $sa->check($mail);
    my @results;
    for my $method (qw(spf dkim dmarc arc iprev)) {
        push @results, map { [ $method, $_->{result} ] } @{ $status->{authres_parsed}{$method} // [] };
    }
    push @out, { results => \@results, spf => join ',', map { my $w = lc; $w =~ s/^spf_//; $w } grep { /^SPF_/ } split /,/, $status->get_names_of_tests_hit() };
    $status->finish();
    $mail->finish();
}
print encode_json(\@out);
