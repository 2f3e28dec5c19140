// The compile matrix: each distinct program that a kernels/*/matrix.json asks for, compiled for real and looked into.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/mla_decode/mla_decode.h"
#include "src/api/entry_codec.hpp"
#include "src/api/specialize.hpp"
#include "src/cache/store.hpp"
#include "src/jit/binary_info.hpp"
#include "src/util/for_each_index.hpp"
#include "src/util/log.hpp"
#include "tests/support/kernel_folders.hpp"

namespace librt::test {
namespace {

/// One compile. Specs that differ only in what does not reach the kernel share a program.
struct Program {
  Spec spec;
  Arch arch;

  std::string name() const { return fmt::format("{} for {}", to_string(spec), to_string(arch)); }
  Artifact compile(Runtime& runtime) const { return runtime.compile(spec, arch); }
};

std::vector<Program> distinct_programs(Runtime& runtime) {
  std::map<std::string, Program> programs;  // by program text and architecture
  for (const std::string& file : files_of_kernels("matrix.json")) {
    const Manifest matrix = read_manifest(file);
    for (const Arch& arch : matrix.archs) {
      for (const Spec& spec : matrix.specs) {
        const std::string target = to_string(arch);
        programs.emplace(target + runtime.source(spec, arch), Program{spec, arch});
        if (const auto merge = api::merge_of(spec)) {
          programs.emplace(target + runtime.source(*merge, arch), Program{*merge, arch});
        }
      }
    }
  }
  std::vector<Program> list;
  for (auto& [text, program] : programs) list.push_back(std::move(program));
  return list;
}

Runtime& runtime() {
  static Runtime instance = [] {
    Options options;
    options.cache_dir = LIBRT_TEST_CACHE_DIR;
    options.log_level = LogLevel::error;
    return Runtime(options);
  }();
  return instance;
}

struct Outcome {
  Program program;
  Artifact artifact{};
  std::string error{};
};

/// Compiles on two threads what the cache does not have yet.
std::vector<Outcome> compile_all(std::vector<Program> programs) {
  std::vector<Outcome> outcomes;
  for (Program& program : programs) outcomes.push_back({std::move(program)});
  util::for_each_index(outcomes.size(), 2, [&](std::size_t i) {
    try {
      outcomes[i].artifact = outcomes[i].program.compile(runtime());
    } catch (const Error& error) {
      outcomes[i].error = fmt::format("{}\n{}", error.what(), error.detail());
    }
  });
  return outcomes;
}

const std::vector<Outcome>& outcomes() {
  static const std::vector<Outcome> all = compile_all(distinct_programs(runtime()));
  return all;
}

/// What the assembler reported, by key. Read from the cache, so that it is known in a run that compiles nothing too.
const std::map<std::string, std::string>& assembler_logs() {
  static const std::map<std::string, std::string> logs = [] {
    const util::Log silent([](LogLevel, std::string_view) {}, LogLevel::error);
    std::map<std::string, std::string> found;
    for (const cache::StoredFile& file : cache::Store(LIBRT_TEST_CACHE_DIR, silent, api::validate_entry).scan()) {
      if (file.entry) found[file.key] = api::read_meta(file.entry->meta).log;
    }
    return found;
  }();
  return logs;
}

/// Registers are handed out to warps in units of 256.
int registers_of_block(int registers_per_thread, int threads) {
  const int per_warp = (registers_per_thread * 32 + 255) / 256 * 256;
  return per_warp * ((threads + 31) / 32);
}

TEST_CASE("Every specialization of the matrix compiles", "[compile]") {
  REQUIRE(outcomes().size() >= 60);
  for (const Outcome& outcome : outcomes()) {
    INFO(outcome.program.name());
    CHECK(outcome.error == "");
    CHECK_FALSE(outcome.artifact.cubin.empty());
    CHECK(outcome.artifact.arch == outcome.program.arch);
    CHECK(outcome.artifact.ptx.find(fmt::format(".target {}", to_string(outcome.program.arch))) != std::string::npos);
  }
}

TEST_CASE("No kernel spills, and the assembler has nothing to warn of", "[compile]") {
  for (const Outcome& outcome : outcomes()) {
    INFO(outcome.program.name());
    const auto found = assembler_logs().find(outcome.artifact.key);
    REQUIRE(found != assembler_logs().end());
    const std::string& log = found->second;
    INFO(log);
    CHECK(log.find(" 0 bytes spill stores, 0 bytes spill loads") != std::string::npos);
    CHECK(log.find("C75") == std::string::npos);
    CHECK(log.find("warning") == std::string::npos);
  }
}

TEST_CASE("Registers, stack and shared memory stay within what the architecture has", "[compile]") {
  for (const Outcome& outcome : outcomes()) {
    INFO(outcome.program.name());
    const jit::CubinInfo cubin = jit::read_cubin(outcome.artifact.cubin);
    REQUIRE(cubin.kernels.size() == 1);
    CHECK(cubin.kernels[0].name == outcome.artifact.entry);
    const KernelResources& resources = cubin.kernels[0].resources;
    INFO("registers " << resources.registers << ", threads " << outcome.artifact.block_threads << ", shared "
                      << resources.static_shared_bytes << " + " << outcome.artifact.shared_bytes);
    CHECK(resources.stack_bytes == 0);
    CHECK(resources.registers > 0);
    CHECK(resources.registers <= 255);
    CHECK(resources.max_threads == outcome.artifact.block_threads);
    const int shared = resources.static_shared_bytes + outcome.artifact.shared_bytes;
    CHECK(shared <= tiles::shared_limit_bytes(outcome.program.arch.sm));
    // Blocks that the tile policy counts on to share a multiprocessor must find registers there as well.
    const int threads = outcome.artifact.block_threads;
    const int resident = std::min(tiles::blocks_per_multiprocessor(outcome.program.arch.sm, shared), 2);
    CHECK(resident * registers_of_block(resources.registers, threads) <= 64 * 1024);
  }
}

TEST_CASE("The memory that the host reserves is what the tile formulas say", "[compile]") {
  for (const Outcome& outcome : outcomes()) {
    INFO(outcome.program.name());
    const int sm = outcome.program.arch.sm;
    if (const auto gqa = outcome.program.spec.as<GqaDecodeSpec>()) {
      CHECK(outcome.artifact.shared_bytes ==
            tiles::gqa_shared_bytes(gqa->head_dim, tiles::gqa_tile(sm, gqa->head_dim)));
      CHECK(outcome.artifact.block_threads == tiles::gqa_threads());
    }
    if (const auto mla = outcome.program.spec.as<MlaDecodeSpec>()) {
      const int rows = tiles::mla_rows(mla->num_heads);
      CHECK(outcome.artifact.shared_bytes ==
            tiles::mla_shared_bytes(mla->head_dim_ckv, mla->head_dim_kpe, rows, tiles::mla_tile(sm, rows)));
      CHECK(outcome.artifact.block_threads == tiles::mla_threads());
    }
  }
}

TEST_CASE("Cubins and PTX stay small", "[compile]") {
  for (const Outcome& outcome : outcomes()) {
    INFO(outcome.program.name());
    const KernelResources resources = jit::read_cubin(outcome.artifact.cubin).kernels.at(0).resources;
    CHECK(resources.code_bytes <= 64 * 1024);
    CHECK(outcome.artifact.cubin.size() <= 128 * 1024);
    CHECK(outcome.artifact.ptx.size() <= 256 * 1024);
  }
}

}  // namespace
}  // namespace librt::test
