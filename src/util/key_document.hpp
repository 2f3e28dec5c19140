// The fields that a cache key is made of. jit and api write them, cache stores them beside the bytes.
#pragma once

#include <string>
#include <vector>

#include "src/util/hash.hpp"

namespace librt::util {

struct KeyField {
  std::string name;
  std::string value;  // canonical JSON text: "\"sm_90a\"", "[...]", "{...}"
};

/// Hash over "librt-key\0" and, for each field in the given order, u32 name length, name, u64 value length, value
/// (little-endian), so that no two different lists have the same input.
Digest key_digest(const std::vector<KeyField>& fields);

/// The same fields as one JSON object, in the same order, without white space.
std::string key_document(const std::vector<KeyField>& fields);

}  // namespace librt::util
