// A cache over a compiler that makes bytes out of a number: for the unit tests and for the processes that they start.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/cache/cache.hpp"
#include "src/util/key_document.hpp"

namespace librt::test {

using EntryCache = cache::Cache<cache::Entry>;

struct FakeRequest {
  explicit FakeRequest(int number_of_it, std::size_t bytes_of_it = 20000) : number(number_of_it), bytes(bytes_of_it) {}

  int number;
  std::size_t bytes;
  std::vector<util::KeyField> fields{{"target", "\"sm_80\""}, {"spec", "{\"number\":" + std::to_string(number) + "}"}};
  util::Digest key = util::key_digest(fields);
  std::string key_document = util::key_document(fields);

  cache::EntryRequest request() const { return {key, key_document}; }

  /// What the compiler makes of it: every byte follows from the number.
  cache::Entry entry() const {
    cache::Entry entry{.key_document = key_document, .meta = "{}", .cubin = {}, .ptx = {}, .source = "stub"};
    entry.cubin.resize(bytes);
    auto state = static_cast<std::uint32_t>(number) + 1;
    for (std::byte& byte : entry.cubin) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<std::byte>(state >> 24);
    }
    return entry;
  }
  bool is(const cache::Entry& entry_to_check) const {
    const cache::Entry expected = entry();
    return entry_to_check.key_document == expected.key_document && entry_to_check.cubin == expected.cubin &&
           entry_to_check.meta == expected.meta && entry_to_check.source == expected.source;
  }
};

struct FakeCompiler {
  std::chrono::milliseconds duration{0};
  std::atomic<int> calls{0};

  cache::Make of(const FakeRequest& request) {
    return [this, &request] {
      ++calls;
      if (duration.count() > 0) std::this_thread::sleep_for(duration);
      return request.entry();
    };
  }
};

inline std::unique_ptr<EntryCache> open_fake(const cache::TiersOptions& options, const util::Log& log) {
  return std::make_unique<EntryCache>(options, log, cache::Validate{},
                                      [](const util::Digest&, cache::Entry entry, Origin) { return entry; });
}

}  // namespace librt::test
