// What a process does where an allocation fails or no thread can be made: it gets an exception and goes on.
//   limits threads                                   no thread, or only one or two more, can be made
//   limits files|address_space                       a resource limit of the process
//   limits stacks                                    threads with small stacks call
//   limits memory get|plan|launch FIRST LAST STEP    the n-th allocation of that call fails, for n in FIRST..LAST, each
//                                                    in a process of its own; LIBRT_TEST_ALLOCATIONS=LAST takes all
//                                                    from 1 on
// A process that is ended in code of ours fails the test. Where another library ended it, the table says which.
#include <librt/librt.hpp>

#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/runtime/limits/failing.hpp"

using namespace librt;
using namespace librt::test;

namespace {

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};

Options options() {
  Options options;
  options.device = "virtual";
  options.virtual_threads = 4;
  options.cache_dir = LIBRT_TEST_CACHE_DIR;
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

/// One request of eight pages in which every value is 1: all outputs are 1.
struct Batch {
  explicit Batch(Runtime& rt)
      : q(rt.upload(std::vector<std::uint16_t>(2 * 64, 0x3f80))),
        pages(rt.upload(std::vector<std::uint16_t>(8 * 4 * 64, 0x3f80))),
        indptr(rt.upload(host_indptr)),
        indices(rt.upload(std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7})),
        last(rt.upload(host_last)),
        out(rt.allocate(2 * 64 * 2)),
        workspace(rt.allocate(1 << 16)) {}

  Plan plan(const Kernel& kernel) const {
    return kernel.plan({host_indptr, host_last}, {.limits = {.split_pages = 2}});
  }
  void launch(const Kernel& kernel, const Plan& plan) const {
    kernel.stage(plan, workspace);
    kernel.launch(plan, GqaDecodeArgs{.q = q.data(),
                                      .k_pages = {pages.data(), 8},
                                      .v_pages = {pages.data(), 8},
                                      .kv_indptr = indptr.as<std::int32_t>(),
                                      .kv_indices = indices.as<std::int32_t>(),
                                      .kv_last_page_len = last.as<std::int32_t>(),
                                      .out = out.data(),
                                      .workspace = workspace,
                                      .sm_scale = 0.125f});
  }
  bool is_right(Runtime& rt) const {
    std::vector<std::uint16_t> result(2 * 64);
    rt.download(std::as_writable_bytes(std::span(result)), out);
    return std::ranges::count(result, 0x3f80) == 2 * 64;
  }

  std::vector<std::int32_t> host_indptr{0, 8}, host_last{4};
  Buffer q, pages, indptr, indices, last, out, workspace;
};

int threads() {
  int bad = 0;
  for (const int allowed : {0, 1, 2}) {
    Runtime rt(options());
    const Batch batch(rt);
    const Kernel kernel = rt.get(kSpec);
    const Plan plan = batch.plan(kernel);
    allow_threads(allowed);
    try {
      batch.launch(kernel, plan);
      const std::vector<Spec> specs(3, kSpec);
      Runtime(options()).prepare(specs, 8);
      if (refused_threads() == 0) throw std::runtime_error("no thread was asked for: the test shows nothing");
      if (!batch.is_right(rt)) throw std::runtime_error("the result is wrong");
    } catch (const std::exception& error) {
      std::printf("with %d threads to be had: %s\n", allowed, error.what());
      ++bad;
    }
    allow_threads(-1);
  }
  return bad == 0 ? 0 : 1;
}

int report_to = -1;

/// Writes where the process was: a line a frame, the file's name and the offset in it.
void on_abort(int signal) {
  fail_allocation(0);
  std::array<void*, 64> frames{};
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 2; i < count; ++i) {
    Dl_info info{};
    void* const frame = frames[static_cast<std::size_t>(i)];
    if (::dladdr(frame, &info) == 0 || info.dli_fname == nullptr) continue;
    const std::string_view file(info.dli_fname);
    // The call, not what it returns to: that may be the next function.
    const auto offset = static_cast<const char*>(frame) - static_cast<const char*>(info.dli_fbase) - 1;
    ::dprintf(report_to, "%s %tx\n", std::string(file.substr(file.rfind('/') + 1)).c_str(), offset);
  }
  if (std::getenv("LIBRT_TEST_TRACE") != nullptr) ::backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
  ::_exit(signal == SIGABRT ? 86 : 87);
}

