# Reads mails with reports by Mail::DMARC, which does not store what it has read. Arguments: files with
# mails. Prints JSON: for each mail the error, or the metadata, the policy and the records.
use strict;
use warnings;
use JSON::PP;
use Mail::DMARC::Report::Receive;
use Mail::DMARC::Report;

my $seen;
{
    no warnings 'redefine';
    *Mail::DMARC::Report::save_aggregate = sub {
        my $aggregate = shift->aggregate;
        my $meta = $aggregate->metadata;
        my $policy = $aggregate->policy_published;
        $seen = {org => $meta->org_name, id => $meta->report_id, begin => $meta->begin, end => $meta->end, domain => $policy->domain, p => $policy->p,
            records => [map { {ip => $_->row->source_ip, count => $_->row->count, disposition => $_->row->policy_evaluated->disposition,
                from => $_->identifiers->header_from, spf => [map { $_->domain } @{$_->auth_results->spf}],
                dkim => [map { $_->domain } @{$_->auth_results->dkim}]} } @{$aggregate->record}]};
    };
}
my @out;
open my $real, '>&', \*STDOUT or die;
open STDOUT, '>', '/dev/null' or die; # it prints subjects
for my $file (@ARGV) {
    $seen = undef;
    my $ok = eval { Mail::DMARC::Report::Receive->new->from_file($file); 1 };
    push @out, $ok && $seen ? $seen : {error => $@ || 'nothing was saved'};
}
print $real JSON::PP->new->ascii->allow_nonref->encode(\@out);
