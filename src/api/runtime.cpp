#include <librt/error.hpp>
#include <librt/runtime.hpp>

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "src/api/boundary.hpp"
#include "src/api/buffer_impl.hpp"
#include "src/api/compile_service.hpp"
#include "src/api/device_choice.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/options_check.hpp"
#include "src/api/prewarm.hpp"
#include "src/api/recorder.hpp"
#include "src/api/specialize.hpp"
#include "src/cache/once_map.hpp"
#include "src/jit/exit_gate.hpp"
#include "src/kernel/registry.hpp"
#include "src/util/made_once.hpp"
#include "src/util/making.hpp"

namespace librt {

using SharedKernel = std::shared_ptr<const detail::KernelImpl>;

namespace {

using LoadedPtr = std::shared_ptr<const device::LoadedKernel>;

struct Loaded {
  api::SharedArtifact artifact;
  LoadedPtr kernel;
};

/// What the device could run, the best first. Code that needs more shared memory than a block has is left out: a larger
/// GPU's tiles.
std::vector<api::Choice> choices_for(const Spec& spec, const device::Properties& properties) {
  std::vector<api::Choice> choices;
  for (const Arch& arch : api::runnable_archs(properties)) {
    api::Specialized specialized = api::specialize(spec, arch);
    if (choices.empty() || specialized.shared_bytes <= properties.shared_bytes_per_block) {
      choices.push_back({arch, std::move(specialized)});
    }
  }
  return choices;
}

/// Of bytes from disk that the driver refuses, others are tried where there can be others. What is wrong with the
/// machine costs no entry.
Loaded compile_and_load(api::CompileService& compiler, device::Device& device,
                        const std::vector<api::Choice>& choices) {
  api::Resolution got = compiler.get(choices);
  for (std::vector<api::SharedArtifact> refused;;) {
    try {
      return {got.artifact, device.load(*got.artifact)};
    } catch (const device::RefusedCode& error) {
      refused.push_back(got.artifact);
      std::optional<api::Resolution> other;
      try {
        other = compiler.other_than(refused, choices[got.choice], error.maybe_damaged());
      } catch (const Error& second) {  // the driver's own reason is the one to tell
        compiler.log()(LogLevel::warn,
                       fmt::format("nothing in place of entry {}: {}", got.artifact->key, second.what()));
      }
      if (!other) throw;
      compiler.log()(LogLevel::warn,
                     fmt::format("entry {} is not used, {} in its place: {}", got.artifact->key,
                                 other->artifact->key == got.artifact->key ? "what was compiled anew, with other bytes,"
                                                                           : other->artifact->key + " is",
                                 error.what()));
      got = *std::move(other);
    }
  }
}

/// @param merge see api::merge_of()
SharedKernel make_kernel(const Spec& spec, const std::optional<Spec>& merge, std::shared_ptr<device::Device> device,
                         std::shared_ptr<api::CompileService> compiler, Loaded decode) {
  auto kernel = std::make_shared<detail::KernelImpl>();
  kernel->spec = spec;
  kernel->merge_spec = merge.value_or(Spec{});
  kernel->artifact = std::move(decode.artifact);
  kernel->decode = std::move(decode.kernel);
  kernel->device = device;
  api::complete(*kernel);
  kernel->load_merge = [merged = kernel->merge_spec, device = std::move(device), compiler = std::move(compiler)] {
    return compile_and_load(*compiler, *device, choices_for(merged, device->properties())).kernel;
  };
  return kernel;
}

void require_range(const Buffer& buffer, std::size_t bytes, std::size_t offset, const char* what) {
  if (offset > buffer.size() || bytes > buffer.size() - offset) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} of {} bytes at offset {} does not fit a buffer of {} bytes", what, bytes, offset,
                            buffer.size()));
  }
}

