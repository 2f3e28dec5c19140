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

#include "src/cache/io_ops.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"
#include "src/util/trust.hpp"

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
  int error = 0;       // errno, where a system call failed
};

/// The names in a store. Frozen: they are on the disks of users.
inline constexpr const char* kFormatDirectory = "v1";
inline constexpr const char* kObjectsDirectory = "objects";
inline constexpr const char* kTemporaryDirectory = "tmp";
inline constexpr const char* kLocksDirectory = "locks";
inline constexpr const char* kStatisticsDirectory = "stats";

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
bool is_lock_name(std::string_view name);

using util::distrust;
using util::Trust;

/// How a store reaches its files.
struct Access {
  IoOps* io = &system_io();
  Trust trust = Trust::own;

  mode_t directory_mode() const { return trust == Trust::shared ? 0770 : 0700; }
  mode_t file_mode() const { return trust == Trust::shared ? 0660 : 0600; }
};

/// A directory and the path that messages call it by.
struct Directory {
  util::UniqueFd fd;
  std::string path;
  Access access;

  IoOps& io() const { return *access.io; }
};
using DirectoryResult = std::variant<Directory, Problem>;

enum class IfAbsent { report, create };

/// The root itself may be a symbolic link. Created with all its parents.
DirectoryResult open_root(const std::string& path, IfAbsent if_absent, const Access& access = {});
DirectoryResult open_below(const Directory& parent, const std::string& name, IfAbsent if_absent);
/// As open_below(), where `parent` may be a problem already.
DirectoryResult open_below(const DirectoryResult& parent, const std::string& name, IfAbsent if_absent);
/// The root's v1. One that is created in an empty root gets a CACHEDIR.TAG beside it.
DirectoryResult open_format(const std::string& root, IfAbsent if_absent, const Access& access = {});
/// The root's v1/objects.
DirectoryResult open_objects(const std::string& root, IfAbsent if_absent, const Access& access = {});

/// What keeps a store in this root from being used. Nothing where it may be, or where there is none yet.
std::optional<Problem> store_refusal(const std::string& root, const Access& access);

/// Adds what keeps a directory that is there from being used, unless `problem` says something already.
void note_refusal(const DirectoryResult& directory, std::string& problem);

/// The names in a directory but for "." and "..", sorted. Empty if it cannot be read.
std::vector<std::string> list(const Directory& directory);

/// Creates a file that must not exist yet, for writing. No descriptor: errno says why.
util::UniqueFd create_file(const Directory& directory, const std::string& name);

/// Opens a file for reading and writing, making it if need be, by the rules of read_trusted().
std::variant<util::UniqueFd, Problem> open_shared_file(const Directory& directory, const std::string& name);

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

bool same_file(const struct stat& a, const struct stat& b);
/// Removes `name` if it still is the file that `seen` was taken from. False if it is still there: errno says why, and
/// is 0 if it is another file by now.
bool remove_if_unchanged(const Directory& directory, const std::string& name, const struct stat& seen);

}  // namespace librt::cache
