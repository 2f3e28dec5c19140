#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "src/jit/binary_info.hpp"

namespace librt::jit {
namespace {

/// Words of a PTX text: directives, names and numbers; comments and strings are passed over, other characters are words
/// by themselves.
class PtxWords {
 public:
  explicit PtxWords(std::string_view text) : text_(text) {}

  /// Empty at the end.
  std::string_view next() {
    skip_blanks_and_comments();
    if (at_ >= text_.size()) return {};
    const std::size_t begin = at_;
    if (text_[at_] == '"') {
      const std::size_t end = text_.find('"', at_ + 1);
      at_ = end == std::string_view::npos ? text_.size() : end + 1;
    } else if (is_word(text_[at_])) {
      while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    } else {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           c == '%' || c == '.';
  }

  void skip_blanks_and_comments() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      std::size_t end = 0;
      if (rest.starts_with("//")) {
        end = rest.find('\n');
      } else if (rest.starts_with("/*")) {
        end = rest.find("*/", 2);
        if (end != std::string_view::npos) end += 2;
      } else {
        end = rest.find_first_not_of(" \t\r\n\f\v");
        if (end == 0) return;
      }
      at_ = end == std::string_view::npos ? text_.size() : at_ + end;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

PtxInfo read_ptx(std::string_view text) {
  PtxInfo info;
  PtxWords words(text);
  for (std::string_view word = words.next(); !word.empty(); word = words.next()) {
    if (word == ".version" && info.version.empty()) {
      info.version = words.next();
    } else if (word == ".target" && info.target.empty()) {
      info.target = words.next();
    } else if (word == ".entry") {
      info.entries.emplace_back(words.next());
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
