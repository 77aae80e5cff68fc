#include "dispatch.hpp"

#include "bodies.hpp"

namespace townkeeper::contract {

std::chrono::milliseconds in_real_time(std::chrono::seconds town_time, int scale) {
  return std::chrono::milliseconds{town_time} / scale;
}

session town_of(const test::town& host, const std::vector<std::string>& agents) {
  session town{host};
  town.put_rig();
  for (const auto& agent : agents)
    town.put_agent(agent);
  return town;
}

json start_call(const test::control_stub& container, std::size_t index) {
  return json::parse(container.requests().at(index).body);
}

std::vector<std::string> called(const test::control_stub& container) {
  std::vector<std::string> out;
  for (const auto& request : container.requests())
    out.push_back(json::parse(request.body)["agentId"].string());
  return out;
}

std::vector<std::chrono::milliseconds> pauses(const test::control_stub& container) {
  std::vector<std::chrono::milliseconds> out;
  const auto requests = container.requests();
  for (std::size_t i = 1; i < requests.size(); ++i)
    out.push_back(std::chrono::ceil<std::chrono::milliseconds>(requests[i].at - requests[i - 1].at));
  return out;
}

test::stub_answer status(int code, const std::string& body) {
  return {.status = code, .body = body};
}

void gate::open() {
  if (!is_open_) opening_.set_value();
  is_open_ = true;
}

test::control_stub::answerer gate::then(test::stub_answer answer) const {
  return [opened = opened_, answer](const test::stub_request&) {
    opened.wait();
    return answer;
  };
}

} // namespace townkeeper::contract
