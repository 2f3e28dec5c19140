// Plan once a step, launch once a layer, record once for ever.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>

#include "src/api/buffer_impl.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/specialize.hpp"
#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

constexpr Arch kArch{.sm = 80, .suffix = 0, .ptx_only = true};
constexpr Bits kUntouched = 0x1234;

/// A launch as a graph would keep it: parameters and grid are those of the moment when it was recorded.
struct RecordedLaunch {
  std::shared_ptr<const device::LoadedKernel> kernel;
  device::Grid grid;
  std::vector<std::byte> params;

  void replay() const { kernel->launch(grid, params, nullptr); }
};

/// Keeps what it is asked to launch, and launches nothing.
class RecordingKernel final : public device::LoadedKernel {
 public:
  RecordingKernel(std::shared_ptr<const device::LoadedKernel> kernel, std::vector<RecordedLaunch>& launches)
      : kernel_(std::move(kernel)), launches_(launches) {}
  void launch(const device::Grid& grid, std::span<const std::byte> params, device::StreamHandle) const override {
    launches_.push_back({kernel_, grid, {params.begin(), params.end()}});
  }

 private:
  std::shared_ptr<const device::LoadedKernel> kernel_;
  std::vector<RecordedLaunch>& launches_;
};

/// A kernel of the shared Runtime's device whose launches are recorded.
Kernel recording(const Spec& spec, std::vector<RecordedLaunch>& launches) {
  Runtime& runtime = shared_runtime();
  const Buffer any = runtime.allocate(1);
  const std::shared_ptr<device::Device> device = detail::BufferImpl::of(any)->device;
  auto kernel = std::make_shared<detail::KernelImpl>();
  kernel->spec = spec;
  kernel->merge_spec = api::merge_of(spec).value();
  kernel->artifact = std::make_shared<const Artifact>(runtime.compile(spec, kArch));
  kernel->device = device;
  kernel->decode = std::make_shared<RecordingKernel>(device->load(*kernel->artifact), launches);
  kernel->load_merge = [device, &launches, merge = runtime.compile_merge(spec, kArch)] {
    return std::make_shared<RecordingKernel>(device->load(merge), launches);
  };
  api::complete(*kernel);
  return Kernel(std::move(kernel));
}

template <class T>
void put(Runtime& runtime, const Buffer& buffer, const std::vector<T>& values) {
  if (!values.empty()) runtime.upload(buffer, std::as_bytes(std::span(values)));
}

/// Device arrays with room for whatever batch is within the limits.
struct Arrays {
  Arrays(Runtime& rt, const Shape& like, const PlanLimits& limits, std::size_t workspace_bytes)
      : runtime(rt), shape(like), rows(static_cast<std::size_t>(limits.max_batch * like.qo_heads)) {
    const auto batch = static_cast<std::size_t>(limits.max_batch);
    const auto tokens = static_cast<std::size_t>(limits.max_pages + 8) * static_cast<std::size_t>(like.page_size);
    const auto numbers = [](std::size_t count, int dim) {
      return count * static_cast<std::size_t>(dim) * sizeof(Bits);
    };
    q = rt.allocate(numbers(rows, like.out_dim()));
    q_pe = rt.allocate(std::max<std::size_t>(numbers(rows, like.q_pe_dim()), 1));
    first = rt.allocate(numbers(tokens * static_cast<std::size_t>(like.kv_heads), like.first_dim));
    second = rt.allocate(numbers(tokens * static_cast<std::size_t>(like.kv_heads), like.second_dim));
    kv_indptr = rt.allocate((batch + 1) * sizeof(std::int32_t));
    kv_indices = rt.allocate((static_cast<std::size_t>(limits.max_pages) + 8) * sizeof(std::int32_t));
    kv_last_page_len = rt.allocate(batch * sizeof(std::int32_t));
    out = rt.allocate(numbers(rows, like.out_dim()));
    lse = rt.allocate(rows * sizeof(float));
    workspace = rt.allocate(workspace_bytes);
    put(rt, workspace, std::vector<std::byte>(workspace_bytes, std::byte{0xff}));
    put(rt, out, std::vector<Bits>(rows * static_cast<std::size_t>(like.out_dim()), kUntouched));
    put(rt, lse, std::vector<float>(rows, 7.0F));
  }

