#include "src/jit/sources.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

#include "src/jit/includes.hpp"
#include "src/jit/source_directory.hpp"
#include "src/util/hash.hpp"

namespace librt::jit {
namespace {

bool is_shared(const SourceFile& file) {
  return file.name.ends_with(".h");
}

std::string digest_of(const SourceFile& file) {
  return util::to_hex(util::hash(file.text));
}

/// The host fills structs and sizes launches as it was compiled to: kernels that read them otherwise would run, and
/// compute something else.
void require_same(const std::vector<SourceFile>& shared, const std::vector<SourceFile>& files, const std::string& dir) {
  for (const SourceFile& own : shared) {
    const auto found = std::ranges::find(files, own.name, &SourceFile::name);
    if (found != files.end() && found->text == own.text) continue;
    const std::string there = found == files.end() ? "no such file" : digest_of(*found);
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("kernels directory \"{}\": {} is not the one that librt was compiled with (BLAKE2b-256 there: "
                    "{}; librt's: {}): its kernels would misread the parameters that librt writes. Use the "
                    "kernels of this version, or those built in",
                    dir, own.name, there, digest_of(own)));
  }
}

void apply(const SourceEdit& edit, std::vector<SourceFile>& files, const std::string& origin) {
  const auto refuse = [&](const std::string& reason) {
    throw Error(ErrorCode::invalid_argument, fmt::format("source edit of \"{}\": {}", edit.file, reason),
                fmt::format("find:\n{}\nreplace:\n{}", edit.find, edit.replace));
  };
  const auto file =
      std::find_if(files.begin(), files.end(), [&](const SourceFile& each) { return each.name == edit.file; });
  if (file == files.end()) refuse(fmt::format("the kernel sources ({}) have no such file", origin));
  if (edit.find.empty()) refuse("`find` is empty");
  const std::size_t at = file->text.find(edit.find);
  if (at == std::string::npos) refuse("`find` does not occur in it, it must occur exactly once");
  if (file->text.find(edit.find, at + 1) != std::string::npos) {
    refuse("`find` occurs more than once in it, it must occur exactly once");
  }
  file->text.replace(at, edit.find.size(), edit.replace);
}

HeaderClosure make_closure(const std::vector<SourceFile>& files, std::size_t root,
                           const std::vector<std::vector<std::string>>& includes,
                           const std::vector<std::string>& digests) {
  std::set<std::size_t> reached{root};
  std::set<std::string> unresolved;
  for (std::vector<std::size_t> open{root}; !open.empty();) {
    const std::size_t file = open.back();
    open.pop_back();
    for (const std::string& name : includes[file]) {
      const auto target = std::lower_bound(files.begin(), files.end(), name,
                                           [](const SourceFile& each, const std::string& n) { return each.name < n; });
      if (target == files.end() || target->name != name) {
        unresolved.insert(name);
      } else if (const auto index = static_cast<std::size_t>(target - files.begin()); reached.insert(index).second) {
        open.push_back(index);
      }
    }
  }
  // Joined as text: a json array allocates in its destructor, and where that fails the process ends.
  std::vector<std::string> pairs;
  for (const std::size_t file : reached) {
    pairs.push_back(
        fmt::format("[{},{}]", nlohmann::json(files[file].name).dump(), nlohmann::json(digests[file]).dump()));
  }
  return {.files = {reached.begin(), reached.end()},
          .unresolved = {unresolved.begin(), unresolved.end()},
          .digests_json = fmt::format("[{}]", fmt::join(pairs, ","))};
}

}  // namespace

std::vector<SourceFile> host_headers() {
  std::vector<SourceFile> headers = embedded_kernels();
  std::erase_if(headers, [](const SourceFile& file) { return !is_shared(file); });
  return headers;
}

KernelSources KernelSources::load(const std::string& dir, const std::vector<SourceEdit>& edits, util::Trust trust,
                                  const std::vector<SourceFile>& shared, const std::vector<SourceFile>& added) {
  KernelSources sources;
  if (!dir.empty()) {
    sources.origin_ = dir;
    sources.files_ = read_source_directory(dir, trust);
    if (sources.files_.empty()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("kernels directory \"{}\" holds no kernel source (*.cuh, *.h)", dir));
    }
    require_same(shared, sources.files_, dir);
  } else {
    sources.origin_ = "built in";
    sources.files_ = embedded_kernels();
  }
  sources.add(added);
  for (const SourceEdit& edit : edits) apply(edit, sources.files_, sources.origin_);
  sources.find_closures();
  return sources;
}

KernelSources KernelSources::with(const std::vector<SourceFile>& added) const {
  KernelSources more = *this;
  std::vector<SourceFile> missing;
  for (const SourceFile& file : added) {
    if (std::ranges::find(files_, file.name, &SourceFile::name) == files_.end()) missing.push_back(file);
  }
  more.add(missing);
  more.find_closures();
  return more;
}

void KernelSources::add(const std::vector<SourceFile>& added) {
  for (const SourceFile& file : added) {
    std::erase_if(files_, [&](const SourceFile& own) { return own.name == file.name; });
    files_.push_back(file);
  }
  std::ranges::sort(files_, {}, &SourceFile::name);
}

void KernelSources::find_closures() {
  std::vector<std::vector<std::string>> includes;
  std::vector<std::string> digests;
  for (const SourceFile& file : files_) {
    includes.push_back(included_names(file.name, file.text));
    digests.push_back(digest_of(file));
  }
  closures_.clear();
  for (std::size_t i = 0; i < files_.size(); ++i) {
    closures_.emplace(files_[i].name, make_closure(files_, i, includes, digests));
  }
}

const HeaderClosure& KernelSources::closure(std::string_view header) const {
  const auto found = closures_.find(header);
  if (found == closures_.end()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("the kernel sources ({}) have no {}", origin_, header));
  }
  return found->second;
}

}  // namespace librt::jit
