#include "src/api/specialize.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/unit/api/errors.hpp"

namespace librt::api {
namespace {

const Arch kSm80{80, 0, false};

TEST_CASE("Only what reaches the Traits is specialised on") {
  GqaDecodeSpec gqa{.num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = 16};
  const std::string before = specialize(gqa, kSm80).program.arguments;
  gqa.num_qo_heads = 64;
  gqa.num_kv_heads = 4;
  CHECK(specialize(gqa, kSm80).program.arguments == before);
  gqa.page_size = 8;
  CHECK(specialize(gqa, kSm80).program.arguments != before);

  MlaDecodeSpec mla{.num_heads = 3, .page_size = 64};
  const std::string few = specialize(mla, kSm80).program.spec_json;
  mla.num_heads = 16;
  CHECK(specialize(mla, kSm80).program.spec_json == few);
  mla.num_heads = 17;
  CHECK(specialize(mla, kSm80).program.spec_json != few);
}

TEST_CASE("The stub's arguments and the spec's JSON say the same") {
  const Specialized made = specialize(
      GqaDecodeSpec{.dtype = DType::f16, .num_qo_heads = 4, .num_kv_heads = 4, .head_dim = 64, .page_size = 1}, kSm80);
  const auto json = nlohmann::json::parse(made.program.spec_json);
  CHECK(made.program.arguments == "librt::device::F16, 64, 1, " + std::to_string(json["tile_tokens"].get<int>()) +
                                      ", " + std::to_string(json["stages"].get<int>()));
  CHECK(json["head_dim"] == 64);
  CHECK(json["dtype"] == "f16");
  CHECK(made.block_threads == 128);
}

TEST_CASE("The merge depends on the output's dtype and head dim alone") {
  const Specialized merge = specialize(*merge_of(MlaDecodeSpec{.num_heads = 5, .page_size = 64}), kSm80);
  CHECK(merge.program.kernel == "merge_states");
  CHECK(merge.program.arguments == "librt::device::Bf16, 512");
  CHECK(merge.shared_bytes == 0);
}

TEST_CASE("Architectures without tensor-core copies are refused") {
  const auto thrown = test::thrown_by([] {
    specialize(MlaDecodeSpec{.num_heads = 5, .page_size = 64}, Arch{75, 0, false});
  });
  REQUIRE(thrown);
  CHECK(thrown->code == ErrorCode::unsupported);
  CHECK(thrown->what.starts_with("arch sm_75 is not supported"));
}

}  // namespace
}  // namespace librt::api