  void hold(const Batch& batch) const {
    put(runtime, q, batch.q);
    put(runtime, q_pe, batch.q_pe);
    put(runtime, first, batch.first.data);
    put(runtime, second, batch.second.data);
    put(runtime, kv_indptr, batch.kv_indptr);
    put(runtime, kv_indices, batch.kv_indices);
    put(runtime, kv_last_page_len, batch.kv_last_page_len);
  }

  void launch(const Kernel& kernel, const Plan& plan, const Batch& batch) const {
    PagedTensor pages_first = batch.first.on_device(first), pages_second = batch.second.on_device(second);
    const auto launch_with = [&](auto args) {
      args.kv_indptr = kv_indptr.as<std::int32_t>();
      args.kv_indices = kv_indices.as<std::int32_t>();
      args.kv_last_page_len = kv_last_page_len.as<std::int32_t>();
      args.out = out.data();
      args.lse = lse.as<float>();
      args.workspace = workspace;
      args.sm_scale = batch.sm_scale;
      kernel.launch(plan, args);
    };
    if (shape.is_mla) {
      launch_with(
          MlaDecodeArgs{.q_nope = q.data(), .q_pe = q_pe.data(), .ckv_pages = pages_first, .kpe_pages = pages_second});
    } else {
      launch_with(GqaDecodeArgs{.q = q.data(), .k_pages = pages_first, .v_pages = pages_second});
    }
  }

  Result result() const {
    Result all{std::vector<Bits>(rows * static_cast<std::size_t>(shape.out_dim())), std::vector<float>(rows)};
    runtime.download(std::as_writable_bytes(std::span(all.out)), out);
    runtime.download(std::as_writable_bytes(std::span(all.lse)), lse);
    return all;
  }

  Runtime& runtime;
  Shape shape;
  std::size_t rows;
  Buffer q, q_pe, first, second, kv_indptr, kv_indices, kv_last_page_len, out, lse, workspace;
};

/// Requests that grow by a token a step, end, and come anew, in a batch that is padded with empty ones.
class Steps {
 public:
  explicit Steps(std::uint64_t seed) : random_(seed), kv_lens_(kRequests, 0) {}

  static constexpr int kRequests = 5;
  static constexpr int kLongest = 200;

  std::vector<int> next() {
    for (int& length : kv_lens_) {
      if (length > 0) {
        length = length >= kLongest || draw(12) == 0 ? 0 : length + 1;
      } else if (draw(3) == 0) {
        length = 1 + draw(kLongest - 1);
      }
    }
    return kv_lens_;
  }
  int draw(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

 private:
  std::mt19937_64 random_;
  std::vector<int> kv_lens_;
};

constexpr int kNaNs = 3;  // of a row that are looked at
bool is_nan_row(const Result& result, std::size_t row, std::size_t dim) {
  bool all = std::isnan(result.lse[row]);
  for (std::size_t i = 0; i < dim; i += dim / kNaNs) all = all && (result.out[row * dim + i] & 0x7fff) > 0x7f80;
  return all && (result.out[row * dim + dim - 1] & 0x7fff) > 0x7f80;
}

/// "" if the rows of the first `batch` requests are NaN and the others are as Arrays left them.
std::string nan_complaint(const Result& result, const Shape& shape, int batch) {
  const auto dim = static_cast<std::size_t>(shape.out_dim());
  for (std::size_t row = 0; row < result.lse.size(); ++row) {
    const bool wanted = row < static_cast<std::size_t>(batch * shape.qo_heads);
    if (wanted && !is_nan_row(result, row, dim)) return "row " + std::to_string(row) + " is not NaN";
    if (wanted) continue;
    const auto numbers = std::span(result.out).subspan(row * dim, dim);
    const bool untouched = std::ranges::all_of(numbers, [](Bits bits) { return bits == kUntouched; });
    if (!untouched || result.lse[row] != 7.0F) return "row " + std::to_string(row) + " was written";
  }
  return "";
}

}  // namespace

