// Text that others wrote, fit for a message: nothing in it that a terminal would obey, and never much of it.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace librt::util {

/// Control characters, marks that turn the direction of text, and what is not UTF-8 become \xNN; line breaks and tabs
/// stay.
std::string printable(std::string_view text);

/// As printable(), on one line (line breaks and tabs become \xNN too), and cut with "..." after `most` bytes.
std::string shown(std::string_view text, std::size_t most = 80);
/// As shown(), in double quotes.
std::string in_quotes(std::string_view text, std::size_t most = 80);

/// The one of `known` that `name` was probably meant to be, by the least number of characters to change, add or leave
/// out (whose beginning is `name` counts as one); empty if none is near.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);
/// "; did you mean NAME?", or nothing where none is near.
std::string did_you_mean(std::string_view name, std::span<const std::string_view> known);
/// "; did you mean NAME? Allowed: NAME, NAME", or "; allowed: NAME, NAME".
std::string allowed_names(std::string_view name, std::span<const std::string_view> known);

/// The whole text as a number; nothing if it is something else, or does not fit.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace librt::util