/// The symbol at an offset of this program. Most are hidden, so that only its symbol table knows them.
std::string symbol_at(const std::string& offset) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  FILE* const pipe = ::popen(fmt::format("addr2line -f -e '{}' 0x{}", program, offset).c_str(), "r");
  if (pipe == nullptr) return "";
  std::string name;
  for (int c = 0; (c = std::fgetc(pipe)) != EOF && c != '\n';) name += static_cast<char>(c);
  ::pclose(pipe);
  return name;
}

/// Whose code ended the process, of what on_abort() wrote: the first frame that does not only pass on what happened.
std::string owner_of(const std::string& report) {
  std::istringstream lines(report);
  for (std::string file, offset; lines >> file >> offset;) {
    const std::string library = file.substr(0, file.find(".so"));
    if (library == "libc" || library == "libgcc_s" || library == "libstdc++") continue;
    if (library != "limits") return library;
    const std::string symbol = symbol_at(offset);
    if (symbol.find("nlohmann") != std::string::npos) return "nlohmann";
    if (symbol.find("3fmt") != std::string::npos) return "fmt";
    if (!symbol.starts_with("_ZNSt") && !symbol.starts_with("_ZSt") && !symbol.starts_with("_ZNKSt")) return "librt";
  }
  return "librt";
}

/// @param what "get", "plan" or "launch": in it the n-th allocation fails. Then the same again, which must work.
int run_with_failure(std::string_view what, long nth) {
  std::optional<Runtime> rt;
  std::optional<Batch> batch;
  std::optional<Kernel> kernel;
  std::optional<Plan> plan;
  const auto prepare = [&] {
    if (!rt) rt.emplace(options());
    if (what == "get") return;
    if (!batch) batch.emplace(*rt);
    if (!kernel) kernel = rt->get(kSpec);
    if (what == "launch" && !plan) plan = batch->plan(*kernel);
  };
  const auto work = [&] {
    if (what == "get") kernel = rt->get(kSpec);
    if (what == "plan") plan = batch->plan(*kernel);
    if (what == "launch") batch->launch(*kernel, *plan);
  };
  prepare();
  fail_allocation(nth);
  try {
    work();
  } catch (const Error&) {           // NOLINT(bugprone-empty-catch): both are what a caller may get
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
  }
  const bool reached = allocations() >= nth;
  fail_allocation(0);
  work();
  if (!batch) batch.emplace(*rt);
  if (!plan) plan = batch->plan(*kernel);
  batch->launch(*kernel, *plan);
  if (!batch->is_right(*rt)) return 3;
  return reached ? 0 : 4;
}

/// Runs `body` in a process of its own; "" if it ended by itself with 0.
template <class Body>
std::string in_process(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(120);
    ::_exit(body());
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return "cannot be started";
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit code {}", WEXITSTATUS(status));
}

constexpr int kRefused = 7;

/// All that a program does: 0 if it is right, kRefused if the machine's limit was an exception that a caller may get.
int whole_flow(bool compiles) {
  try {
    Options all = options();
    if (compiles) all.cache_mode = CacheMode::off;
    Runtime rt(all);
    const Batch batch(rt);
    const Kernel kernel = rt.get(kSpec);
    batch.launch(kernel, batch.plan(kernel));
    return batch.is_right(rt) ? 0 : 3;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::internal && *error.what() != '\0') return kRefused;
    std::fprintf(stderr, "%s\n", error.what());  // of another library, which librt did not expect
    return 4;
  } catch (const std::bad_alloc&) {
    return kRefused;
  } catch (...) {
    return 5;
  }
}

/// Under a resource limit of each of the values: the lowest refuses something, and none does that is `enough`.
int limited(std::string_view name, int resource, const std::vector<rlim_t>& values, rlim_t enough) {
  // Into the cache, by a process without a limit.
  if (const std::string outcome = in_process([] { return whole_flow(false); }); !outcome.empty()) {
    std::printf("without a limit: %s\n", outcome.c_str());
    return 1;
  }
  int bad = 0;
  bool lowest_refuses = false;
  for (const rlim_t value : values) {
    const std::string outcome = in_process([&] {
      const rlimit limit{value, value};
      if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return 6;
      return whole_flow(false);
    });
    if (outcome.empty()) continue;
    if (outcome == fmt::format("exit code {}", kRefused) && value < enough) {
      lowest_refuses = lowest_refuses || value == values.front();
      continue;
    }
    std::printf("%s %llu: %s\n", std::string(name).c_str(), static_cast<unsigned long long>(value), outcome.c_str());
    ++bad;
  }
  if (!lowest_refuses) std::printf("%s: the lowest limit refuses nothing\n", std::string(name).c_str());
  return bad == 0 && lowest_refuses ? 0 : 1;
}

