#include "tools/librt/proof_bench.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/api/buffer_impl.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/plan_impl.hpp"
#include "src/api/specialize.hpp"
#include "src/device/virtual/launcher.hpp"

namespace librt::tool {
namespace {

constexpr std::string_view kSharedMemory = "shared memory that the block has not written";

std::uint64_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

std::string source_of(const std::string& file, std::uint32_t line) {
  return line == 0 ? "" : fmt::format("{}:{}", file, line);
}

ProofFinding finding_at(const ptx::CodePlace& at) {
  return {.kernel = at.kernel,
          .instruction = at.instruction,
          .source = source_of(at.source_file, at.source_line),
          .lane = at.lane,
          .warp = at.warp,
          .cta = at.cta};
}

ProofFinding finding_of(const ptx::SanitizerFinding& found) {
  ProofFinding finding = finding_at(found.at);
  finding.what = to_string(found);
  finding.kind = to_string(found.defect);
  return finding;
}

ProofFinding finding_of(const ptx::TaintFinding& found) {
  ProofFinding finding = finding_at(found.at);
  finding.what = to_string(found);
  finding.kind = to_string(found.dependence);
  finding.labels = found.labels;
  return finding;
}

}  // namespace

/// What the launcher of the device shares with the bench.
struct ProofBench::Machine {
  Machine() : memory(std::make_shared<ptx::Memory>()), map(*memory), written(*memory) {}

  void launch(const ptx::Module& module, std::string_view entry, std::span<const std::byte> params,
              const ptx::LaunchOptions& options) {
    if (!watched) {
      instructions += ptx::launch(module, *memory, entry, params, options).warp_instructions;
      return;
    }
    const ptx::InstrumentedReport report =
        launch_instrumented(module, *memory, &map, &written, entry, params, options,
                            {.watched = kPadding, .uninitialised = shared_is_labelled ? kPadding : ptx::Labels{0}});
    instructions += report.stats.warp_instructions;
    for (const ptx::TaintFinding& found : report.taint) findings.push_back(finding_of(found));
    for (const ptx::SanitizerFinding& found : report.defects) findings.push_back(finding_of(found));
  }

  std::shared_ptr<ptx::Memory> memory;
  ptx::TaintMap map;
  ptx::SanitizerMap written;
  std::shared_ptr<device::Device> device;
  std::shared_ptr<const device::LoadedKernel> decode;
  std::shared_ptr<const device::LoadedKernel> merge;
  bool watched = false;
  bool shared_is_labelled = true;
  std::vector<ProofFinding> findings;
  std::uint64_t instructions = 0;
};

ProofBench::ProofBench(const ProofArtifacts& artifacts) : machine_(std::make_unique<Machine>()), artifacts_(artifacts) {
  constexpr unsigned kThreads = 1;       // several specializations run side by side instead
  constexpr int kOneMultiprocessor = 1;  // so that blocks step from one item to the next
  machine_->device = device::open_virtual_device(
      artifacts.decode->arch, kThreads, machine_->memory,
      [machine = machine_.get()](const ptx::Module& module, ptx::Memory&, std::string_view entry,
                                 std::span<const std::byte> params, const ptx::LaunchOptions& options) {
        machine->launch(module, entry, params, options);
      },
      kOneMultiprocessor,
      artifacts.instruction_limit != 0 ? artifacts.instruction_limit : std::numeric_limits<std::uint64_t>::max());
  machine_->decode = machine_->device->load(*artifacts.decode);
  if (artifacts.merge) machine_->merge = machine_->device->load(*artifacts.merge);
}

ProofBench::~ProofBench() = default;

Kernel ProofBench::kernel_for(const Spec& spec) {
  auto kernel = std::make_shared<detail::KernelImpl>();
  kernel->spec = spec;
  kernel->artifact = artifacts_.decode;
  kernel->device = machine_->device;
  kernel->decode = machine_->decode;
  kernel->merge_spec = api::merge_of(spec).value_or(Spec{});
  api::complete(*kernel);
  kernel->load_merge = [merge = machine_->merge] { return merge; };
  return Kernel(std::move(kernel));
}

void ProofBench::label(const void* address, std::size_t element_bytes, const std::vector<ptx::Labels>& labels,
                       const std::string& tensor, SourceWindow window) {
  const std::size_t first = numbered_;
  sources_.push_back({tensor, labels.size()});
  numbered_ += labels.size();
  const auto wanted = [&](std::size_t i) {
    return first + i >= window.begin && first + i < window.end ? labels[i] : ptx::Labels{0};
  };
  for (std::size_t i = 0; i < labels.size();) {
    std::size_t end = i + 1;
    while (end < labels.size() && wanted(end) == wanted(i)) ++end;
    if (wanted(i) != 0)
      machine_->map.label(address_of(address) + i * element_bytes, (end - i) * element_bytes, wanted(i));
    i = end;
  }
}

namespace {

/// Buffers of a batch. What the kernel shall write is not initialised.
class Buffers {
 public:
  Buffers(std::shared_ptr<device::Device> device, const ProofBatch& batch, const Plan& plan)
      : device_(std::move(device)) {
    const DecodeProblem& problem = batch.problem();
    const DecodeShape& shape = batch.shape();
    const std::size_t rows = static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(shape.heads);
    for (const auto& query : problem.queries) buffers_.queries.push_back(holding(query));
    for (const auto& pages : problem.pages) buffers_.pages.push_back(holding(pages));
    buffers_.kv_indptr = holding(std::as_bytes(std::span(problem.kv_indptr)));
    buffers_.kv_indices = holding(std::as_bytes(std::span(problem.kv_indices)));
    buffers_.kv_last_page_len = holding(std::as_bytes(std::span(problem.kv_last_page_len)));
    buffers_.out = unwritten(rows * static_cast<std::size_t>(shape.out_dim) * 2);
    buffers_.lse = unwritten(rows * sizeof(float));
    buffers_.workspace = unwritten(plan.workspace_bytes());
  }

