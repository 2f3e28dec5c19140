#include "tests/support/layout_probe.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>

#include "src/jit/nvrtc.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt::test {
namespace {

// Form 0 to 3: a block for each slot of A goes through the slots of B. From 4 on one block moves matrices: ldmatrix
// leaves [lane][register] words, stmatrix the 33 rows of `tile`. Lane n gives the address of row n, or of row 32 where
// its address should not be looked at; each element is its own number.
constexpr const char* kProbe = R"(#pragma once
namespace librt::device {

struct LayoutProbeParams {
  unsigned* out;
  int form;
};

struct LayoutProbeTraits {
  enum { kThreads = 32, kMinBlocks = 1 };
  using Params = LayoutProbeParams;
};
template <int>
using LayoutProbe = LayoutProbeTraits;

inline __device__ unsigned ballot(bool value) {
  unsigned lanes;
  asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, 0xffffffff; }"
               : "=r"(lanes)
               : "r"(value ? 1u : 0u));
  return lanes;
}

template <int kForm>
inline __device__ void multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#define LIBRT_DEEP(type)                                                                                            \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, " \
               "{%0,%1,%2,%3};"                                                                                     \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#define LIBRT_FLAT(type)                                                                                            \
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "           \
               "{%0,%1,%2,%3};"                                                                                     \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(b[0]))
  if constexpr (kForm == 0) LIBRT_FLAT("f16");
  if constexpr (kForm == 1) LIBRT_FLAT("bf16");
  if constexpr (kForm == 2) LIBRT_DEEP("f16");
  if constexpr (kForm == 3) LIBRT_DEEP("bf16");
}

template <int kForm>
__device__ void probe_products(unsigned* out, unsigned lane) {
  constexpr unsigned kOne = kForm % 2 == 0 ? 0x3c00 : 0x3f80;
  constexpr unsigned kARegisters = kForm < 2 ? 2 : 4, kBRegisters = kForm < 2 ? 1 : 2;
  unsigned a[4] = {}, b[2] = {};
  const unsigned a_lane = blockIdx.x / (2 * kARegisters), a_element = blockIdx.x % (2 * kARegisters);
  for (unsigned r = 0; r < 4; ++r) a[r] = lane == a_lane && r == a_element / 2 ? kOne << (16 * (a_element % 2)) : 0;
  for (unsigned slot = 0; slot < 64 * kBRegisters; ++slot) {
    const unsigned b_lane = slot / (2 * kBRegisters), b_element = slot % (2 * kBRegisters);
    for (unsigned r = 0; r < 2; ++r) b[r] = lane == b_lane && r == b_element / 2 ? kOne << (16 * (b_element % 2)) : 0;
    float d[4] = {};
    multiply<kForm>(d, a, b);
    bool other = false;
    unsigned* words = out + (blockIdx.x * 64 * kBRegisters + slot) * 5;
    for (unsigned r = 0; r < 4; ++r) {
      const unsigned ones = ballot(d[r] == 1.0f);
      if (lane == 0) words[r] = ones;
      other |= d[r] != 0.0f && d[r] != 1.0f;
    }
    const unsigned others = ballot(other);
    if (lane == 0) words[4] = others;
  }
}

template <int kCount, bool kTransposed>
__device__ void probe_load(unsigned* out, unsigned row, unsigned lane) {
  unsigned r[4] = {~0u, ~0u, ~0u, ~0u};
  if constexpr (kCount == 1 && !kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row));
  if constexpr (kCount == 1 && kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row));
  if constexpr (kCount == 2 && !kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(row));
  if constexpr (kCount == 2 && kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(row));
  if constexpr (kCount == 4 && !kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row));
  if constexpr (kCount == 4 && kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row));
  for (unsigned i = 0; i < 4; ++i) out[4 * lane + i] = r[i];
}

