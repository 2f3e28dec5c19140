// Streams and graphs, as far as tests capture what librt enqueues.
#include "tests/support/fake_cuda/state.hpp"

namespace fake_cuda {

namespace {

namespace cuda = librt::device::cuda;

constexpr Result kStreamCaptureInvalidated = 901;

Result stream_create(Stream** stream, unsigned) {
  return enter_with_context("cuStreamCreate", [&](State& s) {
    *stream = new Stream;
    s.streams.insert(*stream);
    return cuda::kSuccess;
  });
}

Result stream_destroy(Stream* stream) {
  return enter("cuStreamDestroy", [&](State& s) {
    if (s.streams.erase(stream) == 0) return cuda::kInvalidHandle;
    delete stream;
    return cuda::kSuccess;
  });
}

Result begin_capture(Stream* stream, int) {
  return enter("cuStreamBeginCapture", [&](State& s) {
    if (!s.streams.contains(stream)) return cuda::kInvalidHandle;
    *stream = {.is_capturing = true, .is_invalidated = false, .graph = {}};
    return cuda::kSuccess;
  });
}

Result end_capture(Stream* stream, Graph** graph) {
  return enter("cuStreamEndCapture", [&](State& s) {
    if (!s.streams.contains(stream) || !stream->is_capturing) return cuda::kInvalidHandle;
    stream->is_capturing = false;
    *graph = nullptr;
    if (stream->is_invalidated) return kStreamCaptureInvalidated;
    *graph = new Graph(std::move(stream->graph));
    return cuda::kSuccess;
  });
}

// A graph and what it is instantiated as are alike here.
Result instantiate(Graph** executable, Graph* graph, unsigned long long) {
  return enter("cuGraphInstantiateWithFlags", [&](State&) {
    *executable = new Graph(*graph);
    return cuda::kSuccess;
  });
}

Result launch_graph(Graph* executable, Stream* stream) {
  return enter("cuGraphLaunch", [&](State& s) {
    for (CopyNode node : executable->copies) {
      node.copy.stream = stream;
      s.enqueue(node.copy, node.from);
    }
    for (Launch launch : executable->launches) {
      launch.stream = stream;
      s.enqueue(std::move(launch));
    }
    return cuda::kSuccess;
  });
}

Result destroy_graph(Graph* graph) {
  return enter("cuGraphDestroy", [&](State&) {
    delete graph;
    return cuda::kSuccess;
  });
}

Result destroy_executable(Graph* executable) {
  return enter("cuGraphExecDestroy", [&](State&) {
    delete executable;
    return cuda::kSuccess;
  });
}

template <class FunctionPointer>
Entry entry(std::string_view name, FunctionPointer function) {
  return {.name = name, .address = reinterpret_cast<void*>(function)};
}

}  // namespace

const std::vector<Entry>& capture_entries() {
  static const std::vector<Entry>& entries = *new std::vector<Entry>{
      entry("cuStreamCreate", stream_create),
      entry("cuStreamDestroy", stream_destroy),
      entry("cuStreamBeginCapture", begin_capture),
      entry("cuStreamEndCapture", end_capture),
      entry("cuGraphInstantiateWithFlags", instantiate),
      entry("cuGraphLaunch", launch_graph),
      entry("cuGraphDestroy", destroy_graph),
      entry("cuGraphExecDestroy", destroy_executable),
  };
  return entries;
}

}  // namespace fake_cuda
