// librt check: what is wrong with a dumped cache, all of it, and what only looks wrong.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <span>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"

using librt::DType;
using librt::test::Batch;
using librt::test::BatchShape;
using librt::test::FileContents;
using librt::test::Finished;
using librt::test::Tool;
using Json = nlohmann::json;

namespace {

constexpr std::uint16_t kNan = 0x7fff;  // in bf16 and in f16

/// The bits of Inf, or those so far above (NaN) or below them (numbers).
std::uint16_t infinity(DType dtype, int above = 0) {
  return static_cast<std::uint16_t>((dtype == DType::bf16 ? 0x7f80 : 0x7c00) + above);
}

// Pages of 4 slots; kv_indptr 0 4 4 6.
Batch batch_of(const BatchShape& shape) {
  return Batch(shape, {13, 0, 6}, 3);
}
FileContents gqa() {
  return batch_of(librt::test::gqa_shape()).file();
}

std::vector<std::int32_t> integers(const FileContents& file, const std::string& name) {
  const auto& bytes = file.tensors.at(name).bytes;
  std::vector<std::int32_t> values(bytes.size() / sizeof(std::int32_t));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void set_element(FileContents& file, const std::string& name, std::initializer_list<std::int64_t> index,
                 std::uint16_t bits) {
  auto& tensor = file.tensors.at(name);
  std::size_t offset = 0;
  std::size_t dimension = 0;
  for (const std::int64_t i : index) {
    offset = offset * static_cast<std::size_t>(tensor.shape.at(dimension++)) + static_cast<std::size_t>(i);
  }
  std::memcpy(&tensor.bytes.at(offset * sizeof(bits)), &bits, sizeof(bits));
}

struct Checked {
  int exit_code;
  std::string err;
  std::string text;  // without --json, of both streams
  Json json;

  std::vector<Json> problems(const std::string& kind) const { return of("problems", kind); }
  std::vector<Json> notes(const std::string& kind) const { return of("notes", kind); }

 private:
  std::vector<Json> of(const char* list, const std::string& kind) const {
    std::vector<Json> found;
    for (const Json& entry : json.at(list)) {
      if (entry["kind"] == kind) found.push_back(entry);
    }
    return found;
  }
};

Checked check(const FileContents& contents) {
  const Tool tool;
  const std::string path = tool.file("in.safetensors");
  contents.write(path);
  const Finished words = tool({"check", path});
  const Finished json = tool({"check", path, "--json"});
  CHECK(words.exit_code == json.exit_code);
  CHECK(json.json()["file"] == path);
  CHECK(json.json()["sound"] == (json.exit_code == 0));
  CHECK(json.json()["problems"].empty() == (json.exit_code == 0));
  return {json.exit_code, json.err, words.out + words.err, json.json()};
}

/// Exactly one problem, in both forms.
void check_one_problem(const FileContents& file, const std::string& kind, const std::vector<std::string>& named) {
  const Checked checked = check(file);
  CHECK(checked.exit_code == 1);
  CHECK(checked.json["problem_count"] == 1);
  REQUIRE(checked.problems(kind).size() == 1);
  const std::string what = checked.problems(kind)[0]["what"];
  for (const std::string& word : named) {
    CHECK_THAT(what, Catch::Contains(word));
    CHECK_THAT(checked.text, Catch::Contains(word));
  }
}

}  // namespace

TEST_CASE("cli check: sound caches of every kind", "[cli]") {
  BatchShape hnd = librt::test::gqa_shape();
  hnd.hnd = true;
  hnd.dtype = DType::f16;
  for (const BatchShape& shape : {librt::test::gqa_shape(), hnd, librt::test::mla_shape()}) {
    const Checked checked = check(batch_of(shape).file());
    CAPTURE(checked.text);
    CHECK(checked.exit_code == 0);
    CHECK(checked.json["kernel"] == (shape.mla ? "mla_decode" : "gqa_decode"));
    CHECK(checked.json["problem_count"] == 0);
    CHECK(checked.notes("padding").empty());
    CHECK(checked.notes("shared_page").empty());
    CHECK_THAT(checked.text, Catch::Contains("is sound"));
  }
}

TEST_CASE("cli check: NaN and Inf in padding are notes", "[cli]") {
  for (BatchShape shape : {librt::test::gqa_shape(), librt::test::mla_shape()}) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      shape.dtype = dtype;
      shape.hnd = !shape.mla && dtype == DType::f16;
      Batch batch = batch_of(shape);
      unsigned count = 0;
      batch.fill_padding([&] { return ++count % 2 == 0 ? kNan : infinity(dtype); });
      const Checked checked = check(batch.file());
      CAPTURE(checked.text);
      CHECK(checked.exit_code == 0);
      CHECK_THAT(checked.text, Catch::Contains("padding") && Catch::Contains("only mask scores break"));
      const auto notes = checked.notes("padding");
      REQUIRE(notes.size() == 2);
      std::size_t elements = 0;
      for (const Json& note : notes) {
        const std::size_t found = note["nan"].get<std::size_t>() + note["inf"].get<std::size_t>();
        CHECK(note["past_the_ends"].get<std::size_t>() + note["in_unused_pages"].get<std::size_t>() == found);
        CHECK(note["nan"] == note["inf"]);
        elements += found;
      }
      CHECK(elements == count);
    }
  }
}

