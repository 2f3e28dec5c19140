#include "src/cache/probe.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <stdexcept>

namespace librt::cache {
namespace {

struct FileSystem {
  std::uint32_t magic;  // as statfs(2) gives it
  const char* name;
  bool over_network;
};

constexpr std::array<FileSystem, 18> kFileSystems{{{0xef53, "ext4", false},
                                                   {0x58465342, "xfs", false},
                                                   {0x9123683e, "btrfs", false},
                                                   {0x2fc12fc1, "zfs", false},
                                                   {0xf2f52010, "f2fs", false},
                                                   {0x01021994, "tmpfs", false},
                                                   {0x858458f6, "ramfs", false},
                                                   {0x794c7630, "overlayfs", false},
                                                   {0x73717368, "squashfs", false},
                                                   {0x65735546, "fuse", true},
                                                   {0x01021997, "9p", true},
                                                   {0x6969, "nfs", true},
                                                   {0xff534d42, "cifs", true},
                                                   {0xfe534d42, "smb", true},
                                                   {0x00c36400, "ceph", true},
                                                   {0x0bd00bd0, "lustre", true},
                                                   {0x47504653, "gpfs", true},
                                                   {0x19830326, "beegfs", true}}};

void look_up_file_system(int directory, Probe& result) {
  struct statfs status {};
  if (::fstatfs(directory, &status) != 0) return;
  const auto magic = static_cast<std::uint32_t>(status.f_type);
  const auto known = std::ranges::find(kFileSystems, magic, &FileSystem::magic);
  if (known == kFileSystems.end()) {
    result.file_system = fmt::format("file system 0x{:x}", magic);
  } else {
    result.file_system = known->name;
    result.over_network = known->over_network;
  }
}

/// Two descriptors of two openings stand for two processes: flock belongs to the opening.
std::string lock_problem(IoOps& io, int first, int second) {
  if (io.flock(first, LOCK_EX | LOCK_NB) != 0) return fmt::format("flock: {}", util::error_text(errno));
  if (io.flock(second, LOCK_EX | LOCK_NB) == 0) return "flock gives one lock to two at once";
  if (errno != EWOULDBLOCK) return fmt::format("flock: {}", util::error_text(errno));
  io.flock(first, LOCK_UN);
  if (io.flock(second, LOCK_EX | LOCK_NB) != 0) return "flock does not give a lock that was released";
  return {};
}

}  // namespace

Probe probe(const std::string& path, IoOps& io) {
  Probe result;
  Directory directory{util::UniqueFd(io.open(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)), path,
                      Access{.io = &io}};
  if (!directory.fd) {
    result.write_problem = util::error_text(errno);
    return result;
  }
  look_up_file_system(directory.fd.get(), result);
  const std::string name = util::temporary_name();
  const util::UniqueFd first = create_file(directory, name);
  if (!first) {
    result.write_problem = util::error_text(errno);
    return result;
  }
  const util::UniqueFd second(io.open(directory.fd.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0));
  result.lock_problem = second ? lock_problem(io, first.get(), second.get()) : util::error_text(errno);
  io.unlink(directory.fd.get(), name.c_str());
  return result;
}

std::string nearest_existing(std::string path) {
  struct stat status {};
  while (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT && errno != ENOTDIR)
      throw std::runtime_error(fmt::format("{}: {}", path, util::error_text(errno)));
    path.resize(path.find_last_of('/'));
    if (path.empty()) path = "/";
  }
  if (!S_ISDIR(status.st_mode)) throw std::runtime_error(fmt::format("{} is not a directory", path));
  return path;
}

std::string store_problem(const std::string& root, const Access& access) {
  try {
    const std::string existing = nearest_existing(fmt::format("{}/{}/{}", root, kFormatDirectory, kTemporaryDirectory));
    if (const auto problem = store_refusal(root, access)) return problem->reason;
    const Probe found = probe(existing, *access.io);
    if (found.write_problem.empty()) return {};
    return fmt::format("no file can be made in {}: {}", existing, found.write_problem);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

}  // namespace librt::cache
