// Loading: what runs where, and what the driver is told.
#include "src/device/cuda/cuda_kernel.hpp"
#include "tests/unit/device/cuda/fixture.hpp"

namespace librt::device {

namespace {

using Catch::Contains;

Arch arch(std::string_view text) {
  return parse_arch(text);
}

}  // namespace

TEST_CASE("code runs on the GPUs it was compiled for", "[cuda]") {
  CHECK(cuda::can_run(arch("sm_80"), 80));
  CHECK(cuda::can_run(arch("sm_80"), 86));
  CHECK_FALSE(cuda::can_run(arch("sm_86"), 80));
  CHECK_FALSE(cuda::can_run(arch("sm_80"), 90));
  CHECK(cuda::can_run(arch("sm_90a"), 90));
  CHECK_FALSE(cuda::can_run(arch("sm_90a"), 100));
  CHECK_FALSE(cuda::can_run(arch("sm_100a"), 103));
  CHECK(cuda::can_run(arch("sm_100f"), 103));
  CHECK_FALSE(cuda::can_run(arch("sm_100f"), 120));
  CHECK(cuda::can_run(arch("compute_80"), 120));
  CHECK_FALSE(cuda::can_run(arch("compute_90"), 80));
  CHECK_FALSE(cuda::can_run(arch("compute_90a"), 100));
  CHECK_FALSE(cuda::can_run(arch("compute_100f"), 120));
}

TEST_CASE("what is compiled for a GPU uses its specific architecture from 9.0 on", "[cuda]") {
  fake_cuda::reset();
  fake_cuda::Machine machine;
  CHECK(to_string(open_cuda_device(0)->properties().arch) == "sm_90a");
  machine.gpus[0].compute_major = 12;
  fake_cuda::set_machine(machine);
  CHECK(to_string(open_cuda_device(0)->properties().arch) == "sm_120a");
  machine.gpus[0].compute_major = 8;
  machine.gpus[0].compute_minor = 9;
  machine.gpus[0].num_sms = 142;
  machine.gpus[0].shared_bytes_per_block = 101376;
  fake_cuda::set_machine(machine);
  const Properties properties = open_cuda_device(0)->properties();
  CHECK(to_string(properties.arch) == "sm_89");
  CHECK(properties.num_sms == 142);
  CHECK(properties.shared_bytes_per_block == 101376);
  CHECK_FALSE(properties.is_virtual);
}

TEST_CASE("loading hands the driver the cubin, the entry and the shared memory", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  const auto kernel = device->load(make_artifact());
  REQUIRE(fake_cuda::loaded_code().size() == 1);
  const fake_cuda::LoadedCode loaded = fake_cuda::loaded_code().front();
  CHECK(loaded.first_bytes == "cubin bytes");
  CHECK(loaded.kernel_name == "librt_entry");
  CHECK(loaded.max_dynamic_shared_bytes == std::map<int, int>{{0, 73984}});
  CHECK(loaded.is_loaded == std::map<int, bool>{{0, true}});
  CHECK(fake_cuda::count("cuFuncLoad") == 1);
}

TEST_CASE("PTX is loaded where there is no cubin", "[cuda]") {
  fake_cuda::reset();
  Artifact artifact = make_artifact();
  artifact.arch = arch("compute_80");
  artifact.cubin.clear();
  artifact.shared_bytes = 0;
  open_cuda_device(0)->load(artifact);
  CHECK(fake_cuda::loaded_code().front().first_bytes == ".version 9.0");
  CHECK(fake_cuda::count("cuKernelSetAttribute") == 0);

  artifact.ptx.clear();
  const std::string message = message_of(ErrorCode::invalid_argument, [&] { open_cuda_device(0)->load(artifact); });
  CHECK_THAT(message, Contains("artifact.cubin") && Contains("artifact.ptx"));
}

TEST_CASE("an artifact for another architecture is refused before the driver sees it", "[cuda]") {
  fake_cuda::reset();
  Artifact artifact = make_artifact();
  artifact.arch = arch("sm_100a");
  const std::string message = message_of(ErrorCode::unsupported, [&] { open_cuda_device(0)->load(artifact); });
  CHECK_THAT(message, Contains("sm_100a") && Contains("compute capability 9.0") && Contains("compile it for sm_90a"));
  CHECK(fake_cuda::count("cuLibraryLoadData") == 0);
}

TEST_CASE("an impossible artifact is refused by field", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  Artifact artifact = make_artifact();

  SECTION("too much shared memory") {
    artifact.shared_bytes = 232449;
    const std::string message = message_of(ErrorCode::unsupported, [&] { device->load(artifact); });
    CHECK_THAT(message, Contains("232449") && Contains("232448") && Contains("Fake GPU"));
  }
  SECTION("negative shared memory") {
    artifact.shared_bytes = -1;
    CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { device->load(artifact); }),
               Contains("shared_bytes is -1"));
  }
  SECTION("threads") {
    artifact.block_threads = GENERATE(0, -32, 1025);
    CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { device->load(artifact); }),
               Contains("block_threads") && Contains("1..1024"));
  }
  SECTION("no entry") {
    artifact.entry.clear();
    CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { device->load(artifact); }), Contains("artifact.entry"));
  }
  CHECK(fake_cuda::outstanding().libraries == 0);
}

TEST_CASE("a driver that is older than the compiler says so", "[cuda]") {
  fake_cuda::reset();
  fake_cuda::Machine machine;
  machine.driver_version = 12040;
  fake_cuda::set_machine(machine);
  const int code = GENERATE(200, 209, 222);
  const std::string entry = GENERATE("cuLibraryLoadData", "cuLibraryGetKernel", "cuKernelGetFunction");
  fake_cuda::fail(entry, code);
  const std::string message = message_of(ErrorCode::driver, [] { open_cuda_device(0)->load(make_artifact()); });
  CHECK_THAT(message, Contains("supports CUDA up to 12.4") && Contains("update the driver") &&
                          Contains("LIBRT_NVRTC") && Contains("gqa_decode (entry \"librt_entry\") for sm_90a") &&
                          Contains(entry));
  require_nothing_outstanding();
}

TEST_CASE("a driver of CUDA 12.0 has no cuFuncLoad and works", "[cuda]") {
  fake_cuda::reset();
  fake_cuda::Machine machine;
  machine.driver_version = 12000;
  fake_cuda::set_machine(machine);
  CHECK_NOTHROW(use_everything());
  CHECK(fake_cuda::count("cuFuncLoad") == 0);
  CHECK(fake_cuda::count("cuKernelGetParamInfo") == 0);
  require_nothing_outstanding();
}

}  // namespace librt::device
