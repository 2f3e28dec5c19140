#include "tests/contract/tainted_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/merge_states/merge_states.h"
#include "kernels/mla_decode/mla_decode.h"
#include "tests/contract/merger.hpp"

namespace librt::test {
namespace {

using ptx::Labels;

/// Labels of what is valid for the requests of `readers` (a bit for each) and for nobody else.
Labels labels_for(unsigned readers, int requests) {
  Labels labels = readers == 0 ? kPadding : Labels{0};
  for (int request = 0; request < requests; ++request)
    if (((readers >> request) & 1u) == 0) labels |= padding_of(request);
  return labels;
}

void label_store(Machine& machine, const Bits* at, const PagedStore& store, const Batch& batch) {
  machine.label(at, store.data.size(), labels_for(0, batch.size()));
  std::vector<unsigned> readers(static_cast<std::size_t>(store.num_pages * store.page_size));
  const auto slot_of = [&](int request, int position) {
    const int page = batch.pages(request)[static_cast<std::size_t>(position / store.page_size)];
    return page * store.page_size + position % store.page_size;
  };
  for (int request = 0; request < batch.size(); ++request)
    for (int position = 0; position < batch.kv_len(request); ++position)
      readers[static_cast<std::size_t>(slot_of(request, position))] |= 1u << request;
  for (int slot = 0; slot < store.num_pages * store.page_size; ++slot)
    for (int head = 0; head < store.heads; ++head)
      machine.label(at + store.row(slot / store.page_size, slot % store.page_size, head),
                    static_cast<std::size_t>(store.dim),
                    labels_for(readers[static_cast<std::size_t>(slot)], batch.size()));
}

struct Work {
  std::vector<WorkItem> items;
  std::vector<std::int32_t> merge_requests, merge_indptr{0};
};

Work divide(const Batch& batch, const RunOptions& options) {
  const int split_pages = options.split_pages;
  Work work;
  for (int request = 0; request < batch.size(); ++request) {
    const int pages = options.planned_pages.empty() ? static_cast<int>(batch.pages(request).size())
                                                    : options.planned_pages.at(static_cast<std::size_t>(request));
    if (split_pages == 0 || pages <= split_pages) {
      work.items.push_back({request, 0, pages, -1});
      continue;
    }
    int slot = work.merge_indptr.back();
    for (int page = 0; page < pages; page += split_pages)
      work.items.push_back({request, page, std::min(page + split_pages, pages), slot++});
    work.merge_requests.push_back(request);
    work.merge_indptr.push_back(slot);
  }
  return work;
}

/// The page table of the batch on the machine, labelled by who may read what.
struct Table {
  const std::int32_t *indptr, *indices, *last_page_len;
};

Table upload_table(Machine& machine, const Batch& batch, int first_page_id) {
  std::vector<std::int32_t> ids = batch.kv_indices;
  for (int request = 0; request < batch.size(); ++request)
    for (std::size_t i = 0; i < batch.pages(request).size(); ++i)
      ids[static_cast<std::size_t>(batch.kv_indptr[static_cast<std::size_t>(request)]) + i] += first_page_id;
  const Table table{machine.upload(batch.kv_indptr, "kv_indptr"), machine.upload(ids, "kv_indices"),
                    machine.upload(batch.kv_last_page_len, "kv_last_page_len")};
  machine.label(table.indices, ids.size(), labels_for(0, batch.size()));
  for (int request = 0; request < batch.size(); ++request) {
    const std::size_t pages = batch.pages(request).size();
    machine.label(table.indices + batch.kv_indptr[static_cast<std::size_t>(request)], pages,
                  labels_for(1u << request, batch.size()));
    // The last_page_len of a request without pages may hold anything: nobody may read it.
    machine.label(table.last_page_len + request, 1, labels_for(pages == 0 ? 0 : 1u << request, batch.size()));
  }
  return table;
}

/// Where page 0 would lie if the store began with page `first_page_id`.
const Bits* page_zero(const Bits* store, const PagedStore& shape, int first_page_id) {
  const std::int64_t bytes = first_page_id * shape.page_stride * static_cast<std::int64_t>(sizeof(Bits));
  return std::bit_cast<const Bits*>(std::bit_cast<std::int64_t>(store) - bytes);
}

}  // namespace

const MachineKernel& MachineKernels::decode() {
  if (!decode_) decode_.emplace(runtime_->compile(spec_, parse_arch("compute_80")));
  return *decode_;
}

const MachineKernel& MachineKernels::merge() {
  if (!merge_) merge_.emplace(runtime_->compile_merge(spec_, parse_arch("compute_80")));
  return *merge_;
}

TaintedRun run_on_machine(MachineKernels& kernels, const Batch& batch, const RunOptions& options) {
  const Shape& shape = batch.shape;
  const auto heads = static_cast<std::size_t>(shape.qo_heads), requests = static_cast<std::size_t>(batch.size());
  const auto dim = static_cast<std::size_t>(shape.out_dim());
  const Work work = divide(batch, options);
  const auto slots = static_cast<std::size_t>(work.merge_indptr.back());

  Machine machine(options.machine);
  const Bits* q = machine.upload(batch.q, "q");
  const Bits* first_store = machine.upload(batch.first.data, "first pages");
  const Bits* second_store = machine.upload(batch.second.data, "second pages");
  label_store(machine, first_store, batch.first, batch);
  label_store(machine, second_store, batch.second, batch);
  const Bits* first = page_zero(first_store, batch.first, options.first_page_id);
  const Bits* second = page_zero(second_store, batch.second, options.first_page_id);
  const Table table = upload_table(machine, batch, options.first_page_id);
  Bits* out = machine.unwritten<Bits>(requests * heads * dim, "out");
  float* lse = machine.unwritten<float>(requests * heads, "lse");
  float* partial_out = machine.unwritten<float>(slots * heads * dim, "partial_out");
  PartialStats* partial_stats = machine.unwritten<PartialStats>(slots * heads, "partial_stats");
  const PlanHeader header{options.is_staged ? kMark : kMark + 1, static_cast<int>(work.items.size()),
                          static_cast<int>(work.merge_requests.size())};
  const PlanTables plan{.mark = kMark,
                        .header = machine.upload(std::vector{header}, "header"),
                        .items = machine.upload(work.items, "work_items"),
                        .merge_requests = machine.upload(work.merge_requests, "merge_requests"),
                        .merge_indptr = machine.upload(work.merge_indptr, "merge_indptr"),
                        .partial_out = partial_out,
                        .partial_stats = partial_stats,
                        .batch = batch.size()};
  // Blocks that step from item to item, and from one split request to the next.
  const auto half = [](std::size_t count) { return static_cast<std::uint32_t>((count + 1) / 2); };
  const std::uint32_t item_blocks = half(work.items.size()), merge_blocks = half(work.merge_requests.size());

  if (shape.is_mla) {
    const MlaDecodeParams params{.q_nope = q,
                                 .q_pe = machine.upload(batch.q_pe, "q_pe"),
                                 .ckv_pages = first,
                                 .kpe_pages = second,
                                 .out = out,
                                 .lse = lse,
                                 .kv_indptr = table.indptr,
                                 .kv_indices = table.indices,
                                 .kv_last_page_len = table.last_page_len,
                                 .plan = plan,
                                 .ckv_page_stride = batch.first.page_stride,
                                 .ckv_token_stride = batch.first.token_stride,
                                 .kpe_page_stride = batch.second.page_stride,
                                 .kpe_token_stride = batch.second.token_stride,
                                 .num_heads = shape.qo_heads,
                                 .sm_scale = batch.sm_scale};
    const int rows = tiles::mla_rows(shape.qo_heads);
    machine.launch(kernels.decode(), params,
                   {item_blocks, static_cast<std::uint32_t>((shape.qo_heads + rows - 1) / rows), 1});
  } else {
    const GqaDecodeParams params{.q = q,
                                 .k_pages = first,
                                 .v_pages = second,
                                 .out = out,
                                 .lse = lse,
                                 .kv_indptr = table.indptr,
                                 .kv_indices = table.indices,
                                 .kv_last_page_len = table.last_page_len,
                                 .plan = plan,
                                 .k_page_stride = batch.first.page_stride,
                                 .k_token_stride = batch.first.token_stride,
                                 .k_head_stride = batch.first.head_stride,
                                 .v_page_stride = batch.second.page_stride,
                                 .v_token_stride = batch.second.token_stride,
                                 .v_head_stride = batch.second.head_stride,
                                 .num_qo_heads = shape.qo_heads,
                                 .num_kv_heads = shape.kv_heads,
                                 .sm_scale = batch.sm_scale};
    machine.launch(kernels.decode(), params, {item_blocks, static_cast<std::uint32_t>(shape.kv_heads), 1});
  }
  if (!work.merge_requests.empty()) {
    const MergeParams params{.plan = plan, .out = out, .lse = lse, .num_heads = shape.qo_heads};
    machine.launch(kernels.merge(), params, {static_cast<std::uint32_t>(shape.qo_heads), merge_blocks, 1});
  }

  TaintedRun run{
      .findings = machine.findings,
      .defects = machine.defects,
      .completed = machine.completed,
      .result = {.out = machine.download(out, requests * heads * dim), .lse = machine.download(lse, requests * heads)}};
  for (std::size_t request = 0; request < requests; ++request) {
    run.out.push_back(machine.labels_of(out + request * heads * dim, heads * dim));
    run.lse.push_back(machine.labels_of(lse + request * heads, heads));
  }
  return run;
}

TaintedRun run_tainted(Runtime& runtime, const Batch& batch, int split_pages, ptx::CopyTiming copy_timing) {
  MachineKernels kernels(runtime, batch.spec);
  return run_on_machine(kernels, batch, {.machine = {.copy_timing = copy_timing}, .split_pages = split_pages});
}

std::string taint_complaint(const TaintedRun& run) {
  // Where a launch has ended early, what should have been written still has the label of unwritten memory.
  const std::size_t judged = run.completed ? run.out.size() : 0;
  for (std::size_t request = 0; request < judged; ++request) {
    const unsigned forbidden = kPadding | padding_of(static_cast<int>(request));
    if ((run.out[request] & forbidden) != 0)
      return fmt::format("padding reaches out of request {} (labels {:#04x})", request, run.out[request]);
    if ((run.lse[request] & forbidden) != 0)
      return fmt::format("padding reaches the LSE of request {} (labels {:#04x})", request, run.lse[request]);
  }
  return run.findings.empty() ? "" : to_string(run.findings.front());
}

}  // namespace librt::test
