#include "src/jit/sources.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "src/jit/includes.hpp"
#include "src/util/hash.hpp"
#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;

namespace {

std::vector<std::string> names_of(const KernelSources& sources) {
  std::vector<std::string> names;
  for (const SourceFile& file : sources.files()) names.push_back(file.name);
  return names;
}

}  // namespace

TEST_CASE("Kernel sources are the .cuh and .h files of a directory, by name", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  directory.write("params.h", "#pragma once\n");
  const KernelSources sources = KernelSources::load(directory.path(), {});
  CHECK(names_of(sources) == std::vector<std::string>{"device/scale.cuh", "other.cuh", "params.h", "scale.cuh"});
  CHECK(sources.origin() == directory.path());
  CHECK(sources.files().front().text == kScaleHelper);
}

TEST_CASE("Digests cover what a header includes and nothing else", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const std::string before = KernelSources::load(directory.path(), {}).digests_json("scale.cuh");
  const auto digests = nlohmann::json::parse(before);
  REQUIRE(digests.size() == 2);
  CHECK(digests[0][0] == "device/scale.cuh");
  CHECK(digests[0][1] == util::to_hex(util::hash(std::string_view(kScaleHelper))));
  CHECK(digests[1][0] == "scale.cuh");
  CHECK(before == digests.dump());

  directory.write("other.cuh", "// changed\n");
  directory.write("new.cuh", "// new\n");
  CHECK(KernelSources::load(directory.path(), {}).digests_json("scale.cuh") == before);
  directory.write("device/scale.cuh", std::string(kScaleHelper) + "// changed\n");
  CHECK(KernelSources::load(directory.path(), {}).digests_json("scale.cuh") != before);
}

TEST_CASE("Headers that include each other have a finite closure", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "#include \"b.cuh\"\n#include \"b.cuh\"\n#include <host.h>\n");
  directory.write("b.cuh", "#include \"a.cuh\"\n#include <d/c.h>\n");
  directory.write("d/c.h", "");
  const KernelSources sources = KernelSources::load(directory.path(), {});
  CHECK(sources.closure("a.cuh").files == std::vector<std::size_t>{0, 1, 2});
  CHECK(sources.closure("a.cuh").unresolved == std::vector<std::string>{"host.h"});
  CHECK(sources.closure("d/c.h").files == std::vector<std::size_t>{2});
  CHECK(sources.closure("d/c.h").unresolved.empty());
}

TEST_CASE("A header that is not there is named together with where it was looked for", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const KernelSources sources = KernelSources::load(directory.path(), {});
  const Error error = error_of([&] { sources.closure("gqa.cuh"); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains("gqa.cuh") && Catch::Contains(directory.path()));
}

TEST_CASE("An edit replaces the one occurrence of its text", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const SourceEdit edit{.file = "device/scale.cuh", .find = "value * factor", .replace = "value + factor"};
  const KernelSources plain = KernelSources::load(directory.path(), {});
  const KernelSources edited = KernelSources::load(directory.path(), {edit});
  CHECK(edited.files().front().text.find("value + factor") != std::string::npos);
  CHECK(edited.files().front().text.find("value * factor") == std::string::npos);
  CHECK(edited.digests_json("scale.cuh") != plain.digests_json("scale.cuh"));
  CHECK(edited.digests_json("other.cuh") == plain.digests_json("other.cuh"));
}

TEST_CASE("Edits are applied in order, each to the text that the one before left", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "one");
  const KernelSources sources = KernelSources::load(
      directory.path(),
      {{.file = "a.cuh", .find = "one", .replace = "two"}, {.file = "a.cuh", .find = "two", .replace = "three"}});
  CHECK(sources.files().front().text == "three");
}

TEST_CASE("An edit that does not match exactly once is refused", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "aaa b");
  const auto load = [&](const SourceEdit& edit) {
    return error_of([&] { KernelSources::load(directory.path(), {edit}); });
  };
  const auto [edit, reason] = GENERATE(table<SourceEdit, std::string>(
      {{{.file = "z.cuh", .find = "a", .replace = ""}, "no such file"},
       {{.file = "a.cuh", .find = "c", .replace = ""}, "does not occur"},
       {{.file = "a.cuh", .find = "aa", .replace = ""}, "more than once"},  // overlapping ones count
       {{.file = "a.cuh", .find = "", .replace = "x"}, "empty"}}));
  const Error error = load(edit);
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains(reason) && Catch::Contains('"' + edit.file + '"'));
}

TEST_CASE("A kernels directory that cannot serve is named", "[jit]") {
  const FileTree directory;
  directory.write("file.txt", "x");
  const std::string dir = directory.path() + GENERATE("", "/absent", "/file.txt");
  const Error error = error_of([&] { KernelSources::load(dir, {}); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains('"' + dir + '"'));
}

TEST_CASE("Without a directory the installed or the built-in kernels are used", "[jit]") {
  const KernelSources sources = KernelSources::load("", {});
  CHECK((sources.origin() == "built in" || sources.origin() == installed_kernels_dir()));
  const auto names = names_of(sources);
  CHECK(std::find(names.begin(), names.end(), "params.h") != names.end());
}

TEST_CASE("Includes are found whatever their spelling", "[jit]") {
  const auto [text, names] = GENERATE(table<std::string, std::vector<std::string>>(
      {{"#include \"a.h\"\n", {"a.h"}},
       {"  #  include\t<a/b.h> // c\n#include\"c\"", {"a/b.h", "c"}},
       {"/* x */ #include /* y */ \"a.h\" /* z\n */\n", {"a.h"}},
       {"%:include \"a.h\"\r\n", {"a.h"}},
       {"#inc\\\nlude \"a.h\"\n", {"a.h"}},
       {"#include_next <a.h>\n", {"a.h"}},
       {"#if 0\n#include \"a.h\"\n#endif\n", {"a.h"}},
       {"// #include \"a.h\"\n/*\n#include \"b.h\"\n*/\n", {}},
       {"x = \"/*\";\n#include \"a.h\"\ny = '\"';\n#include \"b.h\"\n", {"a.h", "b.h"}},
       {"const char* s = \"#include \\\"a.h\\\"\";\n", {}},
       {"#define include_it 1\nint include;\n", {}},
       {"", {}}}));
  CHECK(included_names("f.cuh", text) == names);
}

TEST_CASE("An include that names no file is refused with its place", "[jit]") {
  const std::string text = GENERATE("\n/*\n*/#include NAME\n", "\n\\\n\n#include \"open\n");
  const Error error = error_of([&] { included_names("f.cuh", text); });
  CHECK(error.code() == ErrorCode::compile_failed);
  CHECK_THAT(error.what(), Catch::StartsWith(text.find("NAME") != std::string::npos ? "f.cuh:3:" : "f.cuh:4:"));
}
