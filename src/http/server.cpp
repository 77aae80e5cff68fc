#include "http/server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <system_error>

#include "core/log.hpp"
#include "http/server_state.hpp"

namespace townkeeper::http {
namespace {

namespace net = boost::asio;

constexpr int accepts_per_turn = 64; // so that a flood of connections does not starve those that are open
constexpr std::chrono::milliseconds accept_back_off{100};

constexpr std::string_view too_many_connections =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    "Content-Type: application/json\r\nContent-Length: 82\r\n\r\n"
    R"({"success":false,"error":"too many connections at work","code":"too_many_clients"})";

/// Best effort: the client may have gone, and what it has sent is read only so far as it is here, so that closing does
/// not take the answer back.
void turn_away(const unique_fd& client) {
  std::ignore =
      ::send(client.get(), too_many_connections.data(), too_many_connections.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(client.get(), SHUT_WR);
  char unread[4096];
  std::ignore = ::recv(client.get(), unread, sizeof unread, MSG_DONTWAIT);
}

/// What connections wait for; only those `at_work` wait for us.
enum line_name : std::size_t { lingering, between_requests, in_transfer, at_work };

line_name line_of(server_connection::stage s) {
  switch (s) {
  case server_connection::stage::lingering:
    return lingering;
  case server_connection::stage::idle:
  case server_connection::stage::header: // not after `idle`: a probe that has just come in is idle, too
    return between_requests;
  case server_connection::stage::body:
  case server_connection::stage::writing:
    return in_transfer;
  case server_connection::stage::handling:
    break;
  }
  return at_work;
}

} // namespace

// -- server_state: listeners --------------------------------------------------

server_state::server_state(const std::shared_ptr<io_core>& core, handler h, const server_limits& l)
    : limits(l)
    , handle(std::move(h))
    , context_(core->context)
    , core_(core) {}

void server_state::add_listener(unique_fd fd, unix_listener file, std::string label) {
  auto l = std::make_shared<listener>(listener{net::posix::stream_descriptor(context_), net::steady_timer(context_),
                                               std::move(file), std::move(label)});
  boost::system::error_code failed;
  l->descriptor.assign(fd.get(), failed);
  if (failed) {
    log::failure("cannot watch a listening socket", {{"what", failed.message()}});
    return;
  }
  fd.release();
  listeners_.push_back(l);
  wait_for_clients(l);
}

void server_state::wait_for_clients(const std::shared_ptr<listener>& l) {
  l->descriptor.async_wait(net::posix::stream_descriptor::wait_read,
                           [self = shared_from_this(), l](boost::system::error_code failed) {
                             if (!failed && !l->closed) self->accept_clients(l);
                           });
}

void server_state::accept_clients(const std::shared_ptr<listener>& l) {
  for (int turn = 0; turn < accepts_per_turn; ++turn) {
    auto client = accept_from(l->descriptor.native_handle());
    if (client.fd) {
      admit(std::move(client), l->label);
      continue;
    }
    if (client.error_number == EAGAIN) break;
    const bool out_of_descriptors = client.error_number == EMFILE || client.error_number == ENFILE;
    if (out_of_descriptors && evict_one()) continue;
    // Errors of the one connection that was to be accepted (accept(2)) concern nobody else.
    if (client.error_number == EINTR || client.error_number == ECONNABORTED || client.error_number == EPROTO) continue;
    log::warn("cannot accept connections", {{"what", std::generic_category().message(client.error_number)}});
    return retry_later(l);
  }
  wait_for_clients(l);
}

void server_state::retry_later(const std::shared_ptr<listener>& l) {
  l->back_off.expires_after(accept_back_off);
  l->back_off.async_wait([self = shared_from_this(), l](boost::system::error_code failed) {
    if (!failed && !l->closed) self->accept_clients(l);
  });
}

void server_state::close(listener& l) {
  l.closed = true;
  boost::system::error_code ignored;
  l.descriptor.close(ignored);
  l.back_off.cancel();
  if (!l.file.path.empty()) unlink_listener(l.file);
}

void server_state::remove_unix(const std::filesystem::path& path) {
  const auto found =
      std::find_if(listeners_.begin(), listeners_.end(), [&](const auto& l) { return l->file.path == path; });
  if (found == listeners_.end()) return;
  close(**found);
  const auto connections = connections_; // finishing removes from the original
  for (const auto& each : connections)
    if (each->label() == (*found)->label) each->finish();
  listeners_.erase(found);
}

// -- server_state: connections ------------------------------------------------

void server_state::admit(accepted_socket client, const std::string& label) {
  if (connections_.size() >= limits.max_connections && !evict_one()) return turn_away(client.fd);
  server_connection::socket_type socket(context_);
  boost::system::error_code failed;
  socket.assign(net::generic::stream_protocol(client.family, 0), client.fd.get(), failed);
  if (failed) return log::warn("cannot watch a connection", {{"what", failed.message()}});
  client.fd.release();
  auto connection =
      std::make_shared<server_connection>(shared_from_this(), std::move(socket), std::move(client.peer), label);
  connections_.insert(connection);
  auto& line = lines_.at(line_of(connection->current_stage()));
  connection->standing() = {&line, line.insert(line.end(), connection.get())};
  connection_count = connections_.size();
  connection->start();
}

void server_state::line_up(server_connection& connection) {
  auto& to = lines_.at(line_of(connection.current_stage()));
  auto& [from, place] = connection.standing();
  to.splice(to.end(), *from, place);
  from = &to;
}

bool server_state::evict_one() {
  // Of the two that may be hoarded, the longer: whichever way somebody fills the server, those go that do it, and the
  // few that use it otherwise stay.
  auto& crowd =
      lines_.at(lines_.at(in_transfer).size() > lines_.at(between_requests).size() ? in_transfer : between_requests);
  auto& from = lines_.at(lingering).empty() ? crowd : lines_.at(lingering);
  if (from.empty()) return false;
  from.front()->close();
  return true;
}

void server_state::remove(const std::shared_ptr<server_connection>& connection) {
  const auto& [line, place] = connection->standing();
  line->erase(place);
  connections_.erase(connection);
  connection_count = connections_.size();
  if (connections_.empty() && none_left_) std::exchange(none_left_, nullptr)();
}

bool server_state::reserve_body(std::size_t bytes) noexcept {
  if (bytes > limits.max_body_bytes_together - body_bytes_) return false;
  body_bytes_ += bytes;
  return true;
}

void server_state::begin_stop(std::function<void()> none_left) {
  for (const auto& l : listeners_)
    close(*l);
  listeners_.clear();
  const auto connections = connections_;
  for (const auto& each : connections)
    each->finish();
  if (connections_.empty()) return none_left();
  none_left_ = std::move(none_left);
}

void server_state::close_all() {
  const auto connections = connections_;
  for (const auto& each : connections)
    each->close();
}

// -- server -------------------------------------------------------------------

server::server(io_thread& io, handler handle, server_limits limits)
    : io_(io)
    , state_(std::make_shared<server_state>(io.core(), std::move(handle), limits)) {}

server::~server() {
  stop(std::chrono::milliseconds(0));
}

result<void> server::listen_tcp(std::string_view address_and_port) {
  auto made = listen_on_tcp(address_and_port);
  if (!made) return made.error();
  state_->bound_port = made->port;
  io_.run_and_wait([&] { state_->add_listener(std::move(made->fd), {}, {}); });
  return {};
}

std::uint16_t server::bound_port() const noexcept {
  return state_->bound_port;
}

result<void> server::listen_unix(const std::filesystem::path& path, std::string label) {
  if (label.empty()) return error{error_code::invalid_argument, path.string(), "a Unix socket needs a label"};
  auto made = listen_on_unix(path);
  if (!made) return made.error();
  io_.run_and_wait([&] {
    auto fd = std::move(made->fd);
    state_->add_listener(std::move(fd), std::move(*made), std::move(label));
  });
  return {};
}

void server::remove_unix(const std::filesystem::path& path) {
  io_.run_and_wait([&] { state_->remove_unix(path); });
}

void server::stop(std::chrono::milliseconds deadline) {
  // Shared: a connection may close while the waiting below is given up.
  const auto all_closed = std::make_shared<std::promise<void>>();
  const auto waiting = all_closed->get_future();
  io_.run_and_wait([&] { state_->begin_stop([all_closed] { all_closed->set_value(); }); });
  if (waiting.wait_for(deadline) == std::future_status::ready) return;
  io_.run_and_wait([&] { state_->close_all(); });
}

std::size_t server::connection_count() const noexcept {
  return state_->connection_count;
}

} // namespace townkeeper::http
