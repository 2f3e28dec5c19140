// Help, exit codes, and where words go.
#include <librt/version.hpp>

#include <catch2/catch.hpp>

#include <filesystem>
#include <sstream>

#include "src/util/env.hpp"
#include "tests/cli/process.hpp"

using librt::test::Finished;
using librt::test::Tool;

TEST_CASE("cli: every verb has help with an example, on stdout", "[cli]") {
  const Tool tool;
  const std::vector<std::vector<std::string>> verbs{{"demo"},
                                                    {"compile"},
                                                    {"run"},
                                                    {"check"},
                                                    {"prove"},
                                                    {"bench"},
                                                    {"doctor"},
                                                    {"cache"},
                                                    {"cache", "path"},
                                                    {"cache", "ls"},
                                                    {"cache", "show"},
                                                    {"cache", "verify"},
                                                    {"cache", "clear"},
                                                    {"cache", "rm"},
                                                    {"cache", "gc"},
                                                    {"cache", "extract"},
                                                    {"cache", "stats"},
                                                    {"cache", "why"},
                                                    {"cache", "prewarm"}};
  for (std::vector<std::string> verb : verbs) {
    CAPTURE(verb);
    verb.push_back("--help");
    const Finished help = tool(verb);
    CHECK(help.exit_code == 0);
    CHECK(help.err.empty());
    CHECK_THAT(help.out, Catch::Contains("Example:\n  librt " + verb[0]));
    if (verb != std::vector<std::string>{"cache", "--help"}) CHECK_THAT(help.out, Catch::Contains("--json"));
  }
  const Finished help = tool({"--help"});
  CHECK(help.exit_code == 0);
  CHECK_THAT(help.out, Catch::Contains("Exit codes: 0 done, 1 a problem was found, 2 usage, 3 this machine cannot"));
}

TEST_CASE("cli: the version is the library's", "[cli]") {
  CHECK(Tool()({"--version"}).out == std::string(librt::version()) + "\n");
}

