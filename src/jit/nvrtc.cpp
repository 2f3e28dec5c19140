#include "src/jit/nvrtc.hpp"

#include <librt/error.hpp>

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <utility>

#include "src/jit/exit_gate.hpp"
#include "src/jit/nvrtc_api.hpp"
#include "src/jit/nvrtc_archs.hpp"

namespace librt::jit {
namespace {

/// Owns one nvrtcProgram.
class ProgramHandle {
 public:
  explicit ProgramHandle(const NvrtcApi& api) : api_(api) {}
  ~ProgramHandle() {
    if (program_ != nullptr) api_.nvrtcDestroyProgram(&program_);
  }
  ProgramHandle(const ProgramHandle&) = delete;
  ProgramHandle& operator=(const ProgramHandle&) = delete;

  NvrtcProgram* out() { return &program_; }
  NvrtcProgram get() const { return program_; }

 private:
  const NvrtcApi& api_;
  NvrtcProgram program_ = nullptr;
};

/// The texts that stand beside the stub, in the form that nvrtcCreateProgram takes.
struct Headers {
  std::vector<std::string> errors;  // backing of the texts made here; never reallocated once filled
  std::vector<const char*> texts;
  std::vector<const char*> names;
};

Headers headers_of(const Program& program, const KernelSources& sources) {
  const HeaderClosure& closure = sources.closure(program.header);
  Headers headers;
  for (const std::size_t file : closure.files) {
    headers.texts.push_back(sources.files()[file].text.c_str());
    headers.names.push_back(sources.files()[file].name.c_str());
  }
  // NVRTC would look for any other name on disk, from the current directory on: text that no key knows of.
  headers.errors.reserve(closure.unresolved.size());
  for (const std::string& name : closure.unresolved) {
    headers.errors.push_back(fmt::format("#error this file is not among the kernel sources ({})\n", sources.origin()));
    headers.texts.push_back(headers.errors.back().c_str());
    headers.names.push_back(name.c_str());
  }
  return headers;
}

std::string numbered(const std::string& source) {
  std::istringstream lines(source);
  std::string out;
  int number = 0;
  for (std::string line; std::getline(lines, line);) out += fmt::format("{:>4} | {}\n", ++number, line);
  return out;
}

std::string evidence(const Program& program, const std::string& log) {
  return fmt::format("{}{}\n{}.cu:\n{}\noptions: {}\n", log, log.ends_with('\n') ? "" : "\n", program.entry,
                     numbered(program.source), fmt::join(program.options, " "));
}

/// Called by NVRTC in the middle of a compile.
int on_the_way(void* /*payload*/, void* /*reserved*/) {
  wait_for_nvrtc_at_exit();
  return waited_for_at_exit() ? 1 : 0;
}

/// The first line of a log that tells what is wrong.
std::string first_error(const std::string& log) {
  std::istringstream lines(log);
  std::string first;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("error") != std::string::npos || line.find("fatal") != std::string::npos) return line;
    if (first.empty()) first = line;
  }
  return first;
}

}  // namespace

struct Nvrtc::Impl {
  explicit Impl(const NvrtcIdentity& which) : identity(which) {
    const NvrtcCall call(NvrtcCall::Kind::load);
    // NVRTC opens its builtins by their bare name, which the loader looks for everywhere but beside NVRTC. Once they
    // are loaded, the name leads to them; without this it leads to another toolkit's or to none.
    if (!identity.builtins_path.empty()) load(identity.builtins_path);
    library = load(identity.path);
    wait_for_nvrtc_at_exit();
    bind();
    check_version();
    read_archs();
  }