template <int kCount, bool kTransposed>
__device__ void probe_store(unsigned row, unsigned lane) {
#if __CUDA_ARCH__ >= 900
  unsigned r[4];
  for (unsigned i = 0; i < 4; ++i) r[i] = (8 * lane + 2 * i) | ((8 * lane + 2 * i + 1) << 16);
  if constexpr (kCount == 1 && !kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(row), "r"(r[0]) : "memory");
  if constexpr (kCount == 1 && kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(row), "r"(r[0]) : "memory");
  if constexpr (kCount == 2 && !kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" ::"r"(row), "r"(r[0]), "r"(r[1]) : "memory");
  if constexpr (kCount == 2 && kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(row), "r"(r[0]), "r"(r[1])
                 : "memory");
  if constexpr (kCount == 4 && !kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
  if constexpr (kCount == 4 && kTransposed)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
#endif
}

template <bool kStores, int kCount, bool kTransposed>
__device__ void probe_move(unsigned* out, unsigned lane) {
  __shared__ __align__(16) unsigned tile[33 * 4];
  for (unsigned i = lane; i < 33 * 4; i += 32)
    tile[i] = kStores || i >= 32 * 4 ? ~0u : (2 * i) | ((2 * i + 1) << 16);
  __syncthreads();
  const unsigned row = static_cast<unsigned>(__cvta_generic_to_shared(tile + 4 * (lane < 8 * kCount ? lane : 32)));
  if constexpr (!kStores) {
    probe_load<kCount, kTransposed>(out, row, lane);
  } else {
    probe_store<kCount, kTransposed>(row, lane);
    __syncthreads();
    for (unsigned i = lane; i < 33 * 4; i += 32) out[i] = tile[i];
  }
}

template <typename>
__device__ void layout_probe(const LayoutProbeParams& params) {
  const unsigned lane = threadIdx.x;
  unsigned* out = params.out;
  switch (params.form) {
    case 0: return probe_products<0>(out, lane);
    case 1: return probe_products<1>(out, lane);
    case 2: return probe_products<2>(out, lane);
    case 3: return probe_products<3>(out, lane);
    case 4: return probe_move<false, 1, false>(out, lane);
    case 5: return probe_move<false, 1, true>(out, lane);
    case 6: return probe_move<false, 2, false>(out, lane);
    case 7: return probe_move<false, 2, true>(out, lane);
    case 8: return probe_move<false, 4, false>(out, lane);
    case 9: return probe_move<false, 4, true>(out, lane);
    case 10: return probe_move<true, 1, false>(out, lane);
    case 11: return probe_move<true, 1, true>(out, lane);
    case 12: return probe_move<true, 2, false>(out, lane);
    case 13: return probe_move<true, 2, true>(out, lane);
    case 14: return probe_move<true, 4, false>(out, lane);
    case 15: return probe_move<true, 4, true>(out, lane);
  }
}

}  // namespace librt::device
)";

struct Params {
  device::Address out = 0;
  std::int32_t form = 0;
  std::int32_t padding = 0;
};

Artifact compile_probe(const Arch& arch, const std::string& nvrtc) {
  const TempDir directory;
  std::filesystem::create_directory(directory / "layout_probe");
  if (!(std::ofstream(directory / "layout_probe/layout_probe.cuh") << kProbe).flush())
    throw std::runtime_error("cannot write to " + directory.path());
  const jit::Program program =
      jit::make_program({.kernel = "layout_probe", .traits = "LayoutProbe", .arguments = "0", .spec_json = "{}"}, arch);
  const jit::KernelSources sources = jit::KernelSources::load(directory.path(), {}, util::Trust::own, {});
  const jit::Compiled compiled = jit::Nvrtc(jit::identify_nvrtc(nvrtc)).compile(program, sources);
  Artifact artifact;
  artifact.kernel = "layout_probe";
  artifact.entry = program.entry;
  artifact.arch = arch;
  artifact.cubin = compiled.cubin;
  artifact.ptx = compiled.ptx;
  artifact.source = program.source;
  artifact.block_threads = 32;
  return artifact;
}

/// Launches one form and returns what it wrote.
std::vector<std::uint32_t> run(device::Device& device, const device::LoadedKernel& kernel, int form, unsigned blocks,
                               std::size_t words) {
  std::vector<std::uint32_t> values(words, 0xdeadbeef);
  const device::Address out = device.allocate(words * sizeof values[0]);
  device.upload(out, std::as_bytes(std::span(values)));
  const Params params{out, form, 0};
  kernel.launch({blocks, 1, 1}, std::as_bytes(std::span(&params, 1)), nullptr);
  device.synchronize();
  device.download(std::as_writable_bytes(std::span(values)), out);
  device.release(out);
  return values;
}

}  // namespace

nlohmann::json MeasuredLayouts::json() const {
  std::map<std::string, MmaLayouts> layouts;
  for (const MmaForm& form : mma_forms()) layouts[form.name()] = measure(products.at(form.name()), figure_of(form));
  return to_json(layouts, moves);
}

MeasuredLayouts probe_layouts(device::Device& device, const std::string& nvrtc) {
  constexpr std::size_t kTileWords = 33 * 4;
  const Arch arch = device.properties().arch;
  const auto kernel = device.load(compile_probe(arch, nvrtc));
  MeasuredLayouts measured;
  int number = 0;
  for (const MmaForm& form : mma_forms()) {
    const std::size_t words = std::size_t{form.a_slots()} * form.b_slots() * kProductWords;
    measured.products[form.name()] = {form.a_slots(), form.b_slots(),
                                      run(device, *kernel, number++, form.a_slots(), words)};
  }
  for (const MatrixForm& form : matrix_forms()) {
    const int this_form = number++;
    if (form.stores && arch.sm < 90) continue;
    const std::vector<std::uint32_t> words = run(device, *kernel, this_form, 1, kTileWords);
    if (form.stores) {
      std::vector<std::uint16_t> rows;
      for (const std::uint32_t word : words) {
        rows.push_back(static_cast<std::uint16_t>(word));
        rows.push_back(static_cast<std::uint16_t>(word >> 16));
      }
      measured.moves[form.name()] = measure_store(rows, form);
    } else {
      measured.moves[form.name()] = measure_load(words, form);
    }
  }
  return measured;
}

}  // namespace librt::test
