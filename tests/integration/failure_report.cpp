#include <catch2/catch_test_case_info.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>

#include <cstdio>
#include <utility>

#include "tests/support/failure_notes.hpp"

namespace townkeeper::integration {
namespace {

/// Says of each test case that fails what a person needs who has nothing but its output.
class failure_reporter : public Catch::EventListenerBase {
public:
  using EventListenerBase::EventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo&) override {
    test::forget_notes();
    asked_ = false;
  }

  void assertionEnded(const Catch::AssertionStats& stats) override {
    if (stats.assertionResult.isOk() || std::exchange(asked_, true)) return;
    test::ask_all_containers();
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    if (stats.totals.assertions.allOk()) return;
    std::printf("failed: %s\n%s", stats.testInfo->name.c_str(), test::failure_report().c_str());
    std::fflush(stdout);
  }

private:
  bool asked_ = false; ///< once a test case: the first failure is the one to be understood
};

} // namespace

CATCH_REGISTER_LISTENER(failure_reporter)

} // namespace townkeeper::integration
