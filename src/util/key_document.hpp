// The fields that a cache key is made of. jit and api write them, cache stores them beside the bytes.
#pragma once

#include <string>
#include <string_view>
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

/// A key document without its compiler: what was compiled, whoever compiled it. As it is where it names none.
std::string program_document(std::string_view key_document);
/// The compiler's JSON object in it; empty where it names none.
std::string_view compiler_in(std::string_view key_document);

}  // namespace librt::util
