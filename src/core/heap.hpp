#pragma once

/// What the process holds of memory.
namespace townkeeper {

/// As many arenas as twice the processors, at least four, where glibc takes eight for each: threads that take turns
/// leave less behind in few. Before the first thread starts.
void bound_the_heap();

enum class memory_is { in_use, at_rest };

/// Gives what the allocator keeps for later back to the system, in the calling thread: from one minute after the first
/// call; while memory is in use at most every ten seconds, what falls between does nothing. A burst of git jobs leaves
/// such memory in every arena (mallopt(3), malloc_trim(3)). Thread-safe.
void give_back_free_memory(memory_is use);

} // namespace townkeeper
