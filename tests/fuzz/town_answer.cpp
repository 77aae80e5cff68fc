// What the town answers, whatever its status: only a success envelope is a success, and a token fits a header.

#include <array>
#include <string>

#include "tests/fuzz/property.hpp"
#include "town/codec.hpp"
#include "town/decode.hpp"

using namespace townkeeper;
using fuzz::require;

namespace {

void decode(const town::answer_data& data) {
  if (const auto boot = town::decode_boot_answer(data)) require(boot->epoch >= 1, "an epoch is at least 1");
  if (const auto ready = town::decode_ready_answer(data))
    require(ready->pending >= 0 && ready->desired_version >= 0, "numbers of an answer are in range");
  (void)town::decode_heartbeat_answer(data);
  (void)town::decode_finished_agents(data);
  if (const auto token = town::decode_container_token(data))
    require(token->reveal().find_first_of(" \r\n") == std::string::npos, "a token fits a header");
  if (const auto token = town::decode_git_token(data))
    require(token->username.find(':') == std::string::npos, "a username holds no colon");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::array<int, 8> statuses{200, 204, 301, 401, 404, 409, 429, 500};
  if (size == 0) return 0;
  const int status = statuses[data[0] % statuses.size()];
  const auto body = fuzz::bytes_of(data + 1, size - 1);
  const auto answer = town::classify("route", status, body, "7");
  require(!answer.data || status == 200 || status == 204, "only a 2xx is a success");
  if (!answer.data) {
    require(answer.data.error().message.find_first_of("\r\n\0", 0, 3) == std::string::npos,
            "an error stays on one line");
    return 0;
  }
  require(body.find(answer.data->text()) != std::string_view::npos, "data is handed on byte for byte");
  decode(*answer.data);
  return 0;
}
