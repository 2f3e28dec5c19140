#include "src/util/text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace librt::util {
namespace {

/// Bytes of the character at the front of `text`, which is not empty, if a terminal only draws it; else 0.
std::size_t drawn_bytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  std::uint32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return 0;
    code = code << 6 | (next & 0x3fU);
  }
  const auto within = [code](std::uint32_t first, std::uint32_t last) { return code >= first && code <= last; };
  const bool no_character = (bytes == 3 && code < 0x800) || (bytes == 4 && !within(0x10000, 0x10ffff));
  const bool obeyed = code < 0xa0 ||             // control characters of eight bits
                      within(0x200b, 0x200f) ||  // without width, or turning the direction
                      within(0x2028, 0x202e) ||  // ending lines, or turning the direction
                      within(0x2060, 0x206f) ||  // the same
                      within(0xd800, 0xdfff) ||  // halves of a character
                      code == 0xfeff;            // a byte order mark
  return no_character || obeyed ? 0 : bytes;
}

std::string escaped(std::string_view text, std::size_t most, std::string_view kept) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = kept.find(text[at]) != std::string_view::npos ? 1 : drawn_bytes(text.substr(at));
    const std::string next = bytes > 0 ? std::string(text.substr(at, bytes))
                                       : fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
    if (result.size() + next.size() > most) return result + "...";
    result += next;
    at += std::max<std::size_t>(bytes, 1);
  }
  return result;
}

std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);  // from a prefix of `from` to each prefix of `to`
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t changed = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row.back();
}

}  // namespace

std::string printable(std::string_view text) {
  return escaped(text, std::string::npos, "\n\t");
}

std::string shown(std::string_view text, std::size_t most) {
  return escaped(text, most, {});
}

std::string in_quotes(std::string_view text, std::size_t most) {
  return fmt::format("\"{}\"", shown(text, most));
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  constexpr std::size_t kLongest = 64;  // the cost is the product of both lengths
  std::string_view best;
  if (name.empty() || name.size() > kLongest) return best;
  std::size_t least = (name.size() + 1) / 3 + 1;  // of two characters one may differ, of one none
  for (const std::string_view each : known) {
    // A beginning is one slip, however much is left out.
    const std::size_t changes = name.size() > 1 && each.starts_with(name) && each != name ? 1 : distance(name, each);
    if (changes >= least) continue;
    least = changes;
    best = each;
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string_view> known) {
  const std::string_view meant = nearest(name, known);
  return meant.empty() ? std::string() : fmt::format("; did you mean {}?", meant);
}

std::string allowed_names(std::string_view name, std::span<const std::string_view> known) {
  const std::string meant = did_you_mean(name, known);
  return fmt::format("{}llowed: {}", meant.empty() ? "; a" : meant + " A", fmt::join(known, ", "));
}

}  // namespace librt::util