/// Says in which call a callback asked for what would have waited for itself.
template <class Call>
auto naming(const Spec& spec, const Call& call) {
  try {
    return call();
  } catch (const util::WaitsForItself& error) {
    throw Error(error.code(), fmt::format("{}: {}", to_string(spec), error.what()));
  }
}

Artifact artifact_of(const api::Resolution& got) {
  Artifact artifact = *got.artifact;
  artifact.origin = got.origin;
  return artifact;
}

void require_device(const Buffer& buffer, const device::Device& device, const char* what) {
  const detail::BufferImpl* const impl = detail::BufferImpl::of(buffer);
  if (impl == nullptr || impl->device.get() == &device) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}: the buffer is of another Runtime's device ({}); this one's is {}", what,
                          impl->device->properties().name, device.properties().name));
}

}  // namespace

struct detail::RuntimeImpl {
  explicit RuntimeImpl(Options given)
      : options(api::checked(std::move(given))),
        device_choice(api::parse_device(options.device)),
        compiler(std::make_shared<api::CompileService>(options)),
        recorder(options.record, compiler->log()) {}

  std::shared_ptr<device::Device> open_device() {
    const auto& opened = device.get([&] { return api::open_device(device_choice, options); });
    opened->require_this_process();
    return opened;
  }

  /// Compiled and loaded, with its merge.
  SharedKernel make(const Spec& spec) {
    validate(spec);
    if (description(*spec.kind()).internal) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} is launched by the kernels whose splits it joins, and not by itself", spec.kernel()));
    }
    const std::optional<Spec> merge = api::merge_of(spec);
    const std::shared_ptr<device::Device> opened = open_device();
    const std::vector<api::Choice> choices = choices_for(spec, opened->properties());
    recorder.note(spec, choices.front().arch);
    SharedKernel kernel = make_kernel(spec, merge, opened, compiler, compile_and_load(*compiler, *opened, choices));
    if (kernel->merge_spec.kind() != nullptr) kernel->merge_kernel();
    return kernel;
  }

  Options options;
  api::DeviceChoice device_choice;
  std::shared_ptr<api::CompileService> compiler;  // shared with kernels, which may fetch their merge later
  api::Recorder recorder;
  util::MadeOnce<std::shared_ptr<device::Device>> device;
  cache::OnceMap<Spec, SharedKernel> kernels;
};

Runtime::Runtime(Options options)
    : impl_(api::at_boundary([&] {
        jit::wait_for_load_at_exit();
        return std::make_unique<detail::RuntimeImpl>(std::move(options));
      })) {}
Runtime::~Runtime() = default;
Runtime::Runtime(Runtime&&) noexcept = default;
Runtime& Runtime::operator=(Runtime&&) noexcept = default;

detail::RuntimeImpl& Runtime::impl() const {
  if (impl_ == nullptr) throw Error(ErrorCode::invalid_argument, "this Runtime was moved from");
  return *impl_;
}

const KernelKind& Runtime::add_kernel(const KernelDescription& description) {
  return api::at_boundary([&]() -> const KernelKind& { return kernel::add(description); });
}

Kernel Runtime::get(const Spec& spec) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] {
    auto result = naming(spec, [&] { return runtime.kernels.get(spec, [&] { return runtime.make(spec); }); });
    if (!result.made) runtime.compiler->count_memory_hit();
    result.value->device->require_this_process();
    return Kernel(std::move(result.value));
  });
}

Artifact Runtime::compile(const Spec& spec, const Arch& arch) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] {
    const api::Specialized specialized = api::specialize(spec, arch);
    if (!description(*spec.kind()).internal) runtime.recorder.note(spec, arch);
    return artifact_of(naming(spec, [&] { return runtime.compiler->get(specialized, arch); }));
  });
}

