#!/bin/sh
# A scripted agent: goes on from the step in its checkpoint; each step is a file, a commit, a push and a checkpoint.
#
#   worker.sh AGENT_ID WITNESS_DIR
#
# WITNESS_DIR outlives the container. Into AGENT_ID.journal go `start <dispatchId> <step it resumes from>` and, after each
# step, `step <n> <commit>`, or `failed <n> <git or gt_checkpoint>` for each try that failed. Works only while the file
# `go` is there, and ends with code 0 once `finish` is.
set -u
agent=$1 witness=$2
journal=$witness/$agent.journal

step=$(sed -n 's/.*"checkpoint": *{ *"step": *\([0-9]*\).*/\1/p' "$TOWNKEEPER_PRIME_FILE")
step=${step:-0}
echo "start ${GASTOWN_DISPATCH_ID:-none} $step" >>"$journal"

while [ ! -e "$witness/finish" ]; do
  if [ ! -e "$witness/go" ]; then
    : >"$witness/$agent.idle"
    sleep 0.02
    continue
  fi
  rm -f "$witness/$agent.idle"
  next=$((step + 1))
  echo "step $next of $agent" >"progress-$agent.txt"
  # A push that was under way when an earlier container was killed may land after this one's branch was fetched.
  git add -A && git commit -q --allow-empty -m "step $next" &&
    { git push -q || { git pull -q --rebase -X theirs && git push -q; }; } ||
    { echo "failed $next git" >>"$journal"; sleep 0.2; continue; }
  gt_checkpoint "{\"step\":$next}" >/dev/null || { echo "failed $next gt_checkpoint" >>"$journal"; sleep 0.2; continue; }
  step=$next
  echo "step $step $(git rev-parse HEAD)" >>"$journal"
done
