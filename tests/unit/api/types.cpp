#include <librt/types.hpp>

#include <catch2/catch.hpp>

#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

TEST_CASE("Architectures are read and written") {
  CHECK(parse_arch("sm_80") == Arch{80, 0, false});
  CHECK(parse_arch("sm_90a") == Arch{90, 'a', false});
  CHECK(parse_arch("compute_100f") == Arch{100, 'f', true});
  for (const char* text : {"sm_80", "sm_90a", "sm_103f", "compute_80", "compute_120a"}) {
    CHECK(to_string(parse_arch(text)) == text);
  }
}

TEST_CASE("What is not an architecture is refused by its text") {
  for (const char* text : {"", "sm", "sm_", "sm_9", "sm_a", "sm_90b", "sm_90aa", "sm_-90", "sm_090", "sm_9000", "90",
                           "SM_90", "compute_", "sm_90 ", "sm_+90"}) {
    const auto thrown = test::thrown_by([&] { parse_arch(text); });
    INFO(text);
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
    CHECK(thrown->what.starts_with(std::string("arch \"") + text + "\" is not an architecture"));
  }
}

TEST_CASE("Dtypes are read and written") {
  CHECK(parse_dtype("bf16") == DType::bf16);
  CHECK(parse_dtype("f16") == DType::f16);
  CHECK(to_string(DType::f16) == "f16");
  CHECK(size_in_bytes(DType::bf16) == 2);
  CHECK(test::thrown_by([] { parse_dtype("fp16"); })->what == "dtype \"fp16\" is not known; allowed: bf16, f16");
}

}  // namespace
}  // namespace librt
