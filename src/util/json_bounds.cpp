#include "src/util/json_bounds.hpp"

#include <fmt/format.h>

namespace librt::util {

std::string json_problem(std::string_view text, std::size_t max_bytes, std::size_t max_levels) {
  if (text.size() > max_bytes) return fmt::format("has {} bytes; at most {} are allowed", text.size(), max_bytes);
  std::size_t levels = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++levels > max_levels) return fmt::format("is nested deeper than the allowed {} levels", max_levels);
    } else if ((c == ']' || c == '}') && levels > 0) {
      --levels;
    }
  }
  return {};
}

}  // namespace librt::util
