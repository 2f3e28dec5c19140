// One GQA batch on a device, ready to be launched as often and on whichever stream a test likes.
#pragma once

#include <librt/librt.hpp>

#include <vector>

#include "tests/support/decode.hpp"
#include "tests/support/reference.hpp"

namespace librt::test {

class GqaLaunch {
 public:
  GqaLaunch(Runtime& runtime, const Batch& batch, Plan plan)
      : plan_(std::move(plan)),
        q_(upload(runtime, batch.q)),
        k_(upload(runtime, batch.first.data)),
        v_(upload(runtime, batch.second.data)),
        kv_indptr_(upload(runtime, batch.kv_indptr)),
        kv_indices_(upload(runtime, batch.kv_indices)),
        kv_last_page_len_(upload(runtime, batch.kv_last_page_len)),
        out_(runtime.allocate(batch.q.size() * sizeof(Bits))),
        lse_(runtime.allocate(rows(batch) * sizeof(float))),
        workspace_(runtime.allocate(plan_.workspace_bytes())),
        args_{.q = q_.data(),
              .k_pages = batch.first.on_device(k_),
              .v_pages = batch.second.on_device(v_),
              .kv_indptr = kv_indptr_.as<std::int32_t>(),
              .kv_indices = kv_indices_.as<std::int32_t>(),
              .kv_last_page_len = kv_last_page_len_.as<std::int32_t>(),
              .out = out_.data(),
              .lse = lse_.as<float>(),
              .workspace = workspace_,
              .sm_scale = batch.sm_scale} {}

  const Plan& plan() const noexcept { return plan_; }
  const Buffer& workspace() const noexcept { return workspace_; }

  void stage(const Kernel& kernel, CUstream_st* stream = nullptr) const { kernel.stage(plan_, workspace_, stream); }
  void enqueue(const Kernel& kernel, CUstream_st* stream = nullptr) const { kernel.launch(plan_, args_, stream); }

  Result download(Runtime& runtime, const Batch& batch) const {
    Result result;
    result.out.resize(batch.q.size());
    result.lse.resize(rows(batch));
    runtime.download(std::as_writable_bytes(std::span(result.out)), out_);
    runtime.download(std::as_writable_bytes(std::span(result.lse)), lse_);
    return result;
  }

 private:
  static std::size_t rows(const Batch& batch) {
    return static_cast<std::size_t>(batch.size()) * static_cast<std::size_t>(batch.shape.qo_heads);
  }
  template <class T>
  static Buffer upload(Runtime& runtime, const std::vector<T>& values) {
    return runtime.upload(std::span<const T>(values));
  }

  Plan plan_;
  Buffer q_, k_, v_, kv_indptr_, kv_indices_, kv_last_page_len_, out_, lse_, workspace_;
  GqaDecodeArgs args_;
};

}  // namespace librt::test
