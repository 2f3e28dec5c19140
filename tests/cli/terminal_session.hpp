// The tool on a terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/cli/process.hpp"

namespace librt::test {

struct Shown {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string text;    // all that the terminal was sent
};

/// Whether tests on a terminal can run here; if not, this says so.
bool can_make_terminal();

/// Runs the tool to its end with stdout and stderr on a terminal of `columns`; TERM is xterm unless `variables` say
/// otherwise.
Shown run_in_terminal(const Tool& tool, const std::vector<std::string>& words, unsigned short columns,
                      Variables variables = {});

/// Everything that was drawn from the first column on, without what steers the terminal.
std::vector<std::string> drawn_lines(std::string_view text);

}  // namespace librt::test
