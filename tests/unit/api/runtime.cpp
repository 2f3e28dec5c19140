#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
const Arch kPtx{80, 0, true};

Options virtual_options(const TempDir& dir) {
  Options options;
  options.cache_dir = dir.path();
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

TEST_CASE("A specialization is compiled once, then comes from memory, then from disk") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  const Artifact compiled = rt.compile(kSpec, kPtx);
  CHECK(compiled.origin == Origin::compiled);
  CHECK(compiled.cubin.empty());
  CHECK(compiled.ptx.find(".entry librt_gqa_decode") != std::string::npos);
  CHECK(compiled.compile_ms > 0);
  const Artifact remembered = rt.compile(kSpec, kPtx);
  CHECK(remembered.origin == Origin::memory);
  rt.drop_memory_cache();
  const Artifact read = rt.compile(kSpec, kPtx);
  CHECK(read.origin == Origin::disk);
  for (const Artifact* other : {&remembered, &read}) {
    CHECK(other->key == compiled.key);
    CHECK(other->ptx == compiled.ptx);
    CHECK(other->source == compiled.source);
    CHECK(other->spec == compiled.spec);
    CHECK(other->block_threads == compiled.block_threads);
    CHECK(other->shared_bytes == compiled.shared_bytes);
  }
  const RuntimeStats stats = rt.stats();
  CHECK(stats.lookups == 3);
  CHECK(stats.compiled == 1);
  CHECK(stats.memory_hits == 1);
  CHECK(stats.disk_hits == 1);
  CHECK(stats.failed + stats.corrupt + stats.publish_failed == 0);

  const std::vector<CacheEntry> entries = cache_list(virtual_options(dir));
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].key == compiled.key);
  CHECK(entries[0].target == "compute_80");
  CHECK(cache_show(compiled.key.substr(0, 6), virtual_options(dir)).source == compiled.source);
  CHECK(thrown_by([&] { cache_show("abc", virtual_options(dir)); })->code == ErrorCode::invalid_argument);
  CHECK(cache_clear(virtual_options(dir)) == 1);
  CHECK(cache_list(virtual_options(dir)).empty());
}

TEST_CASE("A damaged entry costs a compile, not a request") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  const Artifact compiled = rt.compile(kSpec, kPtx);
  const std::string path = cache_list(virtual_options(dir)).at(0).path;
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path) / 2));
    file.put('\0');
    file.put('\xff');
  }
  const std::vector<CacheVerdict> verdicts = cache_verify(virtual_options(dir));
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].finding == CacheFinding::corrupt);
  rt.drop_memory_cache();
  CHECK(rt.compile(kSpec, kPtx).origin == Origin::compiled);
  CHECK(rt.stats().corrupt == 1);
  CHECK(cache_verify(virtual_options(dir)).at(0).finding == CacheFinding::ok);
}

TEST_CASE("Threads that ask for one specialization share one compile") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  std::mutex mutex;
  std::vector<std::string> keys;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const std::string key = rt.compile(kSpec, kPtx).key;
      const std::lock_guard lock(mutex);
      keys.push_back(key);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(keys == std::vector<std::string>(8, keys.at(0)));
  CHECK(rt.stats().compiled == 1);
}

TEST_CASE("With the cache off nothing is written, and an edited source has its own key") {
  const TempDir dir;
  Options options = virtual_options(dir);
  options.cache_mode = CacheMode::off;
  Runtime plain(options);
  options.source_edits = {{.file = "device/mask.cuh", .find = "position < tokens", .replace = "position <= tokens"}};
  Runtime edited(options);
  CHECK(plain.compile(kSpec, kPtx).key != edited.compile(kSpec, kPtx).key);
  CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("A stub that does not compile gives the log, the stub and the options") {
  const TempDir dir;
  Options options = virtual_options(dir);
  options.source_edits = {
      {.file = "gqa_decode/gqa_decode.cuh", .find = "#pragma once", .replace = "#pragma once\nint = 3;"}};
  Runtime rt(options);
  try {
    rt.compile(kSpec, kPtx);
    FAIL("compiled");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::compile_failed);
    CHECK(error.detail().find("gqa_decode.cuh(") != std::string::npos);
    CHECK(error.detail().find("librt_gqa_decode") != std::string::npos);
    CHECK(error.detail().find("-arch=compute_80") != std::string::npos);
  }
  CHECK(rt.stats().failed == 1);
  CHECK(cache_list(virtual_options(dir)).empty());
}

TEST_CASE("Without a GPU, get says why and what would help") {
  const TempDir dir;
  Options options = virtual_options(dir);
  options.device = "cuda:63";
  Runtime rt(options);
  const auto thrown = thrown_by([&] { rt.get(kSpec); });
  REQUIRE(thrown);
  CHECK(thrown->code == ErrorCode::no_device);
  CHECK(thrown->what.find("LIBRT_DEVICE=virtual") != std::string::npos);
}

TEST_CASE("An artifact is loaded only for the spec that it was compiled for") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  const Artifact artifact = rt.compile(kSpec, kPtx);
  const Spec other = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 8};
  CHECK(thrown_by([&] { rt.load(other, artifact); })->code == ErrorCode::invalid_argument);
  CHECK(rt.load(kSpec, artifact).artifact().key == artifact.key);
}