TEST_CASE("cli check: one NaN past the end of a request, in the last slot and in the first of padding", "[cli]") {
  const std::int32_t tail = integers(gqa(), "kv_indices")[3];  // of request 0: one valid slot
  for (const int slot : {1, 3}) {
    FileContents file = gqa();
    set_element(file, "v_pages", {tail, slot, 1, 63}, kNan);
    const Checked checked = check(file);
    CHECK(checked.exit_code == 0);
    REQUIRE(checked.notes("padding").size() == 1);
    const Json note = checked.notes("padding")[0];
    CHECK(note["tensor"] == "v_pages");
    CHECK(note["past_the_ends"] == 1);
    CHECK(note["first"]["page"] == tail);
    CHECK(note["first"]["slot"] == slot);
    CHECK(note["first"]["head"] == 1);
    CHECK(note["first"]["element"] == 63);
  }
}

TEST_CASE("cli check: NaN and Inf at a valid position are named by their place", "[cli]") {
  BatchShape shape = librt::test::gqa_shape();
  for (const bool hnd : {false, true}) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      shape.hnd = hnd;
      shape.dtype = dtype;
      const std::uint16_t minus_inf = infinity(dtype, 0x8000);
      const std::map<std::uint16_t, std::string> values = {
          {kNan, "NaN"}, {infinity(dtype, 1), "NaN"}, {infinity(dtype), "+Inf"}, {minus_inf, "-Inf"}};
      for (const auto& [bits, name] : values) {
        FileContents file = batch_of(shape).file();
        const std::int32_t page = integers(file, "kv_indices")[5];  // of request 2: two valid slots
        set_element(file, "k_pages", {page, 1, 1, 37}, bits);       // slot 1 and head 1, in either layout
        CAPTURE(hnd, bits);
        check_one_problem(file, "value",
                          {"k_pages holds " + name, "request 2", "position 5",
                           "page " + std::to_string(page) + ", slot 1, head 1, element 37"});
      }
      // The largest finite number is sound.
      FileContents file = batch_of(shape).file();
      set_element(file, "k_pages", {integers(file, "kv_indices")[0], 0, 0, 0}, infinity(dtype, -1));
      CHECK(check(file).exit_code == 0);
    }
  }
  FileContents hnd_slots = [&] {
    shape.hnd = true;
    return batch_of(shape).file();
  }();
  const std::int32_t first = integers(hnd_slots, "kv_indices")[0];
  set_element(hnd_slots, "v_pages", {first, 1, 3, 5}, kNan);
  check_one_problem(hnd_slots, "value", {"request 0, position 3", "slot 3, head 1, element 5"});

  FileContents mla = batch_of(librt::test::mla_shape()).file();
  const std::int32_t page = integers(mla, "kv_indices")[3];
  set_element(mla, "kpe_pages", {page, 0, 63}, kNan);
  check_one_problem(mla, "value", {"kpe_pages holds NaN", "request 0, position 12", "slot 0, head 0, element 63"});
}

