// A kernel of the tests' own, directories for it, and small ELF files.
#pragma once

#include <librt/error.hpp>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "src/jit/program.hpp"
#include "src/jit/sources.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt::jit::test {

/// Files in a directory of their own.
class FileTree {
 public:
  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

  /// Returns the file's path.
  std::string write(const std::string& name, const std::string& text) const {
    ::umask(022);  // what the user's group can write would be refused
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream stream(path_ / name, std::ios::binary);
    stream << text;
    REQUIRE(stream.flush().good());
    return file(name);
  }

 private:
  librt::test::TempDir directory_;
  std::filesystem::path path_ = std::filesystem::canonical(directory_.path());
};

/// Kernels that have nothing to do with librt's own: the host compiles nothing of them.
inline KernelSources load_tree(const std::string& directory, const std::vector<SourceEdit>& edits = {},
                               util::Trust trust = util::Trust::own) {
  return KernelSources::load(directory, edits, trust, {});
}

/// Runs `call` and returns the Error that it must throw.
template <typename Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no librt::Error was thrown");
  return {ErrorCode::internal, ""};
}

// kThreads threads scale `data` through static shared memory. kScale = 0 is refused by the compiler.
inline constexpr const char* kScaleKernel = R"(#pragma once
#include "device/scale.cuh"  // the factor
namespace librt::device {
struct ScaleParams {
  float* data;
  int count;
};
template <int Threads, int Factor>
struct ScaleTraits {
  static_assert(Factor != 0, "a factor of zero is not a scale");
  enum { kThreads = Threads, kMinBlocks = 1 };
  using Params = ScaleParams;
  static __device__ float factor() { return Factor; }
};
template <typename Traits>
__device__ void scale(const ScaleParams& params) {
  __shared__ float staged[Traits::kThreads];
  const int i = blockIdx.x * Traits::kThreads + threadIdx.x;
  staged[threadIdx.x] = i < params.count ? params.data[i] : 0.0f;
  __syncthreads();
  if (i < params.count) params.data[i] = scaled(staged[Traits::kThreads - 1 - threadIdx.x], Traits::factor());
}
}  // namespace librt::device
)";

inline constexpr const char* kScaleHelper = R"(#pragma once
namespace librt::device {
inline __device__ float scaled(float value, float factor) { return value * factor; }
}
)";

/// Writes the kernel "scale", and a file that it does not include.
inline void write_scale_kernel(const FileTree& directory) {
  directory.write("scale/scale.cuh", kScaleKernel);
  directory.write("device/scale.cuh", kScaleHelper);
  directory.write("other.cuh", "#pragma once\nnamespace librt::device { struct Other {}; }\n");
  directory.write("README.md", "not a source\n");
}

inline Specialization scale_specialization(int threads, int factor) {
  return {.kernel = "scale",
          .traits = "ScaleTraits",
          .arguments = std::to_string(threads) + ", " + std::to_string(factor),
          .spec_json = R"({ "threads": )" + std::to_string(threads) + R"(, "factor": )" + std::to_string(factor) + "}"};
}

/// Adds integers, texts and zero bytes, least significant byte first.
class ByteWriter {
 public:
  template <typename T>
  ByteWriter& put(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_ += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
    }
    return *this;
  }
  ByteWriter& text(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  ByteWriter& pad_to(std::size_t alignment) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    return *this;
  }
  std::size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct SectionText {
  std::string name;
  std::uint32_t type = 1;  // SHT_PROGBITS
  std::string bytes;
  std::uint32_t link = 0;
  std::uint64_t entry_size = 0;
};

struct ElfText {
  std::uint16_t type = 3;      // ET_DYN
  std::uint16_t machine = 62;  // EM_X86_64
  std::uint8_t abi_version = 0;
  std::uint32_t flags = 0;
  std::vector<SectionText> sections;  // section 0 and the name table are added
};

/// The bytes of an ELF file with these sections. Section i of the list is section i + 1 of the file.
inline std::string make_elf(ElfText elf) {
  elf.sections.insert(elf.sections.begin(), SectionText{.name = "", .type = 0, .bytes = ""});
  elf.sections.push_back({.name = ".shstrtab", .type = 3, .bytes = ""});
  std::vector<std::size_t> name_offsets;
  std::string names;
  for (const SectionText& section : elf.sections) {
    name_offsets.push_back(names.size());
    names += section.name + '\0';
  }
  elf.sections.back().bytes = names;
  constexpr std::size_t kHeaderBytes = 64;
  ByteWriter body;
  std::vector<std::size_t> offsets;
  for (const SectionText& section : elf.sections) {
    body.pad_to(8);
    offsets.push_back(kHeaderBytes + body.size());
    body.text(section.bytes);
  }
  body.pad_to(8);
  ByteWriter file;
  file.text(
          "\x7f"
          "ELF")
      .put<std::uint8_t>(2)
      .put<std::uint8_t>(1)
      .put<std::uint8_t>(1)
      .put<std::uint8_t>(0);
  file.put(elf.abi_version).text(std::string(7, '\0')).put(elf.type).put(elf.machine).put<std::uint32_t>(1);
  file.put<std::uint64_t>(0).put<std::uint64_t>(0).put<std::uint64_t>(kHeaderBytes + body.size()).put(elf.flags);
  file.put<std::uint16_t>(kHeaderBytes).put<std::uint16_t>(0).put<std::uint16_t>(0).put<std::uint16_t>(64);
  file.put(static_cast<std::uint16_t>(elf.sections.size())).put(static_cast<std::uint16_t>(elf.sections.size() - 1));
  file.text(body.bytes());
  for (std::size_t i = 0; i < elf.sections.size(); ++i) {
    const SectionText& section = elf.sections[i];
    file.put(static_cast<std::uint32_t>(name_offsets[i])).put(section.type).put<std::uint64_t>(0);
    file.put<std::uint64_t>(0).put<std::uint64_t>(offsets[i]).put<std::uint64_t>(section.bytes.size());
    file.put(section.link).put<std::uint32_t>(0).put<std::uint64_t>(8).put(section.entry_size);
  }
  return file.bytes();
}

}  // namespace librt::jit::test
