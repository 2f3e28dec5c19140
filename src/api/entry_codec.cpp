#include "src/api/entry_codec.hpp"

#include <librt/error.hpp>
#include <librt/types.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "src/jit/binary_info.hpp"

namespace librt::api {
namespace {

using nlohmann::json;

constexpr int kMaxBlockThreads = 1024;
constexpr double kMaxCompileMs = 1e9;
constexpr std::int64_t kMaxCreated = 253402300799;  // the last second of the year 9999
constexpr int kMaxSharedBytes = 232448;  // the largest opt-in shared memory of a block on any architecture so far

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::corrupt, what);
}

const json& member(const json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) corrupt(fmt::format("meta has no \"{}\"", name));
  return *found;
}

std::string text(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_string()) corrupt(fmt::format("meta: \"{}\" is not a string", name));
  return value.get<std::string>();
}

template <class Integer>
Integer bounded(const json& object, const char* name, Integer low, Integer high) {
  const json& value = member(object, name);
  if (!value.is_number_integer()) corrupt(fmt::format("meta: \"{}\" is not an integer", name));
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high) {
    corrupt(fmt::format("meta: \"{}\" is {}, not within {}..{}", name, number, low, high));
  }
  return static_cast<Integer>(number);
}

/// Metadata repeats a part of the key document, for those who only look. Nothing that it says may be another thing.
void check_key_document(const std::string& key_document, const EntryMeta& meta) {
  const json document = json::parse(key_document, nullptr, false);
  if (!document.is_object()) corrupt("the key document is not a JSON object");
  const auto check = [&](const char* pointer, const char* what, const std::string& said) {
    const json::json_pointer place(pointer);
    if (document.contains(place) && document.at(place) != json(said)) {
      corrupt(fmt::format("meta and key document name different {}", what));
    }
  };
  if (!document.contains("target")) corrupt("the key document has no \"target\"");
  check("/target", "targets", meta.target);
  check("/names/0", "entries", meta.entry);
  check("/spec/kernel", "kernels", meta.kernel);
  check("/compiler/version", "versions of NVRTC", meta.nvrtc);
}

std::string canonical_spec(const std::string& key_document) {
  const json document = json::parse(key_document, nullptr, false);
  if (!document.is_object() || !document.contains("spec")) return {};
  return document["spec"].dump();
}

void check_cubin(const cache::Entry& entry, const EntryMeta& meta, const Arch& arch) {
  const jit::CubinInfo info = jit::read_cubin(entry.cubin);
  if (info.sm != arch.sm) corrupt(fmt::format("the cubin is for sm_{}, the entry for {}", info.sm, meta.target));
  const bool has_entry =
      std::ranges::any_of(info.kernels, [&](const jit::CubinKernel& kernel) { return kernel.name == meta.entry; });
  if (!has_entry) corrupt(fmt::format("the cubin has no kernel {}", meta.entry));
}

void check_ptx(const cache::Entry& entry, const EntryMeta& meta, const Arch& arch) {
  const jit::PtxInfo info = jit::read_ptx(entry.ptx);
  Arch real = arch;
  real.ptx_only = false;
  if (info.target != to_string(real)) {
    corrupt(fmt::format("the PTX is for {}, the entry for {}", info.target, meta.target));
  }
  if (std::ranges::find(info.entries, meta.entry) == info.entries.end()) {
    corrupt(fmt::format("the PTX has no entry {}", meta.entry));
  }
}

void check_entry(const cache::Entry& entry) {
  const EntryMeta meta = read_meta(entry.meta);
  check_key_document(entry.key_document, meta);
  const Arch arch = parse_arch(meta.target);
  if (arch.ptx_only != entry.cubin.empty()) {
    corrupt(fmt::format("an entry for {} {} a cubin", meta.target, arch.ptx_only ? "has" : "lacks"));
  }
  if (!arch.ptx_only) check_cubin(entry, meta, arch);
  check_ptx(entry, meta, arch);
}

}  // namespace

std::string write_meta(const EntryMeta& meta) {
  json object = json::object();
  object["kernel"] = meta.kernel;
  object["entry"] = meta.entry;
  object["target"] = meta.target;
  object["nvrtc"] = meta.nvrtc;
  object["log"] = meta.log;
  object["librt"] = meta.librt_version;
  object["block_threads"] = meta.block_threads;
  object["shared_bytes"] = meta.shared_bytes;
  object["compile_ms"] = meta.compile_ms;
  object["created"] = meta.created;
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

EntryMeta read_meta(const std::string& text_of_meta) {
  const json object = json::parse(text_of_meta, nullptr, false);
  if (!object.is_object()) corrupt("meta is not a JSON object");
  EntryMeta meta;
  meta.kernel = text(object, "kernel");
  meta.entry = text(object, "entry");
  meta.target = text(object, "target");
  meta.nvrtc = text(object, "nvrtc");
  meta.log = text(object, "log");
  meta.librt_version = text(object, "librt");
  meta.block_threads = bounded(object, "block_threads", 1, kMaxBlockThreads);
  meta.shared_bytes = bounded(object, "shared_bytes", 0, kMaxSharedBytes);
  const json& milliseconds = member(object, "compile_ms");
  if (!milliseconds.is_number()) corrupt("meta: \"compile_ms\" is not a number");
  meta.compile_ms = milliseconds.get<double>();
  if (!(meta.compile_ms >= 0 && meta.compile_ms <= kMaxCompileMs)) {
    corrupt(fmt::format("meta: \"compile_ms\" is {}, not within 0..{}", meta.compile_ms, kMaxCompileMs));
  }
  meta.created = bounded<std::int64_t>(object, "created", 0, kMaxCreated);
  return meta;
}

Artifact to_artifact(const util::Digest& key, cache::Entry entry, Origin origin) {
  EntryMeta meta = read_meta(entry.meta);
  return {.key = util::to_hex(key),
          .kernel = std::move(meta.kernel),
          .entry = std::move(meta.entry),
          .arch = parse_arch(meta.target),
          .cubin = std::move(entry.cubin),
          .ptx = std::move(entry.ptx),
          .source = std::move(entry.source),
          .spec = canonical_spec(entry.key_document),
          .block_threads = meta.block_threads,
          .shared_bytes = meta.shared_bytes,
          .origin = origin,
          .compile_ms = meta.compile_ms};
}

std::optional<std::string> contradiction(const cache::Entry& entry, const EntryMeta& expected) {
  const EntryMeta meta = read_meta(entry.meta);
  const auto differs = [](const char* name, const auto& there, const auto& given) {
    return fmt::format("meta: \"{}\" is {}; the spec gives {}", name, there, given);
  };
  if (meta.kernel != expected.kernel) return differs("kernel", meta.kernel, expected.kernel);
  if (meta.entry != expected.entry) return differs("entry", meta.entry, expected.entry);
  if (meta.target != expected.target) return differs("target", meta.target, expected.target);
  if (meta.block_threads != expected.block_threads) {
    return differs("block_threads", meta.block_threads, expected.block_threads);
  }
  if (meta.shared_bytes != expected.shared_bytes) {
    return differs("shared_bytes", meta.shared_bytes, expected.shared_bytes);
  }
  return std::nullopt;
}

std::optional<std::string> validate_entry(const cache::Entry& entry) {
  try {
    check_entry(entry);
    return std::nullopt;
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace librt::api
