// Memory in front of the tiers: what a process uses of a cache.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "src/cache/once_map.hpp"
#include "src/cache/tiers.hpp"

namespace librt::cache {

struct DigestHash {
  std::size_t operator()(const util::Digest& digest) const noexcept {
    std::size_t hash = 0;
    std::memcpy(&hash, digest.data(), sizeof hash);
    return hash;
  }
};

/// Thread safe. One making for each key among the threads of the process; among processes where locks work.
template <class Value>
class Cache {
 public:
  using Shared = std::shared_ptr<const Value>;
  /// An entry that passed the validation, or was just made, as what the process uses.
  using Convert = std::function<Value(const util::Digest&, Entry, Origin)>;

  struct Lookup {
    Shared value;
    Origin origin = Origin::memory;  // how this request was served
  };

  Cache(TiersOptions options, util::Log log, Validate validate, Convert convert)
      : tiers_(std::move(options), std::move(log), std::move(validate)), convert_(std::move(convert)) {}

  Lookup get(const EntryRequest& request, const Make& make) {
    return get_by(request, [&] { return tiers_.fetch(request, make); });
  }

  /// As get(), without a making: nothing where no directory has it.
  std::optional<Lookup> find(const EntryRequest& request) {
    if (Shared value = find_in_memory(request)) return Lookup{std::move(value)};
    auto found = tiers_.find(request);
    if (!found) return std::nullopt;
    return get_by(request, [&] { return *std::move(found); });
  }

  /// For a value whose bytes proved useless: what `fetch` gives takes its place, once for all threads that found it
  /// useless. The value itself where there is nothing better, and where somebody else was faster, theirs.
  Lookup replace(const EntryRequest& request, const Shared& useless,
                 const std::function<std::optional<TierEntry>()>& fetch) {
    Origin origin = Origin::memory;
    auto result = values_.replace(request.key, useless, [&]() -> Shared {
      std::optional<TierEntry> fetched = fetch();
      if (!fetched) return useless;
      origin = fetched->origin;
      return converted(*std::move(fetched));
    });
    return {std::move(result.value), origin};
  }

  void drop_memory() { values_.clear(); }

  Tiers& tiers() noexcept { return tiers_; }
  Statistics& statistics() noexcept { return tiers_.statistics(); }

 private:
  template <class Fetch>
  Lookup get_by(const EntryRequest& request, const Fetch& fetch) {
    Origin origin = Origin::memory;
    auto result = values_.get(request.key, [&] {
      TierEntry fetched = fetch();
      origin = fetched.origin;
      return converted(std::move(fetched));
    });
    if (!result.made) statistics().add(Counter::memory_hits);
    return {std::move(result.value), origin};
  }

  Shared find_in_memory(const EntryRequest& request) {
    auto value = values_.find(request.key);
    if (!value) return nullptr;
    statistics().add(Counter::memory_hits);
    return *std::move(value);
  }

  Shared converted(TierEntry fetched) const {
    return std::make_shared<const Value>(convert_(fetched.key, std::move(fetched.entry), fetched.origin));
  }

  Tiers tiers_;
  Convert convert_;
  OnceMap<util::Digest, Shared, DigestHash> values_;
};

}  // namespace librt::cache
