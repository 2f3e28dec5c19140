// Through the public interface, on the virtual device.
#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>

#include "tests/kernels/append_kv/append_case.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt::test {
namespace {

Runtime& runtime() {
  static Runtime instance = [] {
    Options options;
    options.device = "virtual";
    options.cache_dir = LIBRT_TEST_CACHE_DIR;
    options.log_level = LogLevel::error;
    return Runtime(options);
  }();
  return instance;
}

/// The case on the device. What a test changes before launch() is what is launched.
struct OnDevice {
  explicit OnDevice(const AppendCase& the_case) : buffers{} {
    const auto put = [&](const auto& values) {
      buffers.push_back(runtime().allocate(std::max<std::size_t>(values.size() * sizeof(values[0]), 256)));
      if (!values.empty()) runtime().upload(buffers.back(), std::as_bytes(std::span(values)));
      return buffers.back().data();
    };
    const auto rows = [&](const AppendPart& part) {
      return RowTensor{put(part.rows), part.row_stride, part.row_head_stride};
    };
    const auto pages = [&](const AppendPart& part) {
      return PagedTensor{put(part.pages), AppendCase::kPages, part.page_stride, part.token_stride, part.head_stride};
    };
    bindings = {{"k_new", rows(the_case.k)},
                {"v_new", rows(the_case.v)},
                {"k_pages", pages(the_case.k)},
                {"v_pages", pages(the_case.v)},
                {"append_indptr", put(the_case.append_indptr)},
                {"append_positions", put(the_case.positions)},
                {"kv_indptr", put(the_case.kv_indptr)},
                {"kv_indices", put(the_case.kv_indices)},
                {"batch", Count{the_case.batch()}},
                {"total_new", Count{the_case.total_new()}}};
  }

  std::vector<Bits> download(std::size_t buffer, std::size_t count) const {
    std::vector<Bits> bits(count);
    runtime().download(std::as_writable_bytes(std::span(bits)), buffers[buffer]);
    return bits;
  }

  static constexpr std::size_t kKPages = 2, kVPages = 3;
  std::vector<Buffer> buffers;
  std::vector<Binding> bindings;
};

/// "" if only the named slots have changed, to the new rows.
std::string complaint(const AppendCase& the_case) {
  const OnDevice device(the_case);
  runtime().get(the_case.spec).launch(device.bindings);
  if (device.download(OnDevice::kKPages, the_case.k.pages.size()) != the_case.expected(the_case.k)) return "k differs";
  if (device.download(OnDevice::kVPages, the_case.v.pages.size()) != the_case.expected(the_case.v)) return "v differs";
  return "";
}

const std::string kGqaText = "append_kv dtype=bf16 num_kv_heads=3 head_dim=64 page_size=4";

std::string refusal(const AppendCase& the_case, const std::function<void(std::vector<Binding>&)>& change = {}) {
  OnDevice device(the_case);
  if (change) change(device.bindings);
  const Kernel kernel = runtime().get(the_case.spec);
  const auto thrown = thrown_by([&] { kernel.launch(device.bindings); });
  if (!thrown) return "accepted";
  CHECK(thrown->code == ErrorCode::invalid_argument);
  // Nothing has been written.
  CHECK(device.download(OnDevice::kKPages, the_case.k.pages.size()) == the_case.k.pages);
  return thrown->what;
}

}  // namespace

TEST_CASE("append_kv writes new rows to their slots, and nothing else", "[append_kv]") {
  for (const char* const text :
       {"append_kv dtype=bf16 num_kv_heads=3 head_dim=64 page_size=4",
        "append_kv dtype=f16 num_kv_heads=1 head_dim=128 head_dim_vo=64 page_size=16",
        "append_kv dtype=bf16 num_kv_heads=8 head_dim=8 head_dim_vo=1024 page_size=1",
        "append_kv dtype=bf16 head_dim=512 head_dim_vo=64 page_size=7"}) {  // the last one is a latent cache
    for (const Layout layout : {Layout::nhd, Layout::hnd, Layout::padded}) {
      const AppendCase the_case(text, some_requests(parse_spec(text).get("page_size")), layout, 1);
      INFO(text << ", layout " << static_cast<int>(layout));
      CHECK(complaint(the_case) == "");
    }
  }
}

TEST_CASE("append_kv copies bits: a row of NaN with payloads stays what it was", "[append_kv]") {
  AppendCase the_case(kGqaText, {{.pages = 2, .positions = {3, 4}}}, Layout::nhd, 2);
  for (std::size_t i = 0; i < the_case.k.rows.size(); ++i) {
    the_case.k.rows[i] = static_cast<Bits>((i % 2 == 0 ? 0x7f81 : 0xff81) | i % 127);
  }
  CHECK(complaint(the_case) == "");
}

TEST_CASE("append_kv with nothing to append does nothing, and looks at no pointer", "[append_kv]") {
  const Kernel kernel = runtime().get(parse_spec(kGqaText));
  CHECK_NOTHROW(kernel.launch(std::vector<Binding>{{"batch", Count{4}}, {"total_new", Count{0}}}));
  CHECK_NOTHROW(kernel.launch(std::vector<Binding>{{"batch", Count{0}}, {"total_new", Count{0}}}));
  CHECK_NOTHROW(kernel.launch(std::vector<Binding>{}));
}

