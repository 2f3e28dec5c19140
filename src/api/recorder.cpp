#include "src/api/recorder.hpp"

#include <librt/error.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "src/util/files.hpp"

namespace librt::api {
namespace {

namespace fs = std::filesystem;

// While a request waits; what is not written then goes along later. At the end there is no later.
constexpr std::chrono::milliseconds kLockTimeout{100};
constexpr std::chrono::milliseconds kNoTime{0};
constexpr std::chrono::milliseconds kLastLockTimeout{2000};
constexpr std::chrono::milliseconds kLockPause{5};

/// Keeps other recorders out of a directory, where its file system can: the file itself is replaced by each write, and
/// a file beside it would stay behind.
class DirectoryLock {
 public:
  DirectoryLock(const fs::path& directory, std::chrono::milliseconds timeout)
      : fd_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (fd_ && ::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
      busy_ = errno == EWOULDBLOCK;
      if (!busy_) return;  // a file system without locks
      if (std::chrono::steady_clock::now() >= end) return;
      std::this_thread::sleep_for(kLockPause);
    }
    busy_ = false;
  }
  ~DirectoryLock() {
    // By hand, since a forked child would keep it with its copy of the descriptor.
    if (fd_) ::flock(fd_.get(), LOCK_UN);
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  /// Another process kept it.
  bool busy() const noexcept { return busy_; }

 private:
  util::UniqueFd fd_;
  bool busy_ = false;
};

/// Thrown for what will not be better next time.
struct GiveUp : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What is in the file; nothing if there is none, or it is empty.
Manifest read_recorded(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || (S_ISREG(status.st_mode) && status.st_size == 0)) {
    return {.note = "what processes with LIBRT_RECORD asked for"};
  }
  try {
    return read_manifest(path);
  } catch (const Error& error) {
    throw GiveUp(error.what());
  }
}

template <class Value>
bool add_missing(std::vector<Value>& to, const std::vector<Value>& from) {
  bool any = false;
  for (const Value& each : from) {
    if (std::ranges::find(to, each) != to.end()) continue;
    to.push_back(each);
    any = true;
  }
  return any;
}

}  // namespace

Recorder::Recorder(const std::string& path, util::Log log) : log_(std::move(log)) {
  if (path.empty()) return;
  std::error_code error;  // a program may change its directory later
  path_ = fs::absolute(path, error).string();
  if (error) path_ = path;
}

Recorder::~Recorder() {
  if (path_.empty()) return;
  try {
    std::string problem;
    {
      const auto state = state_.lock();
      if (!state->pending.specs.empty()) problem = write(*state, When::at_the_end);
    }
    warn(problem);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): what is not recorded fails nothing
  }
}

void Recorder::note(const Spec& spec, const Arch& arch) noexcept {
  if (path_.empty()) return;
  try {
    std::string name = fmt::format("{} {}", to_string(arch), to_string(spec));
    std::string problem;
    {
      const auto state = state_.lock();
      if (state->given_up || !state->noted.insert(std::move(name)).second) return;
      add_missing(state->pending.archs, {arch});
      add_missing(state->pending.specs, {spec});
      problem = write(*state, When::in_a_request);
    }
    warn(problem);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): what is not recorded fails no request
  }
}

std::string Recorder::write(State& state, When when) {
  try {
    if (add_to_file(state, when)) state.pending = {};
  } catch (const std::exception& error) {
    state.given_up = dynamic_cast<const GiveUp*>(&error) != nullptr;
    if (state.given_up) state.pending = {};
    if (!std::exchange(state.warned, true)) return error.what();
  }
  return {};
}

void Recorder::warn(const std::string& problem) const {
  if (!problem.empty()) log_(LogLevel::warn, "requests are not recorded: " + problem);
}

bool Recorder::add_to_file(State& state, When when) const {
  // Once kept out, the next requests ask without waiting.
  const auto timeout = when == When::at_the_end ? kLastLockTimeout : state.kept_out ? kNoTime : kLockTimeout;
  const DirectoryLock lock(fs::path(path_).parent_path(), timeout);
  state.kept_out = lock.busy();
  if (state.kept_out && when == When::in_a_request) return false;
  Manifest manifest = read_recorded(path_);
  const bool more_archs = add_missing(manifest.archs, state.pending.archs);
  const bool more_specs = add_missing(manifest.specs, state.pending.specs);
  if (!more_archs && !more_specs) return true;
  const std::string text = to_json(manifest);
  if (manifest.specs.size() > kMaxManifestSpecs || manifest.archs.size() > kMaxManifestArchs ||
      text.size() > kMaxManifestBytes) {
    throw GiveUp(fmt::format("{} is full: {} specs, {} archs, {} bytes; allowed: at most {}, {} and {}", path_,
                             manifest.specs.size(), manifest.archs.size(), text.size(), kMaxManifestSpecs,
                             kMaxManifestArchs, kMaxManifestBytes));
  }
  util::write_file(path_, std::as_bytes(std::span(text)));
  return true;
}

}  // namespace librt::api
