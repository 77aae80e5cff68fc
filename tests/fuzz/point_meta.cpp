// meta.json of a recovery point, which lies on a remote that anybody with a token may have written to.

#include <string>

#include "git/point_meta.hpp"
#include "tests/fuzz/property.hpp"
#include "town/field_rules.hpp"

using namespace townkeeper;
using fuzz::require;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string commit(40, 'a');
  const auto meta = git::decode_meta(fuzz::bytes_of(data, size), commit);
  if (!meta) return 0;
  require(meta->point.commit == commit, "the commit is the one the document lies in");
  require(town::recovery_ref(meta->point.ref) == nullptr, "a point's ref is one, also behind %XX");
  require(town::valid_branch(meta->point.branch) == nullptr, "a branch is one, also behind %XX");
  require(!meta->point.head.ref || town::valid_ref(*meta->point.head.ref) == nullptr, "HEAD's ref is one");
  const auto again = git::decode_meta(git::encode_meta(*meta), commit);
  require(again.has_value(), "what was decoded can be encoded");
  require(again->point == meta->point && again->identity == meta->identity && again->left_out == meta->left_out,
          "meta.json is encoded and decoded to the same");
  return 0;
}