TEST_CASE("cli check: NaN and Inf in a query", "[cli]") {
  FileContents file = gqa();
  set_element(file, "q", {2, 7, 9}, kNan);
  check_one_problem(file, "query_value", {"tensor q holds NaN", "request 2, row 2, head 7, element 9"});
  file = batch_of(librt::test::mla_shape()).file();
  set_element(file, "q_pe", {0, 15, 63}, 0xff80);
  check_one_problem(file, "query_value", {"tensor q_pe holds -Inf", "request 0, row 0, head 15, element 63"});

  // Three query tokens of request 0, none of request 1 and one of request 2.
  file = gqa();
  auto& q = file.tensors.at("q");
  q.shape[0] = 4;
  q.bytes.resize(q.bytes.size() / 3 * 4);
  file.set_integers("qo_indptr", {0, 3, 3, 4});
  set_element(file, "q", {3, 0, 0}, kNan);
  check_one_problem(file, "query_value", {"request 2, row 3"});
}

TEST_CASE("cli check: page tables with a wrong element", "[cli]") {
  const auto wrong = [](const std::string& name, const std::vector<std::int32_t>& values, const std::string& kind,
                        const std::vector<std::string>& named) {
    FileContents file = gqa();
    file.set_integers(name, values);
    CAPTURE(name, values);
    check_one_problem(file, kind, named);
  };
  wrong("kv_indices", {0, 1, 2, 40, 4, 5}, "page_id", {"element 3 is 40", "there are 40 pages", "request 0", "page 3"});
  wrong("kv_indices", {0, 1, 2, 3, 4, -1}, "page_id", {"element 5 is -1", "request 2"});
  wrong("kv_indices", {0, 1, 2, 3, 2147483647, 5}, "page_id", {"element 4 is 2147483647", "request 2"});
  wrong("kv_last_page_len", {0, 0, 2}, "length", {"kv_last_page_len: element 0 is 0", "1..4"});
  wrong("kv_last_page_len", {1, 0, 5}, "length", {"kv_last_page_len: element 2 is 5"});
  wrong("kv_last_page_len", {1, 0, -2147483647 - 1}, "length", {"element 2 is -2147483648"});
  wrong("kv_last_page_len", {1, 0}, "length", {"kv_last_page_len has 2 elements", "3 are needed"});
  wrong("kv_indptr", {-1, 4, 4, 6}, "length", {"kv_indptr: element 0 is -1"});
  wrong("kv_indptr", {0, 4, 3, 6}, "length", {"kv_indptr: element 2 is 3", "never fall"});
  wrong("kv_indptr", {0, 4, 4, 7}, "length", {"kv_indptr: element 3 is 7", "6 elements"});
  wrong("kv_indptr", {}, "length", {"kv_indptr has no elements"});
  wrong("qo_indptr", {0, 2, 1, 3}, "length", {"qo_indptr: element 2 is 1"});
  wrong("qo_indptr", {0, 1, 2, 4}, "length", {"qo_indptr: element 3 is 4", "3 rows"});
}

TEST_CASE("cli check: what no request owns may hold anything", "[cli]") {
  FileContents file = gqa();
  std::vector<std::int32_t> indices = integers(file, "kv_indices");
  indices.insert(indices.begin(), {-7, 40});
  indices.push_back(2147483647);
  file.set_integers("kv_indices", indices);
  file.set_integers("kv_indptr", {2, 6, 6, 8});
  file.set_integers("kv_last_page_len", {1, -99, 2});  // request 1 has no pages
  const Checked checked = check(file);
  CHECK(checked.exit_code == 0);
  const auto notes = checked.notes("unowned_entry");
  REQUIRE(notes.size() == 3);
  CHECK(notes[0]["value"] == -7);
  CHECK(notes[2]["element"] == 8);
}

