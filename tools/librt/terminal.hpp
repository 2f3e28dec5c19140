// The terminals that stdout and stderr may be: how wide they are, whether they show colour, and text that fits them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace librt::tool {

enum class Stream { out, err };

/// Columns of the terminal. Asked anew each time, since people resize; where the terminal does not know, COLUMNS, or
/// else 80. 0 = no terminal: nothing has to fit.
std::size_t columns_of(Stream stream);

/// A terminal where a line can be drawn over: TERM names one that is not dumb.
bool can_redraw(Stream stream);

enum class Style { plain, heading, good, bad, warning };

/// Whether words may be coloured: can_redraw(), and NO_COLOR is unset or empty.
bool shows_colour(Stream stream);

/// `text` in the colour of its meaning, where `stream` shows colour.
std::string styled(Style style, const std::string& text, Stream stream = Stream::out);
std::string styled(Style style, const std::string& text, bool colour);

/// Columns that UTF-8 takes on a terminal.
std::size_t width_of(std::string_view text);

/// In at most `columns`: "..." stands for the middle of what is longer.
std::string shortened(std::string_view text, std::size_t columns);

enum class LongWords { cut, keep };

/// Lines of at most `columns`, broken at blanks and where the text breaks them; a word that is longer is cut, or kept
/// whole on a line of its own. 0 columns: only where the text breaks them.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns, LongWords long_words = LongWords::cut);

/// wrapped(), each line with its end.
std::string paragraph(std::string_view text, std::size_t columns, LongWords long_words = LongWords::cut);

/// A paragraph on stdout that begins with `label` in the colour of its meaning.
std::string labelled(Style style, const std::string& label, const std::string& rest);

/// What is read word by word: no wider than is read well. 0 = no terminal.
std::size_t prose_columns(Stream stream);

}  // namespace librt::tool