TEST_CASE("A recorded launch is right for each of 50 steps, with one stage each", "[life_cycle]") {
  Runtime& runtime = shared_runtime();
  for (const Spec& spec : both(4)) {
    for (const int split_pages : {0, 3}) {
      const PlanLimits limits{.max_batch = Steps::kRequests, .max_pages = 5 * 50, .split_pages = split_pages};
      std::vector<RecordedLaunch> recorded;
      const Kernel kernel = recording(spec, recorded);
      const Shape shape = shape_of(spec);
      const Arrays arrays(runtime, shape, limits, kernel.workspace_bytes(limits));
      Steps steps(static_cast<std::uint64_t>(split_pages) + 1);
      for (int step = 0; step < 50; ++step) {
        const Batch batch = make_batch(spec, {.kv_lens = steps.next(), .seed = static_cast<std::uint64_t>(step) + 1});
        INFO(to_string(spec) << ", split_pages " << split_pages << ", step " << step);
        arrays.hold(batch);
        const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = limits});
        kernel.stage(plan, arrays.workspace);
        if (step == 0) {
          arrays.launch(kernel, plan, batch);
          REQUIRE(recorded.size() == 2);
        }
        for (const RecordedLaunch& launch : recorded) launch.replay();
        REQUIRE(difference(batch, arrays.result(), expected_of(batch)) == "");
        // What is launched anew has the same parameters.
        if (step % 10 == 7) {
          std::vector<RecordedLaunch> again = recorded;
          recorded.clear();
          arrays.launch(kernel, plan, batch);
          REQUIRE(recorded.size() == 2);
          for (std::size_t i = 0; i < 2; ++i) {
            CHECK(recorded[i].grid.x == again[i].grid.x);
            CHECK(recorded[i].grid.y == again[i].grid.y);
            CHECK(recorded[i].params == again[i].params);
          }
        }
      }
    }
  }
}

TEST_CASE("A launch without a plan of its limits writes NaN, and touches nothing else", "[life_cycle]") {
  Runtime& runtime = shared_runtime();
  const PlanLimits limits{.max_batch = 4, .max_pages = 40, .split_pages = 3};
  const auto stage_for = [](const Kernel& kernel, const Batch& batch, const PlanLimits& others, const Buffer& to) {
    kernel.stage(kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = others}), to);
  };
  for (const Spec& spec : both(4)) {
    for (const std::string_view staged : {"nothing", "zeros", "other limits", "another spec"}) {
      INFO(to_string(spec) << ", staged: " << staged);
      const Shape shape = shape_of(spec);
      const Batch batch = make_batch(spec, {.kv_lens = {9, 0, 70}});
      const Kernel kernel = runtime.get(spec);
      const Arrays arrays(runtime, shape, limits, kernel.workspace_bytes(limits));
      arrays.hold(batch);
      if (staged == "zeros") put(runtime, arrays.workspace, std::vector<std::byte>(arrays.workspace.size()));
      if (staged == "other limits") {
        stage_for(kernel, batch, {.max_batch = 4, .max_pages = 39, .split_pages = 3}, arrays.workspace);
      }
      if (staged == "another spec") {
        stage_for(runtime.get(shape.is_mla ? mla(4, DType::f16) : gqa(4, DType::f16)), batch, limits, arrays.workspace);
      }
      const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = limits});
      arrays.launch(kernel, plan, batch);
      CHECK(nan_complaint(arrays.result(), shape, 3) == "");

      kernel.stage(plan, arrays.workspace);
      arrays.launch(kernel, plan, batch);
      Result result = arrays.result();
      result.out.resize(batch.q.size());
      result.lse.resize(static_cast<std::size_t>(3 * shape.qo_heads));
      CHECK(difference(batch, result, expected_of(batch)) == "");
    }
  }
}

TEST_CASE("A plan of one Kernel serves another of the same spec", "[life_cycle]") {
  Runtime large(virtual_options("virtual:sm_90")), small(virtual_options("virtual:sm_80"));
  const Spec spec = gqa(4);
  const Batch batch = make_batch(spec, {.kv_lens = {9, 130, 70}});
  const Kernel kernel = large.get(spec), other = small.get(spec);
  const PlanLimits limits{.max_batch = 3, .max_pages = 60};
  const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = limits});
  const Arrays arrays(small, shape_of(spec), limits, plan.workspace_bytes());
  arrays.hold(batch);
  other.stage(plan, arrays.workspace);
  arrays.launch(other, plan, batch);
  CHECK(difference(batch, arrays.result(), expected_of(batch)) == "");
}

}  // namespace librt::test
