#include <cstdlib>
#include <iostream>
#include <iterator>
#include <utility>

#include "cli/agent_client.hpp"
#include "cli/checkpoint_body.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "town/json_writer.hpp"

/// What an agent says and asks. Each command prints what it got, or one word that it was heard.
namespace townkeeper::cli {
namespace {

/// Reads at most what a body may have, and one byte more to know that there is more.
result<std::string> read_standard_input() {
  constexpr std::size_t most = 1024 * 1024;
  std::string text;
  for (std::istreambuf_iterator<char> at(std::cin), end; at != end && text.size() <= most; ++at)
    text += *at;
  if (text.size() > most)
    return error{error_code::too_large, "standard input", "is more than 1 MiB; a checkpoint may have 256 KiB"};
  return text;
}

/// Calls the daemon for the agent that runs this.
result<std::string> call(std::string method, const std::string& target, std::string body = {}) {
  const auto socket = agent_socket();
  if (!socket) return socket.error();
  return call_daemon(*socket, std::move(method), target, std::move(body));
}

int print(const result<std::string>& answer) {
  if (!answer) return fail(answer.error());
  std::cout << *answer << '\n' << std::flush;
  return std::cout ? done : disk;
}

} // namespace

int put(const put_checkpoint& what) {
  auto given = what.data ? result<std::string>(*what.data) : read_standard_input();
  if (!given) return fail(given.error());
  auto body = checkpoint_body(*given, what.as_text);
  if (!body) return fail(body.error());
  return print(call("POST", "/checkpoint", std::move(*body)));
}

int get(const get_checkpoint& what) {
  const auto history = call("GET", "/checkpoints?limit=" + std::to_string(what.history.value_or(1)));
  if (what.history || !history) return print(history);
  return print(newest_checkpoint(*history));
}

int prime() {
  return print(call("GET", "/prime"));
}

int acknowledge(const acknowledge_mail& what) {
  town::json_writer body;
  body.begin_object();
  body.list("ids", what.ids, [&](const std::string& id) { body.value(id); });
  body.end_object();
  return print(call("POST", "/mail-ack", body.text()));
}

int finish(const done_command& what) {
  const auto* own = std::getenv("GASTOWN_BRANCH");
  const auto branch = what.branch ? *what.branch : std::string(own != nullptr ? own : "");
  if (branch.empty())
    return fail({error_code::invalid_argument, "--branch", "is not given, and GASTOWN_BRANCH is not set"});
  town::json_writer body;
  body.begin_object();
  body.member("branch", branch);
  body.member("pr_url", what.pr_url);
  body.member("summary", what.summary);
  body.end_object();
  return print(call("POST", "/done", body.text()));
}

int say(const say_status& what) {
  town::json_writer body;
  body.begin_object();
  body.member("message", what.message);
  body.end_object();
  return print(call("POST", "/status", body.text()));
}

} // namespace townkeeper::cli
