#include "src/cache/programs.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>
#include <variant>

#include "src/util/key_document.hpp"

namespace librt::cache {
namespace {

constexpr std::size_t kShardDigits = 2;
constexpr std::size_t kNameDigits = 64 - kShardDigits;

/// "<62 hex digits of the program>-<64 of the key>"
std::string mark_name(const util::Digest& program, const util::Digest& key) {
  return util::to_hex(program).substr(kShardDigits) + '-' + util::to_hex(key);
}

/// The key in the name of a mark; nothing if it is not one.
std::optional<util::Digest> key_in(std::string_view name) {
  util::Digest key;
  if (name.size() <= kNameDigits || name[kNameDigits] != '-' || !util::from_hex(name.substr(kNameDigits + 1), key)) {
    return std::nullopt;
  }
  return key;
}

bool has_entry(const Directory& format, const util::Digest& key) {
  const EntryName name = entry_name(key);
  const std::string path = fmt::format("{}/{}/{}", kObjectsDirectory, name.shard, name.file);
  struct stat status {};
  // What is there and cannot be looked at is not gone.
  return ::fstatat(format.fd.get(), path.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

}  // namespace

util::Digest program_of(std::string_view key_document) {
  using namespace std::string_view_literals;
  util::Hasher hasher;
  hasher.update("librt-program\0"sv);
  hasher.update(std::string_view(util::program_document(key_document)));
  return hasher.finish();
}

std::pair<int, int> compiler_version(std::string_view key_document) {
  const auto compiler = nlohmann::json::parse(util::compiler_in(key_document), nullptr, false);
  if (!compiler.is_object() || !compiler.contains("version") || !compiler["version"].is_string()) return {};
  const auto text = compiler["version"].get<std::string>();
  std::pair<int, int> version;
  const char* const end = text.data() + text.size();
  const auto [dot, error] = std::from_chars(text.data(), end, version.first);
  if (error == std::errc{} && dot != end) std::from_chars(dot + 1, end, version.second);
  return version;
}

std::optional<std::string> mark_program(const Directory& format, const util::Digest& program, const util::Digest& key) {
  const std::string shard_name = util::to_hex(program).substr(0, kShardDigits);
  const std::string name = mark_name(program, key);
  // One call where the mark is there, as it is at nearly every hit.
  const std::string path = fmt::format("{}/{}/{}", kProgramsDirectory, shard_name, name);
  if (::faccessat(format.fd.get(), path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return std::nullopt;
  const DirectoryResult shard =
      open_below(open_below(format, kProgramsDirectory, IfAbsent::create), shard_name, IfAbsent::create);
  if (const auto* problem = std::get_if<Problem>(&shard)) return problem->reason;
  const Directory& directory = std::get<Directory>(shard);
  if (create_file(directory, name) || errno == EEXIST) return std::nullopt;
  return fmt::format("cannot create a file in {}: {}", directory.path, util::error_text(errno));
}

std::vector<util::Digest> marked_keys(const Directory& format, const util::Digest& program) {
  const std::string hex = util::to_hex(program);
  const DirectoryResult shard = open_below(open_below(format, kProgramsDirectory, IfAbsent::report),
                                           hex.substr(0, kShardDigits), IfAbsent::report);
  std::vector<util::Digest> keys;
  const auto* directory = std::get_if<Directory>(&shard);
  if (directory == nullptr) return keys;
  const std::string beginning = hex.substr(kShardDigits) + '-';
  for (const std::string& name : list(*directory)) {
    if (!name.starts_with(beginning)) continue;
    if (const auto key = key_in(name)) keys.push_back(*key);
  }
  return keys;
}

void sweep_programs(const Directory& format) {
  const DirectoryResult programs = open_below(format, kProgramsDirectory, IfAbsent::report);
  const auto* opened = std::get_if<Directory>(&programs);
  if (opened == nullptr) return;
  for (const std::string& shard_name : list(*opened)) {
    if (!is_shard_name(shard_name)) continue;
    const DirectoryResult shard = open_below(*opened, shard_name, IfAbsent::report);
    const auto* directory = std::get_if<Directory>(&shard);
    if (directory == nullptr) continue;
    for (const std::string& name : list(*directory)) {
      const auto key = key_in(name);
      if (!key || has_entry(format, *key)) continue;
      directory->io().unlink(directory->fd.get(), name.c_str());
    }
  }
}

}  // namespace librt::cache
