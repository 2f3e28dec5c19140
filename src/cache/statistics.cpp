#include "src/cache/statistics.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "src/cache/key_lock.hpp"
#include "src/util/json_bounds.hpp"

namespace librt::cache {
namespace {

using nlohmann::json;

constexpr unsigned kBuckets = 16;
// A file is written by one write of this size, so that a process that is killed leaves the old numbers or the new.
constexpr std::size_t kFileBytes = 1024;
constexpr std::chrono::milliseconds kLockTimeout{500};
constexpr auto kRelaxed = std::memory_order_relaxed;

constexpr std::array<std::string_view, static_cast<std::size_t>(Counter::kCount)> kNames = {
    "memory_hits", "disk_hits",      "read_only_hits", "compiled",     "failed",        "refused",    "corrupt",
    "untrusted",   "publish_failed", "lock_waits",     "lock_wait_ms", "lock_degraded", "compile_ms", "evicted"};

template <class Visit>
void for_each_counter(const Visit& visit) {
  for (std::size_t i = 0; i < kNames.size(); ++i) visit(static_cast<Counter>(i));
}

std::string bucket_name(unsigned bucket) {
  return fmt::format("{:02x}.json", bucket);
}

/// What is in a bucket, or an object without anything.
json parse_bucket(std::string_view text) {
  json object = util::json_problem(text).empty() ? json::parse(text, nullptr, false) : json();
  return object.is_object() ? object : json::object();
}

std::optional<std::string> read_bucket(IoOps& io, int fd) {
  std::string text(kFileBytes, '\0');
  std::size_t got = 0;
  if (read_all(io, fd, std::as_writable_bytes(std::span(text)), got) != 0) return std::nullopt;
  text.resize(got);
  return text;
}

bool write_bucket(IoOps& io, int fd, const std::string& text) {
  return ::lseek(fd, 0, SEEK_SET) == 0 && write_all(io, fd, std::as_bytes(std::span(text))) == 0;
}

std::uint64_t number_in(const json& object, std::string_view name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool add_to_bucket(const std::string& root, const Access& access, const Counts& more) {
  // Failures alone make no cache directory.
  const bool served = more.lookups() > more[Counter::failed] + more[Counter::refused];
  const DirectoryResult directory = open_below(open_format(root, served ? IfAbsent::create : IfAbsent::report, access),
                                               kStatisticsDirectory, IfAbsent::create);
  if (!std::holds_alternative<Directory>(directory)) return false;
  const auto bucket = static_cast<unsigned>(::getpid()) % kBuckets;
  const LockResult held = lock_file(std::get<Directory>(directory), bucket_name(bucket), kLockTimeout);
  if (held.busy) return false;
  util::UniqueFd unlocked;
  if (!held.lock) {
    // A file system without locks: two processes that share a bucket and write at once may lose a number.
    auto opened = open_shared_file(std::get<Directory>(directory), bucket_name(bucket));
    if (!std::holds_alternative<util::UniqueFd>(opened)) return false;
    unlocked = std::get<util::UniqueFd>(std::move(opened));
  }
  IoOps& io = *access.io;
  const int fd = held.lock ? held.lock->fd() : unlocked.get();
  const std::optional<std::string> before = read_bucket(io, fd);
  if (!before) return false;
  const json known = parse_bucket(*before);
  json object;  // of what is known alone: whatever else stood there
  for_each_counter([&](Counter counter) {
    const std::string name(name_of(counter));
    object[name] = number_in(known, name) + more[counter];
  });
  const std::uint64_t since = number_in(known, "since");
  object["since"] = since == 0 ? static_cast<std::uint64_t>(io.now()) : since;
  std::string text = object.dump();
  text.resize(kFileBytes - 1, ' ');
  text += '\n';
  if (write_bucket(io, fd, text)) return true;
  // A limit let a part of it through: what stood there comes back.
  static_cast<void>(write_bucket(io, fd, *before) && ::ftruncate(fd, static_cast<off_t>(before->size())) == 0);
  return false;
}

/// All that may have something to flush when the process exits.
class ExitFlush {
 public:
  static ExitFlush& get() {
    // Never destroyed: a Statistics in a static object may end after it.
    static ExitFlush& exit_flush = *[] {
      auto* const made = new ExitFlush;
      std::atexit([] { get().flush_all(); });
      return made;
    }();
    return exit_flush;
  }

  void insert(Statistics* statistics) { all_.lock()->insert(statistics); }
  void erase(Statistics* statistics) { all_.lock()->erase(statistics); }

 private:
  void flush_all() {
    const auto all = all_.lock();
    for (Statistics* statistics : *all) statistics->flush();
  }

  util::PerProcess<std::set<Statistics*>> all_;
};

}  // namespace

std::uint64_t Counts::lookups() const {
  return (*this)[Counter::memory_hits] + (*this)[Counter::disk_hits] + (*this)[Counter::compiled] +
         (*this)[Counter::failed] + (*this)[Counter::refused];
}

bool Counts::any() const {
  return std::any_of(values_.begin(), values_.end(), [](std::uint64_t value) { return value != 0; });
}

std::string_view name_of(Counter counter) {
  return kNames[static_cast<std::size_t>(counter)];
}

std::shared_ptr<Statistics> Statistics::make(std::string root, Access access) {
  std::shared_ptr<Statistics> made(new Statistics(std::move(root), access));
  ExitFlush::get().insert(made.get());
  return made;
}

Statistics::Statistics(std::string root, Access access)
    : root_(std::move(root)), access_(access), generation_(util::process_generation()) {}

Statistics::~Statistics() {
  ExitFlush::get().erase(this);
  flush();
}

void Statistics::start_over_in_child() noexcept {
  unsigned seen = generation_.load(kRelaxed);
  const unsigned now = util::process_generation();
  if (seen == now || !generation_.compare_exchange_strong(seen, now)) return;
  // What the parent counted is the parent's to write.
  for (auto& counter : counters_) counter.store(0, kRelaxed);
  try {
    ExitFlush::get().insert(this);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is flushed when it is destroyed, then
  }
}

void Statistics::add(Counter counter, std::uint64_t number) noexcept {
  start_over_in_child();
  counters_[static_cast<std::size_t>(counter)].fetch_add(number, kRelaxed);
}

Counts Statistics::counts() noexcept {
  start_over_in_child();
  Counts counts;
  for_each_counter(
      [&](Counter counter) { counts[counter] = counters_[static_cast<std::size_t>(counter)].load(kRelaxed); });
  return counts;
}

void Statistics::flush() noexcept {
  try {
    if (root_.empty()) return;
    const auto flushed = flushed_.lock();
    const Counts now = counts();
    Counts more;
    for_each_counter([&](Counter counter) { more[counter] = now[counter] - (*flushed)[counter]; });
    if (more.any() && add_to_bucket(root_, access_, more)) *flushed = now;
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): numbers that are lost fail no request
  }
}

Totals read_totals(const std::string& root, const Access& access) {
  Totals totals;
  const DirectoryResult directory =
      open_below(open_format(root, IfAbsent::report, access), kStatisticsDirectory, IfAbsent::report);
  if (!std::holds_alternative<Directory>(directory)) return totals;
  for (unsigned bucket = 0; bucket < kBuckets; ++bucket) {
    json object = json::object();
    // Twice, since a reader takes no lock and may meet a write.
    for (int attempt = 0; attempt < 2 && object.empty(); ++attempt) {
      struct stat status {};
      const FileResult file = read_trusted(std::get<Directory>(directory), bucket_name(bucket), kFileBytes, status);
      const auto* contents = std::get_if<FileContents>(&file);
      if (contents == nullptr) break;
      const std::string_view text(reinterpret_cast<const char*>(contents->bytes.data()), contents->bytes.size());
      object = parse_bucket(text);
    }
    for_each_counter([&](Counter counter) { totals.counts[counter] += number_in(object, name_of(counter)); });
    const auto since = static_cast<std::int64_t>(number_in(object, "since"));
    if (since != 0 && (totals.since == 0 || since < totals.since)) totals.since = since;
  }
  return totals;
}

}  // namespace librt::cache
