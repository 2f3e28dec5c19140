// What the functions of cache.hpp see: the Options that they are given, and the environment only through from_env().
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "tests/support/scoped_env.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
using Catch::StartsWith;
using test::ScopedEnv;
using test::TempDir;
using test::thrown_by;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
const Arch kPtx{80, 0, true};

Options options_in(const std::string& directory) {
  Options options;
  options.cache_dir = directory;
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

TEST_CASE("Options made by hand read no LIBRT_ variable, and a Runtime without any reads them all",
          "[cache][options]") {
  const TempDir dir;
  const std::string named = dir / "named", layer = dir / "layer";
  const ScopedEnv directory("LIBRT_CACHE_DIR", named.c_str()), layers("LIBRT_CACHE_RO", layer.c_str()),
      mode("LIBRT_CACHE_MODE", "only"), trust("LIBRT_CACHE_TRUST", "shared"), size("LIBRT_CACHE_MAX_SIZE", "1K"),
      home("HOME", dir.path().c_str()), xdg("XDG_CACHE_HOME", nullptr);
  const Options by_hand;
  CHECK(cache_location(by_hand).path == dir.path() + "/.cache/librt");
  CHECK(cache_location(by_hand).reason == "HOME");
  CHECK(by_hand.cache_read_only.empty());
  CHECK(Runtime(Options{}).options().cache_mode == CacheMode::rw);

  CHECK(cache_location().path == named);
  CHECK(cache_location().reason == "LIBRT_CACHE_DIR");
  CHECK(cache_location(options_in(layer)).reason == "option");
  const Options seen = Runtime().options();
  CHECK(seen.cache_dir == named);
  CHECK(seen.cache_read_only == std::vector<std::string>{layer});
  CHECK(seen.cache_mode == CacheMode::only);
  CHECK(seen.cache_trust == CacheTrust::shared);
  CHECK(seen.cache_max_bytes == 1024);

  // Not by what it does, either: what the environment says `only` of is compiled, and kept where the option says.
  Runtime runtime(options_in(dir / "own"));
  CHECK(runtime.compile_merge(kSpec, kPtx).origin == Origin::compiled);
  CHECK(cache_list(options_in(dir / "own")).size() == 1);
  CHECK_FALSE(fs::exists(named));
}

TEST_CASE("Whom a Runtime trusts, the cache's functions trust", "[cache][options]") {
  const TempDir dir;
  Options options = options_in(dir / "cache");
  options.cache_trust = CacheTrust::shared;
  const std::string key = Runtime(options).compile_merge(kSpec, kPtx).key;
  const ScopedEnv trust("LIBRT_CACHE_TRUST", nullptr);
  REQUIRE(cache_list(options).size() == 1);
  CHECK(cache_show(key, options).entry.key == key);
  CHECK(cache_extract(key, options).key == key);
  CHECK(cache_verify(options).at(0).finding == CacheFinding::ok);
  CHECK(cache_stats(options).compiled == 1);

  Options own = options;
  own.cache_trust = CacheTrust::own;
  CHECK(cache_list(own).empty());
  CHECK(cache_verify(own).at(0).finding == CacheFinding::untrusted);
  CHECK_THAT(thrown_by([&] { cache_clear(own); })->what, Contains("can be written by others"));
  CHECK_THAT(thrown_by([&] { cache_collect({}, own); })->what, Contains("can be written by others"));
  CHECK_THAT(thrown_by([&] { cache_remove(key, own); })->what, Contains("can be written by others"));
  CHECK_THAT(thrown_by([&] { cache_repair(own); })->what, Contains("can be written by others"));
  CHECK(cache_clear(options) == 1);
}

TEST_CASE("A shard that others may write is not passed over in silence", "[cache][options]") {
  const TempDir dir;
  const Options options = options_in(dir.path());
  const std::string key = Runtime(options).compile_merge(kSpec, kPtx).key;
  REQUIRE(cache_collect({.max_bytes = 1, .dry_run = true}, options).removed_entries == 1);
  const fs::path shard = dir.path() + "/v1/objects/" + key.substr(0, 2);
  fs::permissions(shard, fs::perms::all);
  const auto says_so = [&](const auto& call) {
    const auto thrown = thrown_by(call);
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::io);
    CHECK_THAT(thrown->what, Contains(shard.string() + " can be written by others"));
  };
  says_so([&] { cache_clear(options); });
  says_so([&] { cache_collect({.max_bytes = 1}, options); });
  says_so([&] { cache_collect({.max_bytes = 1, .dry_run = true}, options); });
  fs::permissions(shard, fs::perms::owner_all);
  CHECK(cache_clear(options) == 1);
}

