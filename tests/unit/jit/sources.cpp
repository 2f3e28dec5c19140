#include "src/jit/sources.hpp"

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "src/jit/includes.hpp"
#include "src/util/hash.hpp"
#include "tests/support/kernels_copy.hpp"
#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;
using librt::test::write_kernels;

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
  const KernelSources sources = load_tree(directory.path());
  CHECK(names_of(sources) == std::vector<std::string>{"device/scale.cuh", "other.cuh", "params.h", "scale/scale.cuh"});
  CHECK(sources.origin() == directory.path());
  CHECK(sources.files().front().text == kScaleHelper);
}

TEST_CASE("Digests cover what a header includes and nothing else", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const std::string before = load_tree(directory.path()).digests_json("scale/scale.cuh");
  const auto digests = nlohmann::json::parse(before);
  REQUIRE(digests.size() == 2);
  CHECK(digests[0][0] == "device/scale.cuh");
  CHECK(digests[0][1] == util::to_hex(util::hash(std::string_view(kScaleHelper))));
  CHECK(digests[1][0] == "scale/scale.cuh");
  CHECK(before == digests.dump());

  directory.write("other.cuh", "// changed\n");
  directory.write("new.cuh", "// new\n");
  CHECK(load_tree(directory.path()).digests_json("scale/scale.cuh") == before);
  directory.write("device/scale.cuh", std::string(kScaleHelper) + "// changed\n");
  CHECK(load_tree(directory.path()).digests_json("scale/scale.cuh") != before);
}

TEST_CASE("Headers that include each other have a finite closure", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "#include \"b.cuh\"\n#include \"b.cuh\"\n#include <host.h>\n");
  directory.write("b.cuh", "#include \"a.cuh\"\n#include <d/c.h>\n");
  directory.write("d/c.h", "");
  const KernelSources sources = load_tree(directory.path());
  CHECK(sources.closure("a.cuh").files == std::vector<std::size_t>{0, 1, 2});
  CHECK(sources.closure("a.cuh").unresolved == std::vector<std::string>{"host.h"});
  CHECK(sources.closure("d/c.h").files == std::vector<std::size_t>{2});
  CHECK(sources.closure("d/c.h").unresolved.empty());
}

TEST_CASE("A header that is not there is named together with where it was looked for", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const KernelSources sources = load_tree(directory.path());
  const Error error = error_of([&] { sources.closure("gqa.cuh"); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains("gqa.cuh") && Catch::Contains(directory.path()));
}

TEST_CASE("An edit replaces the one occurrence of its text", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const SourceEdit edit{.file = "device/scale.cuh", .find = "value * factor", .replace = "value + factor"};
  const KernelSources plain = load_tree(directory.path());
  const KernelSources edited = load_tree(directory.path(), {edit});
  CHECK(edited.files().front().text.find("value + factor") != std::string::npos);
  CHECK(edited.files().front().text.find("value * factor") == std::string::npos);
  CHECK(edited.digests_json("scale/scale.cuh") != plain.digests_json("scale/scale.cuh"));
  CHECK(edited.digests_json("other.cuh") == plain.digests_json("other.cuh"));
}

TEST_CASE("Edits are applied in order, each to the text that the one before left", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "one");
  const KernelSources sources = load_tree(directory.path(), {{.file = "a.cuh", .find = "one", .replace = "two"},
                                                             {.file = "a.cuh", .find = "two", .replace = "three"}});
  CHECK(sources.files().front().text == "three");
}

TEST_CASE("An edit that does not match exactly once is refused", "[jit]") {
  const FileTree directory;
  directory.write("a.cuh", "aaa b");
  const auto load = [&](const SourceEdit& edit) { return error_of([&] { load_tree(directory.path(), {edit}); }); };
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
  const Error error = error_of([&] { load_tree(dir); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains('"' + dir + '"'));
}

// That nothing installed is used in their place is shown by tests/no_compiler, in a root of its own.
TEST_CASE("Without a directory the built-in kernels are used", "[jit]") {
  const KernelSources sources = KernelSources::load("", {});
  CHECK(sources.origin() == "built in");
  const auto names = names_of(sources);
  CHECK(std::find(names.begin(), names.end(), "work.h") != names.end());
}

TEST_CASE("The host shares the headers with the kernels, and no kernel", "[jit]") {
  std::vector<std::string> names;
  for (const SourceFile& file : host_headers()) names.push_back(file.name);
  const std::filesystem::path kernels = LIBRT_SOURCE_DIR "/kernels";
  std::vector<std::string> headers;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kernels)) {
    if (entry.path().extension() == ".h") headers.push_back(entry.path().lexically_relative(kernels).string());
  }
  std::ranges::sort(headers);
  CHECK(headers.size() >= 6);
  CHECK(names == headers);
}

