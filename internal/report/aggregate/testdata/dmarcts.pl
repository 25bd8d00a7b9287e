# Runs the functions of dmarcts-report-parser that read a mail and that store a report. A database that
# only notes what it is given takes the place of MySQL. Arguments: the program, and files with mails.
# Prints JSON: for each mail the result and the values of each INSERT.
use strict;
use warnings;
use JSON::PP;

my ($program, @mails) = @ARGV;
open my $in, '<', $program or die "$program: $!";
my $source = do { local $/; <$in> };
my @constants = $source =~ /^(use constant ALLOWED_\w+ => qw\(.*?\);)/msg;
my ($functions) = $source =~ /^(sub getXMLFromMessage \{.*?)^sub checkDatabase/ms or die "the functions are not there";

package Noted {
    sub new { bless {inserts => []}, shift }
    sub prepare { shift }
    sub execute { 1 }
    sub fetchrow_array { () }
    sub errstr { undef }
    sub last_insert_id { 1 }
    sub commit { 1 }
    sub rollback { die "rolled back" }
    sub do { my ($self, $sql, undef, @values) = @_; push @{$self->{inserts}}, \@values; 1 }
}

our ($debug, $scriptname, $reports_replace, $compress_xml, $maxsize_xml, $db_tx_support) = (0, 'dmarcts', 0, 0, 1 << 30, 0);
our %dbx = (epoch_to_timestamp_fn => 'FROM_UNIXTIME', to_hex_string => sub { 'X' . unpack('H*', shift) });
our $dbh;
eval join("\n", 'use MIME::Parser; use MIME::Words qw(decode_mimewords); use XML::Simple; use Socket; use Socket6; use PerlIO::gzip; use IO::Compress::Gzip qw(gzip $GzipError); use MIME::Base64;',
    'use warnings;', @constants, 'no strict "vars";', $functions =~ s/\$dbx\{to_hex_string\}\(/\$dbx{to_hex_string}->(/gr, '1') or die $@;

my @out;
for my $file (@mails) {
    open my $mail, '<', $file or die "$file: $!";
    my $text = do { local $/; <$mail> };
    $dbh = Noted->new;
    my $xml = getXMLFromMessage($text) or do { push @out, {result => 0}; next };
    my $result = storeXMLInDatabase($xml);
    push @out, {result => $result, inserts => $dbh->{inserts}};
}
print JSON::PP->new->ascii->allow_nonref->encode(\@out);
