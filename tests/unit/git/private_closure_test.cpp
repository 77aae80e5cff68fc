// A closing that is cancelled half-way keeps what it brought, and the next one goes on from there.
#include "git/private_closure.hpp"

#include <catch2/catch_test_macros.hpp>
#include <git2/sys/odb_backend.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "snapshot_rig.hpp"

using namespace townkeeper;
using namespace townkeeper::test;

namespace {

constexpr int commits = 20, until = 10;

git_oid id_of(const snapshot_rig& rig, const std::string& revision) {
  return *git::parse_oid(rig.agent_git({"rev-parse", revision}).substr(0, 40));
}

/// Sees every object that is read from a repository, before the stores do; has none itself.
struct watching : git_odb_backend {
  git::oid_set seen;
  git_oid wire{}; ///< when this one is read, the flag is set
  git::cancel_flag flag;
};

int watch_read(void**, std::size_t*, git_object_t*, git_odb_backend* backend, const git_oid* id) noexcept {
  auto& self = *static_cast<watching*>(backend);
  self.seen.insert(*id);
  if (git::same(*id, self.wire)) *self.flag = true;
  return GIT_ENOTFOUND;
}

/// One closing of the worktree's HEAD with a repository and a store of its own; they share what was closed before.
struct one_closing {
  one_closing(const snapshot_rig& rig, git::closure_memory& shared)
      : repository(*git::open_with_private_objects(rig.repository(), {"a1"}))
      , store(*git::private_store::open(rig.repository(), "a1"))
      , memory(shared) {
    git::odb_handle odb;
    REQUIRE(git_repository_odb(git::out(odb), repository.get()) == 0);
    auto backend = std::make_unique<watching>();
    REQUIRE(git_odb_init_backend(backend.get(), GIT_ODB_BACKEND_VERSION) == 0);
    backend->flag = std::make_shared<std::atomic<bool>>(false);
    backend->read = &watch_read;
    backend->free = [](git_odb_backend* each) { delete static_cast<watching*>(each); };
    REQUIRE(git_odb_add_backend(odb.get(), backend.get(), 1000) == 0);
    watch = backend.release();
  }
  result<std::set<std::string>> run(const std::string& id) {
    return git::close_history({repository.get(), store, memory, 1 << 30, watch->flag}, {id});
  }

  git::repository_handle repository;
  git::private_store store;
  git::closure_memory& memory;
  watching* watch = nullptr; ///< the repository's
};

std::string ancestor(int generation) {
  return "HEAD~" + std::to_string(generation);
}

} // namespace

TEST_CASE("a closing that is cancelled half-way keeps what it brought, and the next one brings the rest") {
  const snapshot_rig rig;
  rig.commit_unpushed(commits);
  const auto head = rig.agent_git({"rev-parse", "HEAD"}).substr(0, 40);
  git::closure_memory memory;
  {
    one_closing first(rig, memory);
    // Read as that of the parent of the last commit that is brought.
    first.watch->wire = id_of(rig, ancestor(until) + "^{tree}");
    const auto done = first.run(head);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == error_code::cancelled);
  }
  CHECK(memory.whole.size() == until);
  CHECK(memory.tips.empty()); // it was not closed
  one_closing second(rig, memory);
  for (int i = 0; i < commits; ++i) {
    INFO(i);
    const bool brought = i < until;
    CHECK(second.store.contains(id_of(rig, ancestor(i))) == brought);
    CHECK(second.store.contains(id_of(rig, ancestor(i) + ":a")) == brought);
  }
  const auto done = second.run(head);
  REQUIRE(done);
  CHECK(done->empty());
  CHECK(memory.whole.size() == commits);
  for (int i = 0; i < commits; ++i) {
    INFO(i);
    CHECK(second.store.contains(id_of(rig, ancestor(i))));
    CHECK(second.store.contains(id_of(rig, ancestor(i) + "^{tree}")));
    CHECK(second.store.contains(id_of(rig, ancestor(i) + ":a")));
  }
  // What the first one brought was not gone through again.
  CHECK_FALSE(second.watch->seen.contains(id_of(rig, "HEAD^{tree}")));
  CHECK(second.watch->seen.contains(id_of(rig, ancestor(until) + "^{tree}")));
}