TEST_CASE("A kernels directory with another view of the host's headers is refused", "[jit]") {
  const FileTree directory;
  write_kernels(directory.path());
  CHECK(KernelSources::load(directory.path(), {}).files().size() == embedded_kernels().size());

  const std::string name = GENERATE("gqa_decode/gqa_decode.h", "plan.h", "shared_memory.h", "work.h");
  const auto headers = host_headers();
  const auto own = std::find_if(headers.begin(), headers.end(), [&](const auto& each) { return each.name == name; });
  REQUIRE(own != headers.end());
  std::string there = "no such file";
  SECTION("changed") {
    directory.write(name, own->text + "// of another version\n");
    there = util::to_hex(util::hash(own->text + "// of another version\n"));
  }
  SECTION("missing") {
    std::filesystem::remove(directory.file(name));
  }
  const Error error = error_of([&] { KernelSources::load(directory.path(), {}); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains('"' + directory.path() + "\": " + name) &&
                               Catch::Contains("there: " + there) &&
                               Catch::Contains("librt's: " + util::to_hex(util::hash(own->text))));
}

TEST_CASE("Kernels may differ from those built in, and an edit may change a shared header", "[jit]") {
  const FileTree directory;
  write_kernels(directory.path());
  directory.write("device/mask.cuh", "// rewritten\n");
  const SourceEdit edit{.file = "work.h", .find = "#pragma once", .replace = "#pragma once // edited"};
  const KernelSources sources = KernelSources::load(directory.path(), {edit});
  CHECK(sources.digests_json("work.h") != KernelSources::load("", {}).digests_json("work.h"));
}

TEST_CASE("A kernels directory that somebody else could have written is refused", "[jit]") {
  namespace fs = std::filesystem;
  const FileTree directory;
  write_scale_kernel(directory);
  const auto allow = [&](const std::string& name, fs::perms more) {
    fs::permissions(directory.file(name), more, fs::perm_options::add);
    return "can be written by others";
  };
  const auto replace_by_link = [&](const std::string& name) {
    fs::rename(directory.file(name), directory.file("aside"));
    fs::create_symlink(directory.file("aside"), directory.file(name));
    return "is a symbolic link";
  };
  const auto give_away = [&](const std::string& name) {
    REQUIRE(::lchown(directory.file(name).c_str(), 12345, 12345) == 0);
    return "belongs to user 12345";
  };
  std::string reason;
  std::string name;
  SECTION("the directory itself") {
    reason = allow(name = "", fs::perms::others_write);
  }
  SECTION("a directory in it") {
    reason = allow(name = "device", fs::perms::group_write);
  }
  SECTION("a file") {
    reason = allow(name = "other.cuh", fs::perms::others_write);
  }
  SECTION("a file in a directory") {
    reason = allow(name = "device/scale.cuh", fs::perms::group_write);
  }
  SECTION("a link to a file") {
    reason = replace_by_link(name = "device/scale.cuh");
  }
  SECTION("a pipe") {
    REQUIRE(::mkfifo(directory.file(name = "pipe.h").c_str(), 0600) == 0);
    reason = "is not a regular file";
  }
  if (::geteuid() == 0) {
    SECTION("another user's directory") {
      reason = give_away(name = "device");
    }
    SECTION("another user's file") {
      reason = give_away(name = "scale/scale.cuh");
    }
  } else {
    SECTION("another user's directory or file") {
      WARN("skipped: only root can give a file to another user");
    }
  }
  if (reason.empty()) return;  // no section
  const Error error = error_of([&] { load_tree(directory.path()); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains(directory.path()) && Catch::Contains(name) && Catch::Contains(reason));
}

TEST_CASE("A kernels directory may be a link, be shared on request, and hold what is no source", "[jit]") {
  namespace fs = std::filesystem;
  const FileTree directory;
  write_scale_kernel(directory);
  fs::create_symlink("nobody@nowhere.1", directory.file(".#scale.cuh"));  // an editor's lock
  fs::create_directory_symlink("/", directory.file("data"));
  const FileTree elsewhere;
  fs::create_directory_symlink(directory.path(), elsewhere.file("link"));
  CHECK(load_tree(elsewhere.file("link")).files().size() == 3);

  fs::permissions(directory.file("scale/scale.cuh"), fs::perms::group_write, fs::perm_options::add);
  CHECK(load_tree(directory.path(), {}, util::Trust::shared).files().size() == 3);
  fs::permissions(directory.file("scale/scale.cuh"), fs::perms::others_write, fs::perm_options::add);
  const Error error = error_of([&] { load_tree(directory.path(), {}, util::Trust::shared); });
  CHECK_THAT(error.what(), Catch::Contains("scale.cuh can be written by everybody"));
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
