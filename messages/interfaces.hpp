#pragma once

#include <caf/replies_to.hpp>
#include <caf/typed_actor.hpp>

/// The typed interface of every actor: above each message stands what the actor does with it.
namespace townkeeper {

struct restore_rig;
struct attach_worktree;
struct detach_worktree;
struct look_again;
struct forget_point;
struct restore_worktree;
struct repository_ready;
struct repository_failed;
struct retire_worktree;
struct worktree_settled;
struct worktree_retired;
struct repository_request;
struct worktree_request;
struct repository_result;
struct worktree_result;
struct removal_result;
struct git_credentials_query;
struct git_credentials_answer;
struct retry_due;
struct expect;
struct rig_progress;
struct rig_transfer;
struct rig_settled;
struct worktree_progress;
struct agent_settled;
struct process_changed;
struct phase_changed;
struct trouble;
struct publish_due;
struct heartbeat_query;
struct heartbeat_facts;
struct boot_town;
struct desired_state_changed;
struct fenced;
struct report_ready;
struct report_progress;
struct report_completed;
struct report_eviction;
struct reread_desired_state;
struct desired_state_answer;
struct agent_call;
struct agent_call_answer;
struct container_token;
struct town_answered;
struct town_retry_due;
struct heartbeat_due;
struct start_agent;
struct start_answer;
struct stop_agent;
struct stop_answer;
struct agent_status_query;
struct agent_status_answer;
struct launch_agent;
struct process_started;
struct process_exited;
struct agent_idle;
struct process_gone;
struct snapshot_query;
struct snapshot_answer;
struct shutdown;
struct shutdown_due;
struct job_finished;
struct job_overdue;
struct rest_due;
struct child_restart_due;
struct predecessor_due;
struct protect;
struct stop_protecting;
struct worktree_changed;
struct save_now;
struct save_answer;
struct save_wanted;
struct save_begun;
struct save_done;
struct keep_disk;
struct keep_disk_answer;
struct delete_refs;
struct protect_rig;
struct report_point;
struct point_reported;
struct report_drained;
struct drained_reported;
struct protection_changed;
struct snapshot_request;
struct snapshot_result;
struct push_request;
struct push_result;
struct delete_request;
struct delete_result;
struct prune_request;
struct save_due;

/// One agent's worktree.
using worktree_actor = caf::typed_actor<
    // Takes over the spec and restores it once the repository is ready.
    caf::reacts_to<restore_worktree>,
    // Starts the restore that waited for the repository; does nothing when the worktree is already what it should be.
    caf::reacts_to<repository_ready>,
    // Takes over the rig's reason; settles as failed when the rig has settled.
    caf::reacts_to<repository_failed>,
    // Takes the outcome of its job.
    caf::reacts_to<worktree_result>,
    // Removes the worktree where nothing is lost by it, and ends.
    caf::reacts_to<retire_worktree>,
    // Reports what became of the removal, and ends.
    caf::reacts_to<removal_result>,
    // In a drain: begins nothing new, and has what an unrestored worktree holds saved.
    caf::replies_to<save_now>::with<save_answer>,
    // Tries again.
    caf::reacts_to<retry_due>>;

/// One repository on disk, and its credentials.
using rig_actor = caf::typed_actor<
    // Converges the repository to the spec.
    caf::reacts_to<restore_rig>,
    // Adds a worktree actor to those that hear of the repository; tells it at once where the repository stands.
    caf::reacts_to<attach_worktree>,
    // Forgets a worktree actor.
    caf::reacts_to<detach_worktree>,
    // Checks disk and remote once more, if that is not under way already.
    caf::reacts_to<look_again>,
    // Looks for this agent's recovery points no more.
    caf::reacts_to<forget_point>,
    // Takes the outcome of its job.
    caf::reacts_to<repository_result>,
    // Answers with the cached credentials, or asks the town.
    caf::replies_to<git_credentials_query>::with<git_credentials_answer>,
    // Tries again.
    caf::reacts_to<retry_due>>;

/// The protection of one worktree: what changed, what is saved.
using keeper_actor = caf::typed_actor<
    // Begins to watch, or takes over a spec that moved on.
    caf::reacts_to<protect>,
    // Stops watching.
    caf::reacts_to<stop_protecting>,
    // Notes a change, and asks its saver for a round.
    caf::reacts_to<worktree_changed>,
    // Saves now, and answers when the remote has it.
    caf::replies_to<save_now>::with<save_answer>,
    // The saver's words.
    caf::reacts_to<save_begun>, caf::reacts_to<save_done>,
    // Looks whether quiet, poll or backoff is over.
    caf::reacts_to<save_due>>;

/// The pushes of one rig: which agents go together, when, and what the remote said.
using saver_actor = caf::typed_actor<
    // Takes over remote and branches.
    caf::reacts_to<protect_rig>,
    // Has the agent saved with the next push.
    caf::reacts_to<save_wanted>,
    // Saves a worktree that is not restored.
    caf::replies_to<keep_disk>::with<keep_disk_answer>,
    // Deletes refs of points that were built upon.
    caf::reacts_to<delete_refs>,
    // The executor's results.
    caf::reacts_to<snapshot_result>, caf::reacts_to<push_result>, caf::reacts_to<delete_result>,
    // Starts a push whose time has come.
    caf::reacts_to<save_due>>;

/// The worker threads: libgit2 runs nowhere else.
using git_executor_actor = caf::typed_actor<
    // Queues a fetch; an older job of the same repository is cancelled first.
    caf::reacts_to<repository_request>,
    // Queues a worktree job; an older one of the same worktree is cancelled first.
    caf::reacts_to<worktree_request>,
    // Queues a snapshot of a worktree, a push or a deletion of a rig's refs.
    caf::reacts_to<snapshot_request>, caf::reacts_to<push_request>, caf::reacts_to<delete_request>,
    // Queues the tidying of an agent's private objects.
    caf::reacts_to<prune_request>,
    // Takes a worker's word that its job ended, and gives it the next.
    caf::reacts_to<job_finished>,
    // Gives up a worker whose job is past its deadline.
    caf::reacts_to<job_overdue>,
    // Gives memory back when nothing has run for a moment.
    caf::reacts_to<rest_due>>;

/// The one picture of the town.
using health_actor = caf::typed_actor<
    // Takes over what is to be restored; true when it is part of the picture.
    caf::replies_to<expect>::with<bool>,
    // Progress and outcomes, from every actor.
    caf::reacts_to<rig_progress>, caf::reacts_to<rig_transfer>, caf::reacts_to<rig_settled>,
    caf::reacts_to<worktree_progress>, caf::reacts_to<agent_settled>, caf::reacts_to<process_changed>,
    caf::reacts_to<phase_changed>, caf::reacts_to<trouble>, caf::reacts_to<protection_changed>,
    // Publishes the picture if it changed, and says to the town what it has not heard.
    caf::reacts_to<publish_due>,
    // Answers with what a heartbeat says.
    caf::replies_to<heartbeat_query>::with<heartbeat_facts>>;

/// The conversation with the Durable Object: epoch, token, retries.
using town_link_actor = caf::typed_actor<
    // Says boot until it is answered.
    caf::reacts_to<boot_town>,
    // Says these, with retries.
    caf::reacts_to<report_ready>, caf::reacts_to<report_progress>, caf::reacts_to<report_completed>,
    caf::reacts_to<report_eviction>,
    // Says that a point is on the remote, and the last word of a drain; answered when the town has it.
    caf::replies_to<report_point>::with<point_reported>, caf::replies_to<report_drained>::with<drained_reported>,
    // Reads the desired state again; the supervisor also gets it when its version moved.
    caf::replies_to<reread_desired_state>::with<desired_state_answer>,
    // Makes an agent's call with the container's token and epoch.
    caf::replies_to<agent_call>::with<agent_call_answer>,
    // Asks the town for a rig's credentials.
    caf::replies_to<git_credentials_query>::with<git_credentials_answer>,
    // Takes over a new container token.
    caf::reacts_to<container_token>,
    // The transport's answers and its own clocks.
    caf::reacts_to<town_answered>, caf::reacts_to<town_retry_due>, caf::reacts_to<heartbeat_due>>;

/// One agent's process.
using agent_actor = caf::typed_actor<
    // Starts the process in a restored worktree.
    caf::replies_to<launch_agent>::with<start_answer>,
    // Ends the process group: SIGTERM, then SIGKILL after the grace.
    caf::replies_to<stop_agent>::with<stop_answer>,
    // Answers with what is known of the process.
    caf::replies_to<agent_status_query>::with<agent_status_answer>,
    // The process runner's words.
    caf::reacts_to<process_started>, caf::reacts_to<process_exited>>;

/// The root: the desired state, and the set of rig, worktree and agent actors.
using supervisor_actor = caf::typed_actor<
    // Converges the set of actors to it.
    caf::reacts_to<desired_state_changed>,
    // Learns which agents can be started.
    caf::reacts_to<worktree_settled>, caf::reacts_to<worktree_retired>, caf::reacts_to<agent_idle>,
    // Has a rig's saver save what an unrestored worktree holds.
    caf::replies_to<keep_disk>::with<keep_disk_answer>,
    // Knows that the process of an agent actor that crashed does not live any more.
    caf::reacts_to<process_gone>,
    // Starts, stops and shows agent processes for the control server.
    caf::replies_to<start_agent>::with<start_answer>, caf::replies_to<stop_agent>::with<stop_answer>,
    caf::replies_to<agent_status_query>::with<agent_status_answer>,
    // Answers for the credential helper of one agent.
    caf::replies_to<git_credentials_query>::with<git_credentials_answer>,
    // Has the keepers save now.
    caf::replies_to<snapshot_query>::with<snapshot_answer>,
    // Stops the agents and stays, not ready.
    caf::reacts_to<fenced>,
    // Restarts a child whose backoff is over.
    caf::reacts_to<child_restart_due>,
    // Looks whether the predecessor still drains.
    caf::reacts_to<predecessor_due>,
    // Stops the agents, then everything.
    caf::reacts_to<shutdown>, caf::reacts_to<shutdown_due>>;

} // namespace townkeeper
