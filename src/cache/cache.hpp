// Memory in front of the tiers: what a process uses of a cache.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
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

  struct Got {
    Shared value;
    Origin origin = Origin::memory;  // how this request was served
  };

  Cache(TiersOptions options, util::Log log, Validate validate, Convert convert, bool forget_failures = true)
      : tiers_(std::move(options), std::move(log), std::move(validate)),
        convert_(std::move(convert)),
        values_(forget_failures) {}

  Got get(const Request& request, const Make& make) {
    return get_by(request, [&] { return tiers_.fetch(request, make); });
  }

  /// Forgets the value and makes it again.
  Got get_anew(const Request& request, const Make& make) {
    values_.forget(request.key);
    return get_by(request, [&] { return tiers_.fetch_anew(request, make); });
  }

  void drop_memory() { values_.clear(); }

  Tiers& tiers() noexcept { return tiers_; }
  Statistics& statistics() noexcept { return tiers_.statistics(); }

 private:
  template <class Fetch>
  Got get_by(const Request& request, const Fetch& fetch) {
    Origin origin = Origin::memory;
    auto result = values_.get(request.key, [&] {
      Fetched fetched = fetch();
      origin = fetched.origin;
      return std::make_shared<const Value>(convert_(request.key, std::move(fetched.entry), fetched.origin));
    });
    if (!result.made) statistics().add(Counter::memory_hits);
    return {std::move(result.value), origin};
  }

  Tiers tiers_;
  Convert convert_;
  OnceMap<util::Digest, Shared, DigestHash> values_;
};

}  // namespace librt::cache
