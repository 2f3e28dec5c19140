#include <librt/error.hpp>
#include <librt/manifest.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_set>
#include <utility>

#include "src/api/boundary.hpp"
#include "src/api/spec_pattern.hpp"
#include "src/kernel/registry.hpp"
#include "src/util/files.hpp"
#include "src/util/refuse.hpp"
#include "src/util/text.hpp"

namespace librt {
namespace {

using nlohmann::json;

constexpr std::size_t kMostLevels = 4;  // manifest, specs, an object, a list of values
constexpr std::array<std::string_view, 4> kMembers = {"archs", "specs", "source", "note"};
constexpr std::string_view kShape =
    R"({"archs": ["sm_90a", ...], "specs": ["KERNEL key=value ...", ...], "source": "...", "note": "..."})";

using util::refuse;

/// What `read` throws, with the place in front.
template <class Read>
void at(std::string_view place, const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", place, error.what()), error.detail());
  }
}

/// The library's parser keeps the last of two members of one name in silence, and knows no bound on nesting.
class StrictParse {
 public:
  static json parse(std::string_view text) {
    StrictParse strict;
    try {
      return json::parse(text, [&](int, json::parse_event_t event, json& value) { return strict.saw(event, value); });
    } catch (const json::exception& error) {
      refuse(fmt::format("{}; it must be {}", error.what(), kShape));
    }
  }

 private:
  bool saw(json::parse_event_t event, const json& value) {
    using Event = json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (names_.size() == kMostLevels) refuse(fmt::format("it is nested too deeply; it must be {}", kShape));
      names_.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      names_.pop_back();
    } else if (event == Event::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!names_.back().insert(name).second) refuse(fmt::format("\"{}\" is given twice", util::shown(name)));
    }
    return true;
  }

  std::vector<std::set<std::string>> names_;  // of the objects that are open
};

std::string shown(const json& value) {
  return util::shown(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string read_text(const json& value) {
  if (!value.is_string()) refuse(fmt::format("{} is not allowed; allowed: a text", shown(value)));
  return value.get<std::string>();
}

std::vector<Arch> read_archs(const json& value) {
  if (!value.is_array()) refuse(fmt::format("{} is not allowed; allowed: [\"sm_90a\", ...]", shown(value)));
  if (value.size() > kMaxManifestArchs) {
    refuse(fmt::format("there are {} of them; allowed: at most {}", value.size(), kMaxManifestArchs));
  }
  std::vector<Arch> archs;
  for (const json& each : value) {
    if (!each.is_string() || each.get_ref<const std::string&>().size() > 32) {
      refuse(fmt::format("{} is not allowed; allowed: sm_XX[a|f] or compute_XX[a|f]", shown(each)));
    }
    const Arch arch = parse_arch(each.get<std::string>());
    if (std::ranges::find(archs, arch) == archs.end()) archs.push_back(arch);
  }
  return archs;
}

/// One number or text, the latter possibly with commas and ranges.
void add_values(api::SpecPattern& pattern, const std::string& member, const json& value) {
  if (value.is_string()) return pattern.add(member, value.get<std::string>());
  if (value.is_number_integer()) return pattern.add(member, value.dump());
  refuse(fmt::format("{}={} is not allowed; allowed: a number, a text, or a list of them", util::shown(member),
                     shown(value)));
}

api::SpecPattern read_entry(const json& entry) {
  if (entry.is_string()) {
    return api::SpecPattern::parse_line(entry.get_ref<const std::string&>(), kMaxManifestSpecs);
  }
  if (!entry.is_object()) {
    refuse(fmt::format("{} is not allowed; allowed: \"KERNEL key=value ...\" or {{\"kernel\": \"...\", ...}}",
                       shown(entry)));
  }
  const auto kernel = entry.find("kernel");
  if (kernel == entry.end()) {
    constexpr std::array<std::string_view, 1> kName = {"kernel"};
    for (const auto& [member, value] : entry.items()) {
      if (!util::nearest(member, kName).empty()) {
        refuse(fmt::format("{}={} is not a member; did you mean kernel?", util::shown(member), shown(value)));
      }
    }
    refuse(fmt::format("kernel is missing; allowed: {}", fmt::join(kernel::names(), ", ")));
  }
  if (!kernel->is_string()) refuse(fmt::format("kernel={} is not allowed; allowed: a text", shown(*kernel)));
  api::SpecPattern pattern(kernel->get<std::string>(), kMaxManifestSpecs);
  for (const auto& [member, value] : entry.items()) {
    if (member == "kernel") continue;
    if (!value.is_array()) {
      add_values(pattern, member, value);
    } else if (value.empty()) {
      refuse(fmt::format("{}=[] is not allowed; allowed: at least one value", util::shown(member)));
    } else {
      for (const json& each : value) add_values(pattern, member, each);
    }
  }
  return pattern;
}

std::vector<Spec> read_specs(const json& value) {
  if (!value.is_array()) refuse(fmt::format("{} is not allowed; allowed: a list of specs", shown(value)));
  std::vector<Spec> specs;
  std::unordered_set<Spec> known;
  std::size_t asked = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    at(fmt::format("specs[{}]", i), [&] {
      const api::SpecPattern pattern = read_entry(value[i]);
      asked += pattern.count(asked, kMaxManifestSpecs);
      pattern.for_each([&](Spec spec) {
        if (known.insert(spec).second) specs.push_back(std::move(spec));
      });
    });
  }
  return specs;
}

Manifest read(std::string_view text) {
  if (text.size() > kMaxManifestBytes) {
    refuse(fmt::format("it has {} bytes; allowed: at most {}", text.size(), kMaxManifestBytes));
  }
  const json root = StrictParse::parse(text);
  if (!root.is_object()) refuse(fmt::format("{} is not a manifest; it must be {}", shown(root), kShape));
  Manifest manifest;
  for (const auto& [name, value] : root.items()) {
    if (name == "source") {
      at(name, [&] { manifest.source = read_text(value); });
    } else if (name == "note") {
      at(name, [&] { manifest.note = read_text(value); });
    } else if (name == "archs") {
      at(name, [&] { manifest.archs = read_archs(value); });
    } else if (name == "specs") {
      manifest.specs = read_specs(value);
    } else {
      refuse(
          fmt::format("{}={} is not a member{}", util::shown(name), shown(value), util::allowed_names(name, kMembers)));
    }
  }
  if (!root.contains("specs")) refuse(fmt::format("specs is missing; it must be {}", kShape));
  return manifest;
}

}  // namespace

Manifest parse_manifest(std::string_view text, std::string_view origin) try {
  Manifest manifest;
  at(origin, [&] { manifest = read(text); });
  return manifest;
} catch (...) {
  api::leave_with_exception();
}

Manifest read_manifest(const std::string& path) try {
  return parse_manifest(util::read_text_file(path, kMaxManifestBytes), path);
} catch (...) {
  api::leave_with_exception();
}

std::string to_json(const Manifest& manifest) try {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  if (!manifest.source.empty()) root["source"] = manifest.source;
  if (!manifest.note.empty()) root["note"] = manifest.note;
  if (!manifest.archs.empty()) {
    for (const Arch& arch : manifest.archs) root["archs"].push_back(to_string(arch));
  }
  root["specs"] = nlohmann::ordered_json::array();
  for (const Spec& spec : manifest.specs) root["specs"].push_back(to_string(spec));
  return root.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
} catch (...) {
  api::leave_with_exception();
}

}  // namespace librt
