// Directories and files of a store: opened one step at a time, no symbolic link followed below the root, nothing used
// that somebody else could have written.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/util/files.hpp"
#include "src/util/hash.hpp"

namespace librt::cache {

enum class Trouble {
  absent,     // it is not there
  untrusted,  // it is there and may not be used
  damaged,    // its size cannot be right
  io,         // the system refused
};

struct Problem {
  Trouble kind;
  std::string reason;  // names the path
};

/// The names in a store. Frozen: they are on the disks of users.
inline constexpr const char* kFormatDirectory = "v1";
inline constexpr const char* kObjectsDirectory = "objects";
inline constexpr const char* kTemporaryDirectory = "tmp";

/// "ab/<62 hex digits>.rtk"
struct EntryName {
  std::string shard;
  std::string file;
};
EntryName entry_name(const util::Digest& key);
/// The key that a shard and a file name stand for; nothing if they are not the names of an entry.
std::optional<util::Digest> key_of(std::string_view shard, std::string_view file);
bool is_shard_name(std::string_view name);
bool is_temporary_name(std::string_view name);

/// Why a file or directory with this status may not be used, or nothing.
std::optional<std::string> distrust(const struct stat& status);

/// A directory and the path that messages call it by.
struct Directory {
  util::UniqueFd fd;
  std::string path;
};
using DirectoryResult = std::variant<Directory, Problem>;

enum class IfAbsent { report, create };

/// The root itself may be a symbolic link. Created with all its parents, mode 0700.
DirectoryResult open_root(const std::string& path, IfAbsent if_absent);
DirectoryResult open_below(const Directory& parent, const std::string& name, IfAbsent if_absent);
/// The root's v1/objects.
DirectoryResult open_objects(const std::string& root, IfAbsent if_absent);

/// The names in a directory but for "." and "..", sorted. Empty if it cannot be read.
std::vector<std::string> list(const Directory& directory);

/// A file that was read whole, and what it was at that time.
struct FileContents {
  std::vector<std::byte> bytes;
  struct stat status {};
  util::UniqueFd fd;
};
using FileResult = std::variant<FileContents, Problem>;

/// Never waits (pipes), follows no link, allocates nothing for a file above `max_bytes`. `status` is set whenever the
/// file could be opened.
FileResult read_trusted(const Directory& directory, const std::string& name, std::size_t max_bytes,
                        struct stat& status);

/// Removes `name` if it still is the file that `seen` was taken from. False if it is still there.
bool remove_if_unchanged(const Directory& directory, const std::string& name, const struct stat& seen);

}  // namespace librt::cache
