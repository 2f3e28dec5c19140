// Help that fits: CLI11's own breaks no lines.
#include <algorithm>
#include <string>

#include "tools/librt/terminal.hpp"
#include "tools/librt/usage.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kWidthInPipes = 80;

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
  }
  std::string make_subcommand(const CLI::App* verb) const override {
    return entry(verb->get_name(), verb->get_description());
  }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    return paragraph(strip(CLI::Formatter::make_usage(app, std::move(name))), width());
  }
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    // Newer versions of CLI11 would break the lines of these two again.
    return paragraph(app->get_description(), width()) + make_usage(app, std::move(name)) + make_positionals(app) +
           make_groups(app, mode) + make_subcommands(app, mode) + "\n" + footer(app->get_footer());
  }

 private:
  static std::size_t width() {
    const std::size_t columns = prose_columns(Stream::out);
    return columns == 0 ? kWidthInPipes : columns;
  }

  static std::string strip(std::string text) {
    const auto is_break = [](char each) { return each == '\n'; };
    text.erase(std::find_if_not(text.rbegin(), text.rend(), is_break).base(), text.end());
    text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_break));
    return text;
  }

  /// A command that takes several lines is still one when it is copied.
  static std::string command(const std::string& line) {
    std::string result;
    const auto lines = wrapped(line.substr(2), width() > 12 ? width() - 6 : 0, LongWords::keep);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      result += (i == 0 ? "  " : "    ") + lines[i] + (i + 1 < lines.size() ? " \\\n" : "\n");
    }
    return result;
  }

  static std::string footer(const std::string& text) {
    std::string result;
    for (const std::string& line : wrapped(text, 0)) {
      result += line.starts_with("  librt ") ? command(line) : paragraph(line, width());
    }
    return result;
  }

  static std::string entry(const std::string& name, const std::string& description) {
    const std::size_t column = std::min<std::size_t>(width() / 3, 26);
    std::string text = "  " + name;
    if (text.size() + 2 > column) text = paragraph(text, width());
    std::size_t used = text.ends_with('\n') ? 0 : text.size();
    for (const std::string& line : wrapped(description, width() - column)) {
      text += std::string(column - used, ' ') + line + "\n";
      used = 0;
    }
    return text;
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() {
  return std::make_shared<HelpFormatter>();
}

}  // namespace librt::tool
