#include "tools/librt/terminal.hpp"

#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cwchar>
#include <utility>

#include "src/util/text.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kUsualColumns = 80;

int descriptor(Stream stream) {
  return stream == Stream::out ? STDOUT_FILENO : STDERR_FILENO;
}

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

/// What one character shows. `text` is a '?' where it would steer the terminal or is no character at all.
struct Glyph {
  std::string_view text;
  std::size_t columns = 1;
};

/// glibc's own tables of UTF-8, whatever the locale of the user.
class Utf8 {
 public:
  Utf8() : before_(::uselocale(locale())) {}
  ~Utf8() { ::uselocale(before_); }
  Utf8(const Utf8&) = delete;
  Utf8& operator=(const Utf8&) = delete;

  /// The first character of `rest`, which it is taken from.
  Glyph next(std::string_view& rest) const {
    wchar_t character = 0;
    std::mbstate_t state{};
    const std::size_t bytes = std::mbrtowc(&character, rest.data(), rest.size(), &state);
    const bool whole = bytes != 0 && bytes <= rest.size();
    const int columns = whole ? ::wcwidth(character) : -1;
    const std::string_view text = rest.substr(0, whole ? bytes : 1);
    rest.remove_prefix(text.size());
    if (character == L'\t') return {" ", 1};
    return columns < 0 ? Glyph{"?", 1} : Glyph{text, static_cast<std::size_t>(columns)};
  }

 private:
  /// As long as the process; without it (null: none) what is beyond ASCII is shown as '?'.
  static locale_t locale() {
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return utf8;
  }

  locale_t before_;
};

std::vector<Glyph> glyphs_of(std::string_view text) {
  const Utf8 utf8;
  std::vector<Glyph> glyphs;
  glyphs.reserve(text.size());
  while (!text.empty()) glyphs.push_back(utf8.next(text));
  return glyphs;
}

std::size_t width_of(const std::vector<Glyph>& glyphs) {
  std::size_t columns = 0;
  for (const Glyph& glyph : glyphs) columns += glyph.columns;
  return columns;
}

/// As much of the beginning as fits; the glyphs from `begin` on are left.
std::string head(const std::vector<Glyph>& glyphs, std::size_t& begin, std::size_t columns) {
  std::string text;
  for (; begin < glyphs.size() && glyphs[begin].columns <= columns; ++begin) {
    text += glyphs[begin].text;
    columns -= glyphs[begin].columns;
  }
  return text;
}

void wrap_line(std::string_view line, std::size_t columns, LongWords long_words, std::vector<std::string>& lines) {
  // Blanks at the beginning are an indentation, which the lines that follow keep.
  const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
  const std::string blanks(indent < columns ? indent : 0, ' ');
  std::string current = blanks;
  std::size_t used = blanks.size();
  bool fresh = true;
  for (std::string_view rest = line.substr(indent); !rest.empty();) {
    const std::string_view word = rest.substr(0, std::min(rest.find(' '), rest.size()));
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    const std::vector<Glyph> glyphs = glyphs_of(word);
    const std::size_t width = width_of(glyphs);
    if (!fresh && used + 1 + width > columns) {
      lines.push_back(std::exchange(current, blanks));
      used = blanks.size();
      fresh = true;
    }
    if (!fresh) current += ' ';
    used += width + (fresh ? 0 : 1);
    fresh = false;
    std::size_t begin = 0;
    while (long_words == LongWords::cut && used > columns) {
      const std::size_t before = begin;
      current += head(glyphs, begin, columns - blanks.size());
      if (begin == before) break;  // one character is wider than the line
      lines.push_back(std::exchange(current, blanks));
      used = blanks.size() + width_of({glyphs.begin() + static_cast<std::ptrdiff_t>(begin), glyphs.end()});
    }
    for (; begin < glyphs.size(); ++begin) current += glyphs[begin].text;
  }
  if (current.size() > blanks.size() || lines.empty() || line.empty()) lines.push_back(std::move(current));
}

}  // namespace

std::size_t columns_of(Stream stream) {
  if (::isatty(descriptor(stream)) != 1) return 0;
  winsize size{};
  if (::ioctl(descriptor(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const std::size_t columns = util::number_in<std::size_t>(variable("COLUMNS")).value_or(0);
  return columns > 0 ? columns : kUsualColumns;
}

std::size_t prose_columns(Stream stream) {
  constexpr std::size_t kWidestProse = 100;
  return std::min(columns_of(stream), kWidestProse);
}

bool can_redraw(Stream stream) {
  return ::isatty(descriptor(stream)) == 1 && !variable("TERM").empty() && variable("TERM") != "dumb";
}

bool shows_colour(Stream stream) {
  return can_redraw(stream) && variable("NO_COLOR").empty();
}

std::string styled(Style style, const std::string& text, bool colour) {
  if (!colour || text.empty()) return text;
  switch (style) {
    case Style::plain:
      return text;
    case Style::heading:
      return "\x1b[1m" + text + "\x1b[0m";
    case Style::good:
      return "\x1b[32m" + text + "\x1b[0m";
    case Style::bad:
      return "\x1b[1;31m" + text + "\x1b[0m";
    case Style::warning:
      return "\x1b[33m" + text + "\x1b[0m";
  }
  return text;
}

std::string styled(Style style, const std::string& text, Stream stream) {
  return styled(style, text, shows_colour(stream));
}

std::size_t width_of(std::string_view text) {
  return width_of(glyphs_of(text));
}

std::string shortened(std::string_view text, std::size_t columns) {
  const std::vector<Glyph> glyphs = glyphs_of(text);
  std::size_t begin = 0;
  if (width_of(glyphs) <= columns) return head(glyphs, begin, columns);
  constexpr std::string_view kDots = "...";
  if (columns <= kDots.size()) return head(glyphs, begin, columns);
  const std::size_t kept = columns - kDots.size();
  std::string result = head(glyphs, begin, (kept + 1) / 2);
  std::size_t end = glyphs.size(), tail = 0;
  while (end > begin && tail + glyphs[end - 1].columns <= kept / 2) tail += glyphs[--end].columns;
  result += kDots;
  for (; end < glyphs.size(); ++end) result += glyphs[end].text;
  return result;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns, LongWords long_words) {
  std::vector<std::string> lines;
  for (;;) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (columns == 0) {
      lines.emplace_back(text.substr(0, end));
    } else {
      wrap_line(text.substr(0, end), columns, long_words, lines);
    }
    if (end == text.size()) return lines;
    text.remove_prefix(end + 1);
  }
}

std::string paragraph(std::string_view text, std::size_t columns, LongWords long_words) {
  std::string result;
  for (const std::string& line : wrapped(text, columns, long_words)) result += line + "\n";
  return result;
}

std::string labelled(Style style, const std::string& label, const std::string& rest) {
  return styled(style, label) + paragraph(label + rest, columns_of(Stream::out)).substr(label.size());
}

}  // namespace librt::tool
