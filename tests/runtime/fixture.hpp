// What the tests of the Runtime against the stand-in for libcuda share.
#pragma once

#include <librt/librt.hpp>

#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/merge_states/merge_states.h"
#include "kernels/mla_decode/mla_decode.h"
#include "tests/support/decode.hpp"
#include "tests/support/fake_cuda/fake_cuda.hpp"
#include "tests/support/gqa_launch.hpp"
#include "tests/support/reference.hpp"

namespace librt::test {

inline const Spec kGqa = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};

/// Knows the parameters of librt's kernels.
inline fake_cuda::Machine fake_machine() {
  fake_cuda::Machine machine;
  machine.parameter_bytes_of = {{"librt_gqa_decode", sizeof(GqaDecodeParams)},
                                {"librt_mla_decode", sizeof(MlaDecodeParams)},
                                {"librt_merge_states", sizeof(MergeParams)}};
  return machine;
}

inline void reset_fake(const fake_cuda::Machine& machine = fake_machine()) {
  fake_cuda::reset();
  fake_cuda::set_machine(machine);
}

/// The cache of the build folder, unless the test has its own.
inline Options cuda_options(const std::string& device = "cuda:0", const std::string& cache = LIBRT_TEST_CACHE_DIR) {
  Options options;
  options.device = device;
  options.cache_dir = cache;
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

inline Batch small_batch() {
  return make_batch(kGqa, {.kv_lens = {5, 0, 13}});
}

/// A plan in which a request is split, so that there is a merge to launch.
inline Plan split_plan(const Kernel& kernel, const Batch& batch) {
  return kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = {.split_pages = 1}});
}

/// Everything that a program does with librt: get, plan, allocate, upload, launch, wait, download, release.
inline void whole_flow(Runtime& runtime) {
  const Batch batch = small_batch();
  const Kernel kernel = runtime.get(kGqa);
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  launch.stage(kernel);
  launch.enqueue(kernel);
  runtime.synchronize();
  launch.stage(kernel);  // the next step's, from the same pinned memory
  (void)launch.download(runtime, batch);
}

}  // namespace librt::test
