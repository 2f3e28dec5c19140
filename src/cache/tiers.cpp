#include "src/cache/tiers.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace librt::cache {
namespace {

std::uint64_t milliseconds_since(std::chrono::steady_clock::time_point begin) {
  const auto passed = std::chrono::steady_clock::now() - begin;
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(passed).count());
}

}  // namespace

Tiers::Tiers(TiersOptions options, util::Log log, Validate validate) : options_(std::move(options)) {
  const bool writes = options_.mode == CacheMode::rw;
  if (options_.mode != CacheMode::off) {
    StoreOptions store = options_.store;
    store.writable = writes;
    if (!options_.root.empty()) own_.emplace(options_.root, log, validate, store);
    store.writable = false;
    for (const std::string& root : options_.read_only) read_only_.emplace_back(root, log, validate, store);
  }
  statistics_ = Statistics::make(writes ? options_.root : std::string(), {options_.store.io, options_.store.trust});
}

EntryLookup Tiers::look_in(Store& store, const EntryRequest& request, const std::vector<util::Digest>& except) {
  return request.any_compiler ? store.find_program(request.key_document, request.expected, except)
                              : store.find(request.key, request.key_document, request.expected);
}

std::optional<TierEntry> Tiers::find_in(Store& store, const EntryRequest& request,
                                        const std::vector<util::Digest>& except) {
  EntryLookup found = look_in(store, request, except);
  if (found.corrupt) statistics_->add(Counter::corrupt);
  if (found.untrusted) statistics_->add(Counter::untrusted);
  if (!found.entry) return std::nullopt;
  return TierEntry{found.key, *std::move(found.entry), Origin::disk};
}

std::optional<TierEntry> Tiers::find(const EntryRequest& request, const std::vector<util::Digest>& except) {
  if (own_) {
    if (auto found = find_in(*own_, request, except)) {
      statistics_->add(Counter::disk_hits);
      return found;
    }
  }
  for (Store& store : read_only_) {
    if (auto found = find_in(store, request, except)) {
      statistics_->add(Counter::disk_hits);
      statistics_->add(Counter::read_only_hits);
      return found;
    }
  }
  return std::nullopt;
}

TierEntry Tiers::fetch(const EntryRequest& request, const Make& make) {
  if (!request.missed) {
    if (auto found = find(request)) return *std::move(found);
  }
  if (options_.mode == CacheMode::only) refuse(request);
  if (!own_ || options_.mode != CacheMode::rw || request.any_compiler || request.hopeless) {
    return make_and_publish(request, make);
  }

  const util::HeldMessages messages;  // until the lock is gone
  const LockResult held = own_->lock(request.key, options_.lock_timeout);
  if (held.waited.count() > 0) {
    statistics_->add(Counter::lock_waits);
    statistics_->add(Counter::lock_wait_ms, static_cast<std::uint64_t>(held.waited.count()));
  }
  if (!held.lock) statistics_->add(Counter::lock_degraded);
  // Whoever held the lock made it, most likely; so did whoever was faster between our look and our lock.
  if (auto found = find_in(*own_, request, {})) {
    statistics_->add(Counter::disk_hits);
    return *std::move(found);
  }
  return make_and_publish(request, make);
}

std::optional<TierEntry> Tiers::make_anew(const EntryRequest& request, const Make& make,
                                          const std::function<bool(const Entry&)>& differs) {
  Entry made = make_counted(make);
  if (!differs(made)) return std::nullopt;
  publish(request, made);
  return TierEntry{request.key, std::move(made), Origin::compiled};
}

Entry Tiers::make_counted(const Make& make) {
  std::optional<Entry> made;
  const auto begin = std::chrono::steady_clock::now();
  try {
    made = make();
  } catch (...) {
    statistics_->add(Counter::failed);
    statistics_->flush();
    throw;
  }
  statistics_->add(Counter::compiled);
  statistics_->add(Counter::compile_ms, milliseconds_since(begin));
  return *std::move(made);
}

void Tiers::publish(const EntryRequest& request, const Entry& entry) {
  if (!own_ || options_.mode != CacheMode::rw) return;
  const util::HeldMessages messages;  // until the collector's lock is gone
  const PublishResult published = own_->publish(request.key, entry);
  if (!published) statistics_->add(Counter::publish_failed);
  statistics_->add(Counter::evicted, published.evicted);
  // A process that is killed later loses its hits from the sum, not its compiles.
  statistics_->flush();
}

TierEntry Tiers::make_and_publish(const EntryRequest& request, const Make& make) {
  Entry made = make_counted(make);
  publish(request, made);
  return {request.key, std::move(made), Origin::compiled};
}

std::optional<util::Digest> Tiers::locate(const EntryRequest& request) {
  if (own_) {
    if (const EntryLookup found = look_in(*own_, request, {}); found.entry) return found.key;
  }
  for (Store& store : read_only_) {
    if (const EntryLookup found = look_in(store, request, {}); found.entry) return found.key;
  }
  return std::nullopt;
}

bool Tiers::lacks_directory() const {
  return own_ && options_.mode == CacheMode::rw &&
         ::access(fmt::format("{}/{}", options_.root, kFormatDirectory).c_str(), F_OK) != 0;
}

std::vector<const Store*> Tiers::stores() const {
  std::vector<const Store*> stores;
  if (own_) stores.push_back(&*own_);
  for (const Store& store : read_only_) stores.push_back(&store);
  return stores;
}

std::optional<Nearest> Tiers::nearest(std::string_view key_document) const {
  return nearest_entry(stores(), key_document, Search::whole);
}

/// A process that serves may ask again and again for what is not there: it searches once.
std::string Tiers::nearest_in_words(const EntryRequest& request) {
  constexpr std::size_t kRemembered = 256;
  if (const auto known = nearest_.lock(); known->contains(request.key)) return known->at(request.key);
  std::string words = in_words(nearest_entry(stores(), request.key_document, Search::bounded));
  const auto known = nearest_.lock();
  if (known->size() >= kRemembered) known->clear();
  return known->insert_or_assign(request.key, std::move(words)).first->second;
}

void Tiers::refuse(const EntryRequest& request) {
  statistics_->add(Counter::refused);
  std::string places;
  for (const Store* store : stores()) places += "\n  " + store->root();
  throw Error(ErrorCode::not_cached,
              fmt::format("{} is not in the cache, and the cache mode \"only\" compiles nothing; {}",
                          util::to_hex(request.key).substr(0, 12), nearest_in_words(request)),
              fmt::format("key {}\nkey document {}\nlooked in{}", util::to_hex(request.key), request.key_document,
                          places.empty() ? " no directory" : places));
}

}  // namespace librt::cache
