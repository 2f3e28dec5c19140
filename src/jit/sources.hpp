// The kernel sources as NVRTC gets them: in memory, under the names by which they include each other.
#pragma once

#include <librt/options.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace librt::jit {

struct SourceFile {
  std::string name;  // relative to kernels/: "gqa_decode.cuh", "device/mask.cuh"
  std::string text;
};

/// A header and all that it includes, directly or not.
struct HeaderClosure {
  std::vector<std::size_t> files;       // indices into KernelSources::files(), ascending
  std::vector<std::string> unresolved;  // names that are included but are not among the files, ascending
  std::string digests_json;             // [["name","hex"],...] of `files`
};

/// Immutable; may be shared between threads.
class KernelSources {
 public:
  /// @param dir empty = the installed data directory if it holds kernels, else the copy built into the library.
  /// @param edits each `find` must occur exactly once in its file.
  /// Throws Error: io (unreadable), invalid_argument (names the edit or the directory).
  static KernelSources load(const std::string& dir, const std::vector<SourceEdit>& edits);

  const std::vector<SourceFile>& files() const noexcept { return files_; }  // *.cuh and *.h, sorted by name
  const std::string& origin() const noexcept { return origin_; }            // a path, or "built in"
  /// Computed at load. Throws Error(invalid_argument) if `header` is none of the files; names it and the origin.
  const HeaderClosure& closure(std::string_view header) const;
  const std::string& digests_json(std::string_view header) const { return closure(header).digests_json; }

 private:
  std::vector<SourceFile> files_;
  std::string origin_;
  std::map<std::string, HeaderClosure, std::less<>> closures_;
};

/// The copy of kernels/ made at build time; defined in a generated source file (tools/cmake/embed_kernels.cmake).
std::vector<SourceFile> embedded_kernels();
/// Where `cmake --install` puts kernels/; generated likewise.
std::string_view installed_kernels_dir() noexcept;

}  // namespace librt::jit
