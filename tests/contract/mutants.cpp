// Are the checks strong enough? Each edit of tests/support/mutants.json makes a kernel wrong in one way, and the check
// that it names must notice; the kernel as it is must pass the same check.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "tests/contract/merger.hpp"
#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/logits.hpp"

namespace librt::test {
namespace {

struct Mutant {
  std::string name, caught_by;
  SourceEdit edit;
};

std::vector<Mutant> read_mutants() {
  std::ifstream file(LIBRT_SOURCE_DIR "/tests/support/mutants.json");
  std::vector<Mutant> mutants;
  for (const auto& entry : nlohmann::json::parse(file)) {
    mutants.push_back(
        {entry.at("name"), entry.at("caught_by"), SourceEdit{entry.at("file"), entry.at("find"), entry.at("replace")}});
  }
  return mutants;
}

std::string reference_difference(Runtime& runtime, const Batch& batch, const Launch& launch = {}) {
  return difference(batch, decode(runtime, batch, launch), reference(batch));
}

Batch infinite_query(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  set_logits(batch, 0, [](int) { return -1.0; });
  for (int head = 0; head < batch.shape.qo_heads; ++head) {
    batch.query(0, head, logit_dim(batch)) = batch.bits(std::numeric_limits<double>::infinity());
  }
  return batch;
}

Batch low_logits(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  set_logits(batch, 0, [](int) { return -66855.0; });
  return batch;
}

Batch huge_logits(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  batch.sm_scale = 1;
  set_logits(batch, 0, [](int) { return -3e38; });
  return batch;
}

/// The first two pages have no weight, but V has a NaN there.
Batch nan_without_weight(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  set_logits(batch, 0, [](int position) { return position < 32 ? -std::numeric_limits<double>::infinity() : 0.0; });
  batch.value(0, 5, 0, 3) = special_bits(batch.shape.dtype).quiet_nan;
  return batch;
}

/// Merges a part with what an empty part may have in its row.
std::string stale_part_difference(Runtime& runtime) {
  const Part empty = constant(64, std::numeric_limits<float>::quiet_NaN(), kNoPositions);
  const Merged merged = Merger(runtime, 64)({empty, constant(64, 0.5F, {1, 1})});
  return merged.out[0] == 0.5 ? "" : fmt::format("0.5 and an empty part are {}", merged.out[0]);
}

/// Each gives an empty string, or says what is wrong.
using Check = std::function<std::string(Runtime&)>;

const std::map<std::string, Check>& checks() {
  static const std::map<std::string, Check> all{
      {"gqa poison",
       [](Runtime& rt) {
         return poison_difference(rt, make_batch(gqa(4), {.kv_lens = {13, 70}}));
       }},
      {"mla poison",
       [](Runtime& rt) {
         return poison_difference(rt, make_batch(mla(4), {.kv_lens = {13, 70}}));
       }},
      {"gqa reference",
       [](Runtime& rt) {
         return reference_difference(rt, make_batch(gqa(16), {.kv_lens = {300, 77}}), {.split_pages = 7});
       }},
      {"mla reference",
       [](Runtime& rt) {
         return reference_difference(rt, make_batch(mla(16), {.kv_lens = {150, 77}}), {.split_pages = 7});
       }},
      {"gqa empty request",
       [](Runtime& rt) {
         return reference_difference(rt, make_batch(gqa(16), {.kv_lens = {13, 0}}));
       }},
      {"mla empty request",
       [](Runtime& rt) {
         return reference_difference(rt, make_batch(mla(16), {.kv_lens = {13, 0}}));
       }},
      {"merge with an empty part", stale_part_difference},
      {"gqa infinite query", [](Runtime& rt) { return reference_difference(rt, infinite_query(gqa(16))); }},
      {"gqa low logits", [](Runtime& rt) { return reference_difference(rt, low_logits(gqa(16))); }},
      {"gqa splits of huge logits",
       [](Runtime& rt) { return reference_difference(rt, huge_logits(gqa(16)), {.split_pages = 2}); }},
      {"mla splits of huge logits",
       [](Runtime& rt) { return reference_difference(rt, huge_logits(mla(16)), {.split_pages = 2}); }},
      {"gqa NaN in a split without weight",
       [](Runtime& rt) { return reference_difference(rt, nan_without_weight(gqa(16)), {.split_pages = 2}); }},
      {"gqa tight table",  // nothing behind the only request's four entries: reading on is out of bounds
       [](Runtime& rt) { return reference_difference(rt, make_batch(gqa(4), {.kv_lens = {13}})); }},
  };
  return all;
}

std::string text_of(const std::string& file) {
  std::ifstream stream(LIBRT_SOURCE_DIR "/kernels/" + file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_CASE("Each mutant edits one place of the kernels as they are", "[mutants]") {
  const std::vector<Mutant> mutants = read_mutants();
  REQUIRE(mutants.size() >= 6);
  std::set<std::string> names;
  for (const Mutant& mutant : mutants) {
    INFO(mutant.name);
    CHECK(names.insert(mutant.name).second);
    CHECK(checks().contains(mutant.caught_by));
    const std::string text = text_of(mutant.edit.file);
    const std::size_t at = text.find(mutant.edit.find);
    REQUIRE(at != std::string::npos);
    CHECK(text.find(mutant.edit.find, at + 1) == std::string::npos);
  }
}

TEST_CASE("The kernels as they are pass every check", "[mutants]") {
  for (const auto& [name, check] : checks()) {
    INFO(name);
    CHECK(check(shared_runtime()) == "");
  }
}

TEST_CASE("Every mutant is caught by the check that it names", "[mutants]") {
  for (const Mutant& mutant : read_mutants()) {
    Options options = virtual_options();
    options.cache_mode = CacheMode::off;
    options.source_edits = {mutant.edit};
    Runtime runtime(options);
    std::string caught;
    try {
      caught = checks().at(mutant.caught_by)(runtime);
    } catch (const Error& error) {
      // The device stopping the kernel is a catch; a mutant that does not compile shows nothing.
      if (error.code() != ErrorCode::device_fault) FAIL(mutant.name << ": " << error.what() << "\n" << error.detail());
      caught = error.what();
    }
    INFO(mutant.name << ", " << mutant.caught_by << ": " << caught);
    CHECK_FALSE(caught.empty());
  }
}

}  // namespace
}  // namespace librt::test
