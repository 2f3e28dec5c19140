// exit() while other threads are in NVRTC. Its static objects are destroyed by handlers that it registers when it is
// loaded and, a few, while it compiles; handlers run latest first. A compile under way at that moment would crash.
// So a handler of ours is registered after NVRTC's, which lets no new call in and waits for those under way.
#pragma once

namespace librt::jit {

/// A call of NVRTC's, for its life. Throws Error(compile_failed) once the process exits, and in a process that was
/// forked while such a call was under way: what NVRTC had locked then stays locked in it.
class NvrtcCall {
 public:
  enum class Kind { compile, load };

  explicit NvrtcCall(Kind kind);
  ~NvrtcCall();
  NvrtcCall(const NvrtcCall&) = delete;
  NvrtcCall& operator=(const NvrtcCall&) = delete;

 private:
  Kind kind_;
};

/// The process exits and waits for this compile, which had better stop.
bool waited_for_at_exit() noexcept;

/// Registers the handler once more: call it when NVRTC may have registered some of its own since the last time. After
/// a number of times it does nothing, since NVRTC has them all by then.
void wait_for_nvrtc_at_exit() noexcept;

/// For the thread that may end the process: where it calls exit() in the middle of a load, which registers thousands of
/// handlers, or of the first compile, which registers some more, it waits before the first of them runs.
void wait_for_load_at_exit() noexcept;

}  // namespace librt::jit
