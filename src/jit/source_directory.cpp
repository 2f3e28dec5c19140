#include "src/jit/source_directory.hpp"

#include <librt/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <span>
#include <string_view>

#include "src/util/files.hpp"

namespace librt::jit {
namespace {

constexpr std::size_t kMaxSourceBytes = std::size_t{4} << 20;
// The kernels need one level.
constexpr int kMaxDepth = 16;

struct CloseDirectory {
  void operator()(DIR* stream) const noexcept { ::closedir(stream); }
};

bool is_source(std::string_view name) {
  return name.ends_with(".cuh") || name.ends_with(".h");
}

class Reader {
 public:
  Reader(const std::string& root, util::Trust trust) : root_(root), trust_(trust) {}

  std::vector<SourceFile> read() {
    const util::UniqueFd fd(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) fail(ErrorCode::invalid_argument, "", util::error_text(errno));
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) fail(ErrorCode::io, "", util::error_text(errno));
    if (const auto reason = util::distrust(status, trust_)) fail(ErrorCode::invalid_argument, "", "it " + *reason);
    read_directory(fd.get(), "", 0);
    return std::move(files_);
  }

 private:
  /// @param name below the root; empty = the root itself
  [[noreturn]] void fail(ErrorCode code, const std::string& name, const std::string& reason) const {
    throw Error(code, fmt::format("kernels directory \"{}\": {}{}{}", root_, name, name.empty() ? "" : " ", reason));
  }

  void read_directory(int directory, const std::string& prefix, int depth) {
    // A descriptor of its own: closedir closes it.
    util::UniqueFd copy(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const std::unique_ptr<DIR, CloseDirectory> stream(copy ? ::fdopendir(copy.get()) : nullptr);
    if (!stream) fail(ErrorCode::io, prefix, util::error_text(errno));
    static_cast<void>(copy.release());
    errno = 0;
    while (const dirent* item = ::readdir(stream.get())) {
      const std::string name = item->d_name;
      // An editor's lock is a symbolic link with the name of a source behind its dot.
      if (!name.starts_with('.')) read_item(directory, name, prefix + name, depth);
      errno = 0;
    }
    if (errno != 0) fail(ErrorCode::io, prefix, util::error_text(errno));
  }

  void read_item(int directory, const std::string& name, const std::string& path, int depth) {
    // O_NONBLOCK: a pipe must not make us wait.
    const util::UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      if (!is_source(name)) return;
      if (errno == ELOOP) fail(ErrorCode::invalid_argument, path, "is a symbolic link");
      fail(ErrorCode::io, path, "cannot be read: " + util::error_text(errno));
    }
    if (!S_ISDIR(status.st_mode) && !is_source(name)) return;
    if (const auto reason = util::distrust(status, trust_)) fail(ErrorCode::invalid_argument, path, *reason);
    if (S_ISDIR(status.st_mode)) {
      if (depth == kMaxDepth) fail(ErrorCode::invalid_argument, path, "lies too deep");
      return read_directory(fd.get(), path + '/', depth + 1);
    }
    if (!S_ISREG(status.st_mode)) fail(ErrorCode::invalid_argument, path, "is not a regular file");
    files_.push_back({.name = path, .text = read_text(fd.get(), path, status)});
  }

  std::string read_text(int fd, const std::string& path, const struct stat& status) const {
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size > kMaxSourceBytes) {
      fail(ErrorCode::io, path, fmt::format("has {} bytes; at most {} are allowed", size, kMaxSourceBytes));
    }
    std::string text(size, '\0');
    std::size_t got = 0;
    if (const int error = util::read_full(fd, std::as_writable_bytes(std::span(text)), got)) {
      fail(ErrorCode::io, path, "cannot be read: " + util::error_text(error));
    }
    if (got != size) fail(ErrorCode::io, path, fmt::format("shrank from {} to {} bytes meanwhile", size, got));
    return text;
  }

  const std::string& root_;
  const util::Trust trust_;
  std::vector<SourceFile> files_;
};

}  // namespace

std::vector<SourceFile> read_source_directory(const std::string& directory, util::Trust trust) {
  return Reader(directory, trust).read();
}

}  // namespace librt::jit
