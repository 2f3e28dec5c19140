// A stream whose work is captured as a CUDA graph, as serving engines do. Works against libcuda and its stand-in alike.
#pragma once

#include <librt/kernel.hpp>

#include <functional>
#include <memory>

namespace librt::test {

/// On one GPU. Throws librt::Error, as the library does for driver calls.
class CapturedStream {
 public:
  explicit CapturedStream(int ordinal);
  ~CapturedStream();
  CapturedStream(const CapturedStream&) = delete;
  CapturedStream& operator=(const CapturedStream&) = delete;

  CUstream_st* handle() const noexcept;
  /// Captures what `enqueue` puts on the stream, in the mode that forbids the most. Nothing of it is executed.
  void capture(const std::function<void()>& enqueue);
  /// Executes what was captured, and waits for it.
  void replay() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace librt::test
