// What every verb of the tool shares: exit codes, --json, talk on stderr, tables on stdout.
#pragma once

#include <librt/librt.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tools/librt/terminal.hpp"

namespace librt::tool {

enum ExitCode : int {
  kDone = 0,
  kProblemFound = 1,
  kUsage = 2,
  kMachineCannot = 3,
};

/// What was typed is wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// This machine cannot; the text says what would help: exit code 3.
struct CannotError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Json = nlohmann::ordered_json;  // members stay in the order in which they are written

/// Adds a verb with --json, `example` below its help.
CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example, bool& json);

void add_demo(CLI::App& tool, int& exit_code);
void add_compile(CLI::App& tool, int& exit_code);
void add_run(CLI::App& tool, int& exit_code);
void add_check(CLI::App& tool, int& exit_code);
void add_prove(CLI::App& tool, int& exit_code);
void add_bench(CLI::App& tool, int& exit_code);
void add_cache(CLI::App& tool, int& exit_code);
void add_doctor(CLI::App& tool, int& exit_code);

/// Options of the environment; a value that is not allowed is a UsageError.
Options options_from_environment();

/// Data: stdout.
void print(const std::string& text);
void print_json(const Json& json);
/// Writes out what print() still holds. Returns 0, or the errno of the first write to stdout that failed.
int finish_output();
/// To stderr as it is. One that is closed or full takes nothing, which is no error: the exit code says how the work
/// went.
void talk(std::string_view text);
/// Talk: a line, or several, as wide as the terminal; what a terminal would obey is escaped. `style` is that of what
/// stands before the first colon.
void say(const std::string& line, Style style = Style::plain);

std::string_view name_of(LogLevel level);                   // as LIBRT_LOG takes it
std::string with_unit(std::uint64_t bytes);                 // "38.5 KiB"
std::string how_long_ago(std::int64_t seconds_since_1970);  // "2 h ago"
/// The canonical JSON of a spec as "key=value ...", without the kernel's name.
std::string spec_words(const std::string& canonical_json);

}  // namespace librt::tool