/// The stacks that include/librt/runtime.hpp asks for are enough.
int stacks() {
  int bad = 0;
  for (const auto& [bytes, compiles] :
       {std::pair{std::size_t{64} << 10, false}, std::pair{std::size_t{256} << 10, true}}) {
    const std::string outcome = in_process([bytes = bytes, compiles = compiles] {
      pthread_attr_t attributes;
      ::pthread_attr_init(&attributes);
      if (::pthread_attr_setstacksize(&attributes, bytes) != 0) return 6;
      std::pair<bool, int> task{compiles, -1};
      pthread_t thread{};
      const auto start = [](void* given) -> void* {
        auto& [compile, result] = *static_cast<std::pair<bool, int>*>(given);
        result = whole_flow(compile);
        return nullptr;
      };
      if (::pthread_create(&thread, &attributes, start, &task) != 0) return 6;
      ::pthread_join(thread, nullptr);
      return task.second;
    });
    if (outcome.empty()) continue;
    std::printf("a stack of %zu bytes: %s\n", bytes, outcome.c_str());
    ++bad;
  }
  return bad == 0 ? 0 : 1;
}

/// "" = went on; "past" = there is no n-th allocation; else what happened.
std::string outcome_of(std::string_view what, long nth) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    report_to = ends[1];
    void* warm[4];
    ::backtrace(warm, 4);  // loads what it needs while there is memory
    std::signal(SIGABRT, on_abort);
    std::signal(SIGSEGV, on_abort);
    int code = 5;
    try {
      code = run_with_failure(what, nth);
    } catch (const std::exception& error) {
      fail_allocation(0);
      const std::string text = error.what();
      [[maybe_unused]] const ssize_t written = ::write(report_to, text.data(), text.size());
    }
    ::_exit(code);
  }
  ::close(ends[1]);
  std::string said;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  switch (WEXITSTATUS(status)) {
    case 0:
      return "";
    case 4:
      return "past";
    case 86:
      return "aborted in " + owner_of(said);
    case 87:
      return "crashed in " + owner_of(said);
    case 3:
      return "wrong result";
    default:
      return "did not go on: " + said;
  }
}

int memory(std::string_view what, long first, long last, long step) {
  if (const char* const all = std::getenv("LIBRT_TEST_ALLOCATIONS")) {
    first = step = 1;
    last = std::atol(all);
  }
  // Into the cache, by a process of its own: the first get() of each is what is looked at.
  if (const std::string outcome = outcome_of(what, 0); !outcome.empty()) {
    std::printf("without a failure: %s\n", outcome.c_str());
    return 1;
  }
  std::map<std::string, std::vector<long>> bad;
  long tried = 0;
  for (long nth = first; nth <= last; nth += step) {
    const std::string outcome = outcome_of(what, nth);
    if (outcome == "past") break;
    ++tried;
    if (!outcome.empty()) bad[outcome].push_back(nth);
  }
  std::printf("%s: %ld allocations failed, one in each process\n", std::string(what).c_str(), tried);
  bool ours = tried == 0;
  for (const auto& [outcome, places] : bad) {
    std::printf("  %zu x %s, first at %ld\n", places.size(), outcome.c_str(), places.front());
    const bool others = outcome.starts_with("aborted in ") && outcome != "aborted in librt";
    ours = ours || !others;
  }
  return ours ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  if (scenario == "threads") return threads();
  if (scenario == "files") return limited("open files", RLIMIT_NOFILE, {3, 4, 5, 6, 7, 8, 10, 12, 16}, 12);
  if (scenario == "address_space") {
    std::vector<rlim_t> values;
    for (rlim_t megabytes = 1; megabytes <= 400; megabytes += megabytes < 64 ? 1 : 16) {
      values.push_back(megabytes << 20);
    }
    return limited("address space", RLIMIT_AS, values, 64 << 20);  // which NVRTC's files alone exceed
  }
  if (scenario == "stacks") return stacks();
  if (scenario == "memory" && argc == 6) {
    return memory(argv[2], std::atol(argv[3]), std::atol(argv[4]), std::atol(argv[5]));
  }
  std::fprintf(stderr,
               "usage: limits threads | files | address_space | stacks | memory get|plan|launch FIRST LAST STEP\n");
  return 2;
}
