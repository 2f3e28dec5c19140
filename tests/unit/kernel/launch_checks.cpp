#include "src/kernel/launch_checks.hpp"

#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

constexpr int kPageSize = 4, kHeads = 2, kDim = 64;
alignas(16) std::array<char, 16> anywhere{};

std::string complaint_about(const PagedTensor& tensor, int heads = kHeads) {
  const auto thrown = thrown_by([&] { kernel::check_pages({"k_pages", tensor, kPageSize, heads, kDim}, true); });
  return thrown ? thrown->what : "accepted";
}

PagedTensor strided(std::int64_t pages, std::int64_t page, std::int64_t token, std::int64_t head) {
  return {anywhere.data(), pages, page, token, head};
}

TEST_CASE("Layouts in which no two rows share an element are accepted", "[launch]") {
  CHECK(complaint_about(strided(9, 0, 0, 0)) == "accepted");                                            // NHD
  CHECK(complaint_about(strided(9, kHeads * kPageSize * kDim, kDim, kPageSize * kDim)) == "accepted");  // HND
  CHECK(complaint_about(strided(9, 1024, 128, 64)) == "accepted");        // gaps behind each page
  CHECK(complaint_about(strided(9, 1024, 256, 128)) == "accepted");       // K and V interleaved by head
  CHECK(complaint_about(strided(9, 128, 9 * 128, 64)) == "accepted");     // [token, page, head]
  CHECK(complaint_about(strided(9, 64, 9 * 128, 9 * 64)) == "accepted");  // [token, head, page]
  CHECK(complaint_about(strided(1, 8, 128, 64)) == "accepted");           // one page: its stride is of no use
  CHECK(complaint_about(strided(9, 4 * 576, 576, -1), 1) == "accepted");  // one head: ckv and kpe in one row
}

TEST_CASE("Strides by which rows would overlap are refused by name", "[launch]") {
  const std::string rows = ", so that rows overlap";
  CHECK(complaint_about(strided(9, 0, 8, 0)).find("k_pages.token_stride is 8" + rows) == 0);
  CHECK(complaint_about(strided(9, 0, 0, 8)).find("k_pages.head_stride is 8" + rows) == 0);
  CHECK(complaint_about(strided(9, 256, 0, 0)).find("k_pages.page_stride is 256" + rows) == 0);
  CHECK(complaint_about(strided(9, 512, 64, 64)).find(rows) != std::string::npos);
  CHECK(complaint_about(strided(9, 8, 0, 0), 1).find("k_pages.page_stride is 8" + rows) == 0);
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max() - 7;
  CHECK(complaint_about(strided(9, huge, 0, 0)).find("pass every address") != std::string::npos);
  CHECK(complaint_about(strided(9, std::int64_t{1} << 61, 0, 0)).find("pass every address") != std::string::npos);
}

/// An MLA batch of two requests on the virtual device: three pages of four tokens.
struct Stand {
  TempDir dir;
  Runtime rt{[this] {
    Options options;
    options.cache_dir = dir.path();
    options.device = "virtual";
    options.log = [](LogLevel, std::string_view) {};
    return options;
  }()};
  Kernel kernel = rt.get(MlaDecodeSpec{.num_heads = 2, .page_size = 4});
  std::vector<std::int32_t> indptr{0, 2, 3}, last{3, 4};
  Plan plan = kernel.plan({indptr, last});
  Buffer q = rt.upload(std::vector<std::uint16_t>(2 * 2 * 512, 0x3c00)),
         qp = rt.upload(std::vector<std::uint16_t>(256)), ckv = rt.upload(std::vector<std::uint16_t>(3 * 4 * 512)),
         kpe = rt.upload(std::vector<std::uint16_t>(3 * 4 * 64)), ip = rt.upload(indptr),
         ix = rt.upload(std::vector<std::int32_t>{0, 1, 2}), lp = rt.upload(last), out = rt.allocate(2 * 2 * 512 * 2),
         lse = rt.allocate(16), workspace = rt.allocate(plan.workspace_bytes());

  MlaDecodeArgs args() const {
    return {.q_nope = q.data(),
            .q_pe = qp.data(),
            .ckv_pages = {ckv.data(), 3},
            .kpe_pages = {kpe.data(), 3},
            .kv_indptr = ip.as<std::int32_t>(),
            .kv_indices = ix.as<std::int32_t>(),
            .kv_last_page_len = lp.as<std::int32_t>(),
            .out = out.data(),
            .lse = lse.as<float>(),
            .workspace = workspace,
            .sm_scale = 0.1f};
  }
  std::string complaint(const std::function<void(MlaDecodeArgs&)>& change) const {
    MlaDecodeArgs changed = args();
    change(changed);
    const auto thrown = thrown_by([&] { kernel.launch(plan, changed); });
    if (thrown) CHECK(thrown->code == ErrorCode::invalid_argument);
    return thrown ? thrown->what : "accepted";
  }
  std::string complaint_about_ids(const std::vector<std::int32_t>& ids) {
    rt.upload(ix, std::as_bytes(std::span(ids)));
    return complaint([](MlaDecodeArgs&) {});
  }
};