Artifact Runtime::compile_merge(const Spec& spec, const Arch& arch) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] {
    const std::optional<Spec> merge = api::merge_of(spec);
    if (!merge) throw Error(ErrorCode::invalid_argument, fmt::format("{} has no merge", spec.kernel()));
    const api::Specialized specialized = api::specialize(*merge, arch);
    return artifact_of(naming(spec, [&] { return runtime.compiler->get(specialized, arch); }));
  });
}

PrewarmReport Runtime::prewarm(std::span<const Spec> specs, std::span<const Arch> archs,
                               const PrewarmOptions& options) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] { return api::prewarm(*runtime.compiler, runtime.options, {specs, archs}, options); });
}

CacheExplanation Runtime::explain(const Spec& spec, const Arch& arch) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] { return runtime.compiler->explain(api::specialize(spec, arch), arch); });
}

std::string Runtime::source(const Spec& spec, const Arch& arch) const {
  return api::at_boundary([&] { return jit::make_program(api::specialize(spec, arch).program, arch).source; });
}

Kernel Runtime::load(const Spec& spec, Artifact artifact) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] {
    const api::Specialized expected = api::specialize(spec, artifact.arch);
    if (artifact.spec != expected.program.spec_json || artifact.block_threads != expected.block_threads ||
        artifact.shared_bytes != expected.shared_bytes) {
      throw Error(ErrorCode::invalid_argument, fmt::format("the artifact was compiled for {}; {} needs {}",
                                                           artifact.spec, to_string(spec), expected.program.spec_json));
    }
    const std::shared_ptr<device::Device> device = runtime.open_device();
    auto shared = std::make_shared<const Artifact>(std::move(artifact));
    LoadedPtr kernel = device->load(*shared);
    return Kernel(
        make_kernel(spec, api::merge_of(spec), device, runtime.compiler, {std::move(shared), std::move(kernel)}));
  });
}

DeviceInfo Runtime::device() {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] {
    const device::Properties& properties = runtime.open_device()->properties();
    return DeviceInfo{.name = properties.name,
                      .arch = api::compile_arch(properties),
                      .num_sms = properties.num_sms,
                      .shared_bytes_per_block = properties.shared_bytes_per_block,
                      .is_virtual = properties.is_virtual};
  });
}

Buffer Runtime::allocate(std::size_t bytes) {
  detail::RuntimeImpl& runtime = impl();
  return api::at_boundary([&] { return Buffer(std::make_unique<detail::BufferImpl>(runtime.open_device(), bytes)); });
}

void Runtime::upload(const Buffer& to, std::span<const std::byte> from, std::size_t offset) {
  detail::RuntimeImpl& runtime = impl();
  api::at_boundary([&] {
    require_range(to, from.size(), offset, "an upload");
    if (from.empty()) return;
    const std::shared_ptr<device::Device> device = runtime.open_device();
    require_device(to, *device, "an upload");
    device->upload(reinterpret_cast<std::uintptr_t>(to.data()) + offset, from);
  });
}

void Runtime::download(std::span<std::byte> to, const Buffer& from, std::size_t offset) {
  detail::RuntimeImpl& runtime = impl();
  api::at_boundary([&] {
    require_range(from, to.size(), offset, "a download");
    if (to.empty()) return;
    const std::shared_ptr<device::Device> device = runtime.open_device();
    require_device(from, *device, "a download");
    device->download(to, reinterpret_cast<std::uintptr_t>(from.data()) + offset);
  });
}

void Runtime::synchronize() {
  detail::RuntimeImpl& runtime = impl();
  api::at_boundary([&] { runtime.open_device()->synchronize(); });
}

void Runtime::drop_memory_cache() {
  detail::RuntimeImpl& runtime = impl();
  api::at_boundary([&] {
    runtime.kernels.clear();
    runtime.compiler->drop_memory();
  });
}

RuntimeStats Runtime::stats() const {
  return impl().compiler->stats();
}

void Runtime::flush_stats() {
  impl().compiler->flush_stats();
}

const Options& Runtime::options() const {
  return impl().options;
}

}  // namespace librt
