// What the kernel itself does where no host has looked: labels, and arguments that it must leave alone.
#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <limits>

#include "kernels/append_kv/append_kv.h"
#include "tests/contract/machine.hpp"
#include "tests/kernels/append_kv/append_case.hpp"

namespace librt::test {
namespace {

constexpr ptx::Labels kOld = 1;
/// Of a new token: the others' tokens must not get into its slot.
ptx::Labels label_of(int token) {
  return static_cast<ptx::Labels>(2u << (token % 7));
}

const std::string kText = "append_kv dtype=bf16 num_kv_heads=3 head_dim=64 page_size=4";

MachineKernel compiled(const std::vector<SourceEdit>& edits = {}) {
  Options options;
  options.cache_dir = LIBRT_TEST_CACHE_DIR;
  options.log_level = LogLevel::error;
  options.source_edits = edits;
  if (!edits.empty()) options.cache_mode = CacheMode::off;
  return MachineKernel(Runtime(options).compile(parse_spec(kText), parse_arch("compute_80")));
}

struct Ran {
  std::string complaint{};  ///< "" if the pages and all their labels are as they should be
};

/// @param blocks fewer than there are tokens, so that each steps
Ran run(const MachineKernel& kernel, const AppendCase& the_case, const AppendCase& expected, unsigned blocks = 2) {
  Machine machine{MachineOptions{}};
  struct Placed {
    AppendKvPart part{};
    Bits* pages = nullptr;
  };
  const auto place = [&](const AppendPart& part, const char* rows_name, const char* pages_name) {
    Placed placed;
    const Bits* const rows = machine.upload(part.rows, rows_name);
    for (int token = 0; token < the_case.total_new(); ++token) {
      for (int head = 0; head < the_case.heads; ++head) {
        machine.label(rows + part.row_at(token, head), static_cast<std::size_t>(part.dim), label_of(token));
      }
    }
    placed.pages = machine.upload(part.pages, pages_name);
    machine.label(placed.pages, part.pages.size(), kOld);
    placed.part = {.rows = rows,
                   .pages = placed.pages,
                   .row_stride = part.row_stride,
                   .row_head_stride = part.row_head_stride,
                   .page_stride = part.page_stride,
                   .token_stride = part.token_stride,
                   .head_stride = part.head_stride};
    return placed;
  };
  const Placed k = place(the_case.k, "k_new", "k_pages"), v = place(the_case.v, "v_new", "v_pages");
  const AppendKvParams params{.k = k.part,
                              .v = v.part,
                              .append_indptr = machine.upload(the_case.append_indptr, "append_indptr"),
                              .append_positions = machine.upload(the_case.positions, "append_positions"),
                              .kv_indptr = machine.upload(the_case.kv_indptr, "kv_indptr"),
                              .kv_indices = machine.upload(the_case.kv_indices, "kv_indices"),
                              .batch = the_case.batch(),
                              .total_new = the_case.total_new(),
                              .num_pages = AppendCase::kPages,
                              .num_kv_heads = the_case.heads};
  machine.launch(kernel, params, {blocks, 1, 1});
  if (!machine.defects.empty()) return {to_string(machine.defects.front())};
  if (!machine.findings.empty()) return {to_string(machine.findings.front())};
  for (const auto& [part, wanted, placed] :
       {std::tuple(&the_case.k, &expected.k, &k), std::tuple(&the_case.v, &expected.v, &v)}) {
    if (machine.download(placed->pages, part->pages.size()) != expected.expected(*wanted)) return {"the pages differ"};
    // The labels of the pages, as they would be if labels were what is copied.
    std::vector<int> writer(part->pages.size(), -1);
    for (int b = 0; b < expected.batch(); ++b) {
      const auto request = static_cast<std::size_t>(b);
      for (int token = expected.append_indptr[request]; token < expected.append_indptr[request + 1]; ++token) {
        const int position = expected.positions[static_cast<std::size_t>(token)];
        const int page =
            expected.kv_indices[static_cast<std::size_t>(expected.kv_indptr[request] + position / expected.page_size)];
        for (int head = 0; head < expected.heads; ++head) {
          const std::size_t at = part->page_at(page, position % expected.page_size, head);
          std::fill_n(writer.begin() + static_cast<std::ptrdiff_t>(at), part->dim, token);
        }
      }
    }
    for (std::size_t i = 0; i < writer.size(); ++i) {
      const ptx::Labels labels = machine.labels_of(placed->pages + i, 1);
      const ptx::Labels right = writer[i] < 0 ? kOld : label_of(writer[i]);
      if (labels != right) return {fmt::format("element {} has the labels {:#x}, not {:#x}", i, labels, right)};
    }
  }
  return {};
}

/// Tokens that the kernel must leave out: their positions and pages are none. The second case is what may be written.
std::pair<AppendCase, AppendCase> with_homeless_tokens() {
  const std::vector<AppendRequest> requests{{.pages = 2, .positions = {6, 8, 1}},
                                            {.pages = 1, .positions = {-1, 3}},
                                            {.pages = 0, .positions = {0}},
                                            {.pages = 3, .positions = {std::numeric_limits<int>::max(), 4}}};
  AppendCase given(kText, requests, Layout::nhd, 5);
  given.kv_indices.back() = AppendCase::kPages;  // the last request's third page is outside of the pool
  given.positions.push_back(9);                  // and so is this token's; there is one more row for it
  given.append_indptr.back() += 1;
  for (AppendPart* const part : {&given.k, &given.v}) {
    part->rows.resize(part->rows.size() + static_cast<std::size_t>(part->row_stride), 0x7fc1);
  }
  // The same pages, and the tokens that have a place.
  AppendCase right = given;
  right.append_indptr = {0, 2, 3, 3, 4};
  right.positions = {6, 1, 3, 4};
  const int kept[] = {0, 2, 4, 7};
  for (AppendPart* const part : {&right.k, &right.v}) {
    const std::vector<Bits> all = part->rows;
    for (int i = 0; i < 4; ++i) {
      std::copy_n(all.begin() + kept[i] * part->row_stride, part->row_stride,
                  part->rows.begin() + i * part->row_stride);
    }
  }
  return {given, right};
}

std::string homeless_complaint(const MachineKernel& kernel) {
  auto [given, right] = with_homeless_tokens();
  Machine machine{MachineOptions{}};
  const auto part_of = [&](const AppendPart& part, Bits*& pages) {
    pages = machine.upload(part.pages, "pages");
    return AppendKvPart{.rows = machine.upload(part.rows, "rows"),
                        .pages = pages,
                        .row_stride = part.row_stride,
                        .row_head_stride = part.row_head_stride,
                        .page_stride = part.page_stride,
                        .token_stride = part.token_stride,
                        .head_stride = part.head_stride};
  };
  Bits *k_pages = nullptr, *v_pages = nullptr;
  const AppendKvPart k = part_of(given.k, k_pages), v = part_of(given.v, v_pages);
  const AppendKvParams params{.k = k,
                              .v = v,
                              .append_indptr = machine.upload(given.append_indptr, "append_indptr"),
                              .append_positions = machine.upload(given.positions, "append_positions"),
                              .kv_indptr = machine.upload(given.kv_indptr, "kv_indptr"),
                              .kv_indices = machine.upload(given.kv_indices, "kv_indices"),
                              .batch = given.batch(),
                              .total_new = given.total_new(),
                              .num_pages = AppendCase::kPages,
                              .num_kv_heads = given.heads};
  machine.launch(kernel, params, {3, 1, 1});
  if (!machine.defects.empty()) return to_string(machine.defects.front());
  if (machine.download(k_pages, given.k.pages.size()) != right.expected(right.k)) return "the pages of K differ";
  return machine.download(v_pages, given.v.pages.size()) == right.expected(right.v) ? "" : "the pages of V differ";
}

std::string complaint_of(const MachineKernel& kernel) {
  for (const Layout layout : {Layout::nhd, Layout::hnd, Layout::padded}) {
    const AppendCase the_case(kText, some_requests(4), layout, 6);
    if (std::string wrong = run(kernel, the_case, the_case).complaint; !wrong.empty()) return wrong;
  }
  return homeless_complaint(kernel);
}

}  // namespace

TEST_CASE("append_kv: every element of the pages has its own token's label, or the one that it had", "[append_kv]") {
  CHECK(complaint_of(compiled()) == "");
}

TEST_CASE("append_kv: rows that belong to no request are left out", "[append_kv]") {
  AppendCase given(kText, {{.pages = 1, .positions = {0, 1}}, {.pages = 1, .positions = {2}}}, Layout::nhd, 7);
  AppendCase right = given;
  given.append_indptr = {1, 1, 2};  // the first row and the last are nobody's
  right.append_indptr = {0, 0, 1};
  right.positions = {1};
  for (AppendPart* const part : {&right.k, &right.v}) {
    part->rows.erase(part->rows.begin(), part->rows.begin() + part->row_stride);
  }
  const MachineKernel kernel = compiled();
  Machine machine{MachineOptions{}};
  Bits* const pages = machine.upload(given.k.pages, "pages");
  const AppendKvPart part{.rows = machine.upload(given.k.rows, "rows"),
                          .pages = pages,
                          .row_stride = given.k.row_stride,
                          .row_head_stride = given.k.row_head_stride,
                          .page_stride = given.k.page_stride,
                          .token_stride = given.k.token_stride,
                          .head_stride = given.k.head_stride};
  AppendKvPart other = part;
  other.pages = machine.upload(given.v.pages, "pages of V");
  const AppendKvParams params{.k = part,
                              .v = other,
                              .append_indptr = machine.upload(given.append_indptr, "append_indptr"),
                              .append_positions = machine.upload(given.positions, "append_positions"),
                              .kv_indptr = machine.upload(given.kv_indptr, "kv_indptr"),
                              .kv_indices = machine.upload(given.kv_indices, "kv_indices"),
                              .batch = 2,
                              .total_new = 3,
                              .num_pages = AppendCase::kPages,
                              .num_kv_heads = given.heads};
  machine.launch(kernel, params, {1, 1, 1});
  CHECK(machine.defects.empty());
  CHECK(machine.download(pages, given.k.pages.size()) == right.expected(right.k));
}

TEST_CASE("append_kv: every mutant is caught", "[append_kv]") {
  std::ifstream file(LIBRT_SOURCE_DIR "/kernels/append_kv/mutants.json");
  const auto mutants = nlohmann::json::parse(file);
  REQUIRE(mutants.size() >= 8);
  for (const auto& mutant : mutants) {
    INFO(mutant.at("name").get<std::string>());
    const SourceEdit edit{mutant.at("file"), mutant.at("find"), mutant.at("replace")};
    CHECK(complaint_of(compiled({edit})) != "");
  }
}

}  // namespace librt::test
