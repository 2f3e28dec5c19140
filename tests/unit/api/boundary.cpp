#include "src/api/boundary.hpp"

#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};

Options virtual_options(const TempDir& dir) {
  Options options;
  options.cache_dir = dir.path();
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

struct Mine {};

TEST_CASE("Nothing but Error, bad_alloc and the caller's own leaves the library", "[boundary]") {
  const auto thrown = [](const auto& what) { return thrown_by([&] { api::at_boundary([&] { throw what; }); }); };
  CHECK(thrown(Error(ErrorCode::io, "it"))->code == ErrorCode::io);
  CHECK(thrown(std::system_error(std::make_error_code(std::errc::too_many_files_open)))->code == ErrorCode::internal);
  CHECK(thrown(std::length_error("too long"))->what == "an exception that librt did not expect: too long");
  CHECK(thrown(Mine{})->code == ErrorCode::internal);
  CHECK_THROWS_AS(thrown(std::bad_alloc()), std::bad_alloc);
  CHECK_THROWS_AS(api::at_boundary([] { api::call_caller([] { throw Mine{}; }); }), Mine);
  CHECK(api::at_boundary([] { return 7; }) == 7);
}

TEST_CASE("Values outside their enum are refused by name", "[boundary]") {
  const auto odd = static_cast<DType>(99);
  CHECK(to_string(odd) == "unknown");
  const auto gqa = thrown_by([&] {
    validate(GqaDecodeSpec{.dtype = odd, .num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4});
  });
  REQUIRE(gqa);
  CHECK(gqa->what == "gqa_decode: dtype=99 is not supported; allowed: bf16, f16");
  CHECK(thrown_by([&] {
          validate(MlaDecodeSpec{.dtype = DType::f16, .kv_dtype = odd, .num_heads = 2, .page_size = 4});
        })->what == "mla_decode: kv_dtype=99 is not supported; allowed: bf16, f16");

  const TempDir dir;
  Options options = virtual_options(dir);
  options.cache_mode = static_cast<CacheMode>(17);
  CHECK(thrown_by([&] { Runtime rt(options); })->what ==
        "Options::cache_mode is 17; allowed: CacheMode::rw, ro, off, only");
  options = virtual_options(dir);
  options.cache_trust = static_cast<CacheTrust>(-1);
  CHECK(thrown_by([&] { Runtime rt(options); })->code == ErrorCode::invalid_argument);
  options = virtual_options(dir);
  options.log_level = static_cast<LogLevel>(9);
  CHECK(thrown_by([&] { Runtime rt(options); })->code == ErrorCode::invalid_argument);
}

TEST_CASE("An architecture that no text gives is refused by name", "[boundary]") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  for (const char suffix : {'\xff', '\x01', 'b', '"'}) {
    const auto thrown = thrown_by([&] { rt.compile(kSpec, Arch{.sm = 90, .suffix = suffix}); });
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
    CHECK(thrown->what.find("arch.suffix is the character") == 0);
  }
  for (const int sm : {-1, 0, 1000}) {
    CHECK(thrown_by([&] { rt.source(kSpec, Arch{.sm = sm}); })->what.find("arch.sm is") == 0);
  }
}

TEST_CASE("What was moved from says so", "[boundary]") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  Kernel kernel = rt.get(kSpec);
  const std::vector<std::int32_t> indptr{0, 1}, last{1};
  Plan plan = kernel.plan({indptr, last});
  const Kernel other_kernel = std::move(kernel);
  const Plan other_plan = std::move(plan);
  // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
  CHECK(thrown_by([&] { (void)kernel.spec(); })->what == "this Kernel was moved from");
  CHECK(thrown_by([&] { (void)kernel.artifact(); })->code == ErrorCode::invalid_argument);
  CHECK(thrown_by([&] { kernel.plan({indptr, last}); })->code == ErrorCode::invalid_argument);
  CHECK(thrown_by([&] { kernel.launch(other_plan, GqaDecodeArgs{}); })->code == ErrorCode::invalid_argument);
  CHECK(plan.batch() + plan.num_work_items() + plan.split_pages() + plan.num_split_requests() == 0);
  CHECK(plan.workspace_bytes() == 0);
  CHECK(thrown_by([&] { other_kernel.launch(plan, GqaDecodeArgs{}); })->what == "this Plan was moved from");

  Buffer buffer = rt.allocate(8);
  const Buffer other_buffer = std::move(buffer);
  CHECK(buffer.data() == nullptr);
  CHECK(buffer.size() == 0);

  Runtime other = std::move(rt);
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { rt.get(kSpec); }, [&] { rt.prepare(std::vector{kSpec}); }, [&] { rt.compile(kSpec, {}); },
           [&] { rt.compile_merge(kSpec, {}); }, [&] { rt.prewarm({}, {}); }, [&] { rt.explain(kSpec, {}); },
           [&] { rt.load(kSpec, {}); }, [&] { (void)rt.device(); }, [&] { (void)rt.allocate(1); },
           [&] { rt.upload(other_buffer, {}); }, [&] { rt.download({}, other_buffer); }, [&] { rt.synchronize(); },
           [&] { rt.drop_memory_cache(); }, [&] { (void)rt.stats(); }, [&] { rt.flush_stats(); },
           [&] { (void)rt.options(); }}) {
    const auto thrown = thrown_by(call);
    REQUIRE(thrown);
    CHECK(thrown->what == "this Runtime was moved from");
  }
  rt = std::move(other);
  // NOLINTEND(bugprone-use-after-move)
  CHECK(to_string(rt.get(kSpec).spec()) == to_string(kSpec));
}

}  // namespace
}  // namespace librt
