// Reading and writing all of something, over read(2) and write(2) or what stands in for them.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <span>

namespace librt::util {

/// Calls `read(to, bytes)` until `out` is full or the file ends; interrupted and short reads go on. Returns 0 or errno;
/// `got` is set in any case.
template <class Read>
int read_until_full(const Read& read, std::span<std::byte> out, std::size_t& got) {
  got = 0;
  while (got < out.size()) {
    const ssize_t count = read(out.data() + got, out.size() - got);
    if (count == 0) return 0;
    if (count > 0) {
      got += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

/// Calls `write(from, bytes)` until all is written; interrupted and short writes go on. Returns 0 or errno.
template <class Write>
int write_until_done(const Write& write, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(bytes.data(), bytes.size());
    if (count > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (count == 0) {
      return EIO;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace librt::util
