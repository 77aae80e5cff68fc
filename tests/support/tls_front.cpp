#include "tls_front.hpp"

#include <sstream>

namespace townkeeper::test {

tls_front::tls_front(int upstream_port)
    : upstream_port_{upstream_port} {
  show_good_certificate();
}

void tls_front::restart(const std::filesystem::path& certificate) {
  server_.stop();
  std::ostringstream text;
  text << "server.modules = (\"mod_openssl\", \"mod_proxy\")\n"
       << "server.document-root = " << dir_.path() << "\nserver.upload-dirs = (" << dir_.path() << ")\n"
       << "ssl.engine = \"enable\"\nssl.pemfile = " << certificate << "\n"
       << "proxy.server = (\"\" => ((\"host\" => \"127.0.0.1\", \"port\" => " << upstream_port_ << ")))\n";
  server_.start(text.str());
}

} // namespace townkeeper::test
