// librt: the command line tool. One file for each verb; this one maps what happens to exit codes.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "tools/librt/verb.hpp"

namespace {

using namespace librt::tool;

int exit_code_of(librt::ErrorCode code) {
  switch (code) {
    case librt::ErrorCode::no_nvrtc:
    case librt::ErrorCode::no_device:
    case librt::ErrorCode::not_cached:
      return kMachineCannot;
    default:
      return kProblemFound;
  }
}

void report(bool json, std::string_view code, const std::string& message, const std::string& detail) {
  say(fmt::format("librt: {}", message));
  if (!detail.empty()) say(detail);
  if (json) print_json(Json{{"error", {{"code", code}, {"message", message}, {"detail", detail}}}});
}

int run_tool(int argc, char** argv, bool json) {
  CLI::App tool(
      "JIT-compiled paged-attention decode kernels: compile, cache, run and check them, with or without a GPU.",
      "librt");
  tool.set_version_flag("--version", std::string(librt::version()));
  tool.require_subcommand(1);
  tool.footer(
      "Exit codes: 0 done, 1 a problem was found, 2 usage, 3 this machine cannot (the message says what would\n"
      "help). Data goes to stdout, talk to stderr. `librt VERB --help` shows an example.");
  int exit_code = kDone;
  add_demo(tool, exit_code);
  add_compile(tool, exit_code);
  add_run(tool, exit_code);
  add_check(tool, exit_code);
  add_prove(tool, exit_code);
  add_bench(tool, exit_code);
  add_cache(tool, exit_code);
  add_doctor(tool, exit_code);
  try {
    tool.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return tool.exit(error) == 0 ? kDone : kUsage;
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
  } catch (const std::exception& error) {
    report(json, "internal", error.what(), {});
    return kProblemFound;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;  // known before parsing, since a failed verb must still answer in JSON
  for (int i = 1; i < argc; ++i) json = json || std::strcmp(argv[i], "--json") == 0;
  const int exit_code = run_tool(argc, argv, json);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    say("librt: the output could not be written");
    return exit_code == kDone ? kProblemFound : exit_code;
  }
  return exit_code;
}
