// Splits PTX text into tokens.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace librt::ptx {

enum class TokenKind : std::uint8_t { word, number, string, punctuation, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;  ///< part of the module text; a word includes dots and `::`, as in `ld.shared::cta.b32`
  std::uint32_t line = 0;
};

/// Throws MachineError(syntax). The last token is TokenKind::end.
std::vector<Token> tokenize(std::string_view text);

}  // namespace librt::ptx
