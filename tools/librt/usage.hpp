// What the tool says of itself: help that fits the terminal, and what was wrong with what was typed.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace librt::tool {

/// Help as wide as the terminal, up to 100 columns; 80 in a pipe.
std::shared_ptr<CLI::FormatterBase> help_formatter();

/// "librt help VERB...": the help of a verb.
void add_help(CLI::App& tool);

/// One line: what was typed, and the nearest that exists; where nothing was typed, what could have been.
std::string usage_problem(const CLI::App& tool, const CLI::ParseError& error);

/// "librt cache": the verbs that were typed, as far as they exist.
std::string typed_verbs(const CLI::App& tool);

/// Only a verb is missing: its help says more than a problem would.
bool lacks_verb(const CLI::App& tool);

}  // namespace librt::tool
