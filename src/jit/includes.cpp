#include "src/jit/includes.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace librt::jit {
namespace {

/// The text with comments replaced by blanks and spliced lines joined, so that a directive is at the start of its line.
/// Line breaks stay, one for each of the original.
std::string without_comments(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t joined = 0;  // line breaks removed by splices, given back at the next real one
  enum class In { code, line_comment, block_comment, string, character } in = In::code;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\\' && (next == '\n' || (next == '\r' && text.substr(i + 2, 1) == "\n"))) {
      i += next == '\n' ? 1 : 2;
      ++joined;
      continue;
    }
    if (c == '\n') {
      out.append(joined + 1, '\n');
      joined = 0;
      if (in != In::block_comment) in = In::code;
      continue;
    }
    switch (in) {
      case In::code:
        if (c == '/' && (next == '/' || next == '*')) {
          in = next == '/' ? In::line_comment : In::block_comment;
          out += ' ';
          ++i;
          continue;
        }
        if (c == '"') in = In::string;
        if (c == '\'') in = In::character;
        break;
      case In::line_comment:
        continue;
      case In::block_comment:
        if (c == '*' && next == '/') {
          in = In::code;
          ++i;
        }
        continue;
      case In::string:
      case In::character:
        if (c == (in == In::string ? '"' : '\'')) in = In::code;
        if (c == '\\' && next != '\0') {
          out += c;
          ++i;
          out += next;
          continue;
        }
        break;
    }
    out += c;
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\f\v";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

/// What follows `#include` on a line that is one; empty view with a null pointer otherwise.
std::string_view include_argument(std::string_view line) {
  line = trimmed(line);
  if (line.starts_with('#')) {
    line.remove_prefix(1);
  } else if (line.starts_with("%:")) {
    line.remove_prefix(2);
  } else {
    return {};
  }
  line = trimmed(line);
  if (!line.starts_with("include")) return {};
  line.remove_prefix(std::string_view("include").size());
  if (line.starts_with("_next")) line.remove_prefix(std::string_view("_next").size());
  return trimmed(line);
}

}  // namespace

std::vector<std::string> included_names(std::string_view file, std::string_view text) {
  std::vector<std::string> names;
  const std::string code = without_comments(text);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < code.size();) {
    const std::size_t end = std::min(code.find('\n', begin), code.size());
    ++number;
    const std::string_view argument = include_argument(std::string_view(code).substr(begin, end - begin));
    begin = end + 1;
    if (argument.empty()) continue;
    const char close = argument[0] == '"' ? '"' : argument[0] == '<' ? '>' : '\0';
    const std::size_t stop = close == '\0' ? std::string_view::npos : argument.find(close, 1);
    if (stop == std::string_view::npos) {
      throw Error(ErrorCode::compile_failed,
                  fmt::format("{}:{}: #include {} does not name its file literally", file, number, argument));
    }
    names.emplace_back(argument.substr(1, stop - 1));
  }
  return names;
}

}  // namespace librt::jit