TEST_CASE("launch checks MLA's arguments too, and how arguments fit together", "[launch]") {
  const Stand stand;
  CHECK(stand.complaint([](MlaDecodeArgs&) {}) == "accepted");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.ckv_pages.head_stride = -1; }) == "accepted");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.kpe_pages.head_stride = 3; }) == "accepted");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.q_pe = nullptr; }) == "q_pe is null");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.kpe_pages.data = nullptr; }) == "kpe_pages.data is null");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.ckv_pages.token_stride = 8; })
            .find("ckv_pages.token_stride is 8, so that rows overlap") == 0);
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.kpe_pages.num_pages = 2; }) ==
        "ckv_pages.num_pages is 3 and kpe_pages.num_pages is 2; they must be equal, since the page ids are the same");
  const std::string apart = "what a launch writes must lie apart from all else";
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.out = const_cast<void*>(args.q_nope); }).find(apart) !=
        std::string::npos);
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.lse = static_cast<float*>(args.out); }).find(apart) !=
        std::string::npos);
  CHECK(stand.complaint([](MlaDecodeArgs& args) {
               args.workspace = {const_cast<void*>(args.ckv_pages.data), 1 << 20};
             })
            .find("workspace at ") == 0);
}

TEST_CASE("The virtual device checks the page ids that requests own against num_pages", "[launch]") {
  Stand stand;
  CHECK(stand.complaint_about_ids({2, 1, 0}) == "accepted");
  CHECK(stand.complaint_about_ids({0, 1, 3}) ==
        "request 1: page 0 of it, kv_indices[2], is 3; allowed: 0..2 (num_pages - 1)");
  CHECK(stand.complaint_about_ids({0, -1, 2}) ==
        "request 0: page 1 of it, kv_indices[1], is -1; allowed: 0..2 (num_pages - 1)");
  CHECK(stand.complaint([](MlaDecodeArgs& args) { args.ckv_pages.num_pages = args.kpe_pages.num_pages = 1; }) !=
        "accepted");
  // A page of which the device's lengths leave nothing is padding, whatever its id.
  const std::vector<std::int32_t> empty_last{0, 4};
  stand.rt.upload(stand.lp, std::as_bytes(std::span(empty_last)));
  CHECK(stand.complaint_about_ids({0, 777, 2}) == "accepted");
  CHECK(stand.complaint_about_ids({777, 777, 2}) != "accepted");
  const std::vector<std::int32_t> shorter{0, 0, 1};
  stand.rt.upload(stand.ip, std::as_bytes(std::span(shorter)));
  CHECK(stand.complaint_about_ids({1, 777, 777}) == "accepted");
}

TEST_CASE("A Buffer of another Runtime is refused", "[launch]") {
  const TempDir dir;
  Options options;
  options.device = "virtual";
  options.cache_dir = dir.path();
  Runtime first(options), second(options);
  const Buffer mine = first.allocate(8), other = second.allocate(8);
  std::vector<std::byte> bytes(8);
  CHECK(thrown_by([&] { second.upload(mine, bytes); })->what.find("of another Runtime's device") != std::string::npos);
  CHECK(thrown_by([&] { first.download(bytes, other); })->code == ErrorCode::invalid_argument);
  first.upload(mine, bytes);
}

TEST_CASE("upload takes what holds plain values", "[launch]") {
  const TempDir dir;
  Options options;
  options.device = "virtual";
  options.cache_dir = dir.path();
  Runtime rt(options);
  std::vector<int> changing{1, 2, 3};
  const std::vector<int> constant{1, 2, 3};
  std::array<float, 2> few{1, 2};
  CHECK(rt.upload(changing).size() == 12);
  CHECK(rt.upload(constant).size() == 12);
  CHECK(rt.upload(std::span(changing)).size() == 12);
  CHECK(rt.upload(std::span<const int>(changing)).size() == 12);
  CHECK(rt.upload(few).size() == 8);
  CHECK(rt.upload(std::vector<int>{}).size() == 0);
  const Buffer buffer = rt.upload(std::vector<std::uint16_t>{7, 8});
  std::array<std::uint16_t, 2> back{};
  rt.download(std::as_writable_bytes(std::span(back)), buffer);
  CHECK(back == std::array<std::uint16_t, 2>{7, 8});
}

}  // namespace
}  // namespace librt
