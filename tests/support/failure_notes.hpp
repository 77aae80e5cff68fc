#pragma once

#include <cstdint>
#include <string>

namespace townkeeper::test {

class container;

/// What whoever looks at a failed test wants to know beside what it says itself: the seed, and what each container last
/// said of itself. Written down as a test goes along (`container` does it), kept until `forget_notes`, so that it is
/// there also when the containers are gone. Every function may be called by any thread.

/// The test's random choices follow from this seed.
void note_seed(std::uint64_t seed);

/// Asks every container whose daemon runs for its health document, 2 s at most each: to be called at the moment of the
/// failure, before anything is torn down. Only by the thread that starts and ends the containers.
void ask_all_containers();

/// A line for the seed and the variable that repeats it, and for each container of the test its last health document
/// and how old it is; containers that never said anything are named as such. Empty where nothing was noted.
std::string failure_report();

void forget_notes();

// -- for `container` ----------------------------------------------------------

void note_container(container& who);
void note_health(const container& who, const std::string& document);
/// It goes; what it said stays.
void note_end(const container& who);

} // namespace townkeeper::test
