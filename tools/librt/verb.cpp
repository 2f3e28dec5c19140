#include "tools/librt/verb.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "src/util/text.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kMostInCell = 4096;

int output_error = 0;  // errno of the first write to stdout that failed

void note_output_error() {
  if (output_error == 0) output_error = errno != 0 ? errno : EIO;
}

}  // namespace

CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& description,
                   const std::string& example, bool& json) {
  CLI::App* const verb = parent.add_subcommand(name, description);
  verb->add_flag("--json", json, "Print the result as JSON");
  verb->footer("Example:\n  " + example);
  return verb;
}

Options options_from_environment() {
  try {
    return Options::from_env();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void print(const std::string& text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_output_error();
}

void print_json(const Json& json) {
  print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int finish_output() {
  errno = 0;
  if (std::fflush(stdout) != 0) note_output_error();
  return output_error;
}

void talk(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

void say(const std::string& line) {
  talk(util::printable(line) + "\n");
}

void progress(const std::string& line) {
  static const bool watched = isatty(STDERR_FILENO) == 1;
  if (watched) say(line);
}

std::string table(const std::vector<std::vector<std::string>>& cells, const std::vector<std::size_t>& right) {
  std::vector<std::vector<std::string>> rows = cells;
  std::vector<std::size_t> widths;
  for (auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t column = 0; column < row.size(); ++column) {
      row[column] = util::shown(row[column], kMostInCell);
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      const bool to_the_right = std::find(right.begin(), right.end(), column) != right.end();
      line += to_the_right ? fmt::format("{:>{}}  ", row[column], widths[column])
                           : fmt::format("{:<{}}  ", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string with_unit(std::uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string how_long_ago(std::int64_t seconds_since_1970) {
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  const std::int64_t seconds = now.count() - seconds_since_1970;
  if (seconds < 0) return "in the future";
  if (seconds < 3600) return "this hour";  // entries record their use to the hour
  if (seconds < 48 * 3600) return fmt::format("{} h ago", seconds / 3600);
  return fmt::format("{} d ago", seconds / 86400);
}

std::string spec_words(const std::string& canonical_json) {
  const Json spec = Json::parse(canonical_json, nullptr, false);
  if (!spec.is_object()) return canonical_json;
  std::string words;
  for (const auto& [name, value] : spec.items()) {
    if (name == "kernel") continue;
    if (!words.empty()) words += ' ';
    words += name + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return words;
}

}  // namespace librt::tool