  const DecodeBuffers& operator*() const { return buffers_; }

  DecodeResult download(const ProofBatch& batch) const {
    const std::size_t rows =
        static_cast<std::size_t>(batch.problem().batch) * static_cast<std::size_t>(batch.shape().heads);
    DecodeResult result{std::vector<std::uint16_t>(rows * static_cast<std::size_t>(batch.shape().out_dim)),
                        std::vector<float>(batch.shape().has_lse ? rows : 0)};
    device_->download(std::as_writable_bytes(std::span(result.out)), address_of(buffers_.out.data()));
    device_->download(std::as_writable_bytes(std::span(result.lse)), address_of(buffers_.lse.data()));
    return result;
  }

 private:
  Buffer unwritten(std::size_t bytes) {
    constexpr std::size_t kSmallest = 256;  // so that the pointer of an empty tensor is a valid one
    return Buffer(std::make_unique<detail::BufferImpl>(device_, std::max(bytes, kSmallest)));
  }
  Buffer holding(std::span<const std::byte> bytes) {
    Buffer buffer = unwritten(bytes.size());
    if (!bytes.empty()) device_->upload(address_of(buffer.data()), bytes);
    return buffer;
  }

  std::shared_ptr<device::Device> device_;
  DecodeBuffers buffers_;
};

ptx::Labels all_of(const std::vector<ptx::Labels>& labels) {
  ptx::Labels all = 0;
  for (const ptx::Labels one : labels) all |= one;
  return all;
}

}  // namespace

ProofRun ProofBench::run(const ProofBatch& batch, int split_pages, SourceWindow window) {
  ++runs_;
  const DecodeProblem& problem = batch.problem();
  const Kernel kernel = kernel_for(problem.spec);
  const Plan plan =
      kernel.plan({batch.planned_kv_indptr(), batch.planned_last_page_len()}, {.limits = {.split_pages = split_pages}});
  const Buffers owner(machine_->device, batch, plan);
  const DecodeBuffers& buffers = *owner;
  const auto requests = static_cast<std::size_t>(problem.batch);
  const std::size_t lse_row = batch.shape().has_lse ? static_cast<std::size_t>(batch.shape().heads) * sizeof(float) : 0;
  const std::size_t out_row =
      static_cast<std::size_t>(batch.shape().heads) * static_cast<std::size_t>(batch.shape().out_dim) * 2;

  sources_.clear();
  numbered_ = 0;
  const ptx::Labels nobody = labels_for(0, problem.batch);
  for (std::size_t part = 0; part < buffers.pages.size(); ++part) {
    label(buffers.pages[part].data(), 2, batch.page_labels(part), std::string(batch.shape().pages[part].name), window);
  }
  label(buffers.kv_indices.data(), 4, batch.index_labels(), "kv_indices", window);
  label(buffers.kv_last_page_len.data(), 4, batch.last_page_len_labels(), "kv_last_page_len", window);
  const detail::WorkspaceLayout& layout = plan.impl().frame.layout;
  label(buffers.workspace.as<std::byte>() + layout.partial_stats, 4,
        std::vector<ptx::Labels>((layout.total_bytes - layout.partial_stats) / 4, nobody), "unwritten workspace",
        window);
  label(buffers.out.data(), 2, std::vector<ptx::Labels>(requests * out_row / 2, nobody), "unwritten out", window);
  label(buffers.lse.data(), 4, std::vector<ptx::Labels>(requests * lse_row / 4, nobody), "unwritten lse", window);
  sources_.push_back({std::string(kSharedMemory), 1});
  machine_->shared_is_labelled = numbered_ >= window.begin && numbered_ < window.end;
  ++numbered_;
  const std::uint64_t out = address_of(buffers.out.data()), lse = address_of(buffers.lse.data());
  for (std::size_t request = 0; request < requests; ++request) {
    const auto forbidden = static_cast<ptx::Labels>(kPadding | padding_of(static_cast<int>(request)));
    machine_->map.forbid(out + request * out_row, out_row, forbidden);
    machine_->map.forbid(lse + request * lse_row, lse_row, forbidden);
  }

  machine_->watched = true;
  machine_->findings.clear();
  machine_->instructions = 0;
  ProofRun run{.sources = numbered_};
  kernel.stage(plan, buffers.workspace);
  launch(kernel, plan, problem, buffers);
  warp_instructions_ += machine_->instructions;
  run.findings = std::move(machine_->findings);
  for (std::size_t request = 0; request < requests; ++request) {
    const auto forbidden = static_cast<ptx::Labels>(kPadding | padding_of(static_cast<int>(request)));
    run.out_labels.push_back(all_of(machine_->map.read(out + request * out_row, out_row)));
    run.lse_labels.push_back(all_of(machine_->map.read(lse + request * lse_row, lse_row)));
    // What was stored is a finding already; this is what was not stored.
    const auto reached = static_cast<ptx::Labels>((run.out_labels.back() | run.lse_labels.back()) & forbidden);
    if (reached == 0 || !run.findings.empty()) continue;
    run.findings.push_back({.what = fmt::format("kernel '{}': a row of out or lse of request {} is not written",
                                                artifacts_.decode->entry, request),
                            .kind = "not written",
                            .kernel = artifacts_.decode->entry,
                            .labels = reached});
  }
  run.result = owner.download(batch);
  return run;
}

DecodeResult ProofBench::run_plain(const ProofBatch& batch, int split_pages) {
  ++runs_;
  const DecodeProblem& problem = batch.problem();
  const Kernel kernel = kernel_for(problem.spec);
  const Plan plan =
      kernel.plan({batch.planned_kv_indptr(), batch.planned_last_page_len()}, {.limits = {.split_pages = split_pages}});
  const Buffers buffers(machine_->device, batch, plan);
  machine_->watched = false;
  machine_->instructions = 0;
  kernel.stage(plan, (*buffers).workspace);
  launch(kernel, plan, problem, *buffers);
  warp_instructions_ += machine_->instructions;
  return buffers.download(batch);
}

std::string ProofBench::describe_source(const ProofBatch& batch, std::size_t index) const {
  for (std::size_t n = 0; n < sources_.size(); ++n) {
    const Source& source = sources_[n];
    if (index >= source.elements) {
      index -= source.elements;
      continue;
    }
    if (source.tensor == kSharedMemory) return source.tensor;
    if (n < batch.shape().pages.size())
      return fmt::format("{}: {}", source.tensor, batch.describe_page_element(n, index));
    return fmt::format("{}: element {}", source.tensor, index);
  }
  return "unknown";
}

}  // namespace librt::tool
