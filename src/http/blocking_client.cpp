#include "http/blocking_client.hpp"

#include <future>

namespace townkeeper::http {

result<client_response> send_and_wait(client_request r, client_options options) {
  io_thread io;
  io.start();
  auto made = client::create(io, std::move(options));
  if (!made) return made.error();
  std::promise<result<client_response>> answered;
  (*made)->send(std::move(r), [&](result<client_response> answer) { answered.set_value(std::move(answer)); });
  return answered.get_future().get();
}

} // namespace townkeeper::http