TEST_CASE("launch checks its arguments by name") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  const Kernel kernel = rt.get(kSpec);
  const std::vector<std::int32_t> indptr{0, 1}, indices{0}, last{3};
  const std::vector<std::uint16_t> q(2 * 64, 0x3c00), pages(4 * 64, 0x3c00);
  const Buffer q_buffer = rt.upload(std::span(q)), page_buffer = rt.upload(std::span(pages));
  const Buffer ip = rt.upload(std::span(indptr)), ix = rt.upload(std::span(indices)), lp = rt.upload(std::span(last));
  const Buffer out = rt.allocate(q.size() * 2), lse = rt.allocate(8);
  const Plan plan = kernel.plan({indptr, last});
  const Buffer workspace = rt.allocate(plan.workspace_bytes());
  const GqaDecodeArgs good{.q = q_buffer.data(),
                           .k_pages = {page_buffer.data(), 1},
                           .v_pages = {page_buffer.data(), 1},
                           .kv_indptr = ip.as<std::int32_t>(),
                           .kv_indices = ix.as<std::int32_t>(),
                           .kv_last_page_len = lp.as<std::int32_t>(),
                           .out = out.data(),
                           .lse = lse.as<float>(),
                           .workspace = workspace,
                           .sm_scale = 0.125f};
  const auto complaint = [&](auto change) {
    GqaDecodeArgs args = good;
    change(args);
    const auto thrown = thrown_by([&] { kernel.launch(plan, args); });
    return thrown ? thrown->what : std::string("accepted");
  };
  CHECK(complaint([](GqaDecodeArgs&) {}) == "accepted");
  CHECK(complaint([](GqaDecodeArgs& args) { args.lse = nullptr; }) == "accepted");
  CHECK(complaint([](GqaDecodeArgs& args) { args.q = nullptr; }) == "q is null");
  CHECK(complaint([](GqaDecodeArgs& args) { args.kv_indices = nullptr; }) == "kv_indices is null");
  CHECK(complaint([](GqaDecodeArgs& args) { args.workspace = {}; }) == "workspace is null");
  CHECK(complaint([](GqaDecodeArgs& args) { --args.workspace.bytes; }) ==
        fmt::format("workspace has {} bytes; allowed: {} and more, the workspace_bytes() of the plan",
                    plan.workspace_bytes() - 1, plan.workspace_bytes()));
  CHECK(complaint([](GqaDecodeArgs& args) { args.k_pages.data = nullptr; }) == "k_pages.data is null");
  CHECK(complaint([](GqaDecodeArgs& args) { args.v_pages.num_pages = 0; }) ==
        "v_pages.num_pages is 0, but the plan has requests with pages");
  CHECK(complaint([](GqaDecodeArgs& args) { args.v_pages.token_stride = 68; }) ==
        "v_pages.token_stride is 68; allowed: 0 (dense) or a multiple of 8 elements");
  CHECK(complaint([](GqaDecodeArgs& args) { args.sm_scale = 0; }) == "sm_scale is 0; it must be finite and not 0");
  const auto* unaligned = static_cast<const char*>(good.q) + 2;
  CHECK(complaint([&](GqaDecodeArgs& args) { args.q = unaligned; }) ==
        fmt::format("q is {}, which is not aligned to 16 bytes", static_cast<const void*>(unaligned)));
  CHECK(thrown_by([&] {
          kernel.launch(plan, MlaDecodeArgs{});
        })->what.starts_with("q_nope is no argument of gqa_decode (it is one of mla_decode); allowed: q, "));

  // By name, in any order; what is not bound is null.
  const auto bindings = good.bindings();
  std::vector<Binding> list(bindings.rbegin(), bindings.rend());
  CHECK_NOTHROW(kernel.launch(plan, list));
  const auto complaint_about = [&](const Binding& change, std::size_t at) {
    std::vector<Binding> changed = list;
    changed.at(at) = change;
    const auto thrown = thrown_by([&] { kernel.launch(plan, changed); });
    return thrown ? thrown->what : std::string("accepted");
  };
  REQUIRE(list[0].name == "sm_scale");
  CHECK(complaint_about(Binding("sm_scal", 0.125f), 0)
            .starts_with("sm_scal is no argument of gqa_decode; did you mean "
                         "sm_scale?"));
  CHECK(complaint_about(list[1], 0) == "workspace is given twice");
  CHECK(complaint_about(Binding("sm_scale", q_buffer.data()), 0) == "sm_scale is a pointer; allowed: a number");
  CHECK(complaint_about(Binding("k_pages", page_buffer.data()), 8) == "k_pages is a pointer; allowed: a PagedTensor");
  list.pop_back();
  CHECK(thrown_by([&] { kernel.launch(plan, list); })->what == "q is null");
  CHECK(rt.stats().compiled == 2);  // the decode and the merge
  rt.get(kSpec);
  CHECK(rt.stats().memory_hits == 1);
}

TEST_CASE("Copies stay inside their buffer") {
  const TempDir dir;
  Runtime rt(virtual_options(dir));
  const Buffer buffer = rt.allocate(16);
  std::vector<std::byte> bytes(8, std::byte{7});
  rt.upload(buffer, bytes, 8);
  std::vector<std::byte> back(8);
  rt.download(back, buffer, 8);
  CHECK(back == bytes);
  CHECK(thrown_by([&] { rt.upload(buffer, bytes, 9); })->what ==
        "an upload of 8 bytes at offset 9 does not fit a buffer of 16 bytes");
  CHECK(thrown_by([&] { rt.download(back, Buffer(), 0); })->code == ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace librt
