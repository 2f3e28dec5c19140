// The LSE is the natural log of the sum of the exponentials, so that results of parts can be combined.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <cmath>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/logits.hpp"

namespace librt::test {
namespace {

TEST_CASE("T23: the LSE of n equal logits is their value plus ln n", "[lse]") {
  for (const Spec& spec : both(16)) {
    for (const double logit : {0.0, 1.0, -8.0}) {
      for (const int split_pages : {0, 1}) {
        Batch batch = make_batch(spec, {.kv_lens = {1, 2, 64, 65, 200}});
        for (int request = 0; request < batch.size(); ++request) set_logits(batch, request, [&](int) { return logit; });
        // As the type holds it, which may not be `logit` itself.
        const int dim = logit_dim(batch);
        const double held = static_cast<double>(batch.sm_scale) * batch.number(batch.query(0, 0, dim)) *
                            batch.number(batch.key(0, 0, 0, dim));
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        for (std::size_t row = 0; row < result.lse.size(); ++row) {
          const int kv_len = batch.kv_len(static_cast<int>(row) / batch.shape.qo_heads);
          INFO(to_string(spec) << ", kv_len " << kv_len);
          CHECK(static_cast<double>(result.lse[row]) == Approx(held + std::log(kv_len)).epsilon(1e-5).margin(1e-5));
        }
      }
    }
  }
}

TEST_CASE("T23: two halves combined by their LSE are the whole", "[lse]") {
  for (const Spec& spec : both(4)) {
    const Batch whole = make_batch(spec, {.kv_lens = {63}});
    Batch halves = whole;
    halves.kv_indptr = {0, 7, 16};
    halves.kv_last_page_len = {4, 3};
    halves.q.insert(halves.q.end(), whole.q.begin(), whole.q.end());
    halves.q_pe.insert(halves.q_pe.end(), whole.q_pe.begin(), whole.q_pe.end());
    const Result expected = decode(shared_runtime(), whole);
    const Result parts = decode(shared_runtime(), halves);
    const auto rows = expected.lse.size();
    const auto dim = static_cast<std::size_t>(whole.shape.out_dim());
    for (std::size_t row = 0; row < rows; ++row) {
      const double first = static_cast<double>(parts.lse[row]), second = static_cast<double>(parts.lse[rows + row]);
      const double lse = first + std::log1p(std::exp(second - first));
      CHECK(static_cast<double>(expected.lse[row]) == Approx(lse).epsilon(1e-5).margin(1e-5));
      for (std::size_t d = 0; d < dim; ++d) {
        const double combined = std::exp(first - lse) * whole.number(parts.out[row * dim + d]) +
                                std::exp(second - lse) * whole.number(parts.out[(rows + row) * dim + d]);
        REQUIRE(whole.number(expected.out[row * dim + d]) == Approx(combined).margin(0.02));
      }
    }
  }
}

TEST_CASE("T23: the LSE is optional", "[lse]") {
  Runtime& runtime = shared_runtime();
  const Batch batch = make_batch(gqa(4), {.kv_lens = {13}});
  const Kernel kernel = runtime.get(batch.spec);
  const Result expected = decode(runtime, batch, {.split_pages = 1});
  for (const int split_pages : {1, 4}) {
    const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = {.split_pages = split_pages}});
    const auto upload = [&](const auto& values) { return runtime.upload(std::span(values)); };
    const Buffer q = upload(batch.q), k = upload(batch.first.data), v = upload(batch.second.data);
    const Buffer indptr = upload(batch.kv_indptr), indices = upload(batch.kv_indices);
    const Buffer last = upload(batch.kv_last_page_len), out = runtime.allocate(q.size());
    const Buffer workspace = runtime.allocate(plan.workspace_bytes());
    kernel.stage(plan, workspace);
    kernel.launch(plan, GqaDecodeArgs{.q = q.data(),
                                      .k_pages = batch.first.on_device(k),
                                      .v_pages = batch.second.on_device(v),
                                      .kv_indptr = indptr.as<std::int32_t>(),
                                      .kv_indices = indices.as<std::int32_t>(),
                                      .kv_last_page_len = last.as<std::int32_t>(),
                                      .out = out.data(),
                                      .lse = nullptr,
                                      .workspace = workspace,
                                      .sm_scale = batch.sm_scale});
    Result result{.out = std::vector<Bits>(batch.q.size()), .lse = expected.lse};
    runtime.download(std::as_writable_bytes(std::span(result.out)), out);
    CHECK(difference(batch, result, expected_of(batch)) == "");
  }
}

}  // namespace
}  // namespace librt::test
