// The directories behind one cache, in the order in which they are asked, and the making of what none of them has.
#pragma once

#include <librt/artifact.hpp>
#include <librt/options.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/explain.hpp"
#include "src/cache/statistics.hpp"
#include "src/cache/store.hpp"

namespace librt::cache {

struct TiersOptions {
  CacheMode mode = CacheMode::rw;
  std::string root{};                    // the user's own directory; empty = none
  std::vector<std::string> read_only{};  // asked after it, in this order
  StoreOptions store{};                  // `writable` is of the mode's making
  std::chrono::milliseconds lock_timeout{60000};
  bool own_bytes = true;  // false in the test alone that shows what it is good for: reads back what was published
};

struct Request {
  util::Digest key{};
  std::string_view key_document{};
  Validate expected{};  // what an entry from disk must agree with beside its key document
};

struct Fetched {
  Entry entry;
  Origin origin = Origin::compiled;  // disk or compiled
};

using Make = std::function<Entry()>;

/// Thread safe. No disk problem fails a request that can be made.
class Tiers {
 public:
  Tiers(TiersOptions options, util::Log log, Validate validate);

  /// From the first directory that has it; else made, under the key's lock where there is one, and published. What
  /// `make` throws is passed on. Throws Error(not_cached) in mode only.
  Fetched fetch(const Request& request, const Make& make);

  /// For bytes that were sound on disk and proved useless: made again, whatever is there.
  Fetched fetch_anew(const Request& request, const Make& make);

  bool holds(const Request& request);
  std::optional<Nearest> nearest(std::string_view key_document) const;

  Statistics& statistics() noexcept { return *statistics_; }

 private:
  std::optional<Entry> find(const Request& request);
  std::optional<Entry> find_in(Store& store, const Request& request);
  Entry make_and_publish(const Request& request, const Make& make);
  [[noreturn]] void refuse(const Request& request) const;

  TiersOptions options_;
  std::optional<Store> own_;
  std::vector<Store> read_only_;
  std::shared_ptr<Statistics> statistics_;
};

}  // namespace librt::cache
