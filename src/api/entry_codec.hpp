// Artifacts as cache entries, and what must hold of an entry before its bytes are used.
#pragma once

#include <librt/artifact.hpp>
#include <librt/cache.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "src/cache/entry.hpp"
#include "src/cache/store.hpp"

namespace librt::api {

/// The JSON section of an entry beside the bytes.
struct EntryMeta {
  std::string kernel;
  std::string entry;
  std::string target;
  std::string nvrtc;
  std::string log;
  std::string librt_version;
  int block_threads = 0;
  int shared_bytes = 0;
  double compile_ms = 0;
  std::int64_t created = 0;  // seconds since 1970
};

std::string write_meta(const EntryMeta& meta);
/// Throws Error(corrupt) unless every field is there, of its type and within the bounds of any GPU.
EntryMeta read_meta(const std::string& json);

/// The entry must have passed validate_entry(), or be fresh.
Artifact to_artifact(const util::Digest& key, cache::Entry entry, Origin origin);

/// For a hit: what launches or labels a kernel and comes out of an entry must be what the request gives, whose kernel,
/// entry, target, block_threads and shared_bytes `expected` has. Says what is not, or nothing. A right checksum does
/// not tell: somebody wrote it who derived something else from the same spec.
std::optional<std::string> contradiction(const cache::Entry& entry, const EntryMeta& expected);

/// The callback of the store: meta and key document, target, ELF machine, SM and entry symbol of the cubin, target and
/// entry of the PTX.
std::optional<std::string> validate_entry(const cache::Entry& entry);

}  // namespace librt::api
