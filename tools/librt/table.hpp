// Tables on stdout: they fit the width of a terminal, and are whole in a pipe.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "tools/librt/terminal.hpp"

namespace librt::tool {

/// What becomes of a cell that is wider than there is room for.
enum class Fit {
  whole,    ///< stays as it is as long as anything else can give way
  shorten,  ///< its middle is left out
  wrap,     ///< goes on below itself
};

struct Column {
  std::string heading{};
  bool right = false;  ///< numbers
  Fit fit = Fit::whole;
  int leaves = 0;  ///< where the table is too wide, columns are left out: 1 first, then 2, ...; 0 = never
};

struct Cell {
  Cell(std::string words, Style what = Style::plain) : text(std::move(words)), style(what) {}
  Cell(const char* words, Style what = Style::plain) : text(words), style(what) {}

  std::string text;
  Style style;
};

using Rows = std::vector<std::vector<Cell>>;

/// Columns two blanks apart; where they would be too narrow to read, one cell a line, below the first of its row. Cells
/// are util::shown(); a heading row is there if a column has a heading.
/// @param width 0 = no bound
std::string table(const std::vector<Column>& columns, const Rows& rows, std::size_t width, bool colour);

/// As wide as stdout allows.
std::string table(const std::vector<Column>& columns, const Rows& rows);

/// Names and what they say: the second column goes on below itself.
std::string table(const Rows& rows);

}  // namespace librt::tool
