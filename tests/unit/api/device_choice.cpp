#include "src/api/device_choice.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/api/errors.hpp"

namespace librt::api {
namespace {

TEST_CASE("Device names are understood") {
  CHECK(parse_device("cuda:0").ordinal == 0);
  CHECK(parse_device("cuda:13").ordinal == 13);
  CHECK_FALSE(parse_device("cuda:13").is_virtual);
  CHECK(parse_device("virtual").is_virtual);
  CHECK(parse_device("virtual").arch == Arch{80, 0, false});
  CHECK(parse_device("virtual:sm_90a").arch == Arch{90, 'a', false});
}

TEST_CASE("Other device names are refused") {
  for (const char* text :
       {"", "cuda", "cuda:", "cuda:-1", "cuda:1x", "gpu:0", "virtual:", "virtual:compute_80", "virtual:90"}) {
    const auto thrown = test::thrown_by([&] { parse_device(text); });
    INFO(text);
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
  }
}

TEST_CASE("The virtual device runs PTX alone, a GPU gets its cubin") {
  CHECK(to_string(compile_arch({.name = "v", .arch = {90, 'a', false}, .is_virtual = true})) == "compute_90a");
  CHECK(to_string(compile_arch({.name = "g", .arch = {90, 'a', false}, .is_virtual = false})) == "sm_90a");
}

}  // namespace
}  // namespace librt::api
