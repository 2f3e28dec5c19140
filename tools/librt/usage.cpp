#include "tools/librt/usage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "src/util/text.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

/// The verb that was typed last, with those above it.
std::vector<const CLI::App*> typed(const CLI::App& tool) {
  std::vector<const CLI::App*> verbs{&tool};
  while (!verbs.back()->get_subcommands().empty()) verbs.push_back(verbs.back()->get_subcommands().front());
  return verbs;
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  const std::vector<std::string_view> views(known.begin(), known.end());
  return std::string(util::nearest(word, views));
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* const verb : verbs_of(app)) names.push_back(verb->get_name());
  return names;
}

/// With those of the verbs below, as they would be typed: "ls" is "cache ls".
std::string meant_verb(const CLI::App& app, const std::string& word) {
  const std::string meant = nearest(word, names_of(app));
  if (!meant.empty()) return meant;
  for (const CLI::App* const verb : verbs_of(app)) {
    const std::string below = nearest(word, names_of(*verb));
    if (!below.empty()) return verb->get_name() + " " + below;
  }
  return {};
}

std::string no_such_verb(const CLI::App& app, const std::string& word) {
  const std::string meant = meant_verb(app, word);
  return fmt::format("{}: no such verb; {}", util::shown(word),
                     meant.empty() ? fmt::format("there are {}", fmt::join(names_of(app), ", "))
                                   : fmt::format("did you mean {}?", meant));
}

std::string no_such_option(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::Option* const option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  const std::string name = word.substr(0, word.find('='));
  std::string meant = nearest(name, names);
  if (meant.empty() && !name.starts_with("--")) meant = nearest("-" + name, names);  // -json
  return fmt::format(
      "{}: no such option; {}", util::shown(name),
      meant.empty() ? fmt::format("there are {}", fmt::join(names, ", ")) : fmt::format("did you mean {}?", meant));
}

}  // namespace

std::string typed_verbs(const CLI::App& tool) {
  std::vector<std::string> names;
  for (const CLI::App* const verb : typed(tool)) names.push_back(verb->get_name());
  return fmt::format("{}", fmt::join(names, " "));
}

bool lacks_verb(const CLI::App& tool) {
  const CLI::App& last = *typed(tool).back();
  return !names_of(last).empty() && last.remaining().empty();
}

std::string usage_problem(const CLI::App& tool, const CLI::ParseError& error) {
  const CLI::App& last = *typed(tool).back();
  const std::vector<std::string> left = last.remaining();
  const bool wants_verb = !names_of(last).empty();
  for (const std::string& word : left) {
    if (word.size() > 1 && word.front() == '-') return no_such_option(last, word);
    if (wants_verb) return no_such_verb(last, word);
  }
  if (!left.empty()) return fmt::format("{} is not expected", util::shown(left.front()));
  if (wants_verb) return fmt::format("a verb is missing; there are {}", fmt::join(names_of(last), ", "));
  return error.what();  // names the option and what it takes
}

void add_help(CLI::App& tool) {
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* const verb = tool.add_subcommand("help", "Print the help of a verb, as VERB --help does");
  verb->footer("Example:\n  librt help cache prewarm");
  verb->add_option("VERB", *words, "Nothing, a verb, or cache and one of its verbs")->type_name("VERB");
  verb->callback([words, &tool] {
    const CLI::App* app = &tool;
    std::string above;
    for (const std::string& word : *words) {
      const auto verbs = verbs_of(*app);
      const auto found = std::ranges::find(verbs, word, [](const CLI::App* each) { return each->get_name(); });
      if (found == verbs.end()) {
        throw UsageError(verbs.empty() ? fmt::format("{}: {} has no verbs", util::shown(word), app->get_name())
                                       : no_such_verb(*app, word));
      }
      above += (above.empty() ? "" : " ") + app->get_name();
      app = *found;
    }
    // tool.help() would give that of the verb that was typed: this one.
    print(app == &tool ? help_formatter()->make_help(app, app->get_name(), CLI::AppFormatMode::Normal)
                       : app->help(above));
  });
}

}  // namespace librt::tool
