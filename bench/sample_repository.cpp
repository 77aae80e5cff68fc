#include "sample_repository.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <sstream>
#include <string_view>

#include "tests/support/git_cli.hpp"

namespace townkeeper::bench {

namespace {

constexpr std::array<std::string_view, 24> words{"return", "value", "const",  "if",       "while",    "result",
                                                 "(",      ")",     "{\n",    "}\n",      ";\n",      "=",
                                                 "state",  "error", "branch", "commit",   "tree",     "index",
                                                 "// of",  "the\n", "worker", "include ", "restore(", "nullptr"};

class stream {
public:
  explicit stream(const sample_shape& shape)
      : shape_{shape}
      , random_{shape.seed} {}

  std::string text() {
    for (std::uint32_t c = 0; c < shape_.commits; ++c)
      commit("refs/heads/main", "", c == 0 ? shape_.files : 3);
    for (std::uint32_t b = 0; b < shape_.branches; ++b)
      commit("refs/heads/" + sample_branch(b), "refs/heads/main", 2);
    out_ << "done\n";
    return out_.str();
  }

private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  std::string content() {
    // Many small files, few large ones, as in source trees.
    const auto size = 200 + static_cast<std::size_t>(below(100) < 90 ? below(6'000) : below(20'000));
    std::string out;
    out.reserve(size + 16);
    while (out.size() < size)
      out.append(words[below(words.size())]).append(std::to_string(below(1'000))).push_back(' ');
    return out;
  }

  std::string path(std::uint32_t n) const {
    return "src/part" + std::to_string(n % 20) + "/unit" + std::to_string(n / 20 % 12) + "/file" + std::to_string(n) +
           ".cpp";
  }

  void data(const std::string& bytes) { out_ << "data " << bytes.size() << '\n' << bytes << '\n'; }

  void commit(const std::string& ref, const std::string& from, std::uint32_t changes) {
    out_ << "commit " << ref << "\ncommitter Sample <sample@example.invalid> " << 1'700'000'000 + commits_++
         << " +0000\n";
    data("change " + std::to_string(commits_));
    if (!from.empty()) out_ << "from " << from << '\n';
    for (std::uint32_t i = 0; i < changes; ++i) {
      const auto n = commits_ == 1 ? i : static_cast<std::uint32_t>(below(shape_.files));
      const bool link = n % 199 == 7;
      out_ << "M " << (link ? "120000" : n % 53 == 5 ? "100755" : "100644") << " inline " << path(n) << '\n';
      data(link ? "file" + std::to_string(n + 1) + ".cpp" : content());
    }
  }

  sample_shape shape_;
  std::mt19937_64 random_;
  std::ostringstream out_;
  std::uint64_t commits_ = 0;
};

} // namespace

std::string sample_branch(std::uint32_t number) {
  return "work/" + std::to_string(number);
}

void make_sample_repository(const std::filesystem::path& where, const sample_shape& shape) {
  std::filesystem::create_directories(where);
  test::run_git(where, {"init", "-q", "--bare", "."});
  test::run_git(where, {"fast-import", "--quiet", "--done", "--date-format=raw"}, stream{shape}.text());
  test::run_git(where, {"repack", "-adq"});
}

} // namespace townkeeper::bench
