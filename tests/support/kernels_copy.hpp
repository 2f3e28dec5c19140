// The kernel sources as files, for tests that change them.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "src/jit/sources.hpp"

namespace librt::test {

/// Not a copy of the checkout's: those may have modes that a kernels directory must not have.
inline void write_kernels(const std::string& directory) {
  ::umask(022);  // what the user's group can write would be refused
  for (const jit::SourceFile& file : jit::embedded_kernels()) {
    const std::filesystem::path path = std::filesystem::path(directory) / file.name;
    std::filesystem::create_directories(path.parent_path());
    if (!(std::ofstream(path, std::ios::binary) << file.text).flush()) {
      throw std::runtime_error("cannot write " + path.string());
    }
  }
}

}  // namespace librt::test
