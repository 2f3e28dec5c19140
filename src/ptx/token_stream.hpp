// Reading tokens one after another, with errors that name the line.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/ptx/lexer.hpp"
#include "src/ptx/syntax.hpp"

namespace librt::ptx {

class TokenStream {
 public:
  explicit TokenStream(std::string_view text) : text_(text), tokens_(tokenize(text)) {}

  const Token& peek(std::size_t ahead = 0) const;
  const Token& take();
  bool at_end() const { return peek().kind == TokenKind::end; }
  bool next_is(std::string_view text) const { return peek().kind != TokenKind::string && peek().text == text; }
  bool accept(std::string_view text);
  void expect(std::string_view text);
  std::string_view word(std::string_view what);
  std::uint64_t unsigned_integer(std::string_view what);
  void skip_line(std::uint32_t line);
  void skip_braces();
  /// The text from `first` to the last token taken, white space folded.
  std::string text_since(const Token& first) const;

  [[noreturn]] void fail(std::string_view expected) const;
  [[noreturn]] void unsupported(std::uint32_t line, std::string_view what) const;

 private:
  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

/// One operand of an instruction or one value of an initialiser.
Operand parse_operand(TokenStream& tokens);

}  // namespace librt::ptx
