#include "src/ptx/lexer.hpp"

#include <fmt/format.h>

#include "src/ptx/machine.hpp"

namespace librt::ptx {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool starts_word(char c) {
  return is_letter(c) || c == '_' || c == '$' || c == '%' || c == '.';
}
bool continues_word(char c) {
  return starts_word(c) || is_digit(c);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    for (;;) {
      skip_blank();
      if (at_ >= text_.size()) break;
      tokens.push_back(next());
    }
    tokens.push_back({TokenKind::end, {}, line_});
    return tokens;
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  [[noreturn]] void fail(std::string_view what) const {
    throw MachineError(Fault::syntax, fmt::format("line {}: {}", line_, what));
  }

  void skip_blank() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
        ++at_;
      } else if (c == '/' && peek(1) == '/') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (c == '/' && peek(1) == '*') {
        skip_block_comment();
      } else if (c == '\0' && at_ + 1 == text_.size()) {
        ++at_;  // NVRTC counts the terminator of its text
      } else {
        return;
      }
    }
  }

  void skip_block_comment() {
    const std::size_t end = text_.find("*/", at_ + 2);
    if (end == std::string_view::npos) fail("a comment is not closed");
    for (; at_ < end + 2; ++at_)
      if (text_[at_] == '\n') ++line_;
  }

  Token next() {
    const std::size_t start = at_;
    const char c = text_[at_];
    TokenKind kind = TokenKind::punctuation;
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      kind = TokenKind::number;
      take_number();
    } else if (starts_word(c)) {
      kind = TokenKind::word;
      // "ld.global.b32" is one word, ".reg.b32" is two.
      ++at_;
      while ((continues_word(peek()) && !(c == '.' && peek() == '.')) || (peek() == ':' && peek(1) == ':'))
        at_ += peek() == ':' ? 2 : 1;
    } else if (c == '"') {
      kind = TokenKind::string;
      do {
        ++at_;
        if (at_ >= text_.size() || text_[at_] == '\n') fail("a string is not closed");
      } while (text_[at_] != '"');
      ++at_;
      return {kind, text_.substr(start + 1, at_ - start - 2), line_};
    } else if (std::string_view("{}[]()<>,;:@!|+-*/=&^~?").find(c) != std::string_view::npos) {
      ++at_;
    } else {
      fail(fmt::format("unexpected character with code {}", static_cast<unsigned char>(c)));
    }
    return {kind, text_.substr(start, at_ - start), line_};
  }

  void take_number() {
    while (is_digit(peek()) || is_letter(peek()) || peek() == '.' ||
           ((peek() == '+' || peek() == '-') && decimal_exponent()))
      ++at_;
  }

  // "1.5e-3" is one number, "12-3" and "0x1e-3" are not.
  bool decimal_exponent() const {
    if (at_ == 0 || (text_[at_ - 1] != 'e' && text_[at_ - 1] != 'E') || !is_digit(peek(1))) return false;
    std::size_t start = at_ - 1;
    bool fraction = false;
    while (start > 0 && (is_digit(text_[start - 1]) || text_[start - 1] == '.')) fraction |= text_[--start] == '.';
    return fraction;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text) {
  return Lexer(text).run();
}

}  // namespace librt::ptx
