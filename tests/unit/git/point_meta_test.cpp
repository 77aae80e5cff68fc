// The documents of a recovery point's tree.
#include <catch2/catch_test_macros.hpp>

#include "git/point_meta.hpp"
#include "tests/unit/core/result_printer.hpp"

using namespace townkeeper;

namespace {

git::point_meta sample() {
  git::point_meta meta;
  meta.point.epoch = 3;
  meta.point.seq = 17;
  meta.point.ref = "refs/townkeeper/t1/a1/3";
  meta.point.commit = std::string(40, 'c');
  meta.point.git_url = "https://host.example/r.git";
  meta.point.branch = "work";
  meta.point.branch_commit = std::string(40, 'b');
  meta.point.head.ref = "refs/heads/work";
  meta.point.saved_at = "2026-11-22T12:00:00Z";
  meta.point.kind = "auto";
  meta.point.files = {1, 2, 3, 4};
  meta.identity = "Ada <ada@example.invalid>";
  meta.left_out = {{"big.bin", "is larger than 95 MiB"}};
  return meta;
}

} // namespace

TEST_CASE("a point's meta.json is read back as it was written") {
  auto meta = sample();
  SECTION("with everything absent that may be") {}
  SECTION("with everything present") {
    meta.point.remote_commit = std::string(40, 'a');
    meta.point.head.commit = std::string(40, 'b');
    meta.point.clean = true;
  }
  SECTION("with names that are not UTF-8, or look percent-encoded") {
    meta.point.head.ref = "refs/heads/caf\xE9";
    meta.left_out.push_back({"100%41/\xFF\xFE", "why"});
    meta.left_out.push_back({"tab\there", "why"});
  }
  const auto back = git::decode_meta(git::encode_meta(meta), meta.point.commit);
  REQUIRE(back);
  CHECK(back->point == meta.point);
  CHECK(back->identity == meta.identity);
  CHECK(back->left_out == meta.left_out);
}

TEST_CASE("a meta.json of a later format is unsupported") {
  auto text = git::encode_meta(sample());
  text.replace(text.find("\"format\":1"), 10, "\"format\":2");
  const auto read = git::decode_meta(text, std::string(40, 'c'));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == error_code::unsupported);
}

TEST_CASE("a meta.json that is anything else is corrupt") {
  auto text = git::encode_meta(sample());
  SECTION("no JSON") {
    text.pop_back();
  }
  SECTION("no point") {
    text = R"({"format":1,"identity":"x","leftOut":[]})";
  }
  SECTION("a hostile ref") {
    text.replace(text.find("refs/townkeeper/"), 16, "refs/heads/town/");
  }
  SECTION("a hostile ref behind a percent sign") {
    text.replace(text.find("t1/a1/3"), 7, "%2E%2E/a1/3");
  }
  SECTION("a hostile branch behind a percent sign") {
    text.replace(text.find("\"branch\":\"work"), 14, "\"branch\":\"w%0Ark");
  }
  SECTION("a hostile HEAD behind a percent sign") {
    text.replace(text.find("refs/heads/work"), 15, "refs/heads/%2Dx%00");
  }
  const auto read = git::decode_meta(text, std::string(40, 'c'));
  REQUIRE_FALSE(read);
  CHECK(read.error().code == error_code::corrupt);
}

TEST_CASE("refs.json is read back as it was written") {
  git::point_refs refs;
  refs.operation = {{"MERGE_HEAD", std::string(40, '1')}, {"rebase-merge/onto", std::string(40, '2')}};
  refs.refs = {{"refs/heads/\xC3\xA9t\xE9", std::string(40, '3')}, {"refs/tags/v1%20", std::string(40, '4')}};
  refs.stash = {std::string(40, '5'), std::string(40, '6')};
  const auto back = git::decode_refs(git::encode_refs(refs));
  REQUIRE(back);
  CHECK(back->operation == refs.operation);
  CHECK(back->refs == refs.refs);
  CHECK(back->stash == refs.stash);
  CHECK_FALSE(git::decode_refs(R"({"operation":{"MERGE_HEAD":"nonsense"},"refs":[],"stash":[]})"));
}

TEST_CASE("a name in refs.json is judged by what it stands for, not by how it is written") {
  const auto text = [](const std::string& name) {
    return R"({"operation":{},"refs":[{"name":")" + name + R"(","id":")" + std::string(40, '1') + R"("}],"stash":[]})";
  };
  for (const auto* hostile : {"refs/heads/%2E%2E/x", "refs/heads/a%0Ab", "refs/heads/a%00", "refs/heads/x%2Elock"}) {
    CAPTURE(hostile);
    CHECK_FALSE(git::decode_refs(text(hostile)));
  }
  // 200 bytes that are no UTF-8: three times as long in the document.
  git::point_refs refs;
  refs.refs = {{"refs/heads/" + std::string(200, '\xE9'), std::string(40, '1')}};
  const auto back = git::decode_refs(git::encode_refs(refs));
  REQUIRE(back);
  CHECK(back->refs == refs.refs);
}
