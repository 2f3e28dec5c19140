// The fault matrix, faults 19 to 21 and 23: the key of a kernel, and entries that are sound and for another machine.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <set>

#include "src/cache/entry.hpp"
#include "src/jit/program.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"
#include "src/util/key_document.hpp"
#include "tests/support/kernels_copy.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
const Arch kPtx{80, 0, true};

Options options_in(const TempDir& dir) {
  Options options;
  options.cache_dir = dir / "cache";
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

TEST_CASE("F19 header edited, same path, same mtime", "[cache][fault]") {
  const TempDir dir;
  Options options = options_in(dir);
  options.kernels_dir = dir / "kernels";
  test::write_kernels(options.kernels_dir);
  const auto key = [&] { return Runtime(options).explain(kSpec, kPtx).key; };
  const std::string before = key();
  CHECK(key() == before);

  const std::string header = options.kernels_dir + "/device/mask.cuh";
  struct stat status {};
  REQUIRE(::stat(header.c_str(), &status) == 0);
  std::string text = util::read_text_file(header, 1 << 20);
  text.back() = text.back() == '\n' ? ' ' : '\n';  // not even its size
  util::write_file(header, std::as_bytes(std::span(text)));
  const timespec times[2] = {status.st_atim, status.st_mtim};
  REQUIRE(::utimensat(AT_FDCWD, header.c_str(), times, 0) == 0);
  CHECK(key() != before);
}

TEST_CASE("F20 relocation", "[cache][fault]") {
  const TempDir dir;
  Options options = options_in(dir);
  options.kernels_dir = dir / "kernels";
  test::write_kernels(options.kernels_dir);
  const std::string key = Runtime(options).compile_merge(kSpec, kPtx).key;
  fs::rename(options.cache_dir, dir / "moved");
  fs::rename(options.kernels_dir, dir / "moved kernels");
  options.cache_dir = dir / "moved";
  options.kernels_dir = dir / "moved kernels";
  const Artifact artifact = Runtime(options).compile_merge(kSpec, kPtx);
  CHECK(artifact.origin == Origin::disk);
  CHECK(artifact.key == key);
}

TEST_CASE("F21 key sensitivity", "[cache][fault]") {
  const jit::KernelSources sources = jit::KernelSources::load({}, {});
  const jit::NvrtcIdentity identity{.path = "/a/libnvrtc.so.13",
                                    .version = "13.0",
                                    .build_id = "65be",
                                    .builtins_path = "/a/b",
                                    .builtins_build_id = "1"};
  const jit::Program program = jit::make_program(
      {.kernel = "gqa_decode", .traits = "GqaTraits", .arguments = "1, 2", .spec_json = "{\"head_dim\":64}"}, kPtx);
  const auto key_of = [&](const jit::Program& changed, const jit::KernelSources& from, const jit::NvrtcIdentity& by) {
    return util::to_hex(util::key_digest(jit::key_fields(changed, from, &by)));
  };
  std::set<std::string> keys{key_of(program, sources, identity)};
  const auto check_new = [&](const char* what, const std::string& key) {
    CAPTURE(what);
    CHECK(keys.insert(key).second);
  };
  const auto with_program = [&](auto change) {
    jit::Program changed = program;
    change(changed);
    return key_of(changed, sources, identity);
  };
  const auto with_identity = [&](auto change) {
    jit::NvrtcIdentity changed = identity;
    change(changed);
    return key_of(program, sources, changed);
  };
  check_new("sm", with_program([](jit::Program& p) { p.arch.sm = 90; }));
  check_new("suffix", with_program([](jit::Program& p) { p.arch.suffix = 'a'; }));
  check_new("ptx_only", with_program([](jit::Program& p) { p.arch.ptx_only = false; }));
  check_new("entry", with_program([](jit::Program& p) { p.entry += "x"; }));
  check_new("header", with_program([](jit::Program& p) { p.header = "mla_decode/mla_decode.cuh"; }));
  check_new("source", with_program([](jit::Program& p) { p.source += " "; }));
  check_new("an option more", with_program([](jit::Program& p) { p.options.emplace_back("-lineinfo"); }));
  check_new("options in another order", with_program([](jit::Program& p) { std::swap(p.options[0], p.options[1]); }));
  check_new("spec", with_program([](jit::Program& p) { p.spec_json = "{\"head_dim\":80}"; }));
  check_new("version", with_identity([](jit::NvrtcIdentity& i) { i.version = "13.1"; }));
  check_new("build id", with_identity([](jit::NvrtcIdentity& i) { i.build_id += "0"; }));
  check_new("builtins", with_identity([](jit::NvrtcIdentity& i) { i.builtins_build_id += "0"; }));
  check_new("a header",
            key_of(program,
                   jit::KernelSources::load(
                       {}, {{.file = "device/mask.cuh", .find = "#pragma once", .replace = "#pragma once "}}),
                   identity));
  // And what changes no byte of the output changes no key.
  const auto same = [&](const std::string& key) { CHECK(key == key_of(program, sources, identity)); };
  same(with_program([](jit::Program& p) { std::erase(p.options, "-no-cache"); }));
  same(with_identity([](jit::NvrtcIdentity& i) { i.path = "/elsewhere/libnvrtc.so"; }));
  same(with_identity([](jit::NvrtcIdentity& i) { i.builtins_path = "/elsewhere"; }));
}

TEST_CASE("F28 an entry that would launch or label another thing than its spec says", "[cache][fault]") {
  const TempDir dir;
  Options options = options_in(dir);
  const Artifact artifact = Runtime(options).compile(kSpec, kPtx);
  const std::string path = cache_list(options).at(0).path;
  util::Digest key{};
  REQUIRE(util::from_hex(artifact.key, key));
  const auto sound = std::get<cache::Entry>(cache::decode_entry(util::read_file(path, 64 << 20), key));
  const auto plant = [&](const char* member, const nlohmann::json& value) {
    cache::Entry entry = sound;
    auto meta = nlohmann::json::parse(entry.meta);
    REQUIRE(meta.at(member) != value);
    meta[member] = value;
    entry.meta = meta.dump();
    util::write_file(path, cache::encode_entry(key, entry));
  };
  // What its own key document does not tell is sound to whoever only looks, and is no hit.
  for (const auto& [member, value] : std::map<std::string, nlohmann::json>{{"block_threads", 64},
                                                                           {"shared_bytes", 0},
                                                                           {"kernel", "mla_decode"},
                                                                           {"entry", "librt_mla_decode"},
                                                                           {"target", "compute_90"},
                                                                           {"nvrtc", "1.2"},
                                                                           {"created", -1},
                                                                           {"compile_ms", 1e300}}) {
    CAPTURE(member);
    const bool launches = member == "block_threads" || member == "shared_bytes";
    plant(member.c_str(), value);
    CHECK(cache_verify(options).at(0).finding == (launches ? CacheFinding::ok : CacheFinding::corrupt));
    options.cache_mode = CacheMode::only;
    const auto refused = test::thrown_by([&] { Runtime(options).compile(kSpec, kPtx); });
    REQUIRE(refused);
    CHECK(refused->code == ErrorCode::not_cached);
    CHECK_THAT(refused->what, Catch::EndsWith(launches ? "cannot be used: the log says why" : "no entry at all"));
    options.cache_mode = CacheMode::ro;
    CHECK(Runtime(options).compile(kSpec, kPtx).origin == Origin::compiled);
    CHECK_FALSE(Runtime(options).explain(kSpec, kPtx).cached);
    REQUIRE(fs::exists(path));
    options.cache_mode = CacheMode::rw;
    Runtime rt(options);
    const Artifact again = rt.compile(kSpec, kPtx);
    CHECK(again.origin == Origin::compiled);
    CHECK(again.block_threads == artifact.block_threads);
    CHECK(again.shared_bytes == artifact.shared_bytes);
    CHECK(rt.stats().corrupt == 1);
    CHECK(Runtime(options).compile(kSpec, kPtx).origin == Origin::disk);
  }
}

TEST_CASE("F23 an entry for another architecture under the right key", "[cache][fault]") {
  const TempDir dir;
  const Options options = options_in(dir);
  const Arch arch = parse_arch("sm_80");
  const Artifact artifact = Runtime(options).compile_merge(kSpec, arch);
  const std::string path = cache_list(options).at(0).path;
  std::vector<std::byte> file = util::read_file(path, 64 << 20);
  const auto cubin = std::search(file.begin(), file.end(), artifact.cubin.begin(), artifact.cubin.end());
  REQUIRE(cubin != file.end());
  constexpr std::ptrdiff_t kElfFlags = 48;
  REQUIRE(*(cubin + kElfFlags + 1) == std::byte{80});
  *(cubin + kElfFlags + 1) = std::byte{90};
  // The assembler's note says it again.
  const auto note = std::as_bytes(std::span(std::string_view("-arch sm_80")));
  const auto said = std::search(cubin, file.end(), note.begin(), note.end());
  REQUIRE(said != file.end());
  *(said + 9) = std::byte{'9'};
  const util::Digest checksum = util::hash(std::span<const std::byte>(file).first(file.size() - 32));
  std::copy(checksum.begin(), checksum.end(), file.end() - 32);
  util::write_file(path, file);

  REQUIRE(cache_verify(options).size() == 1);
  CHECK(cache_verify(options)[0].reason == "the cubin is for sm_90, the entry for sm_80");
  Runtime rt(options);
  const Artifact again = rt.compile_merge(kSpec, arch);
  CHECK(again.origin == Origin::compiled);
  CHECK(again.cubin == artifact.cubin);
  CHECK(rt.stats().corrupt == 1);
}

}  // namespace
}  // namespace librt