  /// Never closed: these libraries keep threads and exit handlers of their own. RTLD_LOCAL keeps their symbols from the
  /// process, which may hold another NVRTC.
  void* load(const std::string& path) const {
    void* loaded = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) {
      const char* reason = ::dlerror();
      fail(reason != nullptr ? reason : "the loader gives no reason");
    }
    return loaded;
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorCode::no_nvrtc, fmt::format("cannot use {}: {}", identity.path, reason));
  }

  template <typename Function>
  void bind(Function*& function, const char* name) {
    void* symbol = ::dlsym(library, name);
    if (symbol == nullptr) fail(fmt::format("it has no {}", name));
    function = reinterpret_cast<Function*>(symbol);
  }

  void bind() {
    bind(api.nvrtcVersion, "nvrtcVersion");
    bind(api.nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs");
    bind(api.nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs");
    bind(api.nvrtcGetErrorString, "nvrtcGetErrorString");
    bind(api.nvrtcCreateProgram, "nvrtcCreateProgram");
    bind(api.nvrtcDestroyProgram, "nvrtcDestroyProgram");
    bind(api.nvrtcCompileProgram, "nvrtcCompileProgram");
    bind(api.nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
    bind(api.nvrtcGetProgramLog, "nvrtcGetProgramLog");
    bind(api.nvrtcGetPTXSize, "nvrtcGetPTXSize");
    bind(api.nvrtcGetPTX, "nvrtcGetPTX");
    bind(api.nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
    bind(api.nvrtcGetCUBIN, "nvrtcGetCUBIN");
    api.nvrtcSetFlowCallback =
        reinterpret_cast<decltype(api.nvrtcSetFlowCallback)>(::dlsym(library, "nvrtcSetFlowCallback"));
  }

  /// The key was made from the files before they were loaded; an upgrade in between must not go unseen.
  void check_version() {
    check(api.nvrtcVersion(&major, &minor), "nvrtcVersion");
    const std::string loaded = fmt::format("{}.{}", major, minor);
    if (!identity.version.empty() && loaded != identity.version) {
      fail(fmt::format("it says that it is version {}, its files say {}", loaded, identity.version));
    }
    const NvrtcIdentity now = identify_nvrtc(identity.path);
    if (now.build_id != identity.build_id || now.builtins_build_id != identity.builtins_build_id) {
      fail("it was replaced while this process ran; start again");
    }
  }

  void read_archs() {
    int count = 0;
    check(api.nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
    archs.resize(static_cast<std::size_t>(std::max(count, 0)));
    check(api.nvrtcGetSupportedArchs(archs.data()), "nvrtcGetSupportedArchs");
    std::sort(archs.begin(), archs.end());
  }

  void check(NvrtcResult result, const char* call) const {
    if (result == kNvrtcSuccess) return;
    throw Error(ErrorCode::compile_failed, fmt::format("{}: {}", call, api.nvrtcGetErrorString(result)));
  }

  /// Reads one of the outputs, each of which has a call for its size and one for its bytes.
  template <typename Container>
  Container read(NvrtcProgram program, NvrtcResult (*size_of)(NvrtcProgram, std::size_t*),
                 NvrtcResult (*copy)(NvrtcProgram, char*), const char* call) const {
    std::size_t size = 0;
    check(size_of(program, &size), call);
    Container out(size, typename Container::value_type{});
    if (size > 0) check(copy(program, reinterpret_cast<char*>(out.data())), call);
    return out;
  }

  std::string read_text(NvrtcProgram program, NvrtcResult (*size_of)(NvrtcProgram, std::size_t*),
                        NvrtcResult (*copy)(NvrtcProgram, char*), const char* call) const {
    auto text = read<std::string>(program, size_of, copy, call);
    while (text.ends_with('\0')) text.pop_back();
    return text;
  }

  [[noreturn]] void unsupported(const Arch& arch, const std::string& why) const {
    throw Error(ErrorCode::unsupported,
                fmt::format("architecture {} is not supported by NVRTC {}: {} (it supports {}); {}", to_string(arch),
                            identity.version, why, fmt::join(archs, ", "), nvrtc_that_knows(arch, major, minor)),
                identity.path);
  }

  [[noreturn]] void throw_failure(const Program& program, NvrtcResult result, const std::string& log) const {
    const std::string detail = evidence(program, log);
    if (log.find("--nv_arch") != std::string::npos || log.find("--gpu-architecture") != std::string::npos) {
      unsupported(program.arch, program.arch.suffix != 0 ? fmt::format("there is no variant {}", program.arch.suffix)
                                                         : first_error(log));
    }
    if (result == kNvrtcBuiltinOperationFailure) {
      throw Error(ErrorCode::no_nvrtc,
                  fmt::format("{} cannot load libnvrtc-builtins.so.{}, which belongs beside it", identity.path,
                              identity.version),
                  detail);
    }
    throw Error(ErrorCode::compile_failed,
                fmt::format("NVRTC {} does not compile {} for {} ({}): {}", identity.version, program.entry,
                            to_string(program.arch), api.nvrtcGetErrorString(result), first_error(log)),
                detail);
  }

  NvrtcIdentity identity;
  void* library = nullptr;
  NvrtcApi api{};
  int major = 0;
  int minor = 0;
  std::vector<int> archs;
};

Nvrtc::Nvrtc(const NvrtcIdentity& identity) : impl_(std::make_unique<Impl>(identity)) {}
Nvrtc::~Nvrtc() = default;

const NvrtcIdentity& Nvrtc::identity() const noexcept {
  return impl_->identity;
}
const std::vector<int>& Nvrtc::supported_archs() const noexcept {
  return impl_->archs;
}

bool Nvrtc::supports(const Arch& arch) const noexcept {
  constexpr std::pair kFirstWithFamilies(12, 9);
  constexpr int kFirstFamily = 100;
  constexpr int kFirstSpecific = 90;
  const Impl& impl = *impl_;
  if (!std::binary_search(impl.archs.begin(), impl.archs.end(), arch.sm)) return false;
  if (arch.suffix == 'f') return arch.sm >= kFirstFamily && std::pair(impl.major, impl.minor) >= kFirstWithFamilies;
  return arch.suffix == 0 || arch.sm >= kFirstSpecific;
}

Compiled Nvrtc::compile(const Program& program, const KernelSources& sources) const {
  const Impl& impl = *impl_;
  const NvrtcApi& api = impl.api;
  if (!std::binary_search(impl.archs.begin(), impl.archs.end(), program.arch.sm)) {
    impl.unsupported(program.arch, "it does not know it");
  }
  const std::vector<std::string> texts = nvrtc_options(program.options, impl.major, impl.minor);
  std::vector<const char*> options;
  for (const std::string& text : texts) options.push_back(text.c_str());
  const Headers headers = headers_of(program, sources);
  const NvrtcCall call(NvrtcCall::Kind::compile);
  ProgramHandle handle(api);
  impl.check(api.nvrtcCreateProgram(handle.out(), program.source.c_str(), (program.entry + ".cu").c_str(),
                                    static_cast<int>(headers.texts.size()), headers.texts.data(), headers.names.data()),
             "nvrtcCreateProgram");

  if (api.nvrtcSetFlowCallback != nullptr) {
    static_cast<void>(api.nvrtcSetFlowCallback(handle.get(), on_the_way, nullptr));
  }

  const auto start = std::chrono::steady_clock::now();
  const NvrtcResult result = api.nvrtcCompileProgram(handle.get(), static_cast<int>(options.size()), options.data());
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  wait_for_nvrtc_at_exit();
  if (waited_for_at_exit()) throw Error(ErrorCode::compile_failed, "the process is exiting: the compile was ended");

  Compiled compiled;
  compiled.compile_ms = elapsed.count();
  compiled.log = impl.read_text(handle.get(), api.nvrtcGetProgramLogSize, api.nvrtcGetProgramLog, "nvrtcGetProgramLog");
  if (result != kNvrtcSuccess) impl.throw_failure(program, result, compiled.log);
  compiled.ptx = impl.read_text(handle.get(), api.nvrtcGetPTXSize, api.nvrtcGetPTX, "nvrtcGetPTX");
  if (!program.arch.ptx_only) {
    compiled.cubin =
        impl.read<std::vector<std::byte>>(handle.get(), api.nvrtcGetCUBINSize, api.nvrtcGetCUBIN, "nvrtcGetCUBIN");
  }
  return compiled;
}

}  // namespace librt::jit
