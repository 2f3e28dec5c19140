// librt: the command line tool. One file for each verb; this one maps what happens to exit codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>

#include "src/util/files.hpp"
#include "src/util/text.hpp"
#include "tools/librt/usage.hpp"
#include "tools/librt/verb.hpp"

namespace {

using namespace librt::tool;
namespace util = librt::util;

constexpr std::size_t kMostSaid = 4096;

int exit_code_of(librt::ErrorCode code) {
  switch (code) {
    case librt::ErrorCode::unsupported:
    case librt::ErrorCode::no_nvrtc:
    case librt::ErrorCode::no_device:
    case librt::ErrorCode::not_cached:
      return kMachineCannot;
    default:
      return kProblemFound;
  }
}

void report(bool json, std::string_view code, const std::string& message, const std::string& detail) {
  // JSON has all of it.
  say(fmt::format("librt: {}", message.size() <= kMostSaid ? message : util::shown(message, kMostSaid)), Style::bad);
  if (!detail.empty()) say(detail);
  if (json) print_json(Json{{"error", {{"code", code}, {"message", message}, {"detail", detail}}}});
}

/// What was typed is none of what there is; where a verb is all that is missing, the help says which there are.
int refuse(bool json, const CLI::App& tool, const CLI::ParseError& error) {
  const std::string verbs = typed_verbs(tool);
  const std::string problem = util::shown(fmt::format("{}: {}", verbs, usage_problem(tool, error)), kMostSaid);
  if (json) print_json(Json{{"error", {{"code", "usage"}, {"message", problem}, {"detail", ""}}}});
  if (lacks_verb(tool)) {
    say(tool.help());
  } else {
    say(problem, Style::bad);
    say(fmt::format("`{} --help` shows what can be typed.", verbs));
  }
  return kUsage;
}

int run_tool(int argc, char** argv, bool json) {
  CLI::App tool(
      "JIT-compiled paged-attention decode kernels: compile, cache, run and check them, with or without a GPU.",
      "librt");
  tool.set_version_flag("--version", std::string(librt::version()));
  tool.require_subcommand(1);
  tool.formatter(help_formatter());
  tool.footer(
      "Exit codes: 0 done, 1 a problem was found, 2 usage, 3 this machine cannot (the message says what would help). "
      "Data goes to stdout, talk to stderr.\nExamples:\n  librt demo\n  librt help compile");
  int exit_code = kDone;
  add_demo(tool, exit_code);
  add_compile(tool, exit_code);
  add_run(tool, exit_code);
  add_check(tool, exit_code);
  add_prove(tool, exit_code);
  add_bench(tool, exit_code);
  add_cache(tool, exit_code);
  add_doctor(tool, exit_code);
  add_help(tool);
  try {
    tool.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(tool.help());
  } catch (const CLI::CallForVersion&) {
    print(fmt::format("{}\n", librt::version()));
  } catch (const CLI::ParseError& error) {
    return refuse(json, tool, error);
  } catch (const UsageError& error) {
    report(json, "usage", error.what(), {});
    return kUsage;
  } catch (const CannotError& error) {
    report(json, "cannot", error.what(), {});
    return kMachineCannot;
  } catch (const librt::Error& error) {
    report(json, librt::to_string(error.code()), error.what(), error.detail());
    if (exit_code_of(error.code()) == kMachineCannot) say("`librt doctor` shows what this machine has.");
    return exit_code_of(error.code());
  } catch (const std::bad_alloc&) {
    report(json, "internal", "there is not enough memory", {});
    return kProblemFound;
  } catch (const std::exception& error) {
    report(json, "internal", error.what(), {});
    return kProblemFound;
  }
  return exit_code;
}

/// A file that is opened later must not land on a descriptor that text is written to. Opened for reading, so that a
/// write to a stdout that was closed still fails.
void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    if (::open("/dev/null", O_RDONLY) < 0) static_cast<void>(::open("/", O_RDONLY));  // the lowest that is free
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_descriptors();
  // A reader of stderr that is gone must not end the work; one of stdout is dealt with below.
  const auto on_broken_pipe = std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // nor a file size limit: what it stops fails with EFBIG
  bool json = false;              // known before parsing, since a failed verb must still answer in JSON
  for (int i = 1; i < argc; ++i) json = json || std::strcmp(argv[i], "--json") == 0;
  const int exit_code = run_tool(argc, argv, json);
  const int error = finish_output();
  if (error == 0) return exit_code;
  if (error == EPIPE && on_broken_pipe == SIG_DFL) {  // `librt cache ls | head -1`: quietly, as every tool ends
    std::signal(SIGPIPE, SIG_DFL);
    static_cast<void>(std::raise(SIGPIPE));
  }
  say(fmt::format("librt: the output could not be written: {}", util::error_text(error)));
  return exit_code == kDone ? kProblemFound : exit_code;
}
