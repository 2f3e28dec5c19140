// The directories behind one cache, in the order in which they are asked, and the making of what none of them has.
#pragma once

#include <librt/artifact.hpp>
#include <librt/options.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/explain.hpp"
#include "src/cache/statistics.hpp"
#include "src/cache/store.hpp"
#include "src/util/per_process.hpp"

namespace librt::cache {

struct TiersOptions {
  CacheMode mode = CacheMode::rw;
  std::string root{};                    // the user's own directory; empty = none
  std::vector<std::string> read_only{};  // asked after it, in this order
  StoreOptions store{};                  // `writable` is of the mode's making
  std::chrono::milliseconds lock_timeout{60000};
};

struct EntryRequest {
  util::Digest key{};  // of the document
  std::string_view key_document{};
  Validate expected{};  // what an entry from disk must agree with beside its key document
  /// The document names no compiler, since there is none here or none may run: an entry that any compiler made of the
  /// same program is as good.
  bool any_compiler = false;
  bool missed = false;    // find() has found nothing just now
  bool hopeless = false;  // it cannot be made: fetch() makes no directory for its lock
};

struct TierEntry {
  util::Digest key{};  // of the entry
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
  TierEntry fetch(const EntryRequest& request, const Make& make);

  /// From the first directory that has it; none of the keys in `except`.
  std::optional<TierEntry> find(const EntryRequest& request, const std::vector<util::Digest>& except = {});
  /// For bytes that were sound on disk and proved useless: made again, and published if `differs` says that they are
  /// others than those. Nothing if they are not.
  std::optional<TierEntry> make_anew(const EntryRequest& request, const Make& make,
                                     const std::function<bool(const Entry&)>& differs);

  /// The key of the entry that find() would come to; counts nothing.
  std::optional<util::Digest> locate(const EntryRequest& request);
  /// The nearest of all entries: takes as long as it takes.
  std::optional<Nearest> nearest(std::string_view key_document) const;

  /// The user's own directory is to be made when something is first made for it.
  bool lacks_directory() const;

  Statistics& statistics() noexcept { return *statistics_; }

 private:
  static EntryLookup look_in(Store& store, const EntryRequest& request, const std::vector<util::Digest>& except);
  std::optional<TierEntry> find_in(Store& store, const EntryRequest& request, const std::vector<util::Digest>& except);
  std::vector<const Store*> stores() const;
  Entry make_counted(const Make& make);
  void publish(const EntryRequest& request, const Entry& entry);
  TierEntry make_and_publish(const EntryRequest& request, const Make& make);
  [[noreturn]] void refuse(const EntryRequest& request);
  std::string nearest_in_words(const EntryRequest& request);

  TiersOptions options_;
  std::optional<Store> own_;
  std::vector<Store> read_only_;
  std::shared_ptr<Statistics> statistics_;
  util::PerProcess<std::map<util::Digest, std::string>> nearest_;  // in words, of what was refused: see refuse()
};

}  // namespace librt::cache
