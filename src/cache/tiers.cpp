#include "src/cache/tiers.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

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

std::optional<Entry> Tiers::find_in(Store& store, const Request& request) {
  Found found = store.find(request.key, request.key_document, request.expected);
  if (found.corrupt) statistics_->add(Counter::corrupt);
  if (found.untrusted) statistics_->add(Counter::untrusted);
  return std::move(found.entry);
}

std::optional<Entry> Tiers::find(const Request& request) {
  if (own_) {
    if (auto entry = find_in(*own_, request)) {
      statistics_->add(Counter::disk_hits);
      return entry;
    }
  }
  for (Store& store : read_only_) {
    if (auto entry = find_in(store, request)) {
      statistics_->add(Counter::disk_hits);
      statistics_->add(Counter::read_only_hits);
      return entry;
    }
  }
  return std::nullopt;
}

Fetched Tiers::fetch(const Request& request, const Make& make) {
  if (auto entry = find(request)) return {*std::move(entry), Origin::disk};
  if (options_.mode == CacheMode::only) refuse(request);
  if (!own_ || options_.mode != CacheMode::rw) return {make_and_publish(request, make)};

  const LockResult held = own_->lock(request.key, options_.lock_timeout);
  if (held.waited.count() > 0) {
    statistics_->add(Counter::lock_waits);
    statistics_->add(Counter::lock_wait_ms, static_cast<std::uint64_t>(held.waited.count()));
  }
  if (!held.lock) statistics_->add(Counter::lock_degraded);
  // Whoever held the lock made it, most likely; so did whoever was faster between our look and our lock.
  if (auto entry = find_in(*own_, request)) {
    statistics_->add(Counter::disk_hits);
    return {*std::move(entry), Origin::disk};
  }
  return {make_and_publish(request, make)};
}

Fetched Tiers::fetch_anew(const Request& request, const Make& make) {
  if (options_.mode == CacheMode::only) refuse(request);
  if (own_ && options_.mode == CacheMode::rw) own_->remove(request.key);
  return {make_and_publish(request, make)};
}

Entry Tiers::make_and_publish(const Request& request, const Make& make) {
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
  if (own_ && options_.mode == CacheMode::rw) {
    const PublishResult published = own_->publish(request.key, *made);
    if (!published) statistics_->add(Counter::publish_failed);
    statistics_->add(Counter::evicted, published.evicted);
    // A process that is killed later loses its hits from the sum, not its compiles.
    statistics_->flush();
    if (!options_.own_bytes) made = own_->find(request.key, request.key_document).entry.value();
  }
  return *std::move(made);
}

bool Tiers::holds(const Request& request) {
  if (own_ && own_->find(request.key, request.key_document, request.expected).entry) return true;
  for (Store& store : read_only_) {
    if (store.find(request.key, request.key_document, request.expected).entry) return true;
  }
  return false;
}

std::optional<Nearest> Tiers::nearest(std::string_view key_document) const {
  std::vector<const Store*> stores;
  if (own_) stores.push_back(&*own_);
  for (const Store& store : read_only_) stores.push_back(&store);
  return nearest_entry(stores, key_document);
}

void Tiers::refuse(const Request& request) const {
  statistics_->add(Counter::refused);
  std::string places;
  if (own_) places += "\n  " + own_->root();
  for (const Store& store : read_only_) places += "\n  " + store.root();
  throw Error(ErrorCode::not_cached,
              fmt::format("{} is not in the cache, and the cache mode \"only\" compiles nothing; {}",
                          util::to_hex(request.key).substr(0, 12), in_words(nearest(request.key_document))),
              fmt::format("key {}\nkey document {}\nlooked in{}", util::to_hex(request.key), request.key_document,
                          places.empty() ? " no directory" : places));
}

}  // namespace librt::cache
