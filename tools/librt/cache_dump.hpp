// A tensor file read for `librt check` and `librt run`: as much of it as makes sense, with all that is wrong with it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/util/safetensors.hpp"
#include "tools/librt/findings.hpp"

namespace librt::tool {

/// How the elements of q and of the pages encode NaN and Inf.
struct ElementFormat {
  std::string_view name;       ///< as in the file
  std::size_t bytes = 2;       ///< 1 or 2
  std::uint16_t all_ones = 0;  ///< the bits that are all set in NaN and Inf, and in nothing else
  std::uint16_t fraction = 0;  ///< of these bits none is set in Inf; 0 = there is no Inf

  bool is_special(std::uint16_t bits) const { return (bits & all_ones) == all_ones; }
  bool is_inf(std::uint16_t bits) const { return fraction != 0 && is_special(bits) && (bits & fraction) == 0; }
};

/// A query tensor, [rows, heads, dim], or a page tensor in the layout of the dump.
struct DumpTensor {
  std::string name;
  std::string_view field;  ///< of the spec: the last dimension
  std::span<const std::byte> bytes;
  ElementFormat format;
  std::int64_t rows = 0;   ///< of queries
  std::int64_t heads = 0;  ///< of queries
  std::int64_t dim = 0;
};

/// What could be read. A tensor that is missing, or does not fit the others, is a problem and not here.
struct CacheDump {
  std::string kernel;  ///< empty if it cannot be told
  bool hnd = false;
  std::int64_t num_pages = 0;
  std::int64_t page_size = 0;
  std::int64_t kv_heads = 0;
  std::vector<DumpTensor> pages;
  std::vector<DumpTensor> queries;
  std::map<std::string_view, std::int64_t> sizes;  ///< by the field of the spec, as the shapes say
  /// In 64 bits whatever their type in the file.
  std::optional<std::vector<std::int64_t>> kv_indptr;
  std::optional<std::vector<std::int64_t>> kv_indices;
  std::optional<std::vector<std::int64_t>> kv_last_page_len;
  std::optional<std::vector<std::int64_t>> qo_indptr;
};

/// Reads metadata, types, shapes and alignment. The result points into `file`.
CacheDump read_cache_dump(const util::Safetensors& file, Findings& findings);

}  // namespace librt::tool
