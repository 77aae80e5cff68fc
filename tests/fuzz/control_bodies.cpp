// Bodies that reach the control server and the agents' socket, but for /agents/start (start_request.cpp).

#include <sstream>
#include <string>

#include "cli/checkpoint_body.hpp"
#include "cli/credential_request.hpp"
#include "core/bounded_json.hpp"
#include "core/ids.hpp"
#include "tests/fuzz/property.hpp"
#include "town/decode.hpp"

using namespace townkeeper;

namespace {

bool is_json(std::string_view text) {
  rapidjson::Document document;
  return !parse_bounded(text, document);
}

void refresh_token(std::string_view body) {
  const auto decoded = town::decode_token_refresh(body);
  if (!decoded) {
    fuzz::require(decoded.error().code == error_code::invalid_argument, "a refused body is invalid_argument");
    return;
  }
  const auto& token = decoded->token.reveal();
  fuzz::require(!token.empty() && token.find_first_of(" \r\n\t\0", 0, 5) == std::string::npos, "a token fits a header");
  fuzz::require(!decoded->town_id || is_valid_id(*decoded->town_id), "a town's id is one");
}

void snapshot(std::string_view body) {
  const auto decoded = town::decode_snapshot_request(body);
  fuzz::require(!decoded || !*decoded || is_valid_id(**decoded), "an agent's id is one");
}

void checkpoint(std::string_view given) {
  for (const bool as_text : {false, true})
    if (const auto body = cli::checkpoint_body(given, as_text))
      fuzz::require(is_json(*body), "the body of a checkpoint is JSON");
  if (const auto newest = cli::newest_checkpoint(given))
    fuzz::require(is_json(*newest), "a checkpoint taken out of a history is JSON");
}

void credential(std::string_view given) {
  std::istringstream in{std::string(given)};
  const auto asked = cli::read_credential_request(in);
  if (!cli::is_of_remote(asked, "https://git.example/team/repo.git")) return;
  fuzz::require(asked.protocol == "https", "a login goes over https alone");
  fuzz::require(asked.host.size() >= 11 && asked.host.find_first_of("@/?#\\ ") == std::string::npos,
                "a login goes to the rig's own host");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto body = fuzz::bytes_of(data, size);
  refresh_token(body);
  snapshot(body);
  checkpoint(body);
  credential(body);
  return 0;
}
