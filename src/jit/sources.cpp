#include "src/jit/sources.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "src/jit/includes.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"

namespace librt::jit {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxSourceBytes = std::size_t{4} << 20;

bool is_source(const fs::path& path) {
  return path.extension() == ".cuh" || path.extension() == ".h";
}

std::vector<SourceFile> read_directory(const std::string& directory) {
  std::vector<SourceFile> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(directory, error);
  if (error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("kernels directory \"{}\": {}", directory, error.message()));
  }
  for (const fs::recursive_directory_iterator end; entry != end; entry.increment(error)) {
    if (is_source(entry->path()) && !entry->is_directory(error)) {
      files.push_back({.name = entry->path().lexically_relative(directory).generic_string(),
                       .text = util::read_text_file(entry->path(), kMaxSourceBytes)});
    }
  }
  if (error) {
    throw Error(ErrorCode::io, fmt::format("kernels directory \"{}\": {}", directory, error.message()));
  }
  return files;
}

bool holds_kernels(const fs::path& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".cuh") return true;
  }
  return false;
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
  nlohmann::json list = nlohmann::json::array();
  for (const std::size_t file : reached) list.push_back({files[file].name, digests[file]});
  return {.files = {reached.begin(), reached.end()},
          .unresolved = {unresolved.begin(), unresolved.end()},
          .digests_json = list.dump()};
}

}  // namespace

KernelSources KernelSources::load(const std::string& dir, const std::vector<SourceEdit>& edits) {
  KernelSources sources;
  if (!dir.empty()) {
    sources.origin_ = dir;
    sources.files_ = read_directory(dir);
    if (sources.files_.empty()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("kernels directory \"{}\" holds no kernel source (*.cuh, *.h)", dir));
    }
  } else if (const std::string installed(installed_kernels_dir()); holds_kernels(installed)) {
    sources.origin_ = installed;
    sources.files_ = read_directory(installed);
  } else {
    sources.origin_ = "built in";
    sources.files_ = embedded_kernels();
  }
  std::vector<SourceFile>& files = sources.files_;
  std::sort(files.begin(), files.end(), [](const SourceFile& a, const SourceFile& b) { return a.name < b.name; });
  for (const SourceEdit& edit : edits) apply(edit, files, sources.origin_);

  std::vector<std::vector<std::string>> includes;
  std::vector<std::string> digests;
  for (const SourceFile& file : files) {
    includes.push_back(included_names(file.name, file.text));
    digests.push_back(util::to_hex(util::hash(file.text)));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    sources.closures_.emplace(files[i].name, make_closure(files, i, includes, digests));
  }
  return sources;
}

const HeaderClosure& KernelSources::closure(std::string_view header) const {
  const auto found = closures_.find(header);
  if (found == closures_.end()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("the kernel sources ({}) have no {}", origin_, header));
  }
  return found->second;
}

}  // namespace librt::jit
