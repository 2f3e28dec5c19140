#include "tests/contract/tainted_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/params.h"
#include "kernels/tiles.h"

namespace librt::test {
namespace {

using ptx::Labels;

class Machine {
 public:
  template <class T>
  T* upload(const std::vector<T>& values, const char* name) {
    const std::uint64_t address = memory.allocate(values.size() * sizeof(T), name);
    memory.write(address, std::as_bytes(std::span(values)));
    return std::bit_cast<T*>(address);
  }
  template <class T>
  std::vector<T> download(const T* from, std::size_t count) const {
    std::vector<T> values(count);
    memory.read(std::bit_cast<std::uint64_t>(from), std::as_writable_bytes(std::span(values)));
    return values;
  }
  template <class T>
  void label(const T* from, std::size_t count, Labels labels) {
    map.label(std::bit_cast<std::uint64_t>(from), count * sizeof(T), labels);
  }
  template <class T>
  Labels labels_of(const T* from, std::size_t count) const {
    Labels all = 0;
    for (const Labels labels : map.read(std::bit_cast<std::uint64_t>(from), count * sizeof(T))) all |= labels;
    return all;
  }
  template <class Params>
  void launch(const Artifact& artifact, const Params& params, ptx::Dim3 grid) {
    const ptx::Module module = ptx::Module::parse(artifact.ptx);
    ptx::LaunchOptions options;
    options.grid = grid;
    options.block = {static_cast<std::uint32_t>(artifact.block_threads), 1, 1};
    options.dynamic_shared_bytes = static_cast<std::uint32_t>(artifact.shared_bytes);
    options.copy_timing = copy_timing;
    const ptx::InstrumentedReport report = launch_instrumented(module, memory, &map, &sanitizers, artifact.entry,
                                                               std::as_bytes(std::span(&params, 1)), options);
    findings.insert(findings.end(), report.taint.begin(), report.taint.end());
    defects.insert(defects.end(), report.defects.begin(), report.defects.end());
  }

