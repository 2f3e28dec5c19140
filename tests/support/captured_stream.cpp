#include "tests/support/captured_stream.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <stdexcept>
#include <string>

#include "src/device/cuda/context.hpp"

namespace librt::test {
namespace {

namespace cuda = device::cuda;
using Graph = void*;
using GraphExecutable = void*;

constexpr int kCuda12_0 = 12000;
constexpr int kCaptureModeGlobal = 0;
constexpr unsigned kNonBlocking = 1;

/// What capturing takes of the driver beyond what librt itself uses.
struct CaptureApi {
  CaptureApi() {
    resolve(cuStreamCreate, "cuStreamCreate");
    resolve(cuStreamDestroy, "cuStreamDestroy");
    resolve(cuStreamBeginCapture, "cuStreamBeginCapture");
    resolve(cuStreamEndCapture, "cuStreamEndCapture");
    resolve(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags");
    resolve(cuGraphLaunch, "cuGraphLaunch");
    resolve(cuGraphDestroy, "cuGraphDestroy");
    resolve(cuGraphExecDestroy, "cuGraphExecDestroy");
  }

  cuda::Result (*cuStreamCreate)(cuda::Stream* stream, unsigned flags);
  cuda::Result (*cuStreamDestroy)(cuda::Stream stream);
  cuda::Result (*cuStreamBeginCapture)(cuda::Stream stream, int mode);
  cuda::Result (*cuStreamEndCapture)(cuda::Stream stream, Graph* graph);
  cuda::Result (*cuGraphInstantiateWithFlags)(GraphExecutable* executable, Graph graph, unsigned long long flags);
  cuda::Result (*cuGraphLaunch)(GraphExecutable executable, cuda::Stream stream);
  cuda::Result (*cuGraphDestroy)(Graph graph);
  cuda::Result (*cuGraphExecDestroy)(GraphExecutable executable);

 private:
  template <class FunctionPointer>
  static void resolve(FunctionPointer& slot, const char* name) {
    // Never closed: librt has it open as well.
    void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void* const found = library != nullptr ? ::dlsym(library, "cuGetProcAddress_v2") : nullptr;
    if (found == nullptr) throw std::runtime_error("libcuda.so.1 has no cuGetProcAddress_v2");
    const auto get_proc_address = reinterpret_cast<cuda::GetProcAddressFunction>(found);
    void* address = nullptr;
    int symbol_status = 0;
    cuda::check(get_proc_address(name, &address, kCuda12_0, cuda::kGetProcAddressLegacyStream, &symbol_status), name);
    if (address == nullptr) throw std::runtime_error(fmt::format("libcuda.so.1 has no {}", name));
    slot = reinterpret_cast<FunctionPointer>(address);
  }
};

}  // namespace

struct CapturedStream::Impl {
  explicit Impl(int ordinal) : context(cuda::Driver::open(), ordinal) {
    const cuda::ContextScope scope(context);
    cuda::check(api.cuStreamCreate(&stream, kNonBlocking), "cuStreamCreate");
  }
  ~Impl() {
    if (executable != nullptr) api.cuGraphExecDestroy(executable);
    api.cuStreamDestroy(stream);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  cuda::PrimaryContext context;
  CaptureApi api;
  cuda::Stream stream = nullptr;
  GraphExecutable executable = nullptr;
};

CapturedStream::CapturedStream(int ordinal) : impl_(std::make_unique<Impl>(ordinal)) {}
CapturedStream::~CapturedStream() = default;

CUstream_st* CapturedStream::handle() const noexcept {
  return static_cast<CUstream_st*>(impl_->stream);
}

void CapturedStream::capture(const std::function<void()>& enqueue) {
  const CaptureApi& api = impl_->api;
  const cuda::ContextScope scope(impl_->context);
  Graph graph = nullptr;
  cuda::check(api.cuStreamBeginCapture(impl_->stream, kCaptureModeGlobal), "cuStreamBeginCapture");
  try {
    enqueue();
  } catch (...) {
    api.cuStreamEndCapture(impl_->stream, &graph);
    if (graph != nullptr) api.cuGraphDestroy(graph);
    throw;
  }
  cuda::check(api.cuStreamEndCapture(impl_->stream, &graph), "cuStreamEndCapture");
  const cuda::Result result = api.cuGraphInstantiateWithFlags(&impl_->executable, graph, 0);
  api.cuGraphDestroy(graph);
  cuda::check(result, "cuGraphInstantiateWithFlags");
}

void CapturedStream::replay() const {
  const cuda::ContextScope scope(impl_->context);
  cuda::check(impl_->api.cuGraphLaunch(impl_->executable, impl_->stream), "cuGraphLaunch");
  cuda::check(impl_->context.api().cuStreamSynchronize(impl_->stream), "cuStreamSynchronize");
}

}  // namespace librt::test
