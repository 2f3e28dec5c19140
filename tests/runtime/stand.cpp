// tests/gpu's tests against the stand-in: two GPUs that differ in all that a Runtime asks for.
#include "tests/gpu/stand.hpp"

#include "tests/runtime/fixture.hpp"

namespace librt::test {

namespace {

constexpr fake_cuda::Gpu kOlderGpu{
    .compute_major = 8, .compute_minor = 0, .num_sms = 108, .shared_bytes_per_block = 166912};

}  // namespace

void begin_on_fresh_machine() {
  fake_cuda::Machine machine = fake_machine();
  machine.gpus.push_back(kOlderGpu);
  reset_fake(machine);
}

int num_gpus() {
  return 2;
}

bool kernels_run() {
  return false;
}

}  // namespace librt::test
