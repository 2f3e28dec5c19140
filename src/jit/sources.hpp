// The kernel sources as NVRTC gets them: in memory, under the names by which they include each other.
#pragma once

#include <librt/options.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/jit/source_file.hpp"
#include "src/util/trust.hpp"

namespace librt::jit {

/// A header and all that it includes, directly or not.
struct HeaderClosure {
  std::vector<std::size_t> files;       // indices into KernelSources::files(), ascending
  std::vector<std::string> unresolved;  // names that are included but are not among the files, ascending
  std::string digests_json;             // [["name","hex"],...] of `files`
};

/// The copy of kernels/ made at build time; defined in a generated source file (tools/cmake/embed_kernels.cmake).
std::vector<SourceFile> embedded_kernels();
/// Of these, what the host compiles too: the *.h. Whoever fills a kernel's parameters must know the same structs.
std::vector<SourceFile> host_headers();

/// Immutable; may be shared between threads.
class KernelSources {
 public:
  /// @param dir empty = the copy built into the library. Else it is held to the rules of a cache directory: see
  /// read_source_directory().
  /// @param edits each `find` must occur exactly once in its file. They are meant, so that they may change what the
  /// host shares with the kernels too.
  /// @param shared what the host has compiled for itself: before the edits, `dir` must hold the same texts.
  /// @param added files of kernels that are not in kernels/; a directory's own of these names are left aside.
  /// Throws Error: io (unreadable), invalid_argument (names the edit, or the directory and the file that differs).
  static KernelSources load(const std::string& dir, const std::vector<SourceEdit>& edits,
                            util::Trust trust = util::Trust::own,
                            const std::vector<SourceFile>& shared = host_headers(),
                            const std::vector<SourceFile>& added = {});

  /// These files and others, of kernels that were added since.
  KernelSources with(const std::vector<SourceFile>& added) const;

  const std::vector<SourceFile>& files() const noexcept { return files_; }  // *.cuh and *.h, sorted by name
  const std::string& origin() const noexcept { return origin_; }            // a path, or "built in"
  /// Computed at load. Throws Error(invalid_argument) if `header` is none of the files; names it and the origin.
  const HeaderClosure& closure(std::string_view header) const;
  const std::string& digests_json(std::string_view header) const { return closure(header).digests_json; }
  bool has(std::string_view header) const { return closures_.contains(header); }

 private:
  void add(const std::vector<SourceFile>& added);
  void find_closures();

  std::vector<SourceFile> files_;
  std::string origin_;
  std::map<std::string, HeaderClosure, std::less<>> closures_;
};

}  // namespace librt::jit
