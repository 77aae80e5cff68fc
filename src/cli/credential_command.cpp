#include <rapidjson/document.h>

#include <iostream>
#include <string_view>

#include "cli/agent_client.hpp"
#include "cli/commands.hpp"
#include "cli/credential_request.hpp"
#include "cli/exit_code.hpp"
#include "core/bounded_json.hpp"
#include "http/message.hpp"

namespace townkeeper::cli {
namespace {

std::string query_of(const credential_request& request) {
  return "?protocol=" + http::percent_encode(request.protocol) + "&host=" + http::percent_encode(request.host) +
         "&path=" + http::percent_encode(request.path);
}

/// A value that git could take for two lines is no login of ours.
std::string_view line_of(const rapidjson::Document& login, const char* name) {
  const auto found = login.FindMember(name);
  if (found == login.MemberEnd() || !found->value.IsString()) return {};
  const std::string_view text(found->value.GetString(), found->value.GetStringLength());
  return text.find_first_of(std::string_view("\n\0", 2)) == std::string_view::npos ? text : std::string_view{};
}

} // namespace

int answer_git(const credential_command& what) {
  if (what.operation != "get" && what.operation != "erase") return done;
  const auto socket = agent_socket();
  if (!socket) return fail(socket.error());
  const auto query = query_of(read_credential_request(std::cin));
  const auto answer = what.operation == "get" ? call_daemon(*socket, "GET", "/credential" + query)
                                              : call_daemon(*socket, "POST", "/credential-refused" + query);
  // Not ours to answer, or nothing to tell: git goes on without.
  if (!answer && answer.error().code == error_code::not_found) return done;
  if (!answer) return fail(answer.error());
  if (what.operation == "erase") return done;
  rapidjson::Document login;
  if (parse_bounded(*answer, login) || !login.IsObject())
    return fail({error_code::corrupt, "credential", "the daemon's answer cannot be read"});
  const auto username = line_of(login, "username"), password = line_of(login, "password");
  if (!username.empty() && !password.empty())
    std::cout << "username=" << username << "\npassword=" << password << '\n' << std::flush;
  return done;
}

} // namespace townkeeper::cli