TEST_CASE("cli check: pages that are shared or repeated are told, with their owners", "[cli]") {
  FileContents file = gqa();
  file.set_integers("kv_indices", {9, 1, 2, 3, 9, 3});
  const Checked checked = check(file);
  CHECK(checked.exit_code == 0);
  const auto shared = checked.notes("shared_page");
  REQUIRE(shared.size() == 2);
  CHECK(shared[0]["page"] == 3);
  CHECK(shared[0]["owners"] == Json::parse(R"([{"request": 0, "request_page": 3, "valid_slots": 1},
                                               {"request": 2, "request_page": 1, "valid_slots": 2}])"));
  CHECK_THAT(shared[0]["what"].get<std::string>(), Catch::Contains("next token"));
  CHECK(shared[1]["page"] == 9);
  CHECK_THAT(shared[1]["what"].get<std::string>(), !Catch::Contains("next token"));
  CHECK_THAT(checked.text, Catch::Contains("page 9 is shared by several requests: request 0 (its page 0"));

  // A slot counts as valid if one of the owners reads it.
  set_element(file, "k_pages", {3, 1, 0, 0}, kNan);
  check_one_problem(file, "value", {"request 2", "position 5", "page 3, slot 1"});
  set_element(file, "k_pages", {3, 1, 0, 0}, 0);
  set_element(file, "k_pages", {3, 2, 0, 0}, kNan);
  CHECK(check(file).exit_code == 0);

  file.set_integers("kv_indices", {9, 1, 9, 3, 4, 5});
  const Checked repeated = check(file);
  CHECK(repeated.exit_code == 0);
  REQUIRE(repeated.notes("repeated_page").size() == 1);
  CHECK(repeated.notes("repeated_page")[0]["page"] == 9);
}

TEST_CASE("cli check: integers of another type are named, and read as what they are", "[cli]") {
  for (const std::string name : {"kv_indptr", "kv_indices", "kv_last_page_len"}) {
    FileContents file = gqa();
    std::vector<std::byte> wide;
    for (const std::int64_t value : integers(file, name)) {
      const auto bytes = std::as_bytes(std::span(&value, 1));
      wide.insert(wide.end(), bytes.begin(), bytes.end());
    }
    auto& tensor = file.tensors.at(name);
    tensor = {"I64", tensor.shape, wide};
    check_one_problem(file, "type", {"tensor " + name + " is I64; it must be I32"});

    file = gqa();
    file.tensors.at(name).dtype = "U32";
    check_one_problem(file, "type", {"tensor " + name + " is U32; it must be I32"});
    file.tensors.at(name).dtype = "F32";
    check_one_problem(file, "type", {"tensor " + name + " is F32; it must be I32"});
  }
  FileContents file = gqa();
  file.tensors.at("k_pages").dtype = "I16";
  check_one_problem(file, "type", {"tensor k_pages is I16; allowed: BF16, F16, F8_E4M3"});
  file = gqa();
  file.tensors.at("v_pages").dtype = "F16";
  check_one_problem(file, "type", {"tensor v_pages is F16; k_pages is BF16"});
}

TEST_CASE("cli check: 8-bit caches have NaN and no Inf", "[cli]") {
  FileContents file = gqa();
  for (const char* const name : {"k_pages", "v_pages"}) {
    auto& tensor = file.tensors.at(name);
    tensor.dtype = "F8_E4M3";
    tensor.bytes.assign(tensor.bytes.size() / 2, std::byte{0x7e});  // the largest number
  }
  const Checked sound = check(file);
  CHECK(sound.exit_code == 0);
  CHECK(sound.notes("unsupported").size() == 2);
  const auto page = static_cast<std::size_t>(integers(file, "kv_indices")[0]);
  const std::size_t element = page * 4 * 2 * 64 + 2 * 64 + 11;  // slot 1, head 0
  file.tensors.at("v_pages").bytes.at(element) = std::byte{0xff};
  check_one_problem(file, "value", {"v_pages holds NaN", "position 1", "slot 1, head 0, element 11"});
}

