// A key, an entry and a store to try things on.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/directory.hpp"
#include "src/cache/entry.hpp"
#include "src/cache/store.hpp"
#include "src/util/hash.hpp"
#include "src/util/key_document.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt::test {

struct Sample {
  std::vector<util::KeyField> fields{{"schema", "1"}, {"target", "\"sm_90a\""}};
  util::Digest key = util::key_digest(fields);
  std::string key_document = util::key_document(fields);
  cache::Entry entry{.key_document = key_document,
                     .meta = "{\"entry\":\"librt_test\"}",
                     .cubin = std::vector<std::byte>(100, std::byte{0x7f}),
                     .ptx = ".version 9.0",
                     .source = "#include \"test.cuh\"\n"};
};

inline bool same(const cache::Entry& a, const cache::Entry& b) {
  return a.key_document == b.key_document && a.meta == b.meta && a.cubin == b.cubin && a.ptx == b.ptx &&
         a.source == b.source;
}

/// A store in a directory of its own, and what it logged.
struct StoreFixture {
  TempDir directory;
  std::vector<std::string> warnings;
  std::string root = directory / "cache";
  cache::Store store = open();

  std::string temporaries() const { return root + "/v1/" + cache::kTemporaryDirectory; }

  cache::Store open(cache::Validate validate = {}) {
    return cache::Store(
        root, util::Log([this](LogLevel, std::string_view text) { warnings.emplace_back(text); }, LogLevel::warn),
        std::move(validate));
  }
};

inline std::vector<std::byte> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

/// Mode 0600, as the store's own files are.
inline void put(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ::chmod(path.c_str(), 0600);
}

inline std::size_t files_below(const std::string& path) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& item : std::filesystem::recursive_directory_iterator(path, error)) count += !item.is_directory();
  return count;
}

/// Makes the checksum right again, so that what stands behind it is looked at.
inline void sign(std::vector<std::byte>& file) {
  const util::Digest checksum = util::hash(std::span<const std::byte>(file).first(file.size() - 32));
  std::copy(checksum.begin(), checksum.end(), file.end() - 32);
}

}  // namespace librt::test
