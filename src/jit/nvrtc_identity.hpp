// Which NVRTC would be used, from its files alone: nothing is loaded.
#pragma once

#include <string>

namespace librt::jit {

struct NvrtcIdentity {
  std::string path{};               // absolute, symbolic links resolved
  std::string version{};            // "13.0", from the file names
  std::string build_id{};           // GNU build id, hex; "blake2b:<hex>" of the file if it has none
  std::string builtins_path{};      // empty if not found beside it
  std::string builtins_build_id{};  // "" likewise
  std::string origin{};             // what led to it, for people: SearchPlace::origin, or the setting
};

/// `requested` (Options::nvrtc), else the first of nvrtc_search_places() that holds a usable one; in it, libnvrtc.so.13
/// is preferred to .12. Throws Error(no_nvrtc): what() says what would help, detail() lists the places. A `requested`
/// path that is not a usable libnvrtc is an error, never a reason to search on.
NvrtcIdentity identify_nvrtc(const std::string& requested);

}  // namespace librt::jit
