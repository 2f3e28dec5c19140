// Reading what NVRTC made: the ELF of a cubin, the head of a PTX text. Trusts no offset in either.
#pragma once

#include <librt/cache.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::jit {

struct CubinKernel {
  std::string name;
  KernelResources resources;
};

struct CubinInfo {
  int sm = 0;                        // 90
  std::string target;                // "sm_90a" where the assembler's note names it, else "sm_90"
  std::vector<CubinKernel> kernels;  // in the order of the symbol table
};

/// Throws Error(corrupt) that says what is wrong, at which offset.
CubinInfo read_cubin(std::span<const std::byte> bytes);

struct PtxInfo {
  std::string version;  // "9.0"
  std::string target;   // "sm_90a": the .target directive names the virtual architecture this way
  std::vector<std::string> entries;
};

/// Throws Error(corrupt).
PtxInfo read_ptx(std::string_view text);

}  // namespace librt::jit
