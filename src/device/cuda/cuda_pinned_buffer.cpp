#include "src/device/cuda/cuda_pinned_buffer.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include "src/device/cuda/error_names.hpp"

namespace librt::device::cuda {

CudaPinnedBuffer::CudaPinnedBuffer(std::shared_ptr<const PrimaryContext> context, std::size_t size)
    : context_(std::move(context)), size_(size) {
  const ContextScope scope(*context_);
  check(api().cuEventCreate(&copied_, kEventDisableTiming), "cuEventCreate");
  if (const Result result = api().cuMemHostAlloc(&memory_, size, kHostAllocPortable); result != kSuccess) {
    api().cuEventDestroy(copied_);
    throw Error(ErrorCode::driver, describe_error(fmt::format("cuMemHostAlloc of {} bytes", size), result));
  }
}

// Failures are ignored: at process exit the driver may have shut down before us.
CudaPinnedBuffer::~CudaPinnedBuffer() {
  if (!context_->usable_in_this_process()) return;
  try {
    const ContextScope scope(*context_);
    api().cuEventSynchronize(copied_);
    api().cuEventDestroy(copied_);
    api().cuMemFreeHost(memory_);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
    // The context is lost, and all of it with it.
  }
}

void CudaPinnedBuffer::upload_async(Address to, std::size_t count, StreamHandle stream) {
  const ContextScope scope(*context_);
  int capture = kCaptureNone;
  check(api().cuStreamIsCapturing(stream, &capture), "cuStreamIsCapturing");
  if (capture != kCaptureNone) {
    throw Error(
        ErrorCode::invalid_argument,
        "stream is being captured; stage() must come before the capture, since the graph would repeat this copy");
  }
  check(api().cuMemcpyHtoDAsync(to, memory_, count, stream), "cuMemcpyHtoDAsync");
  if (const Result result = api().cuEventRecord(copied_, stream); result != kSuccess) {
    api().cuStreamSynchronize(stream);  // nothing else tells when the bytes may change
    check(result, "cuEventRecord");
  }
}

bool CudaPinnedBuffer::is_busy() {
  const ContextScope scope(*context_);
  const Result result = api().cuEventQuery(copied_);
  if (result != kNotReady) check(result, "cuEventQuery");
  return result == kNotReady;
}

void CudaPinnedBuffer::wait() {
  const ContextScope scope(*context_);
  check(api().cuEventSynchronize(copied_), "cuEventSynchronize");
}

}  // namespace librt::device::cuda
