#pragma once

/// What the daemon asks of the kernel for its own process, before it has read a secret and before other threads exist.
namespace townkeeper::cli {

/// Secrets stay in this process's memory: the kernel writes no core dump of it, and other processes of its user, the
/// agents, can read neither its memory nor the environment it was given its tokens in (PR_SET_DUMPABLE, prctl(2);
/// proc(5)). Root still can. Programs it starts have this not (execve(2)). Does nothing under the sanitizers: the
/// search for leaks needs ptrace.
void keep_memory_private() noexcept;

/// Nobody but its user may write to what this process and the agents it starts make, whatever umask it was given; what
/// that forbids besides stays forbidden.
void forbid_writing_by_others() noexcept;

} // namespace townkeeper::cli
