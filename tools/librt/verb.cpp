#include "tools/librt/verb.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "src/util/text.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/terminal.hpp"

namespace librt::tool {
namespace {

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
    Options options = Options::from_env();
    // So that a warning does not meet a bar.
    options.log = [](LogLevel level, std::string_view message) {
      say(fmt::format("librt {}: {}", name_of(level), message),
          level >= LogLevel::warn ? Style::warning : Style::plain);
    };
    return options;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

void print(const std::string& text) {
  without_progress([&] {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) note_output_error();
  });
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
  without_progress([&] { static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr)); });
}

void say(const std::string& line, Style style) {
  // A path stays whole, so that it can be copied.
  const std::string text = paragraph(util::printable(line), columns_of(Stream::err), LongWords::keep);
  const std::size_t label = text.find(": ") == std::string::npos ? 0 : text.find(": ") + 1;
  talk(styled(style, text.substr(0, label), Stream::err) + text.substr(label));
}

std::string_view name_of(LogLevel level) {
  constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warn", "error"};
  return kNames.at(static_cast<std::size_t>(level));
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