TEST_CASE("What looks at a cache looks at its read-only directories too, and nothing changes them",
          "[cache][options]") {
  const TempDir dir;
  const std::string key = Runtime(options_in(dir / "layer")).compile_merge(kSpec, kPtx).key;
  Options options = options_in(dir / "own");
  options.cache_read_only = {dir / "nothing here", dir / "layer"};
  CHECK(cache_list(options).at(0).key == key);
  CHECK(cache_show(key.substr(0, 8), options).entry.key == key);
  CHECK(cache_extract(key, options).origin == Origin::disk);
  CHECK(cache_verify(options).size() == 1);
  // The same entry in two places is one: that of the first.
  REQUIRE(Runtime(options_in(dir / "own")).compile_merge(kSpec, kPtx).key == key);
  CHECK_THAT(cache_show(key.substr(0, 8), options).entry.path, StartsWith(dir / "own/"));
  CHECK(cache_clear(options) == 1);
  CHECK(thrown_by([&] { cache_remove(key, options); })->code == ErrorCode::io);
  CHECK(thrown_by([&] { cache_remove(key.substr(0, 8), options); })->code == ErrorCode::invalid_argument);
  CHECK(cache_collect({.max_bytes = 1}, options).removed_entries == 0);
  CHECK(cache_list(options).size() == 1);

  options.cache_read_only = {"layer"};
  const std::string refused = "cache_read_only=layer is not allowed; allowed: an absolute path";
  CHECK(thrown_by([&] { Runtime{options}; })->what == refused);
  CHECK(thrown_by([&] { cache_list(options); })->what == refused);
  CHECK(thrown_by([] { Runtime(options_in("~/x")); })->what ==
        "cache_dir=~/x is not allowed; allowed: an absolute path (only a shell knows what ~ is: write the directory "
        "out)");
}

TEST_CASE("A mode that writes nothing to the cache lets nothing be removed from it", "[cache][options]") {
  const TempDir dir;
  Options options = options_in(dir.path());
  const std::string key = Runtime(options).compile_merge(kSpec, kPtx).key;
  for (const CacheMode mode : {CacheMode::ro, CacheMode::only, CacheMode::off}) {
    options.cache_mode = mode;
    const auto refused = [](const auto& call) {
      const auto thrown = thrown_by(call);
      REQUIRE(thrown);
      CHECK(thrown->code == ErrorCode::invalid_argument);
      CHECK_THAT(thrown->what, StartsWith("cache_mode"));
    };
    refused([&] { cache_clear(options); });
    refused([&] { cache_repair(options); });
    refused([&] { cache_remove(key, options); });
    refused([&] { cache_collect({}, options); });
    CHECK(cache_collect({.max_bytes = 1, .dry_run = true}, options).removed_entries == 1);
    CHECK(cache_list(options).size() == 1);
  }
}

TEST_CASE("A collection without a bound of its own keeps the one of the options", "[cache][options]") {
  const TempDir dir;
  Options options = options_in(dir.path());
  REQUIRE(Runtime(options).compile_merge(kSpec, kPtx).origin == Origin::compiled);
  CHECK(cache_collect({}, options).removed_entries == 0);
  CHECK(cache_collect({.max_bytes = 0}, options).removed_entries == 0);
  options.cache_max_bytes = 1;
  CHECK(cache_collect({.dry_run = true}, options).removed_entries == 1);
  CHECK(cache_collect({}, options).removed_entries == 1);
}

}  // namespace
}  // namespace librt
