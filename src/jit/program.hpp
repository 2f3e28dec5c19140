// What is compiled: the stub, the options, and the fields of the cache key.
#pragma once

#include <librt/types.hpp>

#include <optional>
#include <string>
#include <vector>

#include "src/jit/nvrtc_identity.hpp"
#include "src/jit/sources.hpp"
#include "src/util/key_document.hpp"

namespace librt::jit {

/// Which template to instantiate, and how. src/api makes it from a spec.
struct Specialization {
  std::string kernel;     // NAME: the header is NAME/NAME.cuh, the function librt::device::NAME
  std::string traits;     // a template in namespace librt::device
  std::string arguments;  // as C++ text: "librt::device::Bf16, 128, 16, 64, 2"
  std::string spec_json;  // JSON of the same facts, for people and tools
};

/// One NVRTC program, and the only input of both the compiler and the key.
struct Program {
  Arch arch;
  std::string entry;                 // "librt_NAME"
  std::string header;                // "NAME/NAME.cuh": the one file that the stub includes
  std::string source;                // the stub
  std::vector<std::string> options;  // as passed to NVRTC, in this order
  std::string spec_json;             // canonical: keys sorted, no white space
};

/// Why these cannot stand in a stub; nothing if they can.
std::optional<std::string> text_problem(const std::string& traits, const std::string& arguments);

/// Throws Error(internal) for a kernel or traits that is no identifier, arguments that would leave their line, or a
/// spec_json that is not JSON.
Program make_program(const Specialization& specialization, const Arch& arch);

/// What is passed to NVRTC for `wanted`: without the options that this version of it does not know, and always with its
/// own cache turned off, where it has one. Throws Error(invalid_argument) for any other than librt's own: -G and -Ofc
/// change the code of every later compile in the process, an include directory would bring in text that no key knows
/// of.
std::vector<std::string> nvrtc_options(const std::vector<std::string>& wanted, int nvrtc_major, int nvrtc_minor);

/// schema, target, source, headers, options, names, compiler, spec: see src/cache/README.md. Header digests come from
/// `sources` and cover what the stub's header includes; "toolkit" is absent since no kernel includes a toolkit header.
/// Throws as KernelSources::closure does.
/// @param compiler null = the fields without it: what is compiled, whoever compiles it
std::vector<util::KeyField> key_fields(const Program& program, const KernelSources& sources,
                                       const NvrtcIdentity* compiler);

}  // namespace librt::jit
