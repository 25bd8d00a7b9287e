# Reads a JSON array of Authentication-Results values, writes what Mail::AuthenticationResults sees in each.
use strict;
use warnings;
use JSON::PP;
use Mail::AuthenticationResults::Parser;

local $/;
my @out;
for my $value (@{ decode_json(<STDIN>) }) {
    my $parsed = eval { Mail::AuthenticationResults::Parser->new()->parse($value) };
    if (!$parsed) { push @out, { error => "$@" }; next }
    my @results;
    for my $entry (@{ $parsed->children() }) {
        next if !$entry->isa('Mail::AuthenticationResults::Header::Entry');
        push @results, [ $entry->key(), $entry->value() ];
    }
    push @out, { results => \@results };
}
print encode_json(\@out);
