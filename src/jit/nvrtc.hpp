// NVRTC, opened at run time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "src/jit/nvrtc_identity.hpp"
#include "src/jit/program.hpp"
#include "src/jit/sources.hpp"

namespace librt::jit {

struct Compiled {
  std::vector<std::byte> cubin;  // empty for compute_XX
  std::string ptx;
  std::string log;        // what ptxas reported
  double compile_ms = 0;  // inside nvrtcCompileProgram
};

/// Thread safe: compiles run side by side. Opening it loads libnvrtc, which stays loaded.
class Nvrtc {
 public:
  /// Throws Error(no_nvrtc) naming the file and the loader's reason.
  explicit Nvrtc(const NvrtcIdentity& identity);
  ~Nvrtc();
  Nvrtc(const Nvrtc&) = delete;
  Nvrtc& operator=(const Nvrtc&) = delete;

  const NvrtcIdentity& identity() const noexcept;
  /// Numbers of nvrtcGetSupportedArchs, ascending: 80, 90, ...
  const std::vector<int>& supported_archs() const noexcept;

  /// Whether compile() takes it: its number is in the list, and this version has such a variant.
  bool supports(const Arch& arch) const noexcept;

  /// Throws Error: unsupported (the architecture is not in the list; names it and the list), compile_failed (detail():
  /// log, then the stub with line numbers, then the options).
  Compiled compile(const Program& program, const KernelSources& sources) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace librt::jit
