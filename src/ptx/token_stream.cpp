#include "src/ptx/token_stream.hpp"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "src/ptx/machine.hpp"

namespace librt::ptx {

const Token& TokenStream::peek(std::size_t ahead) const {
  const std::size_t index = at_ + ahead;
  return index < tokens_.size() ? tokens_[index] : tokens_.back();
}

const Token& TokenStream::take() {
  const Token& token = peek();
  if (token.kind != TokenKind::end) ++at_;
  return token;
}

bool TokenStream::accept(std::string_view text) {
  if (!next_is(text)) return false;
  take();
  return true;
}

void TokenStream::expect(std::string_view text) {
  if (!accept(text)) fail(fmt::format("'{}'", text));
}

std::string_view TokenStream::word(std::string_view what) {
  if (peek().kind != TokenKind::word) fail(what);
  return take().text;
}

std::uint64_t TokenStream::unsigned_integer(std::string_view what) {
  const Token token = peek();
  const Operand operand = token.kind == TokenKind::number ? parse_operand(*this) : Operand{};
  if (token.kind != TokenKind::number || operand.kind != Operand::Kind::integer || operand.value < 0) fail(what);
  return static_cast<std::uint64_t>(operand.value);
}

void TokenStream::skip_line(std::uint32_t line) {
  while (!at_end() && peek().line == line) take();
}

void TokenStream::skip_braces() {
  expect("{");
  for (unsigned depth = 1; depth > 0; take()) {
    if (at_end()) fail("'}'");
    if (next_is("{")) ++depth;
    if (next_is("}")) --depth;
  }
}

std::string TokenStream::text_since(const Token& first) const {
  const Token& last = tokens_[at_ == 0 ? 0 : at_ - 1];
  const auto begin = static_cast<std::size_t>(first.text.data() - text_.data());
  const auto end = static_cast<std::size_t>(last.text.data() - text_.data()) + last.text.size();
  std::string folded;
  for (const char c : text_.substr(begin, end - begin)) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (!blank)
      folded += c;
    else if (!folded.empty() && folded.back() != ' ')
      folded += ' ';
  }
  return folded;
}

void TokenStream::fail(std::string_view expected) const {
  const Token& token = peek();
  const std::string found = token.kind == TokenKind::end ? "the end of the text" : fmt::format("'{}'", token.text);
  throw MachineError(Fault::syntax, fmt::format("line {}: expected {}, found {}", token.line, expected, found));
}

void TokenStream::unsupported(std::uint32_t line, std::string_view what) const {
  throw MachineError(Fault::unsupported, fmt::format("line {}: {} is not supported", line, what));
}

namespace {

template <class T>
bool parse_digits(std::string_view digits, int base, T& value) {
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  return result.ec == std::errc{} && result.ptr == digits.data() + digits.size() && !digits.empty();
}

bool parse_integer(std::string_view text, std::uint64_t& value) {
  if (text.ends_with('U')) text.remove_suffix(1);
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_digits(text.substr(2), 16, value);
  if (text.starts_with("0b") || text.starts_with("0B")) return parse_digits(text.substr(2), 2, value);
  if (text.size() > 1 && text.front() == '0') return parse_digits(text.substr(1), 8, value);
  return parse_digits(text, 10, value);
}

Operand parse_number(TokenStream& tokens) {
  const std::string_view text = tokens.peek().text;
  Operand operand;
  std::uint64_t value = 0;
  const char prefix = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  double real = 0;
  if (prefix == 'f') {
    if (text.size() != 10 || !parse_digits(text.substr(2), 16, value)) tokens.fail("0f and 8 hexadecimal digits");
    operand.kind = Operand::Kind::f32;
  } else if (prefix == 'd') {
    if (text.size() != 18 || !parse_digits(text.substr(2), 16, value)) tokens.fail("0d and 16 hexadecimal digits");
    operand.kind = Operand::Kind::f64;
  } else if (text.find('.') != std::string_view::npos) {
    const auto result = std::from_chars(text.data(), text.data() + text.size(), real);
    if (result.ec != std::errc{} || result.ptr != text.data() + text.size()) tokens.fail("a number");
    value = std::bit_cast<std::uint64_t>(real);
    operand.kind = Operand::Kind::f64;
  } else if (!parse_integer(text, value)) {
    tokens.fail("a number");
  }
  operand.value = static_cast<std::int64_t>(value);
  tokens.take();
  return operand;
}

Operand parse_signed_number(TokenStream& tokens) {
  const bool negative = tokens.accept("-");
  if (!negative) tokens.accept("+");
  if (tokens.peek().kind != TokenKind::number) tokens.fail("a number");
  Operand operand = parse_number(tokens);
  if (!negative) return operand;
  const auto bits = static_cast<std::uint64_t>(operand.value);
  if (operand.kind == Operand::Kind::integer) operand.value = static_cast<std::int64_t>(std::uint64_t{0} - bits);
  if (operand.kind == Operand::Kind::f32) operand.value = static_cast<std::int64_t>(bits ^ 0x80000000u);
  if (operand.kind == Operand::Kind::f64) operand.value = static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63));
  return operand;
}

std::int64_t parse_displacement(TokenStream& tokens) {
  std::int64_t sum = 0;
  while (tokens.next_is("+") || tokens.next_is("-")) {
    const bool negative = tokens.take().text == "-";
    const Operand term = parse_signed_number(tokens);
    if (term.kind != Operand::Kind::integer) tokens.fail("an integer displacement");
    const auto bits = static_cast<std::uint64_t>(term.value);
    sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) + (negative ? std::uint64_t{0} - bits : bits));
  }
  return sum;
}

Operand parse_list(TokenStream& tokens, Operand::Kind kind, std::string_view close) {
  Operand operand;
  operand.kind = kind;
  tokens.take();
  while (!tokens.accept(close)) {
    if (!operand.elements.empty()) tokens.expect(",");
    if (operand.elements.size() >= 256) tokens.fail("at most 256 elements");
    const Token& token = tokens.peek();
    if (token.text == "{" || token.text == "[" || token.text == "(") tokens.fail("a register or a number");
    operand.elements.push_back(parse_operand(tokens));
  }
  return operand;
}

Operand parse_address(TokenStream& tokens) {
  tokens.take();
  Operand operand;
  if (tokens.peek().kind == TokenKind::word) {
    operand.name = tokens.take().text;
    operand.value = parse_displacement(tokens);
  } else {
    operand = parse_signed_number(tokens);
    if (operand.kind != Operand::Kind::integer) tokens.fail("an address");
  }
  operand.kind = Operand::Kind::address;
  tokens.expect("]");
  return operand;
}

}  // namespace

Operand parse_operand(TokenStream& tokens) {
  if (tokens.next_is("{")) return parse_list(tokens, Operand::Kind::vector, "}");
  if (tokens.next_is("(")) return parse_list(tokens, Operand::Kind::list, ")");
  if (tokens.next_is("[")) return parse_address(tokens);
  Operand operand;
  if (tokens.accept("!")) {
    operand.negated = true;
  } else if (tokens.peek().kind != TokenKind::word) {
    return parse_signed_number(tokens);
  }
  operand.kind = Operand::Kind::name;
  operand.name = tokens.word("an operand");
  if (tokens.accept("|")) operand.second = tokens.word("a register after '|'");
  operand.value = parse_displacement(tokens);
  return operand;
}

}  // namespace librt::ptx
