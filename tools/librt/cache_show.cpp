// librt cache show: one entry in full.
#include <fmt/format.h>

#include <utility>

#include "src/util/text.hpp"
#include "tools/librt/cache_verbs.hpp"
#include "tools/librt/table.hpp"

namespace librt::tool {
namespace {

Json to_json(const CacheEntryDetail& detail) {
  Json json = tool::to_json(detail.entry);
  json["entry_symbol"] = detail.entry_symbol;
  json["cubin_bytes"] = detail.cubin_bytes;
  json["ptx_bytes"] = detail.ptx_bytes;
  json["block_threads"] = detail.block_threads;
  json["dynamic_shared_bytes"] = detail.shared_bytes;
  if (detail.resources) {
    const KernelResources& resources = *detail.resources;
    json["resources"] = Json{{"registers", resources.registers},
                             {"stack_bytes", resources.stack_bytes},
                             {"static_shared_bytes", resources.static_shared_bytes},
                             {"max_threads", resources.max_threads},
                             {"code_bytes", resources.code_bytes},
                             {"toolchain", resources.toolchain}};
  } else {
    json["resources"] = nullptr;
  }
  json["key_document"] = Json::parse(detail.key_document, nullptr, false);
  json["source"] = detail.source;
  json["log"] = detail.log;
  return json;
}

/// Strings without quotes, the elements of an array side by side.
std::string words(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& item : value) text += (text.empty() ? "" : "  ") + words(item);
  return text;
}

/// The key document, one line for each field: what would have to change for a miss.
std::string key_lines(const std::string& key_document) {
  const Json document = Json::parse(key_document, nullptr, false);
  if (!document.is_object()) return util::printable(key_document) + "\n";
  Rows rows;
  for (const auto& [name, value] : document.items()) {
    if (name == "source") {
      rows.push_back({"  " + name, "the stub below"});
    } else if (value.is_array() || value.is_object()) {
      std::string label = "  " + name;
      for (const auto& [index, item] : value.items()) {
        rows.push_back({std::exchange(label, {}), value.is_object() ? index + "=" + words(item) : words(item)});
      }
      if (!label.empty()) rows.push_back({label, "none"});
    } else {
      rows.push_back({"  " + name, words(value)});
    }
  }
  return table(rows);
}

std::string indented(const std::string& as_stored) {
  std::string result;
  for (const std::string& line : wrapped(util::printable(as_stored), 0)) {
    result += paragraph("  " + line, columns_of(Stream::out));
  }
  return result;
}

}  // namespace

int cache_show_entry(const CacheSettings& settings) {
  require_cache(settings);
  const CacheEntryDetail detail = cache_show(settings.key, options_of(settings));
  if (settings.json) {
    print_json(to_json(detail));
    return kDone;
  }
  const CacheEntry& entry = detail.entry;
  Rows rows{{"key", entry.key},
            {"kernel", fmt::format("{} {}", entry.kernel, spec_words(entry.spec))},
            {"target", entry.target},
            {"file", fmt::format("{}, {}", entry.path, with_unit(entry.file_bytes))},
            {"made", fmt::format("{} by NVRTC {} in {:.0f} ms", date_of(entry.created), entry.nvrtc, entry.compile_ms)},
            {"last used", how_long_ago(entry.last_used)},
            {"holds", fmt::format("cubin {}, PTX {}", with_unit(detail.cubin_bytes), with_unit(detail.ptx_bytes))},
            {"symbol", detail.entry_symbol},
            {"block", fmt::format("{} threads, {} of dynamic shared memory", detail.block_threads,
                                  with_unit(static_cast<std::uint64_t>(detail.shared_bytes)))}};
  if (detail.resources) {
    const KernelResources& resources = *detail.resources;
    rows.push_back({"thread", fmt::format("{} registers, {} B of stack", resources.registers, resources.stack_bytes)});
    rows.push_back({"static shared", with_unit(static_cast<std::uint64_t>(resources.static_shared_bytes))});
    rows.push_back({"code", with_unit(static_cast<std::uint64_t>(resources.code_bytes))});
    rows.push_back({"assembled by", resources.toolchain});
  }
  print(table(rows));
  print("\n" + styled(Style::heading, "The key is a hash of") + "\n" + key_lines(detail.key_document));
  print("\n" + styled(Style::heading, "Stub") + "\n" + indented(detail.source));
  if (!detail.log.empty())
    print("\n" + styled(Style::heading, "What the assembler said") + "\n" + indented(detail.log));
  return kDone;
}

}  // namespace librt::tool
