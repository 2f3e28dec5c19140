#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "src/jit/binary_info.hpp"

namespace librt::jit {
namespace {

constexpr std::array<bool, 256> table_of(std::string_view characters) {
  std::array<bool, 256> table{};
  for (const char c : characters) table[static_cast<unsigned char>(c)] = true;
  return table;
}

constexpr auto kInWord = table_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$%.");
constexpr auto kBlank = table_of(" \t\r\n\f\v");
constexpr auto kBeginsDirectiveStringOrComment = table_of("./\"");

bool is_in(const std::array<bool, 256>& table, char c) {
  return table[static_cast<unsigned char>(c)];
}

/// The directives of a PTX text and the words behind them. Every cache hit reads the whole text, so what lies between
/// directives is passed over character by character, not word by word.
class PtxDirectives {
 public:
  explicit PtxDirectives(std::string_view text) : text_(text) {}

  /// The next word that begins with a dot, outside of comments and strings; empty at the end.
  std::string_view next() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (!is_in(kBeginsDirectiveStringOrComment, c)) {
        ++at_;
      } else if (c == '"') {
        skip_string();
      } else if (c == '/') {
        if (!skip_comment()) ++at_;
      } else if (at_ > 0 && is_in(kInWord, text_[at_ - 1])) {
        ++at_;  // ld.global is one word
      } else {
        return word();
      }
    }
    return {};
  }

  /// What follows the last directive: a word, a string or another character; empty at the end.
  std::string_view argument() {
    while (at_ < text_.size()) {
      if (is_in(kBlank, text_[at_])) {
        ++at_;
      } else if (!skip_comment()) {
        break;
      }
    }
    if (at_ >= text_.size()) return {};
    if (is_in(kInWord, text_[at_])) return word();
    const std::size_t begin = at_;
    if (text_[at_] == '"') {
      skip_string();
    } else {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  std::string_view word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_in(kInWord, text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  void skip_string() { go_behind(text_.find('"', at_ + 1), 1); }

  /// False if none begins here.
  bool skip_comment() {
    if (text_.substr(at_, 2) == "//") {
      go_behind(text_.find('\n', at_), 0);
    } else if (text_.substr(at_, 2) == "/*") {
      go_behind(text_.find("*/", at_ + 2), 2);
    } else {
      return false;
    }
    return true;
  }

  void go_behind(std::size_t found, std::size_t length) {
    at_ = found == std::string_view::npos ? text_.size() : found + length;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

PtxInfo read_ptx(std::string_view text) {
  PtxInfo info;
  PtxDirectives directives(text);
  for (std::string_view word = directives.next(); !word.empty(); word = directives.next()) {
    if (word == ".version" && info.version.empty()) {
      info.version = directives.argument();
    } else if (word == ".target" && info.target.empty()) {
      info.target = directives.argument();
    } else if (word == ".entry") {
      info.entries.emplace_back(directives.argument());
    }
  }
  if (info.version.empty()) throw Error(ErrorCode::corrupt, "PTX: no .version directive");
  if (!info.target.starts_with("sm_")) {
    throw Error(ErrorCode::corrupt, fmt::format("PTX: .target is \"{}\", sm_XX is expected", info.target));
  }
  if (std::any_of(info.entries.begin(), info.entries.end(), [](const auto& name) { return name.empty(); })) {
    throw Error(ErrorCode::corrupt, "PTX: it ends inside an .entry directive");
  }
  return info;
}

}  // namespace librt::jit
