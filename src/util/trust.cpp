#include "src/util/trust.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace librt::util {

std::optional<std::string> distrust(const struct stat& status, Trust trust) {
  if (trust == Trust::shared) {
    if ((status.st_mode & S_IWOTH) == 0) return std::nullopt;
    return fmt::format("can be written by everybody (mode {:04o}; `chmod o-w` would allow its use)",
                       status.st_mode & 07777);
  }
  if (status.st_uid != ::geteuid() && status.st_uid != 0) {
    return fmt::format("belongs to user {}, not to user {} or root", status.st_uid, ::geteuid());
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fmt::format("can be written by others (mode {:04o}; `chmod go-w` would allow its use)",
                       status.st_mode & 07777);
  }
  return std::nullopt;
}

}  // namespace librt::util
