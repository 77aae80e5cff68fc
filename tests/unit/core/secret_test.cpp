#include "core/secret.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <thread>
#include <type_traits>
#include <vector>

using namespace townkeeper;

TEST_CASE("a secret is no string by accident") {
  STATIC_CHECK_FALSE(std::is_convertible_v<secret, std::string>);
  STATIC_CHECK_FALSE(std::is_convertible_v<std::string, secret>);
  CHECK(secret("s3cr3t-value").reveal() == "s3cr3t-value");
  CHECK(secret().empty());
}

TEST_CASE("secrets are compared by value and length") {
  const secret s("correct horse battery");
  CHECK(s.equals("correct horse battery"));
  CHECK_FALSE(s.equals("correct horse batterz"));
  CHECK_FALSE(s.equals("xorrect horse battery"));
  CHECK_FALSE(s.equals("correct horse"));
  CHECK_FALSE(s.equals("correct horse battery staple"));
  CHECK_FALSE(s.equals(std::string("correct horse battery\0", 22)));
  CHECK_FALSE(s.equals(""));
  CHECK(secret().equals(""));
}

TEST_CASE("a secret's value is gone from any text") {
  const secret s("tok/en+value=1?");
  CHECK(redact("bearer tok/en+value=1? and again tok/en+value=1?!") == "bearer *** and again ***!");
}

TEST_CASE("so are its base64 and percent-encoded forms") {
  const secret s("ab?cd/ef gh");
  CHECK(redact("Basic YWI/Y2QvZWYgZ2g= end") == "Basic *** end");
  CHECK(redact("x?token=ab%3Fcd%2Fef%20gh&y") == "x?token=***&y");
}

TEST_CASE("base64 of every length is recognised") {
  // RFC 4648, section 10, goes on like this for the lengths it has no example of.
  const secret one("foobar"), two("foobarb"), three("foobarba");
  CHECK(redact("<Zm9vYmFy>") == "<***>");
  CHECK(redact("<Zm9vYmFyYg==>") == "<***>");
  CHECK(redact("<Zm9vYmFyYmE=>") == "<***>");
}

TEST_CASE("a secret is known in base64 wherever it begins, as the password of HTTP Basic does behind any user's name") {
  const secret s("s3cr3t>>>value?");
  // `printf 'u:s3cr3t>>>value?' | base64`, and so on; the last in the alphabet of URLs.
  CHECK(redact("Basic dTpzM2NyM3Q+Pj52YWx1ZT8=").find("2NyM3Q+Pj52YWx1ZT") == std::string::npos);
  CHECK(redact("Basic dXU6czNjcjN0Pj4+dmFsdWU/") == "Basic dXU6***");
  CHECK(redact("Basic dXV1OnMzY3IzdD4+PnZhbHVlPw==").find("MzY3IzdD4+PnZhbHVlP") == std::string::npos);
  CHECK(redact("dXU6czNjcjN0Pj4-dmFsdWU_") == "dXU6***");
}

TEST_CASE("however many secrets there were, the newest is known, and the first ones are") {
  const secret first("the-first-secret-of-this-process");
  for (int i = 0; i < 1500; ++i)
    const secret rotated("rotated-token-" + std::to_string(i));
  CHECK(redact("rotated-token-1499 the-first-secret-of-this-process") == "*** ***");
}

TEST_CASE("a secret that contains another is replaced whole") {
  const secret inner("middle-part"), outer("front-middle-part-back");
  CHECK(redact("front-middle-part-back") == "***");
  CHECK(redact("a middle-part b") == "a *** b");
}

TEST_CASE("a word too short to be a secret blanks out no text") {
  const secret s("a");
  CHECK(redact("banana") == "banana");
}

TEST_CASE("the userinfo of a URL is never shown, known as a secret or not") {
  CHECK(redact("https://user:pass@host/p") == "https://***@host/p");
  CHECK(redact("https://token@host") == "https://***@host");
  CHECK(redact("https://a:b@c@host/x") == "https://***@host/x");
  CHECK(redact("https://a:b/c+d@host/x") == "https://***@host/x");
  CHECK(redact("https://b+/c@host/x, https://[::1]:80/a@2x") == "https://***@host/x, https://[::1]:80/a@2x");
  CHECK(redact("http://host:80/path@2x.png") == "http://host:80/path@2x.png");
  CHECK(redact("one http://u:p@h1/ two ssh://v@h2/") == "one http://***@h1/ two ssh://***@h2/");
  CHECK(redact("https://host/path@2x.png") == "https://host/path@2x.png");
  CHECK(redact("mail to a@b.c, see https://host") == "mail to a@b.c, see https://host");
  CHECK(redact("://") == "://");
}

TEST_CASE("secrets can be made and redacted from many threads at once") {
  std::atomic<int> shown{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t, &shown] {
      for (int i = 0; i < 50; ++i) {
        const secret s("thread-" + std::to_string(t) + "-secret-" + std::to_string(i));
        if (redact("x" + s.reveal() + "x").find("secret") != std::string::npos) ++shown;
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(shown == 0);
}

TEST_CASE("of the beginning of a text no secret is shown in part, wherever its end falls") {
  const secret s("s3cr3t-that-may-be-cut"), other("cut-in-the-middle-too"); // one begins inside of the other
  const std::string text = "a s3cr3t-that-may-be-cut-in-the-middle-too, czNjcjN0LXRoYXQtbWF5LWJlLWN1dA== b";
  for (std::size_t n = 0; n <= text.size() + 1; ++n) {
    CAPTURE(n);
    const auto shown = redact_beginning(text, n);
    CHECK(shown.size() <= n + 3);
    for (const auto* part : {"s3c", "that", "czN", "LWN1dA"})
      CHECK(shown.find(part) == std::string::npos);
  }
  CHECK(redact_beginning(text, text.size()) == redact(text));
  CHECK(redact_beginning("word s3cr3t-that-may-be-cut", 10) == "word ");
  CHECK(redact_beginning("word s3cr3t-that-may-differ", 10) == "word s3cr3");
}

TEST_CASE("of the beginning of a text no userinfo is shown that its end cuts off from its host") {
  const std::string text = "see http://a/b and https://us:pw/http://x@host/path then";
  for (std::size_t n = 0; n <= text.size(); ++n) {
    CAPTURE(n);
    const auto shown = redact_beginning(text, n);
    CHECK(shown.find("us") == std::string::npos);
    CHECK(shown.find("pw") == std::string::npos);
  }
  CHECK(redact_beginning(text, text.size() - 4) == "see http://a/b and https://***@host/path ");
}
