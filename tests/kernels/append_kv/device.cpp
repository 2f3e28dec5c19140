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

/// The pages of both tensors on the machine.
struct Placed {
  Bits *k = nullptr, *v = nullptr;
};

/// Launches on a machine of labels and sanitizers: each new token has a label of its own, and the pages have kOld.
/// @param blocks fewer than there are tokens, so that each steps
Placed launch(Machine& machine, const MachineKernel& kernel, const AppendCase& the_case, unsigned blocks) {
  Placed placed;
  const auto part_of = [&](const AppendPart& part, Bits*& pages) {
    const Bits* const rows = machine.upload(part.rows, "new rows");
    for (int token = 0; token < the_case.total_new(); ++token) {
      for (int head = 0; head < the_case.heads; ++head) {
        machine.label(rows + part.row_at(token, head), static_cast<std::size_t>(part.dim), label_of(token));
      }
    }
    pages = machine.upload(part.pages, "pages");
    machine.label(pages, part.pages.size(), kOld);
    return AppendKvPart{.rows = rows,
                        .pages = pages,
                        .row_stride = part.row_stride,
                        .row_head_stride = part.row_head_stride,
                        .page_stride = part.page_stride,
                        .token_stride = part.token_stride,
                        .head_stride = part.head_stride};
  };
  const AppendKvPart k = part_of(the_case.k, placed.k), v = part_of(the_case.v, placed.v);
  const AppendKvParams params{.k = k,
                              .v = v,
                              .append_indptr = machine.upload(the_case.append_indptr, "append_indptr"),
                              .append_positions = machine.upload(the_case.positions, "append_positions"),
                              .kv_indptr = machine.upload(the_case.kv_indptr, "kv_indptr"),
                              .kv_indices = machine.upload(the_case.kv_indices, "kv_indices"),
                              .batch = the_case.batch(),
                              .total_new = the_case.total_new(),
                              .num_pages = AppendCase::kPages,
                              .num_kv_heads = the_case.heads};
  machine.launch(kernel, params, {blocks, 1, 1});
  return placed;
}

/// "" if the pages are as `expected` has them, and nobody was found doing what is not allowed.
std::string page_complaint(const Machine& machine, const Placed& placed, const AppendCase& expected) {
  if (!machine.defects.empty()) return to_string(machine.defects.front());
  if (!machine.findings.empty()) return to_string(machine.findings.front());
  if (machine.download(placed.k, expected.k.pages.size()) != expected.expected(expected.k)) return "K's pages differ";
  return machine.download(placed.v, expected.v.pages.size()) == expected.expected(expected.v) ? "" : "V's pages differ";
}

/// "" if every element of the pages has its own token's label, or the one that it had.
std::string label_complaint(const Machine& machine, const Bits* pages, const AppendCase& the_case,
                            const AppendPart& part) {
  std::vector<int> writer(part.pages.size(), -1);
  for (int b = 0; b < the_case.batch(); ++b) {
    const auto request = static_cast<std::size_t>(b);
    for (int token = the_case.append_indptr[request]; token < the_case.append_indptr[request + 1]; ++token) {
      const int position = the_case.positions[static_cast<std::size_t>(token)];
      const int page =
          the_case.kv_indices[static_cast<std::size_t>(the_case.kv_indptr[request] + position / the_case.page_size)];
      for (int head = 0; head < the_case.heads; ++head) {
        const std::size_t at = part.page_at(page, position % the_case.page_size, head);
        std::fill_n(writer.begin() + static_cast<std::ptrdiff_t>(at), part.dim, token);
      }
    }
  }
  for (std::size_t i = 0; i < writer.size(); ++i) {
    const ptx::Labels labels = machine.labels_of(pages + i, 1);
    const ptx::Labels right = writer[i] < 0 ? kOld : label_of(writer[i]);
    if (labels != right) return fmt::format("element {} has the labels {:#x}, not {:#x}", i, labels, right);
  }
  return "";
}

std::string complaint(const MachineKernel& kernel, const AppendCase& the_case) {
  Machine machine{MachineOptions{}};
  const Placed placed = launch(machine, kernel, the_case, 2);
  if (std::string wrong = page_complaint(machine, placed, the_case); !wrong.empty()) return wrong;
  if (std::string wrong = label_complaint(machine, placed.k, the_case, the_case.k); !wrong.empty()) return wrong;
  return label_complaint(machine, placed.v, the_case, the_case.v);
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
  const auto [given, right] = with_homeless_tokens();
  Machine machine{MachineOptions{}};
  const Placed placed = launch(machine, kernel, given, 3);
  return page_complaint(machine, placed, right);
}

std::string complaint_of(const MachineKernel& kernel) {
  for (const Layout layout : {Layout::nhd, Layout::hnd, Layout::padded}) {
    const AppendCase the_case(kText, some_requests(4), layout, 6);
    if (std::string wrong = complaint(kernel, the_case); !wrong.empty()) return wrong;
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
  Machine machine{MachineOptions{}};
  const Placed placed = launch(machine, compiled(), given, 1);
  CHECK(page_complaint(machine, placed, right) == "");
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
