// refs.json of a recovery point: its names become refs of the agent's repository.

#include <string>

#include "git/point_meta.hpp"
#include "tests/fuzz/property.hpp"
#include "town/field_rules.hpp"

using namespace townkeeper;
using fuzz::require;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  require(git::percent_decoded(git::percent_encoded(bytes)) == bytes, "any bytes survive the percent encoding");
  const auto refs = git::decode_refs(bytes);
  if (!refs) return 0;
  for (const auto& [name, id] : refs->refs)
    require(town::valid_ref(name) == nullptr && town::full_commit(id) == nullptr, "a ref is one, also behind %XX");
  for (const auto& id : refs->stash)
    require(town::full_commit(id) == nullptr, "the stash holds ids");
  const auto again = git::decode_refs(git::encode_refs(*refs));
  require(again.has_value(), "what was decoded can be encoded");
  require(again->operation == refs->operation && again->refs == refs->refs && again->stash == refs->stash,
          "refs.json is encoded and decoded to the same");
  return 0;
}