  ptx::Memory memory;
  ptx::TaintMap map{memory};
  ptx::SanitizerMap sanitizers{memory};
  ptx::CopyTiming copy_timing = ptx::CopyTiming::late;
  std::vector<ptx::TaintFinding> findings;
  std::vector<ptx::SanitizerFinding> defects;
};

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

Work divide(const Batch& batch, int split_pages) {
  Work work;
  for (int request = 0; request < batch.size(); ++request) {
    const int pages = static_cast<int>(batch.pages(request).size());
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

template <class T>
T* unwritten(Machine& machine, std::size_t count, const char* name) {
  T* at = std::bit_cast<T*>(machine.memory.allocate(count * sizeof(T), name));
  machine.label(at, count, kPadding);
  return at;
}

}  // namespace

TaintedRun run_tainted(Runtime& runtime, const Batch& batch, int split_pages, ptx::CopyTiming copy_timing) {
  const Shape& shape = batch.shape;
  const Arch arch = parse_arch("compute_80");
  const auto heads = static_cast<std::size_t>(shape.qo_heads), requests = static_cast<std::size_t>(batch.size());
  const auto dim = static_cast<std::size_t>(shape.out_dim());
  const Work work = divide(batch, split_pages);
  const auto slots = static_cast<std::size_t>(work.merge_indptr.back());

  Machine machine;
  machine.copy_timing = copy_timing;
  const Bits* q = machine.upload(batch.q, "q");
  Bits* first = machine.upload(batch.first.data, "first pages");
  Bits* second = machine.upload(batch.second.data, "second pages");
  label_store(machine, first, batch.first, batch);
  label_store(machine, second, batch.second, batch);
  const std::int32_t* indptr = machine.upload(batch.kv_indptr, "kv_indptr");
  const std::int32_t* indices = machine.upload(batch.kv_indices, "kv_indices");
  const std::int32_t* last = machine.upload(batch.kv_last_page_len, "kv_last_page_len");
  machine.label(indices, batch.kv_indices.size(), labels_for(0, batch.size()));
  for (int request = 0; request < batch.size(); ++request) {
    const Labels labels = labels_for(1u << request, batch.size());
    machine.label(indices + batch.kv_indptr[static_cast<std::size_t>(request)], batch.pages(request).size(), labels);
    machine.label(last + request, 1, labels);
  }
  Bits* out = unwritten<Bits>(machine, requests * heads * dim, "out");
  float* lse = unwritten<float>(machine, requests * heads, "lse");
  float* partial_out = unwritten<float>(machine, slots * heads * dim, "partial_out");
  PartialStats* partial_stats = unwritten<PartialStats>(machine, slots * heads, "partial_stats");
  const WorkItem* items = machine.upload(work.items, "work_items");
  const auto num_items = static_cast<std::uint32_t>(work.items.size());

  const Artifact decode = runtime.compile(batch.spec, arch);
  if (shape.is_mla) {
    const MlaDecodeParams params{.q_nope = q,
                                 .q_pe = machine.upload(batch.q_pe, "q_pe"),
                                 .ckv_pages = first,
                                 .kpe_pages = second,
                                 .out = out,
                                 .lse = lse,
                                 .kv_indptr = indptr,
                                 .kv_indices = indices,
                                 .kv_last_page_len = last,
                                 .work_items = items,
                                 .partial_out = partial_out,
                                 .partial_stats = partial_stats,
                                 .ckv_page_stride = batch.first.page_stride,
                                 .ckv_token_stride = batch.first.token_stride,
                                 .kpe_page_stride = batch.second.page_stride,
                                 .kpe_token_stride = batch.second.token_stride,
                                 .num_heads = shape.qo_heads,
                                 .sm_scale = batch.sm_scale};
    const int rows = tiles::mla_rows(shape.qo_heads);
    machine.launch(decode, params, {num_items, static_cast<std::uint32_t>((shape.qo_heads + rows - 1) / rows), 1});
  } else {
    const GqaDecodeParams params{.q = q,
                                 .k_pages = first,
                                 .v_pages = second,
                                 .out = out,
                                 .lse = lse,
                                 .kv_indptr = indptr,
                                 .kv_indices = indices,
                                 .kv_last_page_len = last,
                                 .work_items = items,
                                 .partial_out = partial_out,
                                 .partial_stats = partial_stats,
                                 .k_page_stride = batch.first.page_stride,
                                 .k_token_stride = batch.first.token_stride,
                                 .k_head_stride = batch.first.head_stride,
                                 .v_page_stride = batch.second.page_stride,
                                 .v_token_stride = batch.second.token_stride,
                                 .v_head_stride = batch.second.head_stride,
                                 .num_qo_heads = shape.qo_heads,
                                 .num_kv_heads = shape.kv_heads,
                                 .sm_scale = batch.sm_scale};
    machine.launch(decode, params, {num_items, static_cast<std::uint32_t>(shape.kv_heads), 1});
  }
  if (!work.merge_requests.empty()) {
    const MergeParams params{.partial_out = partial_out,
                             .partial_stats = partial_stats,
                             .merge_requests = machine.upload(work.merge_requests, "merge_requests"),
                             .merge_indptr = machine.upload(work.merge_indptr, "merge_indptr"),
                             .out = out,
                             .lse = lse,
                             .num_heads = shape.qo_heads};
    machine.launch(
        runtime.compile_merge(batch.spec, arch), params,
        {static_cast<std::uint32_t>(shape.qo_heads), static_cast<std::uint32_t>(work.merge_requests.size()), 1});
  }

  TaintedRun run{
      .findings = machine.findings,
      .defects = machine.defects,
      .result = {.out = machine.download(out, requests * heads * dim), .lse = machine.download(lse, requests * heads)}};
  for (std::size_t request = 0; request < requests; ++request) {
    run.out.push_back(machine.labels_of(out + request * heads * dim, heads * dim));
    run.lse.push_back(machine.labels_of(lse + request * heads, heads));
  }
  return run;
}

std::string taint_complaint(const TaintedRun& run) {
  for (std::size_t request = 0; request < run.out.size(); ++request) {
    const unsigned forbidden = kPadding | padding_of(static_cast<int>(request));
    if ((run.out[request] & forbidden) != 0)
      return fmt::format("padding reaches out of request {} (labels {:#04x})", request, run.out[request]);
    if ((run.lse[request] & forbidden) != 0)
      return fmt::format("padding reaches the LSE of request {} (labels {:#04x})", request, run.lse[request]);
  }
  return run.findings.empty() ? "" : to_string(run.findings.front());
}

}  // namespace librt::test
