// What the tests of this folder that run without a GPU too, against the stand-in for libcuda, must know of where they
// run.
#pragma once

namespace librt::test {

/// Called first in each of these tests. Makes the stand-in a machine with two different GPUs; does nothing to real
/// ones.
void begin_on_fresh_machine();
/// GPUs that the driver sees.
int num_gpus();
/// Whether launches are executed. The stand-in only records them, so there are no results to judge.
bool kernels_run();

}  // namespace librt::test
