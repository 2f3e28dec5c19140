#include "tools/librt/table.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "src/util/text.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kMostInCell = 4096;
constexpr std::size_t kUsefulWidth = 24;  // a cell that is cut below this tells little: other columns leave first
constexpr std::size_t kLeastWidth = 12;   // below this nothing can be read: one cell a line instead
constexpr std::size_t kNarrow = 16;       // a line of this is not indented

struct ColumnSlot {
  std::size_t index;  // among the columns
  std::size_t width;
};

std::size_t total(const std::vector<ColumnSlot>& places) {
  const std::size_t gaps = places.empty() ? 0 : (places.size() - 1) * kGap;
  return std::accumulate(places.begin(), places.end(), gaps,
                         [](std::size_t sum, const ColumnSlot& place) { return sum + place.width; });
}

struct Layout {
  std::vector<ColumnSlot> places;
  bool stacked = false;  // the cells of a row are below each other
};

/// The widest of those that `may` give a column each until all fit, or none is wider than `least`.
template <class May>
void shrink(std::vector<ColumnSlot>& places, std::size_t width, std::size_t least, const May& may) {
  while (total(places) > width) {
    ColumnSlot* widest = nullptr;
    for (ColumnSlot& place : places) {
      if (may(place) && place.width > least && (widest == nullptr || place.width > widest->width)) widest = &place;
    }
    if (widest == nullptr) return;
    --widest->width;
  }
}

Layout placed(const std::vector<Column>& columns, const Rows& rows, std::size_t width) {
  std::vector<ColumnSlot> places;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t widest = width_of(columns[i].heading);
    for (const auto& row : rows) {
      if (i < row.size()) widest = std::max(widest, width_of(row[i].text));
    }
    places.push_back({i, widest});
  }
  if (width == 0) return {places};
  const auto gives = [&](const ColumnSlot& place) { return columns[place.index].fit != Fit::whole; };
  for (;;) {
    std::vector<ColumnSlot> fitting = places;
    shrink(fitting, width, kUsefulWidth, gives);
    if (total(fitting) <= width) return {fitting};
    const auto leaves = [&](const ColumnSlot& place) { return columns[place.index].leaves; };
    auto first = places.end();
    for (auto place = places.begin(); place != places.end(); ++place) {
      if (leaves(*place) > 0 && (first == places.end() || leaves(*place) < leaves(*first))) first = place;
    }
    if (first == places.end()) break;
    places.erase(first);
  }
  shrink(places, width, kLeastWidth, gives);
  return {places, total(places) > width};
}

std::vector<std::string> lines_of(const Cell& cell, Fit fit, std::size_t width) {
  return fit == Fit::wrap ? wrapped(cell.text, width) : std::vector<std::string>{shortened(cell.text, width)};
}

void append_row(std::string& text, const std::vector<Cell>& row, const std::vector<Column>& columns,
                const std::vector<ColumnSlot>& places, bool colour) {
  std::vector<std::vector<std::string>> cells;
  std::size_t height = 1;
  for (const ColumnSlot& place : places) {
    cells.push_back(place.index < row.size() ? lines_of(row[place.index], columns[place.index].fit, place.width)
                                             : std::vector<std::string>{});
    height = std::max(height, cells.back().size());
  }
  for (std::size_t line = 0; line < height; ++line) {
    std::size_t blanks = 0;  // written only when something follows
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::string word = line < cells[i].size() ? cells[i][line] : std::string();
      const std::size_t padding = places[i].width - std::min(places[i].width, width_of(word));
      const bool right = columns[places[i].index].right;
      if (!word.empty()) {
        text.append(blanks + (right ? padding : 0), ' ');
        text += styled(row[places[i].index].style, word, colour);
        blanks = 0;
      }
      blanks += (word.empty() ? places[i].width : right ? 0 : padding) + kGap;
    }
    text += '\n';
  }
}

/// The first cell begins the row; the others stand below it, each with its heading.
void append_stacked(std::string& text, const std::vector<Cell>& row, const std::vector<Column>& columns,
                    const std::vector<ColumnSlot>& places, std::size_t width, bool colour) {
  const std::size_t first = row.empty() ? 0 : row.front().text.find_first_not_of(' ');
  const std::size_t below = width < kNarrow ? 0 : kGap + (first == std::string::npos ? 0 : first);
  for (const ColumnSlot& place : places) {
    if (place.index >= row.size() || row[place.index].text.empty()) continue;
    const bool begins = place.index == 0;
    const std::string& heading = columns[place.index].heading;
    const std::string label = begins || heading.empty() ? "" : heading + ": ";
    const std::size_t indent = begins ? 0 : below;
    for (const std::string& line : wrapped(label + row[place.index].text, width - indent)) {
      text += std::string(indent, ' ') + styled(row[place.index].style, line, colour) + '\n';
    }
  }
}

}  // namespace

std::string table(const std::vector<Column>& columns, const Rows& cells, std::size_t width, bool colour) {
  Rows rows = cells;
  for (auto& row : rows) {
    for (Cell& cell : row) cell.text = util::shown(cell.text, kMostInCell);
  }
  const auto [places, stacked] = placed(columns, rows, width);
  std::string text;
  if (stacked) {
    for (const auto& row : rows) append_stacked(text, row, columns, places, width, colour);
    return text;
  }
  std::vector<Cell> headings;
  for (const Column& column : columns) headings.emplace_back(column.heading, Style::heading);
  const bool headed = std::ranges::any_of(columns, [](const Column& column) { return !column.heading.empty(); });
  if (headed) append_row(text, headings, columns, places, colour);
  for (const auto& row : rows) append_row(text, row, columns, places, colour);
  return text;
}

std::string table(const std::vector<Column>& columns, const Rows& rows) {
  return table(columns, rows, columns_of(Stream::out), shows_colour(Stream::out));
}

std::string table(const Rows& rows) {
  return table({{}, {.fit = Fit::wrap}}, rows);
}

}  // namespace librt::tool
