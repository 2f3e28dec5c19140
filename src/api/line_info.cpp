#include "src/api/line_info.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "src/api/cache_words.hpp"
#include "src/jit/nvrtc.hpp"
#include "src/jit/program.hpp"

namespace librt::api {
namespace {

std::string_view without_indent(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view{} : line.substr(first);
}

/// NVRTC puts the working directory before the names of headers that it was handed in memory.
std::string with_source_names(std::string_view ptx, const jit::KernelSources& sources) {
  std::string text;
  while (!ptx.empty()) {
    const std::size_t end = std::min(ptx.find('\n'), ptx.size() - 1);
    std::string line(ptx.substr(0, end + 1));
    const std::size_t quote = line.find('"');
    if (quote != std::string::npos && without_indent(line).starts_with(".file")) {
      for (const jit::SourceFile& file : sources.files()) {
        if (line.find(fmt::format("/{}\"", file.name)) == std::string::npos) continue;
        line = fmt::format("{}\"kernels/{}\"\n", line.substr(0, quote), file.name);
        break;
      }
    }
    text += line;
    ptx.remove_prefix(end + 1);
  }
  return text;
}

}  // namespace

std::string without_line_info(std::string_view ptx) {
  std::string text;
  while (!ptx.empty()) {
    const std::size_t end = ptx.find('\n');
    const std::string_view line = ptx.substr(0, end);
    const std::string_view words = without_indent(line);
    if (words.starts_with(".section")) break;  // the last thing in a module
    if (!words.starts_with(".loc") && !words.starts_with(".file")) text.append(line).push_back('\n');
    if (end == std::string_view::npos) break;
    ptx.remove_prefix(end + 1);
  }
  text.erase(text.find_last_not_of(" \t\n") + 1);
  return text;
}

std::string ptx_with_lines(const Options& options, const Specialized& specialized, const Artifact& artifact) {
  jit::Program program = jit::make_program(specialized.program, artifact.arch);
  program.options.emplace_back("-lineinfo");
  const jit::KernelSources sources = load_sources(options.kernels_dir, options.source_edits, options.cache_trust);
  jit::Compiled compiled = jit::Nvrtc(jit::identify_nvrtc(options.nvrtc)).compile(program, sources);
  if (without_line_info(compiled.ptx) != without_line_info(artifact.ptx)) {
    throw Error(ErrorCode::internal,
                fmt::format("with -lineinfo the PTX of {} differs in more than line data from that "
                            "of the artifact {}: its lines would tell nothing about what ships",
                            artifact.entry, artifact.key));
  }
  return with_source_names(compiled.ptx, sources);
}

}  // namespace librt::api
