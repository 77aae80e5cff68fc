#!/bin/sh
# A scripted agent that never stands still: every step writes a number into a file, now and then it stages and commits.
#
#   editor.sh AGENT_ID WITNESS_DIR [PAUSE_SECONDS]
#
# WITNESS_DIR outlives the container. Into AGENT_ID.edits goes, after each step, `<n> <nanoseconds since the epoch>`. Goes
# on from the number it finds in its worktree. Works only while the file `go` is there, and ends with code 0 once `finish` is.
set -u
agent=$1 witness=$2 pause=${3:-0.05}
n=$(cat "edit-$agent.txt" 2>/dev/null || echo 0)
while [ ! -e "$witness/finish" ]; do
  if [ ! -e "$witness/go" ]; then
    sleep 0.02
    continue
  fi
  n=$((n + 1))
  # By a rename, as editors do: a file that is being written is empty for a moment, and that moment may be saved.
  echo "$n" >"edit-$agent.tmp" && mv "edit-$agent.tmp" "edit-$agent.txt"
  [ $((n % 7)) -ne 0 ] || git add -A
  [ $((n % 20)) -ne 0 ] || git commit -q -a --allow-empty -m "edit $n"
  echo "$n $(date +%s%N)" >>"$witness/$agent.edits"
  sleep "$pause"
done