TEST_CASE("append_kv takes no plan, and decode kernels take one", "[append_kv]") {
  const Kernel kernel = runtime().get(parse_spec(kGqaText));
  const Kernel decode =
      runtime().get(GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4});
  const std::vector<std::int32_t> indptr{0, 1}, last{1};
  CHECK(thrown_by([&] { kernel.plan({indptr, last}); })->what == "append_kv takes no plan of its own");
  CHECK(thrown_by([&] { kernel.workspace_bytes({.max_batch = 1}); })->what == "append_kv takes no plan of its own");
  CHECK(thrown_by([&] { decode.launch(std::vector<Binding>{}); })->what ==
        "gqa_decode takes a plan: launch(plan, ...)");
  const Plan plan = decode.plan({indptr, last});
  CHECK(thrown_by([&] {
          kernel.launch(plan, std::vector<Binding>{});
        })->what.find("the plan was made for gqa_decode") == 0);
}

TEST_CASE("append_kv refuses what has no slot, or one that another token takes", "[append_kv]") {
  const auto of = [](const std::vector<AppendRequest>& requests) {
    return AppendCase(kGqaText, requests, Layout::nhd, 3);
  };
  CHECK(refusal(of({{.pages = 1, .positions = {0}}, {.pages = 2, .positions = {7, 8}}})) ==
        "append_positions[2] is 8; allowed in request 1, which has 2 pages of 4 tokens: 0..7");
  CHECK(refusal(of({{.pages = 2, .positions = {-1}}})) ==
        "append_positions[0] is -1; allowed in request 0, which has 2 pages of 4 tokens: 0..7");
  CHECK(refusal(of({{.pages = 0, .positions = {0}}})) == "append_positions[0] is 0; request 0 has no page for it");
  CHECK(refusal(of({{.pages = 2, .positions = {1, 5, 1}}})).find("new tokens 0 and 2 both go to slot 1 of page ") == 0);
  AppendCase outside = of({{.pages = 2, .positions = {5}}});
  outside.kv_indices.back() = AppendCase::kPages;
  CHECK(refusal(outside) == "request 0: page 1 of it, kv_indices[4], is 24; allowed: 0..23 (num_pages - 1)");
  outside.kv_indices.back() = -1;
  CHECK(refusal(outside) == "request 0: page 1 of it, kv_indices[4], is -1; allowed: 0..23 (num_pages - 1)");
  // A page that no new token needs may be anything.
  AppendCase evicted = of({{.pages = 2, .positions = {5}}});
  evicted.kv_indices[3] = -1;
  CHECK(refusal(evicted) == "accepted");

  AppendCase falling = of({{.pages = 1, .positions = {0}}, {.pages = 1, .positions = {1}}});
  falling.append_indptr = {0, 2, 1};
  CHECK(refusal(falling) == "append_indptr[2] is 1; allowed: 2..2");
  falling.append_indptr = {0, 1, 1};
  CHECK(refusal(falling) == "append_indptr goes from 0 to 1; allowed: 0 to total_new=2");
  falling.append_indptr = {1, 1, 2};
  CHECK(refusal(falling) == "append_indptr goes from 1 to 2; allowed: 0 to total_new=2");
}

TEST_CASE("append_kv refuses arguments that cannot be, by name", "[append_kv]") {
  const AppendCase the_case(kGqaText, some_requests(4), Layout::nhd, 4);
  const auto with = [&](std::size_t place, const Binding& binding) {
    return refusal(the_case, [&](std::vector<Binding>& bindings) { bindings[place] = binding; });
  };
  const OnDevice device(the_case);
  const void* const rows = device.bindings[0].rows.data;
  CHECK(with(0, {"k_new", RowTensor{}}) == "k_new is null");
  CHECK(with(0, {"k_new", rows}) == "k_new is a pointer; allowed: a RowTensor");
  CHECK(with(0, {"k_new", RowTensor{rows, 4}}) ==
        "k_new.row_stride is 4; allowed: 0 (dense) or a multiple of 8 elements");
  CHECK(with(0, {"k_new", RowTensor{rows, 0, -8}}) ==
        "k_new.head_stride is -8; allowed: 0 (dense) or a multiple of 8 elements");
  CHECK(with(8, {"batch", Count{-1}}) == "batch is -1; allowed: 0..2147483646");
  CHECK(with(9, {"total_new", 7.0F}) == "total_new is a number; allowed: a Count");
  CHECK(with(9, {"new_total", Count{1}}).find("new_total is no argument of append_kv") == 0);
  CHECK(with(3, device.bindings[2]) == "k_pages is given twice");
  PagedTensor fewer = device.bindings[3].pages;
  --fewer.num_pages;
  CHECK(with(3, {"v_pages", fewer}).find("k_pages.num_pages is 24 and v_pages.num_pages is 23") == 0);
  CHECK(refusal(the_case, [&](std::vector<Binding>& bindings) {
          bindings[2] = {"k_pages", PagedTensor{bindings[0].rows.data, 24, 0, 0, 0}};
        }).find("k_pages at ") == 0);
}

TEST_CASE("append_kv's spec: what is allowed, and what has a default", "[append_kv]") {
  CHECK(to_string(parse_spec("append_kv dtype=f16 head_dim=512 head_dim_vo=64 page_size=1")) ==
        "append_kv dtype=f16 kv_dtype=f16 num_kv_heads=1 head_dim=512 head_dim_vo=64 page_size=1");
  CHECK(parse_spec("append_kv dtype=f16 head_dim=128 page_size=1").get("head_dim_vo") == 128);
  CHECK(thrown_by([] { validate(parse_spec("append_kv dtype=f16 head_dim=12 page_size=1")); })->what ==
        "append_kv: head_dim=12 is not supported; allowed: a multiple of 8 up to 4096");
  CHECK(thrown_by([] { validate(parse_spec("append_kv dtype=f16 kv_dtype=bf16 head_dim=16 page_size=1")); })->what ==
        "append_kv: kv_dtype=bf16 is not supported with dtype=f16; allowed: f16");
}

}  // namespace librt::test
