use strict;
use warnings;

sub sorted {
    my ($values) = @_;
    return [sort @$values];
}

die "not sorted" unless "@{sorted([10, 9, 1])}" eq "1 9 10";
die "not sorted" unless "@{sorted([])}" eq "";