TEST_CASE("cli: what is typed wrongly is exit code 2 and leaves stdout empty", "[cli]") {
  const Tool tool;
  const std::vector<std::vector<std::string>> mistakes{
      {},
      {"frobnicate"},
      {"cache"},
      {"cache", "frobnicate"},
      {"cache", "show"},
      {"cache", "show", "zz"},
      {"cache", "show", "3fa"},
      {"cache", "rm", "3FA91C02"},
      {"cache", "extract", std::string(65, 'a'), "-o", tool.file("x")},
      {"compile"},
      {"compile", "gqa_decode", "--arch", "sm_80"},
      {"compile", "attention", "head_dim=64", "--arch", "sm_80"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm80"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm_75"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "compute_70"},
      {"prove", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm_80,sm_75"},
      {"cache", "why", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm_75"},
      {"cache", "prewarm", "llama-3-8b", "--arch", "sm_75"},
      {"compile", "mla_decode", "num_heads=x", "page_size=64", "dtype=bf16", "--arch", "sm_80"},
      {"compile", "mla_decode", "num_heads=16", "page_size=0", "dtype=bf16", "--arch", "sm_80"},
      {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf17", "--arch", "sm_80"},
      {"run"},
      {"check"},
      {"check", "one", "two"},
      {"run", "in.safetensors"},
      {"demo", "extra"},
      {"doctor", "--unknown"}};
  for (const auto& words : mistakes) {
    CAPTURE(words);
    const Finished finished = tool(words);
    CHECK(finished.exit_code == 2);
    CHECK(finished.out.empty());
    CHECK_FALSE(finished.err.empty());
  }
}

TEST_CASE("cli: what is misspelt is named, with the nearest that there is", "[cli]") {
  const Tool tool;
  const std::string cmpile = "cmpile: no such verb; did you mean compile?";
  const std::vector<std::pair<std::vector<std::string>, std::string>> slips{
      {{"cmpile"}, cmpile},
      {{"cmpile", "gqa_decode", "--arch", "sm_80"}, cmpile},
      {{"help", "cmpile"}, cmpile},
      {{"ls"}, "ls: no such verb; did you mean cache ls?"},
      {{"zzz"}, "zzz: no such verb; there are demo, compile, "},
      {{"cache", "verfy"}, "librt cache: verfy: no such verb; did you mean verify?"},
      {{"cache", "ls", "--jsno"}, "librt cache ls: --jsno: no such option; did you mean --json?"},
      {{"cache", "ls", "-json"}, "librt cache ls: -json: no such option; did you mean --json?"},
      {{"doctor", "--jsno=1"}, "librt doctor: --jsno: no such option; did you mean --json?"},
      {{"compile", "gqa_decode", "--ach", "sm_80"}, "librt compile: --ach: no such option; did you mean --arch?"},
      {{"compile", "gqa_decod", "--arch", "sm_80"}, "did you mean gqa_decode?"},
      {{"compile", "mla_decode", "num_head=16", "page_size=64", "dtype=bf16", "--arch", "sm_80"},
       "num_head=16 is not a member of the spec; did you mean num_heads?"},
      {{"prove", "mla_decode", "pagesize=64"}, "did you mean page_size?"},
      {{"cache", "why", "mla_decod", "page_size=64", "--arch", "sm_80"}, "did you mean mla_decode?"},
      {{"cache", "prewarm", "deepseek-v"}, "did you mean deepseek-v3?"},
      {{"demo", "extra"}, "librt demo: extra is not expected"},
      {{"help", "demo", "extra"}, "demo has no verbs"}};
  for (const auto& [words, said] : slips) {
    CAPTURE(words);
    const Finished finished = tool(words);
    CHECK(finished.exit_code == 2);
    CHECK(finished.out.empty());
    CHECK_THAT(finished.err, Catch::Contains(said));
  }
  CHECK_THAT(tool({"cmpile", "--json"}).json()["error"]["message"].get<std::string>(), Catch::Contains(cmpile));
}

TEST_CASE("cli: a key and an architecture that can be none are named, and doctor is no help", "[cli]") {
  const Tool tool;
  CHECK_THAT(tool({"cache", "show", "zz"}).err,
             Catch::Contains("\"zz\" is not a key; allowed: 4 to 64 lower-case hex digits"));
  const Finished absent = tool({"cache", "show", "3fa91c02"});  // a key, but of no entry
  CHECK(absent.exit_code == 1);
  CHECK_THAT(absent.err, Catch::Contains("is not in the cache"));
  const Finished old = tool({"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm_75"});
  CHECK_THAT(old.err, Catch::Contains("sm_75 is not supported") && Catch::Contains("allowed: sm_80 and up") &&
                          !Catch::Contains("doctor"));
}

/// A line that ends before it has to, in the middle of a paragraph. What is indented is a table.
std::string early_break(const std::string& help, std::size_t columns) {
  std::istringstream lines(help);
  std::string before;
  for (std::string line; std::getline(lines, line); before = line) {
    if (before.empty() || line.empty() || before.front() == ' ' || line.front() == ' ' || before.back() == ':')
      continue;
    const std::string word = line.substr(0, line.find(' '));
    if (word != "Usage:" && word != "Example:" && word != "Examples:" && before.size() + 1 + word.size() <= columns)
      return before + "\n" + line;
  }
  return {};
}

TEST_CASE("cli: no paragraph of a help is broken but by the width", "[cli]") {
  const Tool tool;
  for (const char* const verb : {"", "demo", "compile", "run", "check", "prove", "bench", "cache", "doctor"}) {
    CAPTURE(verb);
    CHECK(early_break(
              tool(*verb == '\0' ? std::vector<std::string>{"help"} : std::vector<std::string>{"help", verb}).out, 80)
              .empty());
  }
  for (const char* const verb :
       {"path", "ls", "show", "why", "prewarm", "stats", "verify", "extract", "gc", "rm", "clear"}) {
    CAPTURE(verb);
    CHECK(early_break(tool({"help", "cache", verb}).out, 80).empty());
  }
  CHECK_FALSE(early_break("one two\nthree\n", 80).empty());
}

TEST_CASE("cli: without a verb, and after help, there is the help", "[cli]") {
  const Tool tool;
  CHECK_THAT(tool({}).err, Catch::Contains("librt help compile") && Catch::Contains("doctor"));
  CHECK_THAT(tool({"cache"}).err, Catch::Contains("prewarm"));
  CHECK(tool({"help"}).out == tool({"--help"}).out);
  for (const std::vector<std::string>& verb : {std::vector<std::string>{"compile"}, {"cache"}, {"cache", "why"}}) {
    std::vector<std::string> help{"help"}, option = verb;
    help.insert(help.end(), verb.begin(), verb.end());
    option.push_back("--help");
    CAPTURE(verb);
    CHECK(tool(help).exit_code == 0);
    CHECK(tool(help).out == tool(option).out);
  }
}

TEST_CASE("cli: a wrong spec names the member, its value and what is allowed", "[cli]") {
  const Finished finished = Tool()({"compile", "gqa_decode", "dtype=bf16", "num_qo_heads=32", "num_kv_heads=8",
                                    "head_dim=72", "page_size=16", "--arch", "sm_80"});
  CHECK(finished.exit_code == 2);
  CHECK_THAT(finished.err, Catch::Contains("head_dim=72"));
  CHECK_THAT(finished.err, Catch::Contains("64, 80, 96, 128, 192, 256"));
}

TEST_CASE("cli: a failure under --json is JSON too", "[cli]") {
  const Finished finished =
      Tool()({"compile", "mla_decode", "num_heads=999", "page_size=64", "dtype=bf16", "--arch", "sm_80", "--json"});
  CHECK(finished.exit_code == 2);
  CHECK_THAT(finished.json()["error"]["message"].get<std::string>(), Catch::Contains("num_heads=999"));
  CHECK_THAT(finished.err, Catch::Contains("num_heads=999"));
}

TEST_CASE("cli: a wrong environment is a usage error that names the variable", "[cli]") {
  const Finished finished = Tool()({"doctor"}, {{"LIBRT_LOG", "loud"}});
  CHECK(finished.exit_code == 2);
  CHECK_THAT(finished.err, Catch::Contains("LIBRT_LOG=loud"));
}

TEST_CASE("cli: without NVRTC a compile is exit code 3 and says what would help", "[cli]") {
  const Tool tool;
  const std::vector<std::string> compile{"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16",
                                         "--arch",  "sm_80",      "-o",           tool.file("x")};
  const Finished finished = tool(compile, {{"LIBRT_NVRTC", "/nonexistent/libnvrtc.so.13"}});
  CHECK(finished.exit_code == 3);
  CHECK(finished.out.empty());
  CHECK_THAT(finished.err, Catch::Contains("/nonexistent/libnvrtc.so.13"));
  CHECK_THROWS(librt::test::read_text(tool.file("x")));
  CHECK_FALSE(std::filesystem::exists(tool.cache()));

  const Finished doctor = tool({"doctor", "--json"}, {{"LIBRT_NVRTC", "/nonexistent/libnvrtc.so.13"}});
  CHECK(doctor.exit_code == 3);
  CHECK(doctor.json()["usable"] == false);
}

TEST_CASE("cli: what cannot be compiled leaves no cache directory", "[cli]") {
  const Tool tool;
  const std::string batch = tool.file("batch.safetensors");
  REQUIRE(tool({"run", "--example", batch}).exit_code == 0);
  const std::vector<std::string> mla{"mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch"};
  const auto with = [&](const std::string& verb, const std::string& arch) {
    std::vector<std::string> words{verb};
    words.insert(words.end(), mla.begin(), mla.end());
    words.push_back(arch);
    return words;
  };
  // That of a name that is no library, too, which only shows when it is loaded.
  librt::test::write_text(tool.file("libnvrtc.so.13"), "no library");
  for (const std::string& nvrtc : {std::string("/nonexistent/libnvrtc.so.13"), tool.file("libnvrtc.so.13")}) {
    for (const std::vector<std::string>& words : {with("compile", "sm_80"),
                                                  with("prove", "sm_80"),
                                                  {"demo"},
                                                  {"cache", "prewarm", "llama-3-8b", "--arch", "sm_80"},
                                                  {"run", batch, "-o", tool.file("out"), "--device", "virtual"}}) {
      CAPTURE(nvrtc, words);
      CHECK(tool(words, {{"LIBRT_NVRTC", nvrtc}}).exit_code == 3);
      CHECK_FALSE(std::filesystem::exists(tool.cache()));
    }
  }
  CHECK(tool(with("compile", "sm_199")).exit_code == 3);
  CHECK(tool({"cache", "prewarm", "llama-3-8b", "--arch", "sm_199"}).exit_code == 3);
  CHECK_FALSE(std::filesystem::exists(tool.cache()));
}

TEST_CASE("cli: doctor finds what a compile needs", "[cli]") {
  const Tool tool;
  const Finished words = tool({"doctor"});
  CHECK(words.exit_code == 0);
  CHECK_THAT(words.out, Catch::Contains("nvrtc") && Catch::Contains("cache"));
  if (tool({"doctor", "--json"}).json()["findings"][1]["ok"] == false) {
    CHECK_THAT(words.err, Catch::Contains("on the virtual device only: LIBRT_DEVICE=virtual"));
    const std::string with_virtual = tool({"doctor", "--device", "virtual"}).err;
    CHECK_THAT(with_virtual, Catch::Contains("Kernels can be compiled, cached and run here."));
  }

  const Finished finished = tool({"doctor", "--json"});
  CHECK(finished.exit_code == 0);
  const auto json = finished.json();
  CHECK(json["usable"] == true);
  std::map<std::string, nlohmann::json> findings;
  for (const auto& line : json["findings"]) findings[line["name"]] = line;
  for (const char* const name : {"nvrtc", "kernels", "compile", "virtual", "cache", "cache files", "cache locks"}) {
    CAPTURE(name);
    CHECK(findings.at(name)["ok"] == true);
  }
  CHECK_THAT(findings["nvrtc"]["found"].get<std::string>(), Catch::Contains("libnvrtc.so"));
  CHECK_THAT(findings["cache"]["found"].get<std::string>(), Catch::StartsWith(tool.cache()));
  for (const auto& [name, line] : findings) {
    CAPTURE(name);
    CHECK((line["ok"] == true) == line["help"].get<std::string>().empty());
  }
}

TEST_CASE("cli: doctor says which cache directory is not used, and why", "[cli]") {
  const Tool tool;
  const std::string open_to_all = tool.file("open");
  std::filesystem::create_directory(open_to_all);
  std::filesystem::permissions(open_to_all, std::filesystem::perms::all);
  const Finished finished = tool({"doctor", "--json"}, {{"LIBRT_CACHE_DIR", open_to_all},
                                                        {"LIBRT_CACHE_RO", open_to_all + ":" + tool.file("none")}});
  const auto json = finished.json();
  std::vector<std::string> refused;
  for (const auto& line : json["findings"]) {
    if (line["ok"] == false && line["name"].get<std::string>().starts_with("cache")) refused.push_back(line["found"]);
  }
  REQUIRE(refused.size() == 3);
  CHECK_THAT(refused[0], Catch::StartsWith(open_to_all) && Catch::Contains("can be written by"));
  CHECK_THAT(refused[1], Catch::StartsWith(open_to_all) && Catch::Contains("can be written by"));
  CHECK_THAT(refused[2], Catch::StartsWith(tool.file("none")));
}

TEST_CASE("cli: doctor shows each setting with its origin", "[cli]") {
  const Tool tool;
  const Finished finished = tool({"doctor", "--json", "--device", "virtual:sm_90"},
                                 {{"LIBRT_CACHE_MODE", "ro"}, {"LIBRT_CACHEMODE", "ro"}, {"LIBRT_QWERTY", "1"}});
  const auto json = finished.json();
  std::map<std::string, std::pair<std::string, std::string>> settings;
  for (const auto& each : json["settings"]) {
    settings[each["variable"].get<std::string>()] = {each["value"].get<std::string>(),
                                                     each["origin"].get<std::string>()};
  }
  using Pair = std::pair<std::string, std::string>;
  for (const std::string_view variable : librt::util::known_variables()) {
    CAPTURE(variable);
    REQUIRE(settings.contains(std::string(variable)));
    CHECK_FALSE(settings[std::string(variable)].first.empty());
    CHECK_FALSE(settings[std::string(variable)].second.empty());
  }
  CHECK(settings["LIBRT_CACHE_MODE"] == Pair{"ro", "environment"});
  CHECK(settings["LIBRT_CACHE_FSYNC"] == Pair{"1", "default"});
  CHECK(settings["LIBRT_CACHE_DIR"] == Pair{tool.cache(), "environment"});
  CHECK(settings["LIBRT_DEVICE"] == Pair{"virtual:sm_90", "--device"});
  CHECK(json["unknown_variables"] ==
        nlohmann::json::parse(R"([{"variable": "LIBRT_CACHEMODE", "meant": "LIBRT_CACHE_MODE"},
                                  {"variable": "LIBRT_QWERTY", "meant": ""}])"));
  const Finished words = tool({"doctor"}, {{"LIBRT_CACHEMODE", "ro"}});
  CHECK_THAT(words.out, Catch::Contains("did you mean LIBRT_CACHE_MODE?") && Catch::Contains("SETTING"));
  CHECK(tool({"doctor", "--json", "--dir", tool.file("x")}).json()["settings"][0]["origin"] == "--dir");
}

TEST_CASE("cli: doctor shows each setting as its variable takes it", "[cli]") {
  const Tool tool;
  const auto values = [&](const librt::test::Variables& variables) {
    const auto json = tool({"doctor", "--json"}, variables).json();
    std::map<std::string, std::string> all;
    for (const auto& each : json["settings"]) {
      all[each["variable"].get<std::string>()] = each["value"].get<std::string>();
    }
    return all;
  };
  const auto defaults = values({});
  CHECK(defaults.at("LIBRT_CACHE_MAX_SIZE") == "256M");
  CHECK(defaults.at("LIBRT_VIRTUAL_INSTRUCTION_LIMIT") == "16G");
  librt::test::Variables typed;
  for (const auto& [variable, value] : defaults) {
    CAPTURE(variable, value);
    // In parentheses: what it means that the variable is not set.
    if (value.front() == '(') {
      CHECK(value.back() == ')');
    } else {
      typed[variable] = value;
    }
  }
  CHECK(typed.size() >= 9);
  CHECK(values(typed) == defaults);
  typed = {{"LIBRT_CACHE_MAX_SIZE", "0"}, {"LIBRT_VIRTUAL_INSTRUCTION_LIMIT", "1025K"}};
  const auto others = values(typed);
  for (const auto& [variable, value] : typed) CHECK(others.at(variable) == value);
  CHECK(values({{"LIBRT_CACHE_MAX_SIZE", "2048M"}}).at("LIBRT_CACHE_MAX_SIZE") == "2G");
}
