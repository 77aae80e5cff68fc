#!/usr/bin/perl
# A scripted agent that never stands still: every step writes a number into a file, now and then it stages and commits.
#
#   editor.pl AGENT_ID WITNESS_DIR [PAUSE_SECONDS]
#
# WITNESS_DIR outlives the container. Into AGENT_ID.edits goes, after each step, `<n> <nanoseconds since the epoch>`. Goes
# on from the number it finds in its worktree. Works only while the file `go` is there, and ends with code 0 once `finish` is.
# One process, so that 64 of them leave the machine to what is tested: where starting a process costs 4 ms and more, a
# shell with its date, mv and sleep took two cores.
use strict;
use warnings;
use Time::HiRes qw(gettimeofday sleep);

my ($agent, $witness, $pause) = @ARGV;
$pause //= 0.05;

my $n = 0;
if (open my $in, '<', "edit-$agent.txt") { $n = int(<$in> // 0) }
while (!-e "$witness/finish") {
  if (!-e "$witness/go") {
    sleep $pause;
    next;
  }
  ++$n;
  # By a rename, as editors do: a file that is being written is empty for a moment, and that moment may be saved.
  if (open my $out, '>', "edit-$agent.tmp") {
    rename "edit-$agent.tmp", "edit-$agent.txt" if print($out "$n\n") && close $out;
  }
  system qw(git add -A) if $n % 7 == 0;
  system qw(git commit -q -a --allow-empty -m), "edit $n" if $n % 20 == 0;
  if (open my $edits, '>>', "$witness/$agent.edits") { printf $edits "%d %d%06d000\n", $n, gettimeofday }
  sleep $pause;
}
