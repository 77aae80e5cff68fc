#pragma once

#include <string>
#include <string_view>

#include "core/error.hpp"
#include "git/fetch.hpp"
#include "git/recovery.hpp"

namespace townkeeper::git {

/// Why a remote did not set a ref, in our words.
struct ref_refusal {
  refusal kind = refusal::none;
  error why;
};

/// What an upload means for one ref; `none`: it was set. A ref that was not answered was not set. git's own words are
/// those of builtin/receive-pack.c; other servers say "pre-receive hook declined" for whatever a policy forbids.
ref_refusal refusal_of(const upload_report& report, const std::string& agent_id, const std::string& ref);

/// The same for a whole push that ended with 413.
ref_refusal refused_size(const std::string& agent_id, const error& why);

} // namespace townkeeper::git
