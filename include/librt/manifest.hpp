// Which specializations to have ready: lists of specs and architectures, as text.
#pragma once

#include <librt/export.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

/// What a manifest may ask for: specs before equal ones are dropped, architectures, bytes of its text.
inline constexpr std::size_t kMaxManifestSpecs = 10'000;
inline constexpr std::size_t kMaxManifestArchs = 64;
inline constexpr std::size_t kMaxManifestBytes = std::size_t{4} << 20;

/// Each of `specs` for each of `archs`. A value: copies are independent.
struct Manifest {
  std::string source{};       ///< where the shapes come from; empty = not said
  std::string note{};         ///< whatever else there is to say; empty = nothing
  std::vector<Arch> archs{};  ///< may be empty: whoever uses the manifest says which, then
  std::vector<Spec> specs{};  ///< distinct, kv_dtype set, in the order of the text

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

/// Reads {"archs": ["sm_90a", ...], "specs": [...], "source": "...", "note": "..."}, of which only "specs" has to be
/// there. A spec is a line, as parse_spec() reads it, or an object:
///
///     "KERNEL dtype=bf16,f16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16,32,64"
///     {"kernel": "KERNEL", "dtype": "bf16", "num_heads": [16, 128], "page_size": 64}
///
/// In both, a member may have several values, with commas between them, in an object also as an array. An entry stands
/// for every combination of its members' values, the last member of the spec's struct changing fastest. Equal specs are
/// kept once.
///
/// @param origin what the errors call the text, e.g. its path.
/// Throws Error(invalid_argument) that names the origin, the entry, the member, its value and what is allowed: for text
/// that is not JSON, unknown or doubled members, specs that validate() refuses, and more than the bounds above allow.
LIBRT_API Manifest parse_manifest(std::string_view text, std::string_view origin);

/// As parse_manifest(), of a file. Throws Error(io), too.
LIBRT_API Manifest read_manifest(const std::string& path);

/// Text that parse_manifest() reads back: one line for each spec.
LIBRT_API std::string to_json(const Manifest& manifest);

}  // namespace librt
