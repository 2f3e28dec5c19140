// Tensors and metadata of a file that are not read: what would change the result, under the names that engines give it,
// is refused; the rest is ignored, and told.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/util/safetensors.hpp"

namespace librt::tool {

/// Each is one text that names the tensor or the metadata; of what is ignored only the first are named.
struct UnreadNames {
  std::vector<std::string> refused;  ///< with what is supported
  std::vector<std::string> ignored;
};

/// @param kernel empty where it is not known: then the names of all kernels are taken as read.
UnreadNames unread_names(const util::Safetensors& file, std::string_view kernel);

/// What the tensors' shapes say, by the field of the spec.
using StatedSizes = std::map<std::string_view, std::int64_t>;

/// Metadata that state a size, as a spec or an engine names it (head_dim, v_head_dim, num_kv_heads, page_size ...): one
/// that differs from the tensors' is an Error(unsupported) that names it.
void check_stated_sizes(const util::Safetensors& file, const StatedSizes& sizes, std::string_view kernel);

/// "tensor NAME is missing", and which tensor that nobody reads has a name like it.
std::string missing_tensor(const util::Safetensors& file, std::string_view name);

}  // namespace librt::tool