TEST_CASE("cli check: shapes, alignment and metadata", "[cli]") {
  for (const FileContents& good : {gqa(), batch_of(librt::test::mla_shape()).file()}) {
    for (const auto& [name, tensor] : good.tensors) {
      CAPTURE(name);
      FileContents file = good;
      file.tensors.erase(name);
      const Checked missing = check(file);
      CHECK(missing.exit_code == 1);
      REQUIRE(missing.problems("missing").size() == 1);
      CHECK(missing.problems("missing")[0]["tensor"] == name);
      file = good;
      file.tensors[name].shape.push_back(1);
      CHECK(check(file).problems("shape").size() == 1);
    }
  }
  const auto reshaped = [](const std::string& name, const std::vector<std::int64_t>& shape, const std::string& kind,
                           const std::vector<std::string>& named) {
    FileContents file = gqa();
    auto& tensor = file.tensors.at(name);
    tensor.shape = shape;
    std::size_t elements = 1;
    for (const std::int64_t extent : shape) elements *= static_cast<std::size_t>(extent);
    tensor.bytes.resize(elements * 2);
    CAPTURE(name, shape);
    check_one_problem(file, kind, named);
  };
  reshaped("q", {4, 8, 64}, "length", {"tensor q has 4 rows", "3 requests"});
  reshaped("q", {3, 7, 64}, "shape", {"7 heads", "2 heads"});
  reshaped("q", {3, 0, 64}, "shape", {"tensor q has shape [3, 0, 64]"});
  reshaped("v_pages", {39, 4, 2, 64}, "shape", {"tensor v_pages has shape [39, 4, 2, 64]"});
  reshaped("v_pages", {40, 4, 2, 72}, "shape", {"tensor v_pages", "must be 64"});

  FileContents narrow = gqa();
  for (const char* const name : {"q", "k_pages", "v_pages"}) {
    auto& tensor = narrow.tensors.at(name);
    tensor.shape.back() = 36;
    tensor.bytes.resize(tensor.bytes.size() / 64 * 36);
  }
  CHECK(check(narrow).problems("alignment").size() == 3);

  const auto metadata = [](const std::string& name, const std::string& value) {
    FileContents file = gqa();
    file.metadata[name] = value;
    check_one_problem(file, "metadata", {"metadata " + name});
  };
  metadata("kernel", "paged_attention");
  metadata("sm_scale", "nan");
  metadata("kv_layout", "DHN");
  FileContents window = gqa();
  window.metadata["window_left"] = "128";
  check_one_problem(window, "unsupported", {"metadata window_left"});
}

TEST_CASE("cli check: all problems are found, the list is bounded, the count is not", "[cli]") {
  FileContents file = gqa();
  file.metadata["sm_scale"] = "0";
  file.set_integers("kv_indices", {0, 77, 2, 3, -4, 5});
  file.set_integers("kv_last_page_len", {9, 0, 2});
  set_element(file, "q", {1, 0, 0}, kNan);
  set_element(file, "v_pages", {2, 0, 0, 0}, kNan);
  const Checked several = check(file);
  CHECK(several.exit_code == 1);
  CHECK(several.json["problem_count"] == 6);
  CHECK(several.problems("page_id").size() == 2);
  for (const char* const word : {"sm_scale", "is 77", "is -4", "is 9", "tensor q holds", "v_pages holds"}) {
    CHECK_THAT(several.text, Catch::Contains(word));
  }

  file = gqa();
  auto& bytes = file.tensors.at("k_pages").bytes;
  std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
  const Checked all = check(file);
  CHECK(all.exit_code == 1);
  CHECK(all.json["problem_count"] == (13 + 6) * 2);  // tokens, heads
  CHECK(all.json["problems"].size() == 16 + 1);
  CHECK(all.json["problems"].back()["left_out"] == (13 + 6) * 2 - 16);
  CHECK(all.notes("padding").size() == 1);
}

TEST_CASE("cli check: files that are not safetensors, or not there", "[cli]") {
  const Tool tool;
  const std::string path = tool.file("in.safetensors");
  librt::test::write_text(path, "nonsense");
  const Finished damaged = tool({"check", path, "--json"});
  CHECK(damaged.exit_code == 1);
  CHECK(damaged.json()["sound"] == false);
  CHECK(damaged.json()["problems"][0]["kind"] == "file");
  const Finished absent = tool({"check", tool.file("absent")});
  CHECK(absent.exit_code == 1);
  CHECK(absent.out.empty());
  CHECK_THAT(absent.err, Catch::Contains("absent"));
}

TEST_CASE("cli check: tensors that are misaligned in the file are a note", "[cli]") {
  const Tool tool;
  const std::string path = tool.file("in.safetensors");
  gqa().write(path);
  CHECK_THAT(tool({"check", path}).out, !Catch::Contains("alignment"));

  // Blanks after the header's last bracket move the data by eight bytes.
  std::string text = librt::test::read_text(path);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, text.data(), sizeof(header_bytes));
  text.insert(sizeof(header_bytes) + header_bytes, 8, ' ');
  header_bytes += 8;
  std::memcpy(text.data(), &header_bytes, sizeof(header_bytes));
  librt::test::write_text(path, text);
  const Finished moved = tool({"check", path});
  CHECK(moved.exit_code == 0);
  CHECK_THAT(moved.out, Catch::Contains("alignment") && Catch::Contains("k_pages (8 bytes off)"));
}
